"""Swapping inside the host: through a small network, without any, and what saved pictures say of it."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

onnx_files = pytest.importorskip("onnx_files")
pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]


@pytest.fixture
def networks(lab):
    """A swapper, a recogniser and a landmarker of the user's."""
    from slimfusion.bench.faces.swap_twins import save_swapper
    from slimfusion.catalog.cards import CARDS

    models = lab.host.base / "models"
    (models / "facerestore_models").mkdir(parents=True, exist_ok=True)
    files = [
        onnx_files.recogniser(models / "insightface" / "recogniser.onnx"),
        onnx_files.landmarker(models / "insightface" / "landmarker.onnx"),
        save_swapper(models / "facerestore_models" / "swapper.onnx", CARDS["inswapper"]),
    ]
    yield models
    for file in files:
        file.unlink()


def swapping(lab, frames, source, **inputs):
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("frames", frames)),
        "source": lab.node("ProbeIn", file=lab.put("source", source)),
        "faces": lab.node("SlimFusionDetectFaces", image=["in", 0]),
        "swap": lab.node(
            "SlimFusionSwapFaces", image=["in", 0], source_image=["source", 0], faces=["faces", 0], **inputs
        ),
        "image": lab.node("ProbeOut", file="image", value=["swap", 0]),
        "mask": lab.node("ProbeOut", file="mask", value=["swap", 1]),
    }
    return prompt


def with_model(lab, prompt):
    prompt["model"] = lab.node("SlimFusionLoadModel", model="swapper.onnx")
    prompt["swap"]["inputs"]["model"] = ["model", 0]
    return prompt


@pytest.mark.parametrize("way", ["model", "classic"])
def test_only_the_face_changes_and_the_restorer_takes_the_same_faces(lab, portrait, networks, way):
    frames = np.concatenate([portrait, np.zeros_like(portrait)])
    prompt = swapping(lab, frames, portrait[:, :, ::-1])
    if way == "model":
        with_model(lab, prompt)
    prompt["restorer"] = lab.node("SlimFusionLoadModel")
    behind = {"image": ["swap", 0], "model": ["restorer", 0], "faces": ["swap", 2]}
    prompt["restore"] = lab.node("SlimFusionRestoreFaces", **behind)
    prompt["restored"] = lab.node("ProbeOut", file="restored", value=["restore", 0])
    run = lab.run(prompt)
    image, mask = lab.got("image"), lab.got("mask")
    np.testing.assert_array_equal(image[mask == 0], frames[mask == 0])
    assert mask[0].max() > 0.9 and not mask[1].any() and np.abs(image - frames)[mask > 0.9].max() > 0.01
    reports = [json.loads(out["slimfusion_report"][0]) for out in run.outputs.values() if "slimfusion_report" in out]
    assert [report["faces"] for report in reports] == [1, 1]
    assert not any("detect" in report["seconds"] for report in reports)
    assert lab.got("restored").shape == frames.shape


@pytest.mark.parametrize("provenance", [True, False])
def test_saved_pictures_say_that_a_face_was_swapped(lab, portrait, networks, provenance):
    prompt = with_model(lab, swapping(lab, portrait, portrait, provenance=provenance, strength=0.9))
    prompt["save"] = lab.node("SaveImage", images=["swap", 0], filename_prefix=f"swap{provenance}")
    queued = {"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": {}}}}
    prompt_id = lab.host.post("/prompt", queued)["prompt_id"]
    ends = time.monotonic() + 120
    while not (history := lab.host.get(f"/history/{prompt_id}")) and time.monotonic() < ends:
        time.sleep(0.1)
    (picture,) = history[prompt_id]["outputs"]["save"]["images"]
    written = Image.open(io.BytesIO(lab.host.view(picture))).info
    assert ("slimfusion" in written) == provenance
    if provenance:
        (note,) = json.loads(written["slimfusion"])
        assert note["model"] == "swapper.onnx" and note["tool"].startswith("SlimFusion") and "T" in note["time"]


def test_bad_input_is_said_in_a_sentence(lab, portrait, networks):
    empty = np.full((1, 96, 96, 3), 0.5, np.float32)
    error = lab.failed(swapping(lab, portrait, empty))
    assert "FacesError" in error and "no face in the source picture of A" in error
    error = lab.failed(swapping(lab, portrait, portrait, people="0:B"))
    assert "SettingError" in error and "no person 'B'" in error
