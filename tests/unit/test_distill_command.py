"""`slimfusion distill`: a whole small run under a real teacher, interrupted and gone on with; what it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from judges import random_lpips
from networks import save_upscaler
from safetensors.torch import load_file, save_file
from slimfusion import cli
from slimfusion.distill import footprint, perceptual, recipe
from slimfusion.engines.torch.architectures import slim_unet


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "lpips", random_lpips)
    monkeypatch.setattr(recipe.Recipe.__init__, "__defaults__", small_defaults())


def small_defaults() -> tuple[object, ...]:
    """The recipe's own defaults with a network of eight channels."""
    defaults = recipe.Recipe.__init__.__defaults__
    assert defaults is not None
    small = {(48, 96, 160, 256): (8, 8), (1, 1, 1, 1): (1, 1)}
    return tuple(small.get(value, value) if isinstance(value, tuple) else value for value in defaults)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for index in range(5):
        picture = cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (120, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "data" / f"{index}.png"), picture)
    return tmp_path


def run(folder: Path, *more: object) -> int:
    words = ["distill", "--data", folder / "data", "--out", folder / "mine.safetensors", "--patch", 64, "--batch", 2]
    return cli.main([str(word) for word in (*words, *more)])


def test_a_teacher_that_enlarges_teaches_a_network_that_loads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = save_upscaler(folder / "teacher.pth", scale=4)
    (folder / "data" / "torn.jpg").write_bytes(b"not a picture")
    assert run(folder, "--teacher", teacher, "--steps", 2) == 0
    printed = capsys.readouterr()
    assert "torn.jpg cannot be read" in printed.err and "held out, heavy" in printed.out and "LPIPS" in printed.out
    assert slim_unet.load(load_file(folder / "mine.safetensors"), {}).delta is not None
    assert (folder / "mine.run" / "samples.png").exists()


def test_a_joint_run_goes_on_from_weights_and_trains_both_decoders(folder: Path) -> None:
    assert run(folder, "--steps", 1, "--sharp-share", 0) == 0
    start = (folder / "mine.safetensors").rename(folder / "start.safetensors")
    words = ("--joint", "--weave", 0.1, "--start", start, "--checkpoints", folder / "joint", "--seed", 3)
    assert run(folder, "--steps", 8, *words) == 0
    network = slim_unet.load(load_file(folder / "mine.safetensors"), {})
    assert network.delta is not None and any(parameter.any() for parameter in network.delta.parameters())


def test_bad_input_ends_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--steps", 0) == cli.NOTHING_DONE
    assert run(folder, "--steps", 1, "--budget", "1MiB") == cli.NOTHING_DONE
    assert run(folder, "--steps", 1, "--teacher", folder / "none.pth") == cli.NOTHING_DONE
    (folder / "data" / "0.png").unlink()
    (folder / "data" / "1.png").unlink()
    assert run(folder, "--steps", 1) == cli.NOTHING_DONE
    said = capsys.readouterr().err.splitlines()
    assert ["length above 0" in said[0], "MiB: give more" in said[1], "does not exist" in said[2]] == [True] * 3
    assert "holds 3 pictures" in said[3] and len(said) == 4


def test_more_patches_take_more_memory() -> None:
    fixed, each = footprint.training_bytes(recipe.Recipe(steps=1, patch=64), None)
    _, larger = footprint.training_bytes(recipe.Recipe(steps=1, patch=128), None)
    with_faces, same = footprint.training_bytes(recipe.Recipe(steps=1, patch=64, identity=0.1), None)
    assert same == each and with_faces > fixed + 16 * each
    assert fixed > 0 and 3 * each < larger < 5 * each


def test_lines_are_taken_out_of_weights_that_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--even") == 2
    assert "name them with --start" in capsys.readouterr().err
    for path in (folder / "data").glob("*.png"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (420, 420), interpolation=cv2.INTER_CUBIC))
    start = folder / "start.safetensors"
    network = slim_unet.SlimUnet((8, 8), (1, 1))
    network.head.bias.data = torch.randn(network.head.bias.shape)
    save_file(network.state_dict(), start)
    assert run(folder, "--even", "--start", start) == 0
    before = network.head.bias.detach().unflatten(0, (3, 4)).std(1)
    after = load_file(folder / "mine.safetensors")["head.bias"].float().unflatten(0, (3, 4)).std(1)
    assert bool((after < 0.3 * before).all())
