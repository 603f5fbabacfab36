"""Identities: combined by direction, kept as ReActor keeps them, refused where they cannot be compared."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from slimfusion.errors import FacesError, ModelFileError, OutputError, SettingError
from slimfusion.faces.face import Face
from slimfusion.faces.identity.identity import (
    Identity,
    alike,
    combined,
    identity_from_faces,
    identity_path,
    load_identity,
    save_identity,
    saved_identities,
    saved_identity,
)

REACTOR_KEYS = {
    "bbox", "kps", "det_score", "landmark_3d_68", "pose", "landmark_2d_106", "embedding", "gender", "age",
}  # fmt: skip


def vector(seed, length=20.0):
    v = np.random.default_rng(seed).standard_normal(512)
    return (v / np.linalg.norm(v) * length).astype(np.float32)


def somebody(seed=0, **changes):
    return Identity(f"person {seed}", vector(seed), **changes)


def face(seed, **known):
    box, points = np.array([1, 2, 30, 40], np.float32), np.ones((5, 2), np.float32)
    return Face(0, box, points, 0.75, embedding=vector(seed), **known)


def reactor_file(path, embedding):
    """A face model as ReActor writes it: the same tensors in the same types."""
    save_file(
        {
            "bbox": torch.tensor([1.0, 2.0, 3.0, 4.0]),
            "kps": torch.rand(5, 2),
            "det_score": torch.tensor(0.9),
            "landmark_3d_68": torch.rand(68, 3),
            "pose": torch.tensor([1.0, 2.0, 3.0]),
            "landmark_2d_106": torch.rand(106, 2),
            "embedding": torch.tensor(embedding),
            "gender": torch.tensor(1),
            "age": torch.tensor(33),
        },
        path,
    )
    return path


def test_a_face_model_of_reactor_comes_back_tensor_by_tensor(tmp_path):
    theirs = reactor_file(tmp_path / "Anna.safetensors", vector(3))
    identity = load_identity(theirs)
    assert (identity.name, identity.recogniser, identity.count) == ("Anna", "arcface", 1)
    assert np.array_equal(identity.embedding, vector(3))
    ours = tmp_path / "copy.safetensors"
    save_identity(identity, ours)
    with safe_open(theirs, framework="pt") as a, safe_open(ours, framework="pt") as b:
        assert set(a.keys()) == set(b.keys()) == REACTOR_KEYS
        for name in REACTOR_KEYS:
            assert a.get_tensor(name).dtype == b.get_tensor(name).dtype
            assert torch.equal(a.get_tensor(name), b.get_tensor(name))


def test_what_is_made_here_has_all_that_reactor_reads(tmp_path):
    identity = identity_from_faces("Bea", [face(1, gender="male", age=(20, 29))])
    save_identity(identity, tmp_path / "sub" / "bea.safetensors")
    with safe_open(tmp_path / "sub" / "bea.safetensors", framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert set(found) == REACTOR_KEYS
    assert found["kps"].shape == (5, 2) and found["landmark_2d_106"].shape == (106, 2)
    assert (int(found["gender"]), int(found["age"]), float(found["det_score"])) == (1, 24, 0.75)
    again = load_identity(tmp_path / "sub" / "bea.safetensors")
    assert (again.name, again.count) == ("Bea", 1)
    assert np.array_equal(again.embedding, identity.embedding)


def test_name_recogniser_and_count_are_kept(tmp_path):
    identity = replace(combined("Zwei, größer", [somebody(1), somebody(2)]), recogniser="ghost_arcface")
    save_identity(identity, tmp_path / "x.safetensors")
    again = load_identity(tmp_path / "x.safetensors")
    assert (again.name, again.recogniser, again.count) == ("Zwei, größer", "ghost_arcface", 2)


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_the_mean_lies_between_whatever_their_lengths(first, second):
    a, b = Identity("a", vector(1, first)), Identity("b", vector(2, second))
    middle = combined("m", [a, b])
    assert alike(middle, a) == pytest.approx(alike(middle, b), abs=1e-4)
    assert np.linalg.norm(middle.embedding) == pytest.approx((first + second) / 2, rel=1e-4)
    assert alike(middle, a) > 0.6


def test_weights_move_the_blend_and_nothing_else():
    a, b = somebody(1), somebody(2)
    assert np.allclose(combined("m", [a, b], weights=[3, 0]).embedding, a.embedding, atol=1e-5)
    assert combined("m", [a, b], weights=[3, 0]).count == 1
    assert alike(combined("m", [a, b], weights=[3, 1]), a) > alike(combined("m", [a, b]), a)


def test_a_median_forgets_the_one_that_does_not_belong():
    same = [Identity("s", vector(1) + 0.2 * vector(seed)) for seed in range(10, 14)]
    wrong = [*same, somebody(99)]
    assert alike(combined("m", wrong, "median"), same[0]) > alike(combined("m", wrong, "mean"), same[0])


def test_likeness_is_the_cosine():
    a = somebody(1)
    assert alike(a, a) == pytest.approx(1)
    assert alike(a, Identity("b", -2 * a.embedding)) == pytest.approx(-1)
    assert abs(alike(a, somebody(2))) < 0.2
    assert np.linalg.norm(a.unit) == pytest.approx(1, abs=1e-6)


def test_another_dimension_is_refused(tmp_path):
    with pytest.raises(FacesError, match=r"\(128,\).*512 numbers"):
        load_identity(reactor_file(tmp_path / "small.safetensors", np.ones(128, np.float32)))
    for bad in (np.zeros(512, np.float32), np.full(512, np.nan, np.float32)):
        with pytest.raises(FacesError, match="not numbers"):
            Identity("x", bad)


def test_another_recogniser_is_refused():
    other = somebody(2, recogniser="ghost_arcface")
    for refused in (lambda: alike(somebody(1), other), lambda: combined("m", [somebody(1), other])):
        with pytest.raises(FacesError, match=r"ghost_arcface.*arcface is in use"):
            refused()


def test_no_face_and_faces_nobody_looked_at():
    with pytest.raises(FacesError, match="no face"):
        identity_from_faces("x", [])
    with pytest.raises(FacesError, match="Run a recogniser"):
        identity_from_faces("x", [replace(face(1), embedding=None)])
    assert identity_from_faces("x", [face(1), face(2)], "median").count == 2


@pytest.mark.parametrize("weights", [[1], [-1, 2], [0, 0], [float("nan"), 1]])
def test_weights_that_cannot_be_used(weights):
    with pytest.raises(SettingError, match="Weights"):
        combined("m", [somebody(1), somebody(2)], weights=weights)


def test_opposites_cannot_be_blended():
    with pytest.raises(FacesError, match="cancel"):
        combined("m", [somebody(1), Identity("b", -somebody(1).embedding)])


def test_files_that_are_none(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        load_identity(tmp_path / "absent.safetensors")
    (tmp_path / "half.safetensors").write_bytes(b"\x40\0\0\0")
    with pytest.raises(ModelFileError, match=r"half\.safetensors \(4 bytes\) is damaged"):
        load_identity(tmp_path / "half.safetensors")
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "net.safetensors")
    with pytest.raises(ModelFileError, match=r"holds conv\.weight, but no embedding"):
        load_identity(tmp_path / "net.safetensors")


def test_saving_where_it_cannot_be(tmp_path):
    save_identity(somebody(1), tmp_path / "a.safetensors")
    with pytest.raises(OutputError, match="exists"):
        save_identity(somebody(2), tmp_path / "a.safetensors")
    save_identity(somebody(2), tmp_path / "a.safetensors", overwrite=True)
    assert np.array_equal(load_identity(tmp_path / "a.safetensors").embedding, vector(2))
    with pytest.raises(OutputError, match="kept as"):
        save_identity(somebody(1), tmp_path / "a.pth")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_identity(somebody(1), tmp_path / "file" / "a.safetensors")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "file"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        *((name, "name of a file") for name in ("", "  ", "../up", "a/b", "a\\b", "C:x", ".hidden", "a\0b")),
        *((name, "device on Windows") for name in ("CON", "nul", "Aux.b", "com1", "LPT³", "con .x")),
        *((name, "cannot be shown") for name in ("\udcc4", "a\u202eb", "a\x7fb", "a\u2028b")),
        ("x" * 201, "201 bytes long"),
        ("名" * 100, "300 bytes long"),
    ],
)
def test_a_name_that_cannot_be_a_files_is_refused(tmp_path, name, sentence):
    with pytest.raises(SettingError, match=sentence) as refusal:
        identity_path(name, tmp_path)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["名" * 66, "x" * 200, "Conny", "com"])
def test_the_longest_names_can_be_written(tmp_path, name):
    path = identity_path(name, tmp_path)
    save_identity(somebody(1), path)
    assert saved_identities([tmp_path]) == {name: path}


def test_only_identities_in_the_folders_are_loaded_by_name(tmp_path):
    folder = tmp_path / "faces"
    save_identity(somebody(1), tmp_path / "secret.safetensors")
    save_identity(somebody(2), folder / "Anna.safetensors")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    (folder / "folder.safetensors").mkdir()
    assert list(saved_identities([folder, tmp_path / "absent"])) == ["Anna"]
    assert saved_identity("Anna", [folder]) == folder / "Anna.safetensors"
    for name in ("../secret", str(tmp_path / "secret"), "loop", "folder", "*", "", "\udcc4"):
        with pytest.raises(ModelFileError, match="does not exist"):
            saved_identity(name, [folder])


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16])
def test_vectors_in_narrow_types_are_read(tmp_path, dtype):
    stored = torch.from_numpy(vector(1)).to(dtype)
    save_file({"embedding": stored}, tmp_path / "narrow.safetensors")
    assert np.array_equal(load_identity(tmp_path / "narrow.safetensors").embedding, stored.float().numpy())


@pytest.mark.parametrize("length", [1e-30, 1e-5, 1e5, 1e30])
def test_vectors_of_lengths_that_no_recogniser_gives_are_refused(tmp_path, length):
    save_file({"embedding": torch.from_numpy(vector(1, length))}, tmp_path / "odd.safetensors")
    with pytest.raises(FacesError, match="which no recogniser gives"):
        load_identity(tmp_path / "odd.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_a_pipe_is_no_identity(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelFileError, match="is a pipe"):
        load_identity(tmp_path / "pipe.safetensors")


def test_a_name_with_spaces_and_umlauts_is_a_name(tmp_path):
    assert identity_path(" Zoë B. ", tmp_path) == tmp_path / "Zoë B..safetensors"
