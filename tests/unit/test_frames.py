"""Pictures at the door: what is taken, what it becomes, and what is refused."""

import pytest
import torch
from slimfusion.errors import ImageError
from slimfusion.faces.frames import checked_frames, checked_mask, empty_mask_note


@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_right_already_is_not_copied(channels):
    frames = torch.rand(2, 5, 7, channels)
    assert checked_frames(frames) is frames


@pytest.mark.parametrize(("dtype", "white"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_whole_numbers_become_parts_of_white(dtype, white):
    frames = torch.tensor([0, 1, white]).to(dtype).expand(1, 2, 3, 3)
    result = checked_frames(frames)
    assert result.dtype == torch.float32
    assert torch.equal(result[0, 0, 0], torch.tensor([0, 1 / white, 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(dtype):
    frames = torch.rand(1, 4, 4, 3).to(dtype)
    result = checked_frames(frames)
    assert result.dtype == torch.float32 and torch.equal(result, frames.float())


def test_grey_becomes_rgb():
    frames = torch.rand(2, 4, 5, 1)
    result = checked_frames(frames)
    assert result.shape == (2, 4, 5, 3) and all(torch.equal(result[..., i], frames[..., 0]) for i in range(3))


def test_one_picture_becomes_a_batch_of_one():
    picture = torch.rand(4, 5, 3)
    assert torch.equal(checked_frames(picture), picture[None])


def test_values_are_left_as_they_are():
    frames = torch.tensor([torch.nan, -1.0, 7.0]).expand(1, 1, 1, 3)
    assert torch.equal(checked_frames(frames).nan_to_num(5), frames.nan_to_num(5))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((4, 4), r"this has 2 axes \(4, 4\)"),
        ((1, 1, 4, 4, 3), "this has 5 axes"),
        ((0, 4, 4, 3), "no picture in this batch"),
        ((1, 0, 4, 3), "no picture in this batch"),
        ((1, 4, 0, 3), "no picture in this batch"),
        ((1, 4, 4, 2), "1, 3 or 4 channels, this one 2"),
        ((1, 3, 4, 5), "1, 3 or 4 channels, this one 5"),
        ((1, 4, 4, 0), "1, 3 or 4 channels, this one 0"),
    ],
)
def test_other_shapes_are_refused(shape, sentence):
    with pytest.raises(ImageError, match=sentence):
        checked_frames(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64, torch.complex64])
def test_other_types_are_refused(dtype):
    with pytest.raises(ImageError, match=f"Pixels of type {dtype} are not known"):
        checked_frames(torch.zeros(1, 2, 2, 3, dtype=dtype))


def test_masks_of_another_size_are_resized_as_core_does():
    small = torch.tensor([[0.0, 1.0]])
    wanted = torch.nn.functional.interpolate(small[None, None], size=(6, 8), mode="bilinear")[0]
    assert torch.equal(checked_mask(small, (1, 6, 8)), wanted)


@pytest.mark.parametrize(
    ("masks", "frames", "order"), [(1, 4, [0]), (2, 5, [0, 1, 0, 1, 0]), (3, 3, [0, 1, 2]), (3, 2, [0, 1])]
)
def test_fewer_masks_than_frames_are_repeated_in_order(masks, frames, order):
    given = torch.stack([torch.full((4, 4), index / 4) for index in range(masks)])
    assert (checked_mask(given, (frames, 4, 4))[:, 0, 0] * 4).tolist() == order


def test_a_mask_keeps_its_range_and_has_numbers_only():
    mask = checked_mask(torch.tensor([[torch.nan, -1.0, 0.5, 3.0]]), (1, 1, 4))
    assert mask.tolist() == [[[0, 0, 0.5, 1]]]


def test_only_an_empty_mask_is_noted():
    assert empty_mask_note(None) == empty_mask_note(torch.full((1, 2, 2), 0.01)) == []
    assert "nothing was changed" in empty_mask_note(torch.zeros(1, 2, 2))[0]
