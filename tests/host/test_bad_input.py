"""Bad input inside the host: one sentence that the user can act on, and nothing left behind."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from slimfusion.catalog.files import BUNDLED_FILE

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]


class RunsCode:
    """Pickled, it makes a file where it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def lay_truncated(folder: Path) -> None:
    whole = BUNDLED_FILE.read_bytes()
    (folder / "bad.safetensors").write_bytes(whole[: len(whole) // 2])


def lay_web_page(folder: Path) -> None:
    (folder / "bad.pth").write_text("<!DOCTYPE html><title>404</title>")


def lay_code(folder: Path) -> None:
    (folder / "bad.pth").write_bytes(pickle.dumps({"params": RunsCode(folder / "ran")}, protocol=2))


def lay_unknown(folder: Path) -> None:
    save_file({"encoder.weight": torch.zeros(3, 3), "decoder.weight": torch.ones(3, 3)}, folder / "bad.safetensors")


@pytest.fixture
def models(lab):
    """The folder where users put face restorers, empty again afterwards."""
    folder = lab.host.base / "models" / "facerestore_models"
    folder.mkdir(exist_ok=True)
    yield folder
    for file in folder.glob("bad.*"):
        file.unlink()


@pytest.mark.parametrize(
    ("lay", "file", "sentence"),
    [
        (lay_truncated, "bad.safetensors", "damaged"),
        (lay_web_page, "bad.pth", "damaged or not a model file"),
        (lay_code, "bad.pth", "contains Python code"),
        (lay_unknown, "bad.safetensors", "architecture"),
    ],
)
def test_a_bad_model_file_is_named_and_not_run(lab, models, portrait, lay, file, sentence):
    before = lab.loaded()
    lay(models)
    prompt = lab.restoring(lab.put("portrait", portrait))
    prompt["model"] = lab.node("SlimFusionLoadModel", model=file)
    error = lab.failed(prompt)
    assert "ModelFileError" in error and file in error and sentence in error
    assert not (models / "ran").exists()
    assert lab.loaded() == before


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((0, 64, 64, 3), "no picture in this batch"), ((1, 64, 64, 2), "1, 3 or 4 channels, this one 2")],
)
@pytest.mark.parametrize("node", ["SlimFusionRestoreFaces", "SlimFusionRestoreImage"])
def test_a_picture_of_no_use_is_described(lab, shape, sentence, node):
    error = lab.failed(lab.restoring(lab.put("bad", np.zeros(shape, np.float32)), node))
    assert "ImageError" in error and sentence in error


@pytest.mark.parametrize("node", ["SlimFusionRestoreFaces", "SlimFusionRestoreImage"])
def test_one_pixel_comes_back_as_one_pixel(lab, node):
    pixel = np.full((1, 1, 1, 3), 0.25, np.float32)
    lab.run(lab.restoring(lab.put("pixel", pixel), node))
    assert lab.got("image").shape == pixel.shape


def test_pixels_that_are_no_numbers_hurt_only_themselves(lab, portrait):
    broken = portrait.copy()
    broken[0, 400:410, 20:30] = np.nan
    lab.run(lab.restoring(lab.put("broken", broken)))
    outside = lab.got("mask") == 0
    np.testing.assert_array_equal(lab.got("image")[outside], broken[outside])
    assert np.isfinite(lab.got("image")[lab.got("mask") > 0]).all()


def test_a_budget_too_small_names_the_bytes_needed_and_given(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait), budget=["guard", 0])
    prompt["guard"] = lab.node("SlimFusionMemoryGuard", budget_gib=0.001, on_low_memory="fail")
    before = lab.loaded()
    error = lab.failed(prompt)
    assert "BudgetError" in error
    assert error.count("MiB") >= 2
    after = lab.loaded()
    assert (after["host"], after["sessions"]) == (before["host"], before["sessions"])


def test_faces_of_another_picture_are_refused(lab, portrait):
    prompt = lab.restoring(lab.put("portrait", portrait), faces=["faces", 0])
    prompt["other"] = lab.node("ProbeIn", file=lab.put("other", portrait[:, :200]))
    prompt["faces"] = lab.node("SlimFusionDetectFaces", image=["other", 0])
    error = lab.failed(prompt)
    assert "FacesError" in error and "512 x 512" in error and "512 x 200" in error
