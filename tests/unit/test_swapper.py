"""Each swapper as its card says, against another reading of its makers' programs in plain numpy; boost as one batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.bench.faces.swap_reading import (
    FRAME,
    LIMIT,
    READING,
    SOURCE_FACE,
    TARGET,
    VECTOR,
    difference,
    our_source,
    our_swapper,
    save_twins,
    template,
)
from slimfusion.bench.faces.swap_twins import emap, infer_with, runtime
from slimfusion.catalog.cards import CARDS
from slimfusion.catalog.known import KNOWN
from slimfusion.catalog.signatures import Signature, recognised
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.faces.face import Face
from slimfusion.faces.masks.soft import crop_mask
from slimfusion.faces.paste import Canvas
from slimfusion.faces.swap import boost
from slimfusion.faces.swap.swap import swapped_crops
from slimfusion.faces.swap.swapper import Swapper, identity_input, matrix_in


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    return save_twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture(scope="module")
def converter(twins):
    return runtime(twins["converter"])


def test_every_swapper_is_read():
    assert set(READING) == {name for name, card in CARDS.items() if card.kind == "swapper"}


@pytest.mark.parametrize("name", READING)
def test_a_swapper_is_used_as_the_notes_say(twins, name):
    assert difference(name, twins) < LIMIT


def test_the_mask_of_hyperswap_limits_what_is_pasted(twins, converter):
    """The face lies in the frame pixel on pixel: out = frame (1 - m) + result m, to the bit almost."""
    swapper, session = our_swapper(twins["hyperswap"], "hyperswap"), runtime(twins["hyperswap"])
    points = template("arcface_128", 256) + np.array([20, 30])
    face = Face(0, np.array([60, 60, 200, 260], np.float32), points.astype(np.float32), 0.9)
    frame = torch.rand(1, 320, 330, 3, generator=torch.Generator().manual_seed(4))
    source = our_source(swapper, converter)
    (found,) = swapped_crops(frame, [(face, 0)], [source], swapper, infer_with(session))
    result = frame[0].numpy().copy()
    Canvas(result).paste(found[2], found[1], found[3])

    crop = frame[0, 30:286, 20:276].numpy()
    target = (crop.transpose(2, 0, 1) - 0.5) / 0.5
    picture, mask = session.run(None, {"target": target[None], "source": source.numpy()[None]})
    m = np.minimum(crop_mask(256), mask[0, 0])[..., None]
    expected = frame[0].numpy().copy()
    expected[30:286, 20:276] = crop * (1 - m) + (picture[0].transpose(1, 2, 0) * 0.5 + 0.5) * m
    assert m.max() < 0.8 and np.abs(result - expected).max() < LIMIT


def test_facefusions_inswapper_takes_the_projection_as_it_comes(twins):
    swapper = our_swapper(twins["inswapper_facefusion"], "inswapper_facefusion")
    expected = VECTOR @ emap() / np.linalg.norm(VECTOR)
    assert np.abs(identity_input(swapper, VECTOR).numpy() - expected).max() < LIMIT
    assert {file.sha256 for file in KNOWN if file.card is swapper.card} == {
        "a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7",
        "c4eccca86ad177586c85c28bf1a64a9d9ed237e283a15818d831f7facfd3f420",
    }


def test_an_inswapper_of_unknown_content_is_taken_for_insightfaces():
    picture, vector = ("target", "float32", (1, 3, 128, 128)), ("source", "float32", (1, 512))
    found = recognised(Signature((picture, vector), (("output", *picture[1:]),)))
    assert found.card is CARDS["inswapper"] and found.card.identity == "projected unit"


def test_the_matrix_is_read_alone_and_kept(twins, monkeypatch):
    path = twins["inswapper"]
    stat = path.stat()
    first = matrix_in(path, stat.st_mtime_ns, stat.st_size)
    assert np.array_equal(first, emap())
    monkeypatch.setattr("slimfusion.faces.swap.swapper.onnx_file.read", lambda path: pytest.fail("read again"))
    assert matrix_in(path, stat.st_mtime_ns, stat.st_size) is first


def test_a_file_without_its_matrix_is_refused():
    with pytest.raises(ModelFileError, match="512 x 512 numbers"):
        Swapper(CARDS["inswapper"], np.zeros((3, 3), np.float32))


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
def test_a_boosted_face_in_one_batch_equals_its_samples_one_by_one(twins, converter, factor):
    swapper, session = our_swapper(twins["inswapper"], "inswapper"), runtime(twins["inswapper"])
    source = our_source(swapper, converter)
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
    assert boost.factor_for(size, wanted) == factor


@pytest.mark.parametrize("wanted", [-1, 1025])
def test_another_boost_is_refused(wanted):
    with pytest.raises(SettingError, match="pixel boost must be between 0 and 1024 px"):
        boost.factor_for(128, wanted)
