"""Restoring: the faces change as the network says, and nothing else changes at all."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from networks import face_model, save_upscaler
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.catalog.templates import WARP_TEMPLATES
from slimfusion.distill.degrade import Severity, degrade
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Options
from slimfusion.engines.memory.budget import GIB, MIB, MemoryBudget
from slimfusion.errors import BudgetError, FacesError, ImageError, SettingError
from slimfusion.faces import align, restore
from slimfusion.faces.detect import detection
from slimfusion.faces.detect.detection import detection_bytes
from slimfusion.faces.detect.detectors import MTCNN_BYTES
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.keeping import Keeping
from slimfusion.faces.restore import Restoring, restore_faces, restore_image
from slimfusion.models.torch_model import torch_model
from slimfusion.opencv import cv2

HOST = StandaloneHost("cpu")
FULL = MemoryBudget(mode="quality")  # full precision, whatever half precision this machine is good at
HEIGHT, WIDTH = 96, 120


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture
def no_detector(monkeypatch):
    """Whoever looks for faces fails."""

    def find_faces(*_):
        pytest.fail("faces were looked for")

    monkeypatch.setattr(detection, "find_faces", find_faces)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return {
        "face network": face_model(),
        "bundled": bundled(),
        "upscaler": torch_model(save_upscaler(tmp_path_factory.mktemp("models") / "net.pth")),
    }


def bundled():
    return torch_model(BUNDLED_FILE, BUNDLED)


def face_at(x: float, y: float, side: float = 48, frame: int = 0) -> Face:
    """A face whose aligned square of `side` px has its centre at (x, y)."""
    points = np.array(WARP_TEMPLATES["ffhq_512"]) * side + [x - side / 2, y - side / 2]
    box = np.array([x - side / 4, y - side / 4, x + side / 4, y + side / 4])
    return Face(frame, box.astype(np.float32), points.astype(np.float32), 0.9)


def faces_of(*frames: tuple[Face, ...], height: int = HEIGHT, width: int = WIDTH) -> Faces:
    return Faces(frames, height, width)


ONE = faces_of((face_at(60, 48),))


def grey(frames: int = 1, channels: int = 3, level: float = 0.5) -> torch.Tensor:
    return torch.full((frames, HEIGHT, WIDTH, channels), level)


def noisy(frames: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(frames, HEIGHT, WIDTH, channels, generator=torch.Generator().manual_seed(5))


def bits(frames: torch.Tensor) -> torch.Tensor:
    return frames.contiguous().view(torch.int32)


def brighter(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the face network of these tests makes of even frames, to be seen through a mask."""
    return frames + 0.1 * mask[..., None]


@pytest.mark.parametrize("name", ["face network", "bundled", "upscaler"])
def test_outside_the_mask_every_bit_stays_and_inside_something_changes(networks, name, no_detector):
    frames = noisy(2, 4)
    frames[..., :2, :2, :] = torch.tensor([torch.nan, -0.0, torch.inf, 2.0])
    faces = faces_of((face_at(60, 48),), (face_at(30, 40, frame=1), face_at(90, 50, 40, frame=1)))
    before = frames.clone()
    done = restore_faces(frames, networks[name], FULL, HOST, Restoring(faces=faces))
    assert torch.equal(bits(frames), bits(before)), "the frames that came in were written to"
    assert done.frames.shape == frames.shape and done.mask.shape == frames.shape[:3]
    same = bits(done.frames) == bits(frames)
    assert same[done.mask == 0].all() and same[..., 3].all()
    assert not same[..., :3].all(-1)[done.mask == 1].all()
    assert (done.mask == 1).any() and done.mask.min() >= 0 and done.mask.max() <= 1
    inside = done.frames[done.mask > 0][:, :3]
    assert ((inside >= 0) & (inside <= 1)).all()


@pytest.mark.parametrize("name", ["face network", "bundled", "upscaler"])
def test_likeness_is_told_and_kept_and_all_else_stays(networks, name):
    frames, faces = noisy(2, 4), faces_of((face_at(60, 48),), (face_at(30, 40, frame=1), face_at(90, 50, 40, frame=1)))
    free, told, kept = (
        restore_faces(frames, networks[name], FULL, HOST, Restoring(faces=faces, keeping=keeping))
        for keeping in (Keeping(), Keeping(watch=True), Keeping("strong"))
    )
    assert torch.equal(bits(free.frames), bits(told.frames)) and free.report.likeness == []
    rows = told.report.likeness
    assert sorted((row.frame, row.face) for row in rows) == [(0, 0), (1, 0), (1, 1)]
    assert all(set(row.itself) == {"restored", "pasted"} and row.held_back == 0 for row in rows)
    assert torch.equal(bits(kept.frames)[kept.mask == 0], bits(frames)[kept.mask == 0])
    assert all(row.held_back > 0 for row in kept.report.likeness)
    inside = free.mask[0] == 1
    changes = [(done.frames - frames)[0][inside][:, :3].abs().mean() for done in (free, kept)]
    assert changes[1] < changes[0]


def test_a_face_network_is_blended_in_by_the_mask_that_is_given_back():
    frames = grey(2)
    done = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces_of((face_at(60, 48),), ())))
    assert (done.frames - brighter(frames, done.mask)).abs().max() < 1e-5
    assert done.mask[0].max() == 1 and not done.mask[1].any()


def test_the_bundled_network_keeps_an_even_frame_even():
    done = restore_faces(grey(), bundled(), FULL, HOST, Restoring(faces=ONE))
    assert (done.frames - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_strength_scales_the_change(strength):
    done = restore_faces(grey(), face_model(), FULL, HOST, Restoring(faces=ONE, strength=strength))
    assert float(done.mask.max()) == pytest.approx(strength)
    assert (done.frames - brighter(grey(), done.mask)).abs().max() < 1e-5


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_another_strength_is_refused(strength):
    with pytest.raises(SettingError, match="strength must be between 0 and 1, not"):
        restore_faces(grey(), face_model(), FULL, HOST, Restoring(faces=ONE, strength=strength))


@pytest.mark.parametrize("name", ["face network", "bundled"])
def test_a_users_mask_counts_for_all_frames_and_limits_the_change(networks, name):
    frames, wanted = noisy(2), torch.zeros(HEIGHT, WIDTH)
    wanted[:, :60] = 1
    wanted[40:44] = torch.nan
    faces = faces_of((face_at(60, 48),), (face_at(60, 48, frame=1),))
    done = restore_faces(frames, networks[name], FULL, HOST, Restoring(faces=faces, mask=wanted))
    assert done.mask[:, :, :60].amax((1, 2)).tolist() == [1, 1]
    assert not done.mask[:, :, 60:].any() and not done.mask[:, 40:44].any()
    assert torch.equal(bits(done.frames)[done.mask == 0], bits(frames)[done.mask == 0])


def test_a_mask_a_frame_is_used_frame_by_frame():
    wanted = torch.stack([torch.zeros(HEIGHT, WIDTH), torch.full((HEIGHT, WIDTH), 3.0)])
    faces = faces_of((face_at(60, 48),), (face_at(60, 48, frame=1),))
    done = restore_faces(grey(2), face_model(), FULL, HOST, Restoring(faces=faces, mask=wanted))
    assert done.mask.amax((1, 2)).tolist() == [0, 1]


def test_a_mask_of_another_size_limits_as_if_it_had_the_frames():
    faces = faces_of((face_at(60, 48),))
    left = torch.zeros(64, 64)
    left[:, :32] = 1
    done = restore_faces(grey(1), face_model(), FULL, HOST, Restoring(faces=faces, mask=left))
    assert done.mask[:, :, :58].any() and not done.mask[:, :, 61:].any()


def test_an_empty_mask_changes_nothing_and_the_report_says_so():
    faces, frames = faces_of((face_at(60, 48),)), grey(1)
    done = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces, mask=torch.zeros(1, 64, 64)))
    assert torch.equal(done.frames, frames)
    assert any("the mask is empty: nothing was changed" in note for note in done.report.notes)
    full = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces, mask=torch.ones(1, 64, 64)))
    assert not any("mask" in note for note in full.report.notes)


@pytest.mark.parametrize("shape", [(1, HEIGHT, WIDTH, 1), (WIDTH,), (0, HEIGHT, WIDTH)])
def test_what_is_no_mask_is_refused(shape):
    with pytest.raises(ImageError, match="A mask has a height and a width"):
        restore_faces(grey(2), face_model(), FULL, HOST, Restoring(mask=torch.ones(shape)))


@pytest.mark.parametrize(
    "faces", [faces_of((face_at(9, 9),), height=HEIGHT + 1), faces_of((), ()), faces_of((), width=WIDTH * 2)]
)
def test_faces_of_another_image_are_refused(faces, no_detector):
    with pytest.raises(FacesError, match=f"but the image has 1 of {WIDTH} x {HEIGHT}: detect faces in this image"):
        restore_faces(grey(), face_model(), FULL, HOST, Restoring(faces=faces))


@pytest.mark.parametrize("others", [(), (face_at(60, 60),)])
def test_a_face_whose_points_coincide_is_left_out_and_told(others):
    nowhere = Face(0, np.zeros(4, np.float32), np.ones((5, 2), np.float32), 0.9)
    restored = restore_faces(grey(), face_model(), FULL, HOST, Restoring(faces=faces_of((nowhere, *others))))
    assert "faces with unusable landmarks, not changed: 1" in restored.report.notes
    assert bool((restored.frames != grey()).any()) == bool(others)


@pytest.mark.parametrize("name", ["face network", "bundled"])
@pytest.mark.parametrize("place", [(0, 48), (WIDTH, HEIGHT), (60, -4)])
def test_a_face_cut_by_the_border_is_restored_as_far_as_it_is_seen(networks, name, place):
    frames = grey()
    done = restore_faces(frames, networks[name], FULL, HOST, Restoring(faces=faces_of((face_at(*place),))))
    x, y = min(max(place[0], 0), WIDTH - 1), min(max(place[1], 0), HEIGHT - 1)
    assert done.mask[0, y, x] > 0.9
    expected = brighter(frames, done.mask) if name == "face network" else frames
    assert (done.frames - expected).abs().max() < (1e-5 if name == "face network" else 0.02)


def test_a_face_outside_the_frame_changes_nothing():
    done = restore_faces(noisy(), face_model(), FULL, HOST, Restoring(faces=faces_of((face_at(-400, 48),))))
    assert torch.equal(done.frames, noisy()) and not done.mask.any()


@pytest.mark.parametrize("name", ["face network", "bundled", "upscaler"])
def test_pixels_that_are_no_numbers_stay_outside_a_face_and_are_mended_inside(networks, name):
    frames = noisy()
    frames[0, 2, 3] = torch.nan
    frames[0, 48, 60] = torch.nan
    frames[0, 50, 62] = torch.inf
    done = restore_faces(frames, networks[name], FULL, HOST, Restoring(faces=ONE))
    assert done.mask[0, 48, 60] == 1 and done.mask[0, 2, 3] == 0
    assert torch.isfinite(done.frames[done.mask > 0]).all()
    assert torch.isnan(done.frames[0, 2, 3]).all()


@pytest.mark.parametrize(
    ("frames", "level"),
    [
        (torch.full((1, HEIGHT, WIDTH, 1), 0.5), 0.5),
        (torch.full((HEIGHT, WIDTH, 3), 0.5, dtype=torch.float16), 0.5),
        (torch.full((1, HEIGHT, WIDTH, 3), 51, dtype=torch.uint8), 0.2),
        (torch.full((1, HEIGHT, WIDTH, 1), 13107, dtype=torch.uint16), 0.2),
    ],
)
def test_other_kinds_of_pictures_are_restored_as_rgb(frames, level):
    done = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=ONE))
    assert done.frames.dtype == torch.float32 and done.frames.shape == (1, HEIGHT, WIDTH, 3)
    assert (done.frames - brighter(grey(level=level), done.mask)).abs().max() < 1e-5


@pytest.mark.parametrize("work", [restore_faces, restore_image])
def test_an_empty_batch_is_refused(work):
    with pytest.raises(ImageError, match="There is no picture in this batch"):
        work(torch.zeros(0, 8, 8, 3), bundled(), FULL, HOST)


def test_thirty_faces_in_one_frame(no_detector):
    places = [(10 + 19 * column, 10 + 18 * row) for row in range(5) for column in range(6)]
    faces = faces_of(tuple(face_at(x, y, 16) for x, y in places))
    done = restore_faces(grey(), face_model(), FULL, HOST, Restoring(faces=faces))
    assert done.report.faces == 30
    assert all(done.mask[0, y, x] == 1 for x, y in places)


@pytest.mark.parametrize("size", [(1, 1), (64, 80)])
def test_a_frame_without_a_face_comes_back_identical(size):
    frames = torch.rand(2, *size, 4)
    frames[0, 0, 0, 0] = torch.nan
    done = restore_faces(frames, bundled(), FULL, HOST)
    assert torch.equal(bits(done.frames), bits(frames)) and not done.mask.any()
    assert done.faces.count == done.report.faces == 0 and done.report.frames == 2
    assert "no face was found" in done.report.as_text() and SESSIONS.held_bytes(HOST.device()) == MTCNN_BYTES


def test_faces_are_looked_for_once_and_each_frame_gets_its_own():
    portrait = torch.from_numpy(skimage.data.astronaut()[20:180, 140:300].copy()).float() / 255
    frames = torch.stack([torch.zeros_like(portrait), portrait])
    done = restore_faces(frames, face_model(), FULL, HOST)
    assert [len(found) for found in done.faces.frames] == [0, 1]
    assert not done.mask[0].any() and done.mask[1].max() == 1
    eyes = done.faces.frames[1][0].landmarks[:2].round().astype(int)
    assert all(done.mask[1, y, x] == 1 for x, y in eyes)
    assert list(done.report.seconds)[:3] == ["plan", "load", "detect"]


class CountedHost(StandaloneHost):
    """A host that says which stages it was told of, and how far they came."""

    def __init__(self):
        self.told = []
        super().__init__("cpu", lambda stage, done, total: self.told.append((stage, done, total)))


def test_the_report_and_the_progress_say_what_was_done():
    faces, host = faces_of((face_at(60, 48),), (face_at(30, 40, frame=1), face_at(90, 50, frame=1))), CountedHost()
    report = restore_faces(grey(2), face_model(), MemoryBudget(GIB, "quality"), host, Restoring(faces=faces)).report
    assert (report.frames, report.faces, report.model, report.device) == (2, 3, "bright face", "cpu")
    assert (report.budget, report.mode, report.precision, report.enforcement) == (GIB, "quality", "fp32", "watched")
    assert report.tile == (64, 64) and report.sessions_built == 1
    assert 0 < report.predicted_peak <= report.allowed <= GIB
    assert set(report.seconds) == {"plan", "load", "align", "restore", "paste"}
    assert host.told[-1] == ("restore", 3, 3)


@pytest.mark.parametrize("name", ["face network", "bundled"])
@pytest.mark.parametrize("given", [None, ONE])
def test_too_small_a_budget_is_refused_before_anything_is_done(networks, name, given, no_detector):
    opened = SESSIONS.opened
    # What planning takes is no longer there to be given.
    with pytest.raises(BudgetError, match=r"needs .*\(\d+ bytes\).* gives 0 MiB \((9999|0) bytes\)") as refusal:
        restore_faces(grey(), networks[name], MemoryBudget(9999), HOST, Restoring(faces=given))
    assert refusal.value.needed > refusal.value.given
    assert SESSIONS.opened == opened


def test_what_detection_takes_counts_into_a_cpus_budget(no_detector):
    needed = detection_bytes(*grey().shape[1:3], DetectionSettings())
    budget = MemoryBudget(needed - MIB, "quality")
    with pytest.raises(BudgetError):
        restore_faces(grey(), face_model(), budget, HOST)
    assert restore_faces(grey(), face_model(), budget, HOST, Restoring(faces=ONE)).report.faces == 1


def test_a_large_frame_is_not_refused_for_what_only_the_whole_of_it_would_take(monkeypatch):
    frames = torch.zeros(1, 2000, 2000, 3)
    found = faces_of((face_at(60, 48),), height=2000, width=2000)
    monkeypatch.setattr(restore, "detect_faces", lambda *settings: found)
    budget = MemoryBudget(GIB // 4, "performance", "fail")
    with pytest.raises(BudgetError):
        restore_image(frames, bundled(), budget, HOST)
    assert restore_faces(frames, bundled(), budget, HOST).report.faces == 1


def test_a_refused_upscale_has_not_made_its_output(networks, monkeypatch):
    model = networks["upscaler"]
    monkeypatch.setattr(restore.torch, "zeros", lambda *size: pytest.fail(f"{size} was allocated"))
    with pytest.raises(BudgetError):
        restore_image(grey(), model, MemoryBudget(MIB), HOST)


def test_a_whole_image_is_upscaled_with_its_alpha(networks):
    frames = noisy(2, 4)[:, :24, :40]
    frames[..., 3] = torch.linspace(0, 1, 40)
    frames[1, 5, 5, 0] = torch.nan
    model = networks["upscaler"]
    result, report = restore_image(frames, model, FULL, HOST)
    assert result.shape == (2, 96, 160, 4) and result.dtype == torch.float32
    assert torch.isfinite(result).all() and result.min() >= 0 and result.max() <= 1
    ramp = (torch.arange(160) + 0.5) / 4 - 0.5
    assert (result[..., 3] - (ramp / 39).clamp(0, 1)).abs().max() < 1e-5
    assert (report.frames, report.faces, report.model) == (2, 0, "net.pth")


def test_the_bundled_network_restores_a_whole_image_of_any_size():
    for size in ((1, 1), (37, 50)):
        frames = torch.full((1, *size, 4), 0.5)
        frames[..., 3] = torch.rand(size)
        result, _ = restore_image(frames, bundled(), FULL, HOST)
        assert result.shape == frames.shape and torch.equal(result[..., 3], frames[..., 3])
        assert (result - frames).abs().max() < 0.03


def test_a_face_network_is_not_run_over_a_whole_image():
    with pytest.raises(SettingError, match=r"bright face is a face network .* Use it with Tiled Face Restore"):
        restore_image(grey(), face_model(), FULL, HOST)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tile": -1}, "0 px or more, not -1 and 32"),
        ({"overlap": -8}, "0 px or more, not 0 and -8"),
        ({"fidelity": float("nan")}, "fidelity must be between 0 and 1, not nan"),
        ({"precision": "fp8"}, "no precision 'fp8'. Choose one of auto, fp32"),
    ],
)
def test_options_outside_their_range_are_refused(wrong, sentence):
    with pytest.raises(SettingError, match=sentence):
        Options(**wrong)


def shrunk_portrait(factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and damaged (1, H, W, 3): the portrait `factor` times smaller, with noise and JPEG at that size."""
    side = 512 // factor
    large = skimage.data.astronaut().astype(np.float32) / 255
    clean = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    damaged = degrade(clean, Severity(blur=0, scale=1, noise=4 / 255, jpeg=75), seed=1)
    return torch.from_numpy(clean)[None], torch.from_numpy(damaged)[None]


def test_a_small_face_gains_at_the_side_at_which_the_network_is_best():
    clean, damaged = shrunk_portrait(2)
    as_it_is = bundled()
    card = replace(as_it_is.spec.card, face_side=None)
    at_its_own_size = replace(as_it_is, spec=replace(as_it_is.spec, card=card))

    def left(network) -> float:
        done = restore_faces(damaged, network, FULL, HOST)
        inside = done.mask[0] == 1
        assert inside.any()
        return float(((done.frames - clean)[0][inside] ** 2).mean())

    assert left(as_it_is) < 0.85 * left(at_its_own_size)


def test_small_faces_are_run_at_the_networks_side_and_large_ones_at_their_own():
    small = restore_faces(
        noisy(), bundled(), FULL, HOST, Restoring(faces=faces_of((face_at(30, 48, 48), face_at(90, 48, 20))))
    )
    assert small.report.tile == (512, 512)
    upscaled = replace(bundled().spec.card, face_side=None)
    own = replace(bundled(), spec=replace(bundled().spec, card=upscaled))
    assert restore_faces(noisy(), own, FULL, HOST, Restoring(faces=faces_of((face_at(30, 48, 48),)))).report.tile == (
        64,
        64,
    )


def test_an_enlarged_face_needs_no_more_than_its_budget_gives():
    in_full = Restoring(faces=faces_of((face_at(60, 48),)), options=Options("fp32"))
    tight = restore_faces(noisy(), bundled(), MemoryBudget(105 * MIB), HOST, in_full)
    assert tight.report.predicted_peak <= 105 * MIB and max(tight.report.tile) < 512
    roomy = restore_faces(noisy(), bundled(), FULL, HOST, in_full)
    assert (tight.frames - roomy.frames).abs().max() < 3 / 255


@pytest.mark.parametrize(
    ("name", "longer", "changes"),
    [("bundled", 30, True), ("bundled", 20, False), ("face network", 30, False), ("face network", 50, True)],
)
def test_how_small_a_face_is_restored_unasked(networks, monkeypatch, name, longer, changes):
    found = faces_of((face_at(60, 48, longer * 2),))
    monkeypatch.setattr(restore, "detect_faces", lambda *_: found)
    done = restore_faces(noisy(), networks[name], FULL, HOST)
    assert bool(done.mask.any()) == changes


def energy_above(picture: torch.Tensor, frequency: float) -> float:
    """Energy (sum of squares) of a picture (H, W, 3) above a frequency in cycles per px, its edges faded out."""
    height, width = picture.shape[:2]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))[..., None]
    spectrum = torch.fft.fft2((picture - picture.mean((0, 1))) * window, dim=(0, 1)).abs() ** 2
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    return float(spectrum[radius > frequency].sum())


def test_a_face_larger_than_its_network_keeps_the_detail_that_the_network_cannot_know():
    frames = torch.rand(1, 400, 400, 3, generator=torch.Generator().manual_seed(5)) * 0.6 + 0.1
    faces = faces_of((face_at(200, 200, 192),), height=400, width=400)
    done = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces))
    assert (done.frames - frames - 0.1 * done.mask[..., None]).abs().max() < 1e-4
    assert done.report.notes == ["faces larger than the network's 64 px that kept the frame's finest detail: 1"]
    inside = slice(130, 270), slice(130, 270)
    kept = energy_above(done.frames[0][inside], 0.5 / 3) / energy_above(frames[0][inside], 0.5 / 3)
    assert kept == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("side", "share"), [(20, 0), (64, 0), (80, 0.5), (96, 1), (1500, 1)])
def test_how_much_detail_comes_back_grows_with_the_face(side, share):
    affine = align.affine_for(face_at(0, 0, side).landmarks, "ffhq_512", 64)
    assert restore.detail_share(align.enlargement(affine)) == pytest.approx(share, abs=1e-3)


def test_a_face_of_the_networks_size_comes_back_as_it_was_made(monkeypatch):
    """To the bit: nothing of the frame is added."""
    frames, faces = noisy(), faces_of((face_at(60, 48, 64), face_at(40, 40, 30)))
    done = restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces))
    monkeypatch.setattr(restore, "Detail", lambda *_: pytest.fail("the frame's detail came back"))
    assert torch.equal(restore_faces(frames, face_model(), FULL, HOST, Restoring(faces=faces)).frames, done.frames)
    assert not done.report.notes


def test_the_user_chooses_to_which_side_small_faces_are_enlarged(networks):
    faces = faces_of((face_at(60, 48, 48),))

    def tile(name, side):
        done = restore_faces(noisy(), networks[name], FULL, HOST, Restoring(faces=faces, face_side=side))
        return done.report.tile, done.report.notes

    assert tile("bundled", 250) == ((256, 256), [])
    assert tile("bundled", 64) == ((64, 64), []), "a face is never made smaller"
    assert tile("upscaler", 128)[0] == (128, 128)
    assert tile("face network", 256) == ((64, 64), ["bright face restores faces at 64 px, whatever side is asked for"])


@pytest.mark.parametrize("side", [-1, 1, 63, 2049, float("nan"), 10**9])
def test_another_face_side_is_refused(side):
    with pytest.raises(SettingError, match="side"):
        Restoring(face_side=side)
