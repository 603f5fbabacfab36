"""Gender and age: the crop that a network is shown, and what its numbers mean."""

import numpy as np
import pytest
import torch
from slimfusion.catalog.cards import CARDS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.errors import ModelFileError
from slimfusion.faces.align import template_points
from slimfusion.faces.face import Face
from slimfusion.faces.identity.attributes import (
    add_attributes,
    decoded_fairface,
    decoded_genderage,
    with_attributes,
)
from slimfusion.faces.identity.library import ModelLibrary

POINTS = (template_points("arcface_112_v2", 224) + np.array([50, 40])).astype(np.float32)
FACE = Face(1, np.array([90, 60, 218, 188], np.float32), POINTS, 0.9)


@pytest.mark.parametrize(
    "values, gender, years",
    [([0.9, 0.1, 0.31], "female", 31), ([-1, 2, 0.047], "male", 5), ([1, 0, -0.1], "female", 0)],
)
def test_genderage(values, gender, years):
    assert decoded_genderage((torch.tensor(values),)) == (gender, (years, years))


@pytest.mark.parametrize("gender, age, meaning", [(0, 3, ("male", (20, 29))), (1, 8, ("female", (70, 100)))])
def test_fairface_gives_race_first(gender, age, meaning):
    outputs = tuple(torch.tensor(value) for value in (5, gender, age))
    assert decoded_fairface(outputs) == meaning
    assert decoded_fairface(tuple(each.reshape(1) for each in outputs)) == meaning


def test_numbers_that_mean_nothing_are_refused():
    with pytest.raises(ModelFileError, match="three numbers"):
        decoded_genderage((torch.zeros(4),))
    with pytest.raises(ModelFileError, match="race, gender and age"):
        decoded_fairface((torch.zeros(3),))
    with pytest.raises(ModelFileError, match="age 9"):
        decoded_fairface((torch.tensor(0), torch.tensor(0), torch.tensor(9)))


def seen(name: str, frames: torch.Tensor, answer) -> tuple[Face, np.ndarray]:
    pictures = []

    def infer(items):
        for (picture,) in items:
            pictures.append(picture.numpy())
            yield answer

    (known,) = with_attributes(frames, [FACE], CARDS[name], infer)
    return known, pictures[0].transpose(1, 2, 0)


def test_genderage_sees_the_box_one_and_a_half_times_as_large_in_0_to_255():
    frames = torch.zeros(2, 300, 300, 3)
    frames[1, 60:188, 90:218] = torch.tensor([1.0, 0.5, 0.0])
    known, picture = seen("genderage", frames, (torch.tensor([0.0, 1.0, 0.5]),))
    assert (known.gender, known.age, known.landmarks) == ("male", (50, 50), FACE.landmarks)
    inside = picture[:, :, 0] > 127
    assert picture.shape == (96, 96, 3) and inside.sum() == 64 * 64 and inside[16:80, 16:80].all()
    assert np.abs(picture[48, 48] - [255, 127.5, 0]).max() < 1e-3


def test_fairface_sees_the_aligned_face_normalised_as_imagenet():
    frames = torch.rand(2, 300, 300, 3)
    known, picture = seen("fairface", frames, (torch.tensor(0), torch.tensor(1), torch.tensor(2)))
    assert (known.gender, known.age) == ("female", (10, 19))
    back = picture * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    assert np.abs(back - frames[1, 40:264, 50:274].numpy()).max() < 1e-3


def test_without_faces_no_network_is_looked_for():
    def search():
        raise AssertionError

    assert (
        add_attributes(torch.zeros(1, 8, 8, 3), [], ModelLibrary(search, MemoryBudget(), StandaloneHost("cpu"))) == []
    )


def test_without_a_network_it_is_said_which_is_missing():
    library = ModelLibrary(lambda: (), MemoryBudget(), StandaloneHost("cpu"))
    with pytest.raises(ModelFileError, match="attributes"):
        add_attributes(torch.zeros(2, 300, 300, 3), [FACE], library)
