"""Each swapper as its model notes say, against a reading of them in plain numpy; boost as one batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.catalog.families import FAMILIES
from slimfusion.catalog.known import BY_HASH
from slimfusion.catalog.swappers import wants_length_1
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.faces import boost, paste
from slimfusion.faces.face import Face
from slimfusion.faces.masks import crop_mask
from slimfusion.faces.swap import matrix_in, swapped_crops
from slimfusion.faces.swapper import Swapper, affine_for, identity_input, picture_input
from swap_twins import emap, infer_with, runtime, save_converter, save_swapper

LIMIT = 1e-4
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5,) * 3, (0.5,) * 3
NONE = (0.0,) * 3, (1.0,) * 3
POINTS = {
    "arcface_128": "36167656 40387734 63696719 40235469 50019687 56044219 38710391 72160547 61507734 72034453",
    "arcface_112_v1": "35473214 45658929 64526786 45658929 50000000 61154464 37913393 77687500 62086607 77687500",
    "mtcnn_512": "36562865 46733799 63305391 46585885 50019127 61942959 39032951 77598822 61178945 77476328",
    "ffhq_512": "37691676 46864664 62285697 46912813 50123859 61331904 39308822 72541100 61150205 72490465",
    "arcface_112_v2": "34191607 46157411 65653393 45983393 50022500 64050536 37097589 82469196 63151696 82325089",
}
# family: side, template, (mean, std), identity, whether the result goes back through mean and std
READING = {
    "inswapper": (128, "arcface_128", NONE, "projected", False),
    "reswapper_256": (256, "arcface_128", NONE, "projected", False),
    "hyperswap": (256, "arcface_128", HALF, "unit", True),
    "simswap_256": (256, "arcface_112_v1", IMAGENET, "converted unit", False),
    "simswap_512": (512, "arcface_112_v1", NONE, "converted unit", False),
    "ghost": (256, "arcface_112_v1", HALF, "converted", True),
    "hififace": (256, "mtcnn_512", HALF, "converted unit", True),
    "uniface": (256, "ffhq_512", HALF, "picture 256 ffhq_512", True),
    "blendswap": (256, "ffhq_512", NONE, "picture 112 arcface_112_v2", False),
    "alphaface": (256, "arcface_128", NONE, "raw", False),
}

VECTOR = np.random.default_rng(2).normal(0, 1.3, 512).astype(np.float32)


def ramps(height: int, width: int) -> np.ndarray:
    """(height, width, 3): even slopes, which OpenCV's 32nds of a pixel move by less than the limit here."""
    y, x = np.mgrid[:height, :width] / 400
    return np.stack([x, y, 0.9 - (x + y) / 2], -1).astype(np.float32)


FRAME = torch.from_numpy(ramps(200, 220))[None]
SOURCE = ramps(180, 200)


def template(name: str, side: int) -> np.ndarray:
    return np.array([int(each) / 1e8 for each in POINTS[name].split()]).reshape(5, 2) * side


def face_in(picture_side: float, x: float, y: float, turn: float = 0.2) -> Face:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (template("ffhq_512", 1) - 0.5) @ rotation.T * picture_side + (x, y)
    points += np.random.default_rng(9).normal(0, 0.8, (5, 2))
    return Face(0, np.array([x - 60, y - 60, x + 60, y + 60], np.float32), points.astype(np.float32), 0.9)


# Larger than any crop, so that none is shrunk: then a crop is plain linear sampling.
TARGET, SOURCE_FACE = face_in(120, 110, 100), face_in(90, 100, 90, -0.1)


def fitted(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Umeyama's similarity by singular values, (2, 3)."""
    a, b = points - points.mean(0), wanted - wanted.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, np.sign(np.linalg.det(u @ v))])
    linear = (s * np.diag(sign)).sum() / (a**2).sum() * u @ sign @ v
    return np.column_stack([linear, wanted.mean(0) - linear @ points.mean(0)])


def sampled(picture: np.ndarray, affine: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3): linear between pixel centres, the edge carried on."""
    linear = np.linalg.inv(affine[:, :2])
    y, x = np.mgrid[:side, :side]
    places = np.stack([x, y], -1) @ linear.T - linear @ affine[:, 2]
    places = places.clip(0, np.array(picture.shape[1::-1]) - 1)
    low = np.minimum(places.astype(int), np.array(picture.shape[1::-1]) - 2)
    dx, dy = np.moveaxis(places - low, -1, 0)[..., None]
    x0, y0 = np.moveaxis(low, -1, 0)
    top = picture[y0, x0] * (1 - dx) + picture[y0, x0 + 1] * dx
    return top * (1 - dy) + (picture[y0 + 1, x0] * (1 - dx) + picture[y0 + 1, x0 + 1] * dx) * dy


def read_identity(kind: str, converter) -> np.ndarray:
    if kind.startswith("picture"):
        _, side, name = kind.split()
        crop = sampled(SOURCE, fitted(SOURCE_FACE.landmarks.astype(float), template(name, int(side))), int(side))
        return crop.transpose(2, 0, 1)
    e = VECTOR.astype(np.float64)
    if kind == "projected":
        latent = e / np.linalg.norm(e) @ emap()
        return latent / np.linalg.norm(latent)
    if kind.startswith("converted"):
        (e,) = converter.run(None, {"input": VECTOR[None]})[0].astype(np.float64)
    return e / np.linalg.norm(e) if kind.endswith("unit") else e


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    files = {name: save_swapper(folder / f"{name}.onnx", FAMILIES[name]) for name in READING}
    return files | {"converter": save_converter(folder / "crossface.onnx")}


def swapper_from(twins, name: str) -> Swapper:
    path = twins[name]
    stat = path.stat()
    return Swapper(FAMILIES[name], matrix_in(path, stat.st_mtime_ns, stat.st_size))


def our_source(twins, swapper: Swapper) -> torch.Tensor:
    if swapper.family.identity == "picture":
        return picture_input(swapper, SOURCE, SOURCE_FACE)
    vector = VECTOR
    if swapper.family.converter:
        (vector,) = runtime(twins["converter"]).run(None, {"input": VECTOR[None]})[0]
    return identity_input(swapper, vector)


def test_every_swapper_is_read():
    assert set(READING) == {name for name, family in FAMILIES.items() if family.kind == "swapper"}


@pytest.mark.parametrize("name", READING)
def test_a_swapper_is_used_as_the_notes_say(twins, name):
    side, crop_template, (mean, std), kind, denormalised = READING[name]
    swapper, session = swapper_from(twins, name), runtime(twins[name])
    offset = 0.5 if name == "reswapper_256" else 0.0
    affine = fitted(TARGET.landmarks.astype(float), template(crop_template, side) + offset)
    crop = sampled(FRAME[0].numpy(), affine, side)
    source = read_identity(kind, runtime(twins["converter"]))
    target = ((crop - mean) / std).transpose(2, 0, 1)
    picture, *masks = session.run(None, {"target": np.float32(target[None]), "source": np.float32(source[None])})
    picture = picture[0].transpose(1, 2, 0)
    picture = (picture * std + mean if denormalised else picture).clip(0, 1)

    ours = our_source(twins, swapper)
    assert np.abs(affine_for(swapper, TARGET) - affine).max() < 1e-4
    assert np.abs(ours.numpy() - source).max() < LIMIT
    (found,) = swapped_crops(FRAME, [(TARGET, 0)], [ours], swapper, infer_with(session))
    assert np.abs(found[4] - crop).max() < LIMIT and np.abs(found[2] - picture).max() < LIMIT
    learned = masks[0][0, 0] if masks else 1.0
    assert np.abs(found[3] - np.minimum(crop_mask(side), learned)).max() < LIMIT


def test_the_mask_of_hyperswap_limits_what_is_pasted(twins):
    """The face lies in the frame pixel on pixel: out = frame (1 - m) + result m, to the bit almost."""
    swapper, session = swapper_from(twins, "hyperswap"), runtime(twins["hyperswap"])
    points = template("arcface_128", 256) + np.array([20, 30])
    face = Face(0, np.array([60, 60, 200, 260], np.float32), points.astype(np.float32), 0.9)
    frame = torch.rand(1, 320, 330, 3, generator=torch.Generator().manual_seed(4))
    source = our_source(twins, swapper)
    (found,) = swapped_crops(frame, [(face, 0)], [source], swapper, infer_with(session))
    result = frame[0].numpy().copy()
    paste.paste(result, found[2], found[1], found[3])

    crop = frame[0, 30:286, 20:276].numpy()
    target = (crop.transpose(2, 0, 1) - 0.5) / 0.5
    picture, mask = session.run(None, {"target": target[None], "source": source.numpy()[None]})
    m = np.minimum(crop_mask(256), mask[0, 0])[..., None]
    expected = frame[0].numpy().copy()
    expected[30:286, 20:276] = crop * (1 - m) + (picture[0].transpose(1, 2, 0) * 0.5 + 0.5) * m
    assert m.max() < 0.8 and np.abs(result - expected).max() < LIMIT


def test_facefusions_inswapper_takes_the_projection_as_it_comes(twins):
    swapper = replace(swapper_from(twins, "inswapper"), to_length_1=False)
    expected = VECTOR @ emap() / np.linalg.norm(VECTOR)
    assert np.abs(identity_input(swapper, VECTOR).numpy() - expected).max() < LIMIT
    assert wants_length_1(None)
    by_length = {sha: wants_length_1(file) for sha, file in BY_HASH.items() if file.family == "inswapper"}
    assert not by_length["a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7"]
    assert by_length["e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af"]


def test_the_matrix_is_read_alone_and_kept(twins, monkeypatch):
    path = twins["inswapper"]
    stat = path.stat()
    first = matrix_in(path, stat.st_mtime_ns, stat.st_size)
    assert np.array_equal(first, emap())
    monkeypatch.setattr("slimfusion.faces.swap.onnx_file.read", lambda path: pytest.fail("read again"))
    assert matrix_in(path, stat.st_mtime_ns, stat.st_size) is first


def test_a_file_without_its_matrix_is_refused():
    with pytest.raises(ModelFileError, match="512 x 512 numbers"):
        Swapper(FAMILIES["inswapper"], np.zeros((3, 3), np.float32))


@given(factor=st.integers(1, 5), side=st.integers(2, 9))
def test_samples_join_to_what_they_were_taken_from(factor, side):
    crop = np.random.default_rng(0).random((factor * side, factor * side, 4)).astype(np.float32)
    parts = boost.samples(crop, factor)
    assert len(parts) == factor**2 and all(part.shape == (side, side, 4) for part in parts)
    assert np.array_equal(boost.joined(parts, factor), crop)


@given(factor=st.integers(1, 8), x=st.floats(0, 127), y=st.floats(0, 127))
def test_the_samples_see_around_what_one_pixel_saw(factor, x, y):
    affine = np.array([[0.7, -0.1, 3.0], [0.1, 0.7, -2.0]])
    once, often = affine @ (x, y, 1), boost.boosted(affine, factor) @ (x, y, 1)
    assert np.abs((often - (factor - 1) / 2) / factor - once).max() < 1e-9


@pytest.mark.parametrize("factor", [2, 3])
def test_a_boosted_face_in_one_batch_equals_its_samples_one_by_one(twins, factor):
    swapper, session = swapper_from(twins, "inswapper"), runtime(twins["inswapper"])
    source = our_source(twins, swapper)
    pairs = [(TARGET, 0), (SOURCE_FACE, 0)]
    single, together = (
        list(swapped_crops(FRAME, pairs, [source], swapper, infer_with(session, batch), factor))
        for batch in (1, factor**2)
    )
    assert len(single) == len(together) == 2
    for one, other in zip(single, together, strict=True):
        assert one[2].shape == (128 * factor, 128 * factor, 3)
        assert np.abs(one[2] - other[2]).max() < 1e-5


@pytest.mark.parametrize(("size", "wanted", "factor"), [(128, 0, 1), (128, 1024, 8), (256, 700, 2), (512, 256, 1)])
def test_the_boost_is_rounded_down_to_whole_samples(size, wanted, factor):
    assert boost.factor_for(size, wanted, 1024) == factor


@pytest.mark.parametrize("wanted", [-1, 1025])
def test_another_boost_is_refused(wanted):
    with pytest.raises(SettingError, match="boost goes from 0 to 1024 px"):
        boost.factor_for(128, wanted, 1024)
