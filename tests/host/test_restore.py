"""The main job inside the host: what comes out, bit for bit."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import slimfusion
from networks import save_upscaler
from slimfusion.bench.host_driver import HostError
from slimfusion.bench.workflows import nodes_of_class, ui_to_api
from slimfusion.catalog.files import BUNDLED

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]
PACK = Path(slimfusion.__file__).parent
CLIP = "clip"  # a test of its own
EXAMPLES = sorted(  # those that need no file that the user must get first
    path
    for path in (PACK / "examples").glob("*.json")
    if CLIP not in path.stem and '"models"' not in path.read_text(encoding="utf-8")
)
GROUP = [512, 949]  # both portraits side by side
SHIPPED = ("catalog", "engines", "examples", "faces", "js", "locales", "nodes", "subgraphs", "video", "weights")


def pack_files() -> set[Path]:
    """Every file of the folders that users get; Python's own caches left out."""
    return {file for folder in SHIPPED for file in (PACK / folder).rglob("*") if file.suffix != ".pyc"}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape, dtype=np.float32)


def test_only_the_faces_region_changes(lab, portrait):
    lab.run(lab.restoring(lab.put("portrait", portrait)))
    image, mask = lab.got("image"), lab.got("mask")
    assert image.shape == portrait.shape
    assert mask.shape == portrait.shape[:3]
    outside = mask == 0
    assert 0.5 < outside.mean() < 1
    np.testing.assert_array_equal(image[outside], portrait[outside])
    assert np.abs(image - portrait)[mask > 0.9].mean() > 1e-3


def test_a_frame_without_a_face_comes_back_identical(lab):
    empty = np.full((1, 96, 128, 3), 0.5, np.float32)
    lab.run(lab.restoring(lab.put("empty", empty)))
    np.testing.assert_array_equal(lab.got("image"), empty)
    assert not lab.got("mask").any()


def test_frames_and_alpha_pass_through(lab, portrait):
    """Four frames, the face in two of them, each with an alpha of its own."""
    mirrored = portrait[:, :, ::-1]
    blank = np.zeros_like(portrait)
    frames = np.concatenate([np.concatenate([portrait, blank, mirrored, blank]), noise(4, 512, 512, 1)], axis=-1)
    run = lab.run(lab.restoring(lab.put("frames", frames)))
    image = lab.got("image")
    np.testing.assert_array_equal(image[..., 3], frames[..., 3])
    np.testing.assert_array_equal(image[[1, 3]], frames[[1, 3]])
    assert (image[0] != frames[0]).any() and (image[2] != frames[2]).any()
    assert run.report["faces"] == 2
    assert run.report["frames"] == 4


def test_the_whole_image_is_restored_in_tiles(lab):
    picture = noise(1, 200, 330, 3)
    run = lab.run(lab.restoring(lab.put("noise", picture), "SlimFusionRestoreImage"))
    assert lab.got("image").shape == picture.shape
    assert run.report["measured_peak"] >= 0
    assert np.isfinite(lab.got("image")).all()


def test_the_report_keeps_the_users_budget(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait), budget=["guard", 0])
    prompt["guard"] = lab.node("SlimFusionMemoryGuard", budget_gib=1.5)
    report = lab.run(prompt).report
    assert report["budget"] == report["allowed"] == 3 << 29
    assert 0 < report["predicted_peak"] <= report["allowed"]


def test_the_report_is_drawn(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait))
    prompt["report"] = lab.node("SlimFusionMemoryReport", report=["restore", 2])
    prompt["picture"] = lab.node("ProbeOut", file="picture", value=["report", 0])
    run = lab.run(prompt)
    picture = lab.got("picture")
    assert picture.ndim == 4 and picture.shape[-1] == 3
    assert picture.std() > 0.01
    assert run.outputs["report"]["images"]


def test_faces_are_detected_once_for_two_restorers(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait), faces=["faces", 0])
    prompt["faces"] = lab.node("SlimFusionDetectFaces", image=["in", 0])
    prompt["boxes"] = lab.node("ProbeOut", file="boxes", value=["faces", 1])
    run = lab.run(prompt)
    (boxes,) = json.loads(run.outputs["boxes"]["probe"][0].replace("'", '"'))
    assert len(boxes) == 1
    x, y = (boxes[0][side] + boxes[0][size] / 2 for side, size in (("x", "width"), ("y", "height")))
    assert abs(x - 222) < 30 and abs(y - 110) < 40
    assert run.report["faces"] == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_a_user_opens_it(lab, portrait, example):
    png = cv2.imencode(".png", (portrait[0, ..., ::-1] * 255).round().astype(np.uint8))[1].tobytes()
    lab.host.upload("example.png", png)
    prompt = ui_to_api(json.loads(example.read_text(encoding="utf-8")), lab.info)
    run = lab.run(prompt)
    (saver,) = nodes_of_class(prompt, "SaveImage")
    saved = lab.host.view(run.outputs[saver]["images"][0])
    picture = cv2.imdecode(np.frombuffer(saved, np.uint8), cv2.IMREAD_UNCHANGED)
    scaled = nodes_of_class(prompt, "ImageScale")
    wanted = [prompt[node]["inputs"][side] for node in scaled for side in ("height", "width")]
    if nodes_of_class(prompt, "ImageStitch"):
        wanted = GROUP
    assert list(picture.shape) == [*(wanted or [512, 512]), 3]


@pytest.mark.parametrize("node", ["SlimFusionRestoreFaces", "SlimFusionRestoreImage"])
def test_cores_own_upscale_model_takes_our_models_place(lab, portrait, node):
    """A random ESRGAN through core's Load Upscale Model."""
    folder = lab.host.base / "models" / "upscale_models"
    folder.mkdir(exist_ok=True)
    save_upscaler(folder / "twin.safetensors", scale=2)
    picture = portrait[:, 20:220, 120:320]
    prompt = lab.restoring(lab.put("crop", picture), node)
    prompt["model"] = lab.node("UpscaleModelLoader", model_name="twin.safetensors")
    lab.run(prompt)
    larger = 1 if node == "SlimFusionRestoreFaces" else 2
    assert lab.got("image").shape == (1, 200 * larger, 200 * larger, 3)


@pytest.mark.parametrize("node", ["SlimFusionRestoreFaces", "SlimFusionRestoreImage"])
def test_without_a_model_the_chosen_file_restores(lab, portrait, node):
    """The bundled one unless another is chosen; a connected model counts whatever is chosen."""
    prompt = lab.restoring(lab.put("portrait", portrait), node)
    lab.run(prompt)
    wanted = lab.got("image")
    del prompt["model"], prompt["restore"]["inputs"]["model"]
    run = lab.run(prompt)
    np.testing.assert_array_equal(lab.got("image"), wanted)
    assert run.report["model"] == BUNDLED


def test_a_chosen_file_that_is_gone_is_named_before_anything_runs(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait), restorer="gone.pth")
    lab.run(prompt)  # a model is connected
    del prompt["model"], prompt["restore"]["inputs"]["model"]
    with pytest.raises(HostError, match=r"gone\.pth.* was not found"):
        lab.host.run(prompt)


def test_a_chosen_file_that_changes_is_read_again(lab, portrait):
    """An upscaler of the same name, for twice and for four times the size."""
    folder = lab.host.base / "models" / "upscale_models"
    folder.mkdir(exist_ok=True)
    prompt = lab.restoring(
        lab.put("crop", portrait[:, :64, :64]), "SlimFusionRestoreImage", restorer="again.safetensors"
    )
    del prompt["model"], prompt["restore"]["inputs"]["model"]
    for scale in (2, 4):
        save_upscaler(folder / "again.safetensors", scale=scale)
        lab.run(prompt)
        assert lab.got("image").shape == (1, 64 * scale, 64 * scale, 3)


def test_nothing_is_written_into_the_packs_folder(lab, portrait):
    before = pack_files()
    lab.run(lab.restoring(lab.put("portrait", portrait), strength=0.75))
    assert pack_files() == before
