"""A face's mask in its frame: the smallest of what limits it, as soft at every size, nothing outside the face."""

import numpy as np
import pytest
import torch
from slimfusion.catalog.cards import CARDS
from slimfusion.errors import FacesError, ImageError, SettingError
from slimfusion.faces import align, warp
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.masks.face_masks import MaskChoice, MaskNetwork, MaskNetworks, face_masks, network_input
from slimfusion.faces.masks.soft import AREAS

XSEG, PARSER = CARDS["xseg"], CARDS["bisenet"]


def face_at(x, y, side, frame=0, angle=0.0, points68=None):
    """A face whose upright crop has its corner at (x, y) and `side` px, turned about it."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = align.template_points("ffhq_512", side) @ turn.T + [x, y]
    box = np.array([x, y, x + side, y + side], np.float32)
    if points68 is not None:
        points68 = (points68 * side) @ turn.T + [x, y]
    return Face(frame, box, points.astype(np.float32), 0.9, points68)


def one(face, side=300):
    return Faces(((face,),), side, side)


def halves(card, left):
    """A network that says of every crop: the left part of it is free."""

    def infer(items):
        for (picture,) in items:
            size = max(picture.shape)
            free = torch.zeros(size, size)
            free[:, : int(left * size)] = 1
            yield (free[..., None] if card.layout == "NHWC" else free[None],)

    return MaskNetwork(card, infer)


def classes(number):
    def infer(items):
        for (picture,) in items:
            scores = torch.zeros(19, *picture.shape[-2:])
            scores[number, :, :256] = 1
            yield (scores, scores, scores)

    return MaskNetwork(PARSER, infer)


def test_a_box_lies_on_the_face_and_nowhere_else():
    mask = face_masks(one(face_at(100, 50, 100)), MaskChoice())[0].numpy()
    assert mask.shape == (300, 300) and mask.dtype == np.float32
    assert mask[100, 150] == 1
    outside = mask.copy()
    outside[49:151, 99:201] = 0
    assert not outside.any()


def test_a_turned_face_has_a_turned_box():
    mask = face_masks(one(face_at(150, 20, 120, angle=np.pi / 4)), MaskChoice())[0].numpy()
    assert mask[105, 150] == 1 and mask[25, 100] == 0 and mask[30, 200] == 0


def fall_width(choice, side, **networks):
    """px between an eighth and seven eighths of the last fall in the middle row, of a face of `side` px."""
    frames = torch.zeros(1, side + 8, side + 8, 3)
    mask = face_masks(one(face_at(4, 4, side), side + 8), choice, frames, MaskNetworks(**networks))[
        0, side // 2 + 4
    ].numpy()
    right = mask[int(mask.argmax()) :]
    falling = right[np.flatnonzero(right > 0.999)[-1] :]
    crossed = np.interp([-0.875, -0.125], -falling, np.arange(len(falling)))
    return crossed[1] - crossed[0]


@pytest.mark.parametrize(
    ("choice", "networks"),
    [
        (MaskChoice(feather=0.2), {}),
        (MaskChoice(occlusion=True, feather=0.2), {"occluder": halves(XSEG, 0.75)}),
        (MaskChoice(regions=("skin",), feather=0.2), {"parser": classes(1)}),
    ],
    ids=["box", "occlusion", "region"],
)
def test_a_feather_is_the_same_part_of_the_face_at_every_size(choice, networks):
    parts = np.array([fall_width(choice, side, **networks) / side for side in (128, 300, 512, 1024, 2048)])
    assert np.ptp(parts) / parts.mean() < 0.05


def test_the_smallest_mask_counts():
    face, frames = face_at(50, 50, 200), torch.zeros(1, 300, 300, 3)
    box = face_masks(one(face), MaskChoice())
    free = face_masks(one(face), MaskChoice(occlusion=True), frames, MaskNetworks(halves(XSEG, 0.5)))
    skin = face_masks(one(face), MaskChoice(regions=("skin",)), frames, MaskNetworks(parser=classes(1)))
    both = face_masks(
        one(face), MaskChoice(occlusion=True, regions=("skin",)), frames, MaskNetworks(halves(XSEG, 0.5), classes(1))
    )
    assert torch.equal(both, torch.minimum(free, skin))
    assert (free <= box).all() and not free[:, :, 151:].any()
    user = torch.rand(1, 300, 300)
    assert torch.equal(face_masks(one(face), MaskChoice(), user=user), torch.minimum(box, user))


def test_an_area_is_made_from_the_68_points_that_somebody_finds():
    points = np.full((68, 2), 0.5)
    points[list(AREAS["mouth"])] += 0.1 * np.stack([np.cos(np.arange(20)), np.sin(np.arange(20))], 1)
    known = face_at(50, 50, 200, points68=points)
    unknown = face_at(50, 50, 200)
    shown = []

    def landmarks(faces):
        shown.extend(faces)
        return [known]

    choice = MaskChoice(areas=("mouth",))
    found = face_masks(one(unknown), choice, networks=MaskNetworks(landmarks=landmarks))
    assert shown == [unknown]
    assert torch.equal(found, face_masks(one(known), choice))
    assert found[0, 150, 150] == 1 and found[0, 100, 150] == 0 and found[0, 150, 175] == 0
    with pytest.raises(FacesError, match="68 points"):
        face_masks(one(unknown), choice)


def test_networks_are_asked_once_for_all_faces_and_see_what_they_know():
    seen = []

    def infer(items):
        seen.append(list(items))
        return ((torch.ones(256, 256, 1),) for _ in seen[-1])

    frames = torch.zeros(2, 300, 300, 4)
    frames[..., 0] = 1.0
    faces = Faces(((face_at(0, 0, 100), face_at(100, 100, 150)), (face_at(20, 20, 256, 1),)), 300, 300)
    face_masks(faces, MaskChoice(occlusion=True), frames, MaskNetworks(MaskNetwork(XSEG, infer)))
    ((first, *rest),) = seen
    assert len(rest) == 2 and first[0].shape == (256, 256, 3)
    assert first[0][128, 128].tolist() == [0, 0, 1]  # red, with blue first


def test_a_crop_goes_in_as_its_card_says_it():
    red = np.zeros((4, 4, 3), np.float32)
    red[..., 0] = 1
    red[0, 0] = np.nan
    item = network_input(red, CARDS["arcface"])
    assert item.shape == (3, 4, 4) and item.dtype == torch.float32
    assert item[:, 1, 1].tolist() == [1, -1, -1] and item[:, 0, 0].tolist() == [-1, -1, -1]
    assert network_input(red, CARDS["scrfd"])[0, 1, 1] == pytest.approx(127.5 / 128)


def test_faces_at_and_beyond_the_edge():
    faces = Faces(((face_at(-60, -60, 120), face_at(5000, 0, 80), face_at(250, 250, 100)),), 300, 300)
    mask = face_masks(faces, MaskChoice())[0]
    assert mask[0, 0] > 0.9 and mask[299, 299] > 0.9 and mask[150, 150] == 0


def test_no_face_gives_an_empty_mask_and_needs_no_network():
    choice = MaskChoice(occlusion=True, areas=("mouth",), regions=("skin",))
    assert not face_masks(Faces(((), ()), 30, 40), choice).any()


def test_a_users_mask_of_another_size_is_laid_over_the_whole_frame():
    face = one(face_at(100, 100, 100))
    whole, left = torch.ones(64, 64), torch.ones(64, 64)
    left[:, 32:] = 0
    expected = face_masks(face, MaskChoice())
    assert torch.equal(face_masks(face, MaskChoice(), user=whole), expected)
    limited = face_masks(face, MaskChoice(), user=left)
    assert torch.equal(limited[:, :, :147], expected[:, :, :147]) and not limited[:, :, 153:].any()


def test_what_is_needed_and_missing_is_named():
    face = one(face_at(50, 50, 200))
    with pytest.raises(SettingError, match="mask network"):
        face_masks(face, MaskChoice(occlusion=True), torch.zeros(1, 300, 300, 3))
    with pytest.raises(FacesError, match="connect the image"):
        face_masks(face, MaskChoice(occlusion=True), None, MaskNetworks(halves(XSEG, 0.5)))
    with pytest.raises(FacesError, match="300 x 300"):
        face_masks(face, MaskChoice(), torch.zeros(1, 200, 300, 3))
    with pytest.raises(ImageError, match="mask"):
        face_masks(face, MaskChoice(), user=torch.ones(20))
    broken = Face(0, np.zeros(4, np.float32), np.full((5, 2), np.nan, np.float32), 0.9)
    with pytest.raises(FacesError, match="not numbers"):
        face_masks(one(broken), MaskChoice())


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"padding": (0.0, float("nan"), 0.0, 0.0)}, "margins.*nan"),
        ({"padding": (-0.1, 0.0, 0.0, 0.0)}, "margins.*-0.1"),
        ({"padding": (0.0, 0.0, 1.0, 0.0)}, "margins"),
        ({"feather": float("nan")}, "feather.*nan"),
        ({"feather": float("inf")}, "feather.*inf"),
        ({"padding": (0.0, 0.0, 0.0, None)}, "left must be a number"),
        ({"feather": "x"}, "feather must be a number"),
    ],
)
def test_margins_and_feathers_outside_their_range_are_refused(wrong, said):
    with pytest.raises(SettingError, match=said):
        MaskChoice(**wrong)


@pytest.mark.parametrize("larger", [1.0, 1.5, 2.5])
def test_areas_that_reach_beyond_the_crop_end_without_a_step(larger):
    """The crop's border is no end of the face, but it is one of the mask."""
    points = 0.5 + larger * (warp.MEAN_FACE * 0.22 - (0, 0.15))
    mask = face_masks(one(face_at(40, 40, 220, points68=points)), MaskChoice(areas=("upper", "lower"), feather=0.1))[0]
    steps = max(float(mask.diff(dim=axis).abs().max()) for axis in (0, 1))
    assert mask.max() == 1 and steps < 1.1 * np.pi / 2 / (0.1 * 220)
