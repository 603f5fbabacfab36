"""Bad input inside the host: one sentence that the user can act on, and nothing left behind."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from slimfusion.bench.host_driver import HostError
from slimfusion.catalog.files import BUNDLED_FILE
from slimfusion.engines.torch.weights_file import metadata

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
    for file in folder.iterdir():
        file.unlink()
    lab.free()


def still_works(lab, portrait) -> None:
    """One more prompt, which ends only if the host's worker is alive. Its model is read anew, so that it runs."""
    lab.run(lab.restoring(lab.put("portrait", portrait), fidelity=np.random.default_rng().uniform()))


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
    still_works(lab, portrait)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps names in Unicode")
@pytest.mark.parametrize("good", [True, False])
def test_a_model_whose_name_is_no_utf8_is_opened_or_named(lab, models, portrait, good):
    """As archives from China unpack elsewhere: the name is in GBK."""
    file = os.fsdecode(b"\xc4\xd0\xce\xc4.safetensors")
    (models / file).write_bytes(BUNDLED_FILE.read_bytes() if good else b"noise")
    prompt = lab.restoring(lab.put("portrait", portrait))
    prompt["model"] = lab.node("SlimFusionLoadModel", model=file)
    if good:
        run = lab.run(prompt)
        assert r"\xc4\xd0" in json.dumps(run.report, ensure_ascii=False).replace("\\\\", "\\")
    else:
        error = lab.failed(prompt)
        assert "damaged" in error and r"\xc4\xd0\xce\xc4.safetensors" in error
    still_works(lab, portrait)


@pytest.mark.parametrize(
    "model", ["../outside.safetensors", "/outside.safetensors", "\udcc4.pth", "absent.pth", "pipe.pth"]
)
def test_models_that_are_not_in_the_list_are_refused_before_anything_runs(lab, models, portrait, model):
    """By the API: the page offers none of these."""
    outside = models.parent / "outside.safetensors"
    outside.write_bytes(BUNDLED_FILE.read_bytes())
    if hasattr(os, "mkfifo"):
        os.mkfifo(models / "pipe.pth")
    prompt = lab.restoring(lab.put("portrait", portrait))
    chosen = str(outside) if model.startswith("/") else model
    prompt["model"] = lab.node("SlimFusionLoadModel", model=chosen)
    try:
        with pytest.raises(HostError, match="answered with 400"):
            lab.host.run(prompt)
    finally:
        outside.unlink()
    still_works(lab, portrait)


@pytest.mark.parametrize("name", ["\udcc4\udcd0", "../../escaped", "CON", "名" * 100])
def test_identities_of_no_such_name_are_refused(lab, portrait, name):
    prompt = {
        "load": lab.node("SlimFusionLoadIdentity", name=name),
        "save": lab.node("SlimFusionSaveIdentity", identity=["load", 0], name=name),
    }
    with pytest.raises(HostError, match="answered with 400"):
        lab.host.run(prompt)
    still_works(lab, portrait)


def test_a_model_that_was_replaced_between_two_prompts_is_loaded_anew(lab, models, portrait):
    file = models / "replaced.safetensors"
    file.write_bytes(BUNDLED_FILE.read_bytes())
    prompt = lab.restoring(lab.put("portrait", portrait))
    prompt["model"] = lab.node("SlimFusionLoadModel", model=file.name)
    lab.run(prompt)
    first = lab.got("image")
    weights = load_file(file)
    save_file({name: value * 0.5 for name, value in weights.items()}, file, metadata(BUNDLED_FILE))
    lab.run(prompt)
    assert not np.array_equal(lab.got("image"), first)
    file.write_bytes(b"noise")
    assert "damaged" in lab.failed(prompt)
    still_works(lab, portrait)


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
