"""`slimfusion swap`: a person's face into pictures, from the shell."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from slimfusion import __version__, cli
from slimfusion.bench.portraits import astronaut
from slimfusion.engines.cache import SESSIONS
from slimfusion.faces.identity.identity import Identity, save_identity
from slimfusion.faces.pictures.files import read_picture, write_picture


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A picture with one face, the same in other colours and mirrored, and one without any."""
    place = tmp_path_factory.mktemp("pictures")
    face = torch.from_numpy(astronaut()[:320, 64:384].copy()).float()
    write_picture(place / "source.png", face, np.dtype(np.uint8))
    (place / "in").mkdir()
    write_picture(place / "in" / "a.png", (face.flip(1) * 0.7).contiguous(), np.dtype(np.uint8))
    write_picture(place / "in" / "b.png", torch.full((80, 80, 3), 0.3), np.dtype(np.uint8))
    return place


def swap(*words) -> int:
    return cli.main(["swap", *map(str, words), "--device", "cpu"])


def test_a_face_goes_into_every_picture_that_has_one(folder, tmp_path, capsys):
    assert swap(folder / "source.png", folder / "in", tmp_path / "out", "--texture", "1", "--shape", "0.5") == 0
    before, after = (read_picture(place / "a.png").pixels for place in (folder / "in", tmp_path / "out"))
    changed = (before != after).any(2)
    assert 0.02 < float(changed.float().mean()) < 0.6 and not changed[-20:].any()
    same = [read_picture(place / "b.png").pixels for place in (folder / "in", tmp_path / "out")]
    assert torch.equal(*same)
    printed = capsys.readouterr()
    assert printed.err == "" and "no face was found" in printed.out and "no model (classic fusion)" in printed.out


def test_strength_0_leaves_the_picture(folder, tmp_path):
    assert swap(folder / "source.png", folder / "in" / "a.png", tmp_path / "a.png", "--strength", "0") == 0
    assert torch.equal(read_picture(tmp_path / "a.png").pixels, read_picture(folder / "in" / "a.png").pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_result_says_that_a_face_was_swapped(folder, tmp_path, capsys, suffix):
    words = folder / "source.png", folder / "in" / "a.png", tmp_path / f"a{suffix}"
    assert swap(*words) == 0
    image = Image.open(words[-1])
    text = image.text["slimfusion"] if suffix == ".png" else image.getexif().get(0x0131, "slimfusion:[]")
    notes = json.loads(text.removeprefix("slimfusion:"))
    said = [(note["tool"], note["done"], note["model"]) for note in notes]
    expected = (f"SlimFusion {__version__}", "faces swapped", "no model (classic fusion)")
    assert said == ([] if suffix == ".bmp" else [expected])
    assert (".bmp files hold no note" in capsys.readouterr().out) == (suffix == ".bmp")


def test_no_note_where_none_is_wanted_or_nothing_was_done(folder, tmp_path):
    assert swap(folder / "source.png", folder / "in", tmp_path / "out") == 0
    assert "slimfusion" not in Image.open(tmp_path / "out" / "b.png").text
    assert swap(folder / "source.png", folder / "in" / "a.png", tmp_path / "a.png", "--no-provenance") == 0
    assert "slimfusion" not in Image.open(tmp_path / "a.png").text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["in/b.png", "in/a.png", "out.png"], "There is no face in the source picture of A"),
        (["none.png", "in/a.png", "out.png"], "none.png cannot be read"),
        (["source.png", "in/a.png", "out.png", "--model", "inswapper.onnx"], "'inswapper.onnx' was not found"),
        (["source.png", "in/a.png", "out.png", "--people", "0:C"], "There is no person 'C'"),
        (["who.safetensors", "in/a.png", "out.png"], "is an identity without a picture"),
        (["source.png", "in/a.png", "out.png", "--strength", "7"], "The strength must be between 0 and 1"),
        (["source.png", "in", "out.png"], "looks like one picture"),
    ],
)
def test_what_cannot_be_is_one_line(folder, tmp_path, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(folder)
    if words[0] == "who.safetensors":
        save_identity(Identity("Who", np.ones(512, np.float32)), folder / "who.safetensors")
    assert swap(*words) == cli.NOTHING_DONE
    text = capsys.readouterr().err
    assert text.startswith("slimfusion: ") and text.count("\n") == 1 and sentence in text
    assert not (folder / "out.png").exists()


def test_further_people_are_named_by_letters(folder, tmp_path):
    words = "--and", folder / "source.png", "--people", "0:B"
    assert swap(folder / "source.png", folder / "in" / "a.png", tmp_path / "a.png", *words) == 0
    assert not torch.equal(read_picture(tmp_path / "a.png").pixels, read_picture(folder / "in" / "a.png").pixels)
