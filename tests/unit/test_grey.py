"""A picture without colour is restored without colour."""

import tracemalloc

import numpy as np
import pytest
import skimage.data
import torch
from networks import Around, WrappedModel, face_model
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.distill.degrade import degrade, severity
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Options
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.faces.pictures.grey import is_grey, remove_colour, without_colour
from slimfusion.faces.restore import Restoring, restore_faces, restore_image
from slimfusion.models.torch_model import torch_model

HOST, FULL = StandaloneHost("cpu"), MemoryBudget(mode="quality")
SHARP = Options(fidelity=0.0)


def damaged_in_grey() -> torch.Tensor:
    colour = skimage.data.astronaut()[0:256, 96:352].astype(np.float32) / 255
    return torch.from_numpy(without_colour(degrade(without_colour(colour), severity("medium"), 1)))[None]


def test_only_three_equal_channels_are_grey():
    picture = np.full((600, 5, 3), 0.25, np.float32)
    assert is_grey(picture)
    picture[599, 4, 2] += 1e-3
    assert not is_grey(picture)


def test_luma_keeps_what_is_grey_and_weighs_what_is_not():
    assert np.allclose(without_colour(np.full((2, 2, 3), 0.7, np.float32)), 0.7, atol=1e-6)
    green = np.zeros((1, 1, 3), np.float32)
    green[..., 1] = 1
    assert np.allclose(without_colour(green), 0.587)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_goes_where_it_is_asked_for_and_nothing_else_changes(channels):
    before = np.random.default_rng(1).random((700, 900, channels), np.float32)
    where = np.zeros(before.shape[:2], np.float32)
    where[100:650, 3:] = 0.5
    after = before.copy()
    remove_colour(after, where)
    assert is_grey(after[where > 0][None, :, :3])
    assert np.array_equal(after[where == 0], before[where == 0])
    assert np.array_equal(after[..., 3:], before[..., 3:])
    remove_colour(after)
    assert np.allclose(after[..., :3], without_colour(before[..., :3]), atol=1e-6)


def test_colour_is_removed_from_a_large_picture_with_little_beside_it():
    picture = np.full((1200, 6000, 4), 0.25, np.float32)
    painted = np.ones(picture.shape[:2], np.float32)
    tracemalloc.start()
    try:
        assert is_grey(picture[..., :3])
        remove_colour(picture, painted)
        remove_colour(picture)
        assert tracemalloc.get_traced_memory()[1] < picture.nbytes / 10
    finally:
        tracemalloc.stop()


def test_a_grey_picture_gets_no_colour_at_the_sharpest():
    frames = damaged_in_grey()
    network = torch_model(BUNDLED_FILE, BUNDLED)
    faces = restore_faces(frames, network, FULL, HOST, Restoring(options=SHARP))
    assert faces.mask.max() == 1, "no face was restored"
    whole, _ = restore_image(frames, network, FULL, HOST, SHARP)
    for restored in (faces.frames[0], whole[0]):
        assert is_grey(restored.numpy())
        assert not torch.equal(restored, frames[0])


def test_a_face_network_that_paints_gives_no_colour_either():
    frames = damaged_in_grey()
    red = torch.tensor([0.1, 0.0, 0.0]).view(1, 3, 1, 1)

    class Painting(Around):
        def run(self, inputs, fidelity):
            return (self.network.run(inputs, fidelity)[0] + red,)

    painting = WrappedModel(face_model("painting"), Painting)
    restored = restore_faces(frames, painting, FULL, HOST)
    assert restored.mask.max() == 1 and is_grey(restored.frames[0].numpy())
    coloured = frames * torch.tensor([1.0, 0.99, 1.0])
    assert not is_grey(restore_faces(coloured, painting, FULL, HOST).frames[0].numpy())
