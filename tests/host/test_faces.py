"""Faces inside the host: selected, masked, known again, with networks found by their content."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from slimfusion.bench.host_driver import HostError

onnx_files = pytest.importorskip("onnx_files")
pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]


@pytest.fixture
def networks(lab):
    """The user's model folder with small networks under names that mean nothing."""
    folder = lab.host.base / "models" / "insightface"
    makers = (onnx_files.recogniser, onnx_files.occluder, onnx_files.genderage, onnx_files.landmarker)
    files = [make(folder / "sub" / f"{number}.onnx") for number, make in enumerate(makers)]
    yield folder
    for file in files:
        file.unlink()


def detecting(lab, pixels, **more):
    file = lab.put("picture", pixels)
    prompt = {"in": lab.node("ProbeIn", file=file), "faces": lab.node("SlimFusionDetectFaces", image=["in", 0])}
    return prompt | more


def test_a_mask_of_the_selected_face_limits_restoring(lab, portrait, networks):
    prompt = lab.restoring(lab.put("portrait", portrait), mask=["mask_of_faces", 0], faces=["select", 0])
    prompt["faces"] = lab.node("SlimFusionDetectFaces", image=["in", 0])
    prompt["select"] = lab.node("SlimFusionSelectFaces", faces=["faces", 0], numbers="0", order="large", count=1)
    prompt["mask_of_faces"] = lab.node(
        "SlimFusionFaceMask", faces=["select", 0], image=["in", 0], occlusion=True, bottom_margin=0.5
    )
    prompt["limit"] = lab.node("ProbeOut", file="limit", value=["mask_of_faces", 0])
    run = lab.run(prompt)
    line = json.loads(run.outputs["mask_of_faces"]["slimfusion_line"][0])
    assert (line["what"], line["tone"], line["faces"], line["given"]) == ("masked", "ok", 1, [])
    assert line["seconds"] > 0 and line["peak"] > 0
    limit, painted = lab.got("limit"), lab.got("mask")
    assert line["share"] == pytest.approx(100 * limit.mean(), abs=0.1)
    assert limit.shape == painted.shape == portrait.shape[:3]
    assert 0 < painted.max() <= 1 and (painted <= limit + 1e-6).all()
    outside = limit == 0
    np.testing.assert_array_equal(lab.got("image")[outside], portrait[outside])


def test_an_identity_is_made_saved_loaded_and_itself(lab, portrait, networks):
    prompt = detecting(lab, portrait)
    prompt["make"] = lab.node("SlimFusionIdentity", image=["in", 0], faces=["faces", 0], name="Eileen")
    prompt["save"] = lab.node("SlimFusionSaveIdentity", identity=["make", 0], overwrite=True)
    run = lab.run(prompt)
    path = lab.host.base / "models" / "reactor" / "faces" / "Eileen.safetensors"
    assert run.outputs["save"]["text"] == [f"saved {path}"]
    with safe_open(path, framework="np") as file:
        assert file.get_tensor("embedding").shape == (512,) and file.get_tensor("kps").shape == (5, 2)
    again = {
        "load": lab.node("SlimFusionLoadIdentity", name="Eileen"),
        "blend": lab.node("SlimFusionBlendIdentities", identity_1=["load", 0], identity_2=["load", 0], weight_2=3.0),
        "alike": lab.node("SlimFusionLikeness", identity_1=["load", 0], identity_2=["blend", 0]),
    }
    outputs = lab.run(again).outputs
    assert outputs["alike"]["text"] == ["Eileen and blend: 1.000"]
    lines = {node: json.loads(outputs[node]["slimfusion_line"][0]) for node in ("load", "blend")}
    assert {node: (line["name"], line["faces"]) for node, line in lines.items()} == {
        "load": ("Eileen", 1),
        "blend": ("blend", 2),
    }
    path.unlink()


def test_a_selector_that_asks_for_likeness_finds_the_person(lab, portrait, networks):
    prompt = detecting(lab, portrait)
    prompt["make"] = lab.node("SlimFusionIdentity", image=["in", 0])
    wanted = {"identity": ["make", 0], "likeness": 0.99, "if_none": "stop"}
    prompt["select"] = lab.node("SlimFusionSelectFaces", faces=["faces", 0], image=["in", 0], **wanted)
    prompt["mask"] = lab.node("SlimFusionFaceMask", faces=["select", 0])
    prompt["out"] = lab.node("ProbeOut", file="mask", value=["mask", 0])
    lab.run(prompt)
    assert lab.got("mask").max() == 1


def test_gender_selects_and_areas_limit_a_mask(lab, portrait, networks):
    areas = {}
    for gender in ("female", "male"):
        prompt = detecting(lab, portrait)
        prompt["select"] = lab.node("SlimFusionSelectFaces", faces=["faces", 0], image=["in", 0], gender=gender)
        prompt["mask"] = lab.node("SlimFusionFaceMask", faces=["select", 0], image=["in", 0], areas="mouth")
        prompt["out"] = lab.node("ProbeOut", file="mask", value=["mask", 0])
        lab.run(prompt)
        areas[gender] = float((lab.got("mask") > 0).sum())
    assert sorted(area > 0 for area in areas.values()) == [False, True]


def test_a_number_that_is_not_there_is_named_with_the_count(lab, portrait):
    prompt = detecting(lab, portrait)
    prompt["select"] = lab.node("SlimFusionSelectFaces", faces=["faces", 0], numbers="7")
    prompt["mask"] = lab.node("SlimFusionFaceMask", faces=["select", 0])
    prompt["out"] = lab.node("ProbeOut", file="mask", value=["mask", 0])
    error = lab.failed(prompt)
    assert "FacesError" in error and "no face 7" in error and "has 1" in error


def test_no_face_where_one_is_required(lab, networks):
    prompt = detecting(lab, np.full((1, 64, 64, 3), 0.5, np.float32))
    prompt["make"] = lab.node("SlimFusionIdentity", image=["in", 0], faces=["faces", 0])
    prompt["save"] = lab.node("SlimFusionSaveIdentity", identity=["make", 0])
    error = lab.failed(prompt)
    assert "FacesError" in error and "an identity needs one" in error


def test_a_network_that_is_missing_says_where_to_get_it(lab, portrait):
    prompt = detecting(lab, portrait)
    prompt["select"] = lab.node("SlimFusionSelectFaces", faces=["faces", 0], image=["in", 0], gender="female")
    prompt["mask"] = lab.node("SlimFusionFaceMask", faces=["select", 0])
    prompt["out"] = lab.node("ProbeOut", file="mask", value=["mask", 0])
    error = lab.failed(prompt)
    assert "ModelFileError" in error and "genderage.onnx" in error and "https://" in error


def test_a_name_that_leads_out_of_the_folder_is_refused(lab, portrait, networks):
    """Written into the node before anything runs; from another node when it arrives."""
    prompt = detecting(lab, portrait)
    prompt["make"] = lab.node("SlimFusionIdentity", image=["in", 0], name="../../escaped")
    prompt["save"] = lab.node("SlimFusionSaveIdentity", identity=["make", 0], name="../../escaped")
    with pytest.raises(HostError, match="name of a file"):
        lab.host.run(prompt)
    prompt["save"] = lab.node("SlimFusionSaveIdentity", identity=["make", 0])
    error = lab.failed(prompt)
    assert "SettingError" in error and "name of a file" in error
    assert not list(lab.host.base.rglob("escaped*"))


def test_the_preview_of_detection_is_shown_again_when_it_was_cached(lab, portrait):
    if "has_intermediate_output" not in lab.info["SlimFusionDetectFaces"]:
        pytest.skip("this ComfyUI shows of what was cached only the output nodes")
    assert lab.info["SlimFusionDetectFaces"]["has_intermediate_output"]
    prompt = detecting(lab, portrait, out=lab.node("ProbeOut", file="boxes", value=["faces", 1]))
    first, again = lab.run(prompt), lab.run(prompt)
    assert "faces" in first.executed and "faces" not in again.executed
    assert lab.host.view(again.outputs["faces"]["images"][0]) == lab.host.view(first.outputs["faces"]["images"][0])
    assert "faces" in {event["data"]["node"] for event in again.events if event["type"] == "executed"}
