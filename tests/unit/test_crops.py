"""Crops go out, come back, and change nothing but what was changed: to the bit, at any size, in any number."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_faces import face_at
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.errors import BudgetError, FacesError, ImageError, SettingError
from slimfusion.faces.align import chained, inverse, similarity
from slimfusion.faces.crops import shapes
from slimfusion.faces.crops.change import as_returned, difference_of
from slimfusion.faces.crops.colour import with_colours
from slimfusion.faces.crops.cut import crop_faces
from slimfusion.faces.crops.geometry import MASKS, SQUARES, Cropping, Crops, crop_affine
from slimfusion.faces.crops.paste import Pasting, paste_faces
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.fuse.colour import lab_of
from slimfusion.faces.warp import MEAN_FACE

HOST = StandaloneHost("cpu")
FIVE = np.stack([MEAN_FACE[36:42].mean(0), MEAN_FACE[42:48].mean(0), *MEAN_FACE[[30, 48, 54]]])


def a_face(frame=0, middle=(100.0, 90.0), eyes=30.0, degrees=0.0):
    """The mean face, so that all of its points are right."""
    c, s = np.cos(np.radians(degrees)) * eyes, np.sin(np.radians(degrees)) * eyes
    to_frame = np.array([[c, -s, middle[0]], [s, c, middle[1]]])
    points, five = (p @ to_frame[:, :2].T + to_frame[:, 2] for p in (MEAN_FACE, FIVE))
    centre, half = points.mean(0), 1.3 * eyes
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return Face(frame, box, five.astype(np.float32), 0.9, landmarks68=points.astype(np.float32))


def a_picture(height=180, width=220, channels=3, frames=1):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [0.5 + 0.25 * np.sin(x / 17 + k) * np.cos(y / 13 - k) for k in range(channels)]
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (frames, height, width, channels))
    return torch.from_numpy((np.stack(waves, 2) + noise).astype(np.float32))


def faces_in(frames, *faces):
    placed = [[] for _ in range(len(frames))]
    for face in faces:
        placed[face.frame].append(face)
    return Faces(tuple(map(tuple, placed)), *map(int, frames.shape[1:3]))


def bits(frames):
    return frames.contiguous().view(torch.int32)


def cut(frames, *faces, **more):
    return crop_faces(frames, Cropping(faces_in(frames, *faces), **{"size": 128} | more), host=HOST)


@settings(max_examples=30, deadline=None)
@given(
    square=st.sampled_from(SQUARES),
    mask=st.sampled_from(MASKS),
    upright=st.booleans(),
    context=st.sampled_from([1.0, 1.7, 4.0]),
    degrees=st.floats(-180, 180),
    eyes=st.floats(10, 90),
    middle=st.tuples(st.floats(-20, 240), st.floats(-20, 200)),
    channels=st.sampled_from([3, 4]),
)
def test_nothing_between_changes_nothing_and_a_change_stays_inside(
    square, mask, upright, context, degrees, eyes, middle, channels
):
    frames = a_picture(channels=channels)
    frames[0, ::7, ::5] = torch.tensor([float("nan"), -0.0, float("inf"), 2.0][:channels])
    face = a_face(eyes=eyes, degrees=degrees, middle=middle)
    cropped = cut(frames, face, square=square, mask=mask, upright=upright, context=context)
    assert cropped.images.shape == (1, 128, 128, 3) and cropped.masks.shape == (1, 128, 128)
    assert float(cropped.images.min()) >= 0 and float(cropped.images.max()) <= 1
    edges = cropped.masks[0, [0, -1]], cropped.masks[0, :, [0, -1]]
    assert not any(edge.any() for edge in edges)
    same = paste_faces(frames, cropped.images, cropped.crops, host=HOST)
    assert torch.equal(bits(same.frames), bits(frames))
    noise = torch.rand(cropped.images.shape, generator=torch.Generator().manual_seed(0))
    changed = paste_faces(frames, noise, cropped.crops, host=HOST)
    differs = bits(changed.frames) != bits(frames)
    assert not differs[changed.mask == 0].any() and not differs[..., 3:].any()
    assert torch.equal(changed.mask, same.mask)


@pytest.mark.parametrize("eyes", [12.0, 30.0, 60.0])  # enlarged, about its own size, shrunk
@pytest.mark.parametrize("degrees", [0, 30, -75])
@pytest.mark.parametrize("returned", [64, 128, 192, 512])
def test_a_brighter_crop_makes_a_brighter_face(eyes, degrees, returned):
    frames = a_picture(300, 360)
    cropped = cut(frames, a_face(middle=(180, 130), eyes=eyes, degrees=degrees))
    images = torch.nn.functional.interpolate(
        cropped.images.permute(0, 3, 1, 2), (returned, returned), mode="bicubic" if returned > 128 else "area"
    ).permute(0, 2, 3, 1)
    pasted = paste_faces(frames, images + 10 / 255, cropped.crops, host=HOST)
    arrived = (pasted.frames - frames)[pasted.mask > 0.999]
    assert len(arrived) > 50
    assert float((arrived - 10 / 255).abs().mean()) < (0.05 if returned == 128 else 1.0) / 255


def test_the_finest_detail_of_a_large_face_stays():
    """A smooth change through a crop a quarter as large as its face."""
    frames = torch.rand(1, 600, 600, 3, generator=torch.Generator().manual_seed(3)) * 0.6 + 0.2
    cropped = cut(frames, a_face(middle=(300, 260), eyes=130), size=64)
    pasted = paste_faces(frames, cropped.images * 0.5 + 0.25, cropped.crops, host=HOST)
    inner = pasted.mask[0] > 0.999
    before, after = (each[0][inner].std() for each in (frames, pasted.frames))
    assert after > 0.95 * before


def test_a_crop_shows_the_face_upright_in_its_middle():
    frames = a_picture(400, 400)
    for degrees in (0.0, 30.0, -110.0):
        face = a_face(middle=(200, 180), eyes=50, degrees=degrees)
        affine = crop_affine(face, Cropping(square="ffhq", size=256))
        points = face.landmarks @ affine[:, :2].T + affine[:, 2]
        assert abs(points[1, 1] - points[0, 1]) < 3 and points[1, 0] > points[0, 0]
        assert np.abs(points[:2].mean(0) - [127.5, 119]).max() < 8
        lying = crop_affine(face, Cropping(upright=False))
        assert lying[0, 1] == lying[1, 0] == 0
    assert cut(frames, face).crops.size == 128


def test_a_square_that_is_not_turned_has_the_frames_own_pixels():
    frames, side = a_picture(400, 400), 128
    face = face_at(0, 200, 190, side / 0.6 / 1.6)  # whose loose square has 128 px
    cropped = cut(frames, face, upright=False, mask="square")
    x0, y0 = np.round(-cropped.crops.crops[0].affine[:, 2]).astype(int)
    assert torch.equal(cropped.images[0], frames[0, y0 : y0 + side, x0 : x0 + side])


def test_context_shows_more_and_pastes_the_same():
    frames = a_picture(500, 500)
    face = a_face(middle=(250, 220), eyes=40)
    near, far = (cut(frames, face, size=256, context=context, mask="square") for context in (1.0, 2.0))
    (one,), (other,) = near.crops.crops, far.crops.crops
    assert np.sqrt(np.linalg.det(one.affine[:, :2]) / np.linalg.det(other.affine[:, :2])) == pytest.approx(2, 0.02)
    placed = [paste_faces(frames, each.images, each.crops, host=HOST).mask.sum() for each in (near, far)]
    assert placed[1] == pytest.approx(float(placed[0]), rel=0.08)


def test_masks_are_of_the_face_with_or_without_hair():
    frames = a_picture(500, 500) * 0 + 0.5
    face = a_face(middle=(250, 220), eyes=50)
    masks = {kind: cut(frames, face, size=256, mask=kind).masks[0].numpy() for kind in MASKS}
    to_crop = crop_affine(face, Cropping(size=256))
    nose, chin, crown = (
        np.round(point @ to_crop[:, :2].T + to_crop[:, 2]).astype(int)
        for point in (face.landmarks68[30], face.landmarks68[8] + [0, 10], face.landmarks68[27] - [0, 75])
    )
    assert all(mask[nose[1], nose[0]] == 1 for mask in masks.values())
    assert masks["face"][crown[1], crown[0]] == 0 < masks["face and hair"][crown[1], crown[0]]
    assert masks["face"][chin[1], chin[0]] < 0.5
    assert (masks["face"] <= masks["face and hair"] + 1e-6).all()
    assert len(np.unique(masks["face"])) > 100  # soft


def test_dark_hair_on_the_forehead_is_no_face():
    skin = torch.tensor([0.8, 0.6, 0.5]).expand(1, 500, 500, 3).clone()
    face = a_face(middle=(250, 220), eyes=50)
    bald = cut(skin, face, size=256).masks
    brows = int(face.landmarks68[17:27, 1].min())
    skin[:, : brows - 2] = torch.tensor([0.1, 0.07, 0.05])
    haired = cut(skin, face, size=256).masks
    assert haired.sum() < 0.95 * bald.sum()
    assert torch.equal(haired[:, 140:], bald[:, 140:])


def test_a_parser_of_the_users_says_what_is_face(monkeypatch):
    """One that calls the left half of every face skin and the right half hair."""
    classes = torch.zeros(19, 512, 512)
    classes[1, :, :256], classes[17, :, 256:] = 1, 1

    class Parser:
        class card:
            name, kind, size, colour, layout = "bisenet", "parser", 512, "RGB", "NCHW"
            mean = std = (0.5, 0.5, 0.5)

        @staticmethod
        def infer(items):
            return ((classes,) for _ in items)

    monkeypatch.setattr(shapes, "mask_network", lambda *_: Parser)
    frames, face = a_picture(400, 400), a_face(middle=(200, 180), eyes=50)
    masks = {kind: cut(frames, face, square="ffhq", mask=kind) for kind in ("face", "face and hair")}
    half = masks["face"].masks[0]
    assert half[64, 30] == 1 and half[64, 100] == 0 and masks["face and hair"].masks[0, 64, 100] == 1
    assert "the masks are those of bisenet" in masks["face"].report.notes


def test_several_frames_come_in_their_order_and_go_back_to_their_own():
    frames = a_picture(frames=3)
    faces = a_face(0, (60, 80), 20), a_face(0, (150, 80), 20), a_face(2, (100, 90), 30)
    cropped = cut(frames, *faces)
    assert [crop.frame for crop in cropped.crops.crops] == [0, 0, 2]
    assert (cropped.report.frames, cropped.report.faces) == (3, 3)
    images = cropped.images.clone()
    images[2] = 1 - images[2]
    pasted = paste_faces(frames, images, cropped.crops, host=HOST)
    changed = [not torch.equal(*pair) for pair in zip(pasted.frames, frames, strict=True)]
    assert changed == [False, False, True]
    assert [bool(mask.any()) for mask in pasted.mask] == [True, False, True]


def test_faces_that_overlap_are_put_over_one_another():
    """A change of both arrives once where they overlap."""
    frames = a_picture()
    cropped = cut(frames, a_face(middle=(100, 90)), a_face(middle=(112, 90)), mask="square")
    pasted = paste_faces(frames, cropped.images + 10 / 255, cropped.crops, host=HOST)
    assert float((pasted.frames - frames).max()) * 255 < 12


def test_more_and_fewer_pictures_than_faces_are_said():
    frames = a_picture()
    cropped = cut(frames, a_face(middle=(60, 80), eyes=20), a_face(middle=(150, 80), eyes=20))
    more = paste_faces(frames, torch.cat([cropped.images] * 2), cropped.crops, host=HOST)
    fewer = paste_faces(frames, 1 - cropped.images[:1], cropped.crops, host=HOST)
    single = paste_faces(frames, 1 - cropped.images[0], cropped.crops, host=HOST)
    assert torch.equal(bits(more.frames), bits(frames)) and "not used: 2" in more.report.as_text()
    assert "no image came back, not changed: 1" in fewer.report.as_text() and fewer.report.faces == 1
    assert torch.equal(single.frames, fewer.frames)
    assert not fewer.mask[0, :, 120:].any() and fewer.mask[0, :, :100].any()


def test_where_a_picture_is_transparent_the_frame_stays():
    frames = a_picture()
    cropped = cut(frames, a_face(), upright=False, mask="square")
    images = torch.cat([1 - cropped.images, torch.ones(1, 128, 128, 1)], -1)
    images[:, :, :64, 3] = 0
    pasted = paste_faces(frames, images, cropped.crops, host=HOST)
    columns = pasted.mask[0].any(0).nonzero().ravel()
    whole = paste_faces(frames, 1 - cropped.images, cropped.crops, host=HOST).mask[0].any(0).nonzero().ravel()
    assert columns.min() > whole.min() + 10 and columns.max() == whole.max()
    assert "transparent" in pasted.report.as_text()


@pytest.mark.parametrize("shape", [(96, 160), (128, 128), (1, 1), (700, 512)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_any_size_and_type_comes_back(shape, dtype):
    frames = a_picture()
    cropped = cut(frames, a_face())
    white = 255 if dtype is torch.uint8 else 1
    images = torch.full((1, *shape, 3), white, dtype=dtype)
    pasted = paste_faces(frames, images, cropped.crops, host=HOST)
    inner = pasted.mask > 0.999
    assert pasted.frames[inner].mean() > frames[inner].mean() + 0.2
    assert (f"came back at {shape[1]} x {shape[0]}" in pasted.report.as_text()) == (shape != (128, 128))
    grey = paste_faces(frames, images[..., :1], cropped.crops, host=HOST)
    assert torch.equal(grey.frames, pasted.frames)


def test_half_precision_between_the_nodes_changes_nothing():
    frames = a_picture()
    cropped = cut(frames, a_face(degrees=20))
    for dtype in (torch.float16, torch.bfloat16):
        pasted = paste_faces(frames, cropped.images.to(dtype), cropped.crops, host=HOST)
        assert torch.equal(bits(pasted.frames), bits(frames))


def test_numbers_that_are_none_change_nothing():
    frames = a_picture()
    cropped = cut(frames, a_face())
    broken = torch.full_like(cropped.images, float("nan"))
    assert torch.equal(paste_faces(frames, broken, cropped.crops, host=HOST).frames, frames)


def test_no_face_gives_something_to_work_on_and_changes_nothing():
    frames = a_picture(frames=2)
    cropped = cut(frames)
    assert cropped.images.shape == (1, 128, 128, 3) and not cropped.masks.any() and not cropped.crops.crops
    assert "no face was found" in cropped.report.as_text()
    pasted = paste_faces(frames, torch.ones(1, 512, 512, 3), cropped.crops, host=HOST)
    assert torch.equal(pasted.frames, frames) and not pasted.mask.any()
    assert "no face was cut" in pasted.report.as_text()


def test_the_users_masks_count_instead():
    frames = a_picture()
    cropped = cut(frames, a_face(middle=(60, 80), eyes=20), a_face(middle=(150, 80), eyes=20), upright=False)
    upper = torch.zeros(40, 40)
    upper[:20] = 1
    pasted = paste_faces(frames, 1 - cropped.images, cropped.crops, Pasting(masks=upper), host=HOST)
    for crop in cropped.crops.crops:
        _, y = inverse(crop.affine) @ [64, 64, 1]
        x = inverse(crop.affine) @ [64, 64, 1]
        assert pasted.mask[0, round(y) - 8, round(x[0])] > 0.9 and pasted.mask[0, round(y) + 8, round(x[0])] == 0
    empty = paste_faces(frames, 1 - cropped.images, cropped.crops, Pasting(masks=upper * 0), host=HOST)
    assert torch.equal(empty.frames, frames) and "masks are empty" in empty.report.as_text()
    with pytest.raises(ImageError):
        paste_faces(frames, cropped.images, cropped.crops, Pasting(masks=torch.zeros(1, 1, 3, 4)), host=HOST)


def test_strength_takes_a_part_and_none_nothing():
    frames = a_picture()
    cropped = cut(frames, a_face())
    images = cropped.images + 0.1
    whole, half, none = (
        paste_faces(frames, images, cropped.crops, Pasting(strength=part), host=HOST) for part in (1.0, 0.5, 0.0)
    )
    inner = whole.mask > 0.999
    assert float((half.frames - frames)[inner].mean()) == pytest.approx(0.05, abs=0.002)
    assert torch.equal(none.frames, frames) and not none.mask.any()
    assert float(half.mask.max()) == pytest.approx(0.5)


def test_the_geometry_fits_the_same_picture_at_another_scale():
    frames = a_picture()
    cropped = cut(frames, a_face())
    for factor in (2, 0.5):
        larger = torch.nn.functional.interpolate(frames.permute(0, 3, 1, 2), scale_factor=factor, mode="area")
        larger = larger.permute(0, 2, 3, 1).contiguous()
        pasted = paste_faces(larger, cropped.images + 0.1, cropped.crops, host=HOST)
        at_scale = torch.nn.functional.interpolate(
            paste_faces(frames, cropped.images, cropped.crops, host=HOST).mask[None], scale_factor=factor, mode="area"
        )[0]
        assert float((pasted.mask - at_scale).abs().mean()) < 0.01
        assert "pasted at" in pasted.report.as_text()
    with pytest.raises(FacesError, match="at any scale"):
        paste_faces(a_picture(220, 180), cropped.images, cropped.crops, host=HOST)
    with pytest.raises(FacesError, match="1 frames of 220 x 180"):
        paste_faces(a_picture(frames=2), cropped.images, cropped.crops, host=HOST)
    with pytest.raises(FacesError, match="no geometry"):
        paste_faces(frames, cropped.images, None, host=HOST)


def test_colours_take_mean_and_spread_of_the_cut():
    picture = a_picture(64, 64)[0].numpy().clip(0, 1)
    other = (picture * np.float32(0.5) + np.array([0.3, 0.1, 0.0], np.float32)).clip(0, 1)
    weights = np.ones((32, 32), np.float32)
    matched = with_colours(other, picture, weights, 1.0)
    for statistic in (np.mean, np.std):
        assert np.abs(statistic(lab_of(matched), (0, 1)) - statistic(lab_of(picture), (0, 1))).max() < 1.5
    assert np.array_equal(with_colours(other, picture, weights * 0, 1.0), other)
    frames = a_picture()
    cropped = cut(frames, a_face())
    plain, alike = (
        paste_faces(frames, cropped.images * 0.6, cropped.crops, Pasting(colour=part), host=HOST) for part in (0.0, 1.0)
    )
    inner = plain.mask > 0.999
    assert abs(float((alike.frames - frames)[inner].mean())) < 0.2 * abs(float((plain.frames - frames)[inner].mean()))
    same = paste_faces(frames, cropped.images, cropped.crops, Pasting(colour=1.0), host=HOST)
    assert torch.equal(bits(same.frames), bits(frames))


def test_a_change_is_what_came_back_less_what_was_cut():
    before = a_picture(64, 64)[0].numpy().clip(0, 1)
    weights = np.ones((64, 64), np.float32)
    assert difference_of(before.copy(), before, 0.0, weights) is None
    assert np.allclose(difference_of(before + np.float32(0.1), before.copy(), 0.0, weights), 0.1, atol=1e-6)
    smaller = as_returned(before, 32, 32, torch.float32)
    assert smaller.shape == (32, 32, 3) and abs(smaller.mean() - before.mean()) < 1e-3


def test_the_prediction_of_memory_holds_and_what_does_not_fit_is_said():
    frames = a_picture(1500, 1500)
    face = a_face(middle=(750, 650), eyes=280)
    cropping = Cropping(faces_in(frames, face), size=512)
    cropped = crop_faces(frames, cropping, host=HOST)
    pasted = paste_faces(frames, cropped.images + 0.1, cropped.crops, host=HOST)
    assert 0 < cropped.report.predicted_peak < 3 * 12 * 1200**2
    assert 0 < pasted.report.predicted_peak < 3 * 12 * 1200**2
    with pytest.raises(BudgetError, match="Raise the budget, or choose smaller crops"):
        crop_faces(frames, cropping, MemoryBudget(1 << 20, on_low_memory="fail"), HOST)
    with pytest.raises(BudgetError, match="paste"):
        paste_faces(frames, cropped.images, cropped.crops, Pasting(), MemoryBudget(1 << 20), HOST)


class Stopping(StandaloneHost):
    def check_interrupt(self):
        raise KeyboardInterrupt


def test_both_can_be_interrupted():
    frames = a_picture()
    cropped = cut(frames, a_face())
    with pytest.raises(KeyboardInterrupt):
        crop_faces(frames, Cropping(faces_in(frames, a_face()), size=128, mask="square"), host=Stopping("cpu"))
    with pytest.raises(KeyboardInterrupt):
        paste_faces(frames, cropped.images, cropped.crops, host=Stopping("cpu"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 500}, {"size": 0}, {"size": 4096}, {"size": "x"}, {"context": 0.5}, {"context": float("nan")},
        {"margin": -1}, {"margin": float("inf")}, {"feather": 0.6}, {"square": "round"}, {"mask": "nose"},
        {"mask": "\ud800"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError):
        Cropping(**wrong)


@pytest.mark.parametrize("wrong", [{"strength": 2}, {"strength": "x"}, {"colour": float("nan")}, {"colour": -0.1}])
def test_pasting_out_of_range_is_refused(wrong):
    with pytest.raises(SettingError):
        Pasting(**wrong)


def test_affines_are_done_one_after_the_other():
    first, then = (similarity(FIVE, np.random.default_rng(k).random((5, 2))) for k in (1, 2))
    point = np.array([3.0, 4.0])
    once = first[:, :2] @ point + first[:, 2]
    assert np.allclose(chained(first, then) @ [*point, 1], then[:, :2] @ once + then[:, 2])


def test_a_box_that_is_none_is_not_needed():
    face = face_at(0, 100, 90)
    broken = Face(0, np.full(4, np.nan, np.float32), face.landmarks, 0.9)
    assert np.isfinite(crop_affine(broken, Cropping())).all()
    assert repr(Crops((), 64, 1, 2, 3)) == "Crops(0 of 64 px from 1 frames of 3 x 2)"
