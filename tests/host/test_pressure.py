"""Core's models and our sessions make room for each other when memory seems to run out."""

import numpy as np
import pytest
from networks import save_upscaler

pytestmark = pytest.mark.host

EVERYTHING = 1 << 50


@pytest.fixture
def both(lab, portrait):
    """A prompt in which core's upscale model works first and our restorer after it."""
    folder = lab.host.base / "models" / "upscale_models"
    folder.mkdir(exist_ok=True)
    save_upscaler(folder / "core.safetensors", scale=2)
    prompt = lab.restoring(lab.put("portrait", portrait[:, :96, :96]), "SlimFusionRestoreImage")
    prompt["core"] = lab.node("UpscaleModelLoader", model_name="core.safetensors")
    prompt["larger"] = lab.node("SlimFusionRestoreImage", image=["in", 0], model=["core", 0])
    prompt["restore"]["inputs"]["image"] = ["larger", 0]
    lab.free()
    return prompt


def pressed(lab, needed):
    """What is loaded after something else has asked for so many bytes on a device with none free."""
    lab.host.post("/probe/pressure", {"needed": needed, "free": 0})
    return lab.loaded()


@pytest.mark.parametrize("lab", ["default", "classic"], indirect=True)
def test_a_little_pressure_takes_from_the_smaller_and_leaves_the_other(lab, both):
    """With --cache-none core's model is gone as soon as its node has run, and there is nothing to choose from."""
    lab.run(both)
    assert sorted(lab.loaded()["host"]) == ["ModelPatcher", "SessionPatcher"]
    assert pressed(lab, 1)["sessions"] == lab.loaded()["sessions"] != []


def test_much_pressure_evicts_all_and_the_next_run_brings_them_back(lab, both):
    lab.run(both)
    first = lab.got("image")
    assert lab.loaded()["sessions"]
    held = pressed(lab, EVERYTHING)
    assert held["host"] == held["sessions"] == []
    both["restore"]["inputs"]["overlap"] = 24  # so that the host's cache cannot answer
    lab.run(both)
    assert lab.loaded()["sessions"]
    np.testing.assert_array_equal(lab.got("image"), first)
