"""Restoring: find the faces once, run them through a network, blend them back; or whole frames in tiles.

A face network (GFPGAN and its kind) sees every face aligned to its template at its own size; to a face that is larger
in the frame only its change is added, so that finer detail stays. An image network
sees the face as it stands in the frame, in an upright square: it needs no alignment. A small square is enlarged to
the side at which the network is best and averaged back; a large one keeps the frame's own resolution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..catalog.spec import ModelSpec
from ..engines.checks import check_numbers
from ..engines.host import Host, StandaloneHost
from ..engines.job import DEFAULTS, Job, Options
from ..engines.memory.budget import AUTOMATIC, MemoryBudget
from ..engines.memory.planner import FLOAT_PIXEL, Work
from ..engines.memory.report import Report
from ..engines.network import Model
from ..engines.plan import plan
from ..errors import SettingError
from ..opencv import cv2
from . import align
from .detect.detection import changeable, detect_faces
from .detect.settings import DEFAULT_DETECTION, SMALLEST_CHANGED, DetectionSettings
from .face import Face, Faces
from .frames import checked_frames, checked_mask, empty_mask_note
from .identity.guard import Witness, witness
from .identity.keeping import NOT_KEPT, Keeping
from .masks import soft
from .paste import BAND_PIXELS, Canvas, Detail
from .pictures.grey import is_grey, remove_colour, without_colour

# Bytes for each pixel of a face's box while it is blended in: the picture, its mask and weight, the frame's
# part, the product and the sum of both.
PASTE_PIXEL = 3 * FLOAT_PIXEL + 4 * 4
MASK_PIXEL = 4

# How much around a face an image network restores: what FFHQ's crop shows.
UPRIGHT_TEMPLATE = "ffhq_512"
# px of the longer side of the smallest face that is enlarged and restored: at 20 to 28 px all of 216 noisy JPEGs
# gained 0.6 dB or more, and none lost in LPIPS.
SMALLEST_ENLARGED = 24
LEAST_SIDE, MOST_SIDE = 64, 2048  # px, of those that the user may choose
ALL_DETAIL = 1.5  # times a face network's own size from which a face keeps all detail that the network cannot know
SIDE_STEP = 32  # px between the sides of such squares: fewer sizes, so that more faces can be run together


@dataclass(frozen=True, eq=False)
class Restoring:
    """How faces are restored.

    faces: detected before, None to detect them.
    mask: (B or 1, H, W) float32 0..1, where the user wants it.
    strength: 0..1, 0 leaves the faces alone.
    detection: how faces are looked for, and the smallest that is restored.
    face_side: px of the square around a face to which smaller ones are enlarged for an image network; 0 for the one at
    which the network is best. A face network has its own size.
    keeping: whether the faces' likeness is watched and kept.
    Raises SettingError.
    """

    faces: Faces | None = None
    mask: torch.Tensor | None = None
    strength: float = 1.0
    options: Options = DEFAULTS
    detection: DetectionSettings = DEFAULT_DETECTION
    face_side: int = 0
    keeping: Keeping = NOT_KEPT

    def __post_init__(self) -> None:
        check_numbers(strength=self.strength, face_side=self.face_side)
        if not 0 <= self.strength <= 1:
            raise SettingError(f"The strength must be between 0 and 1, not {self.strength}.")
        if self.face_side and not LEAST_SIDE <= self.face_side <= MOST_SIDE:
            raise SettingError(
                f"The face side must be 0 (automatic) or {LEAST_SIDE} to {MOST_SIDE} px, not {self.face_side}."
            )

    def side_for(self, spec: ModelSpec) -> int:
        """px to which the squares of small faces are enlarged, 0 to leave them as large as they are."""
        step = side_step(spec)
        return -(-self.face_side // step) * step or spec.card.face_side or 0


AS_USUAL = Restoring()

Pictures = torch.Tensor | Sequence[torch.Tensor]  # one batch, or pictures of several sizes


@dataclass(frozen=True, eq=False)
class Restored:
    """frames: as they came in, restored. mask: (B, H, W) float32 0..1, how far each pixel was replaced."""

    frames: torch.Tensor
    mask: torch.Tensor
    faces: Faces
    report: Report


@dataclass(frozen=True, eq=False)
class Task:
    """What both ways of restoring faces need to know. mask: (1 or B, H, W) float32, or None. witness: looks at them.

    A face's `frame` is its place among the pictures that they are given: frames of a batch, or pictures of any sizes.
    """

    faces: list[Face]
    model: Model
    budget: MemoryBudget
    host: Host
    mask: torch.Tensor | None
    restoring: Restoring
    witness: Witness

    def job(self, work: Work) -> Job:
        return Job(self.model, work, self.budget, self.host, self.restoring.options)

    def canvas(self, face: Face, frames: Pictures, painted: Pictures) -> Canvas:
        """The frame of a face. frames: (H, W, C) each. painted: (H, W) each."""
        mask = None if self.mask is None else self.mask[face.frame if len(self.mask) > 1 else 0].numpy()
        return Canvas(frames[face.frame].numpy(), mask, painted[face.frame].numpy(), self.restoring.strength)


def restore_faces(
    frames: torch.Tensor,
    model: Model,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
    restoring: Restoring = AS_USUAL,
) -> Restored:
    """Restores the faces of a batch; every pixel outside them stays as it was, to the bit.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. Raises ImageError, FacesError, BudgetError,
    ModelFileError, SettingError.
    """
    report, host = Report(), host or StandaloneHost()
    report.begin(budget)
    check_restores(model)
    frames = checked_frames(frames)
    mask = None if restoring.mask is None else checked_mask(restoring.mask, frames.shape[:3])
    faces, detection = restoring.faces, restoring.detection
    report.notes += empty_mask_note(mask)
    smallest_changed = smallest_for(model, detection, faces is not None)
    if faces is None:
        # Whatever the user wants, the smallest way: how large the faces are is not known yet.
        smallest = replace(budget, on_low_memory="degrade")
        plan(Job(model, _least_work(frames, model), smallest, host, restoring.options))
        faces = detect_faces(frames, host, detection, budget, report)
    faces.check_size(frames)
    result = frames.clone()
    painted = torch.zeros(frames.shape[:3])
    report.frames, report.faces, report.model = len(frames), faces.count, model.spec.name
    usable = changeable([face for of_frame in faces.frames for face in of_frame], smallest_changed, report)
    if usable and restoring.strength > 0:
        restore = way_of(model)
        with witness(restoring.keeping, faces, budget, host, report) as seeing:
            restore(frames, result, painted, Task(usable, model, budget, host, mask, restoring, seeing), report)
    elif not faces.count:
        report.notes.append("no face was found: all frames are unchanged")
    return Restored(result, painted, faces, report)


def smallest_for(model: Model, detection: DetectionSettings, detected: bool) -> int:
    """px of the longer side of the smallest face that is restored. detected: the faces were detected before."""
    return detection.smallest_changed(detected, SMALLEST_ENLARGED if model.spec.card.face_side else SMALLEST_CHANGED)


def way_of(model: Model) -> Callable[[Pictures, Pictures, Pictures, Task, Report], None]:
    """How a network restores faces: aligned to its template, or as they stand."""
    return _restore_aligned if model.spec.card.is_face_restorer else _restore_upright


def _least_work(frames: torch.Tensor, model: Model) -> Work:
    """What any face will take at least: asked for before the faces are looked for."""
    size = model.spec.card.size
    if size is not None:
        return Work(size, size, 1, tiled=False)
    return Work(frames.shape[1], frames.shape[2], 1, tiled=True)


def restore_image(
    frames: torch.Tensor,
    model: Model,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
    options: Options = DEFAULTS,
) -> tuple[torch.Tensor, Report]:
    """Runs an image network over whole frames, in tiles where they do not fit.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. Returns (B, H * scale, W * scale, C)
    float32; alpha passes through, resized where the network scales. Raises as `restore_faces`.
    """
    report, host = Report(), host or StandaloneHost()
    report.begin(budget)
    check_restores(model)
    frames = checked_frames(frames)
    spec = model.spec
    if spec.card.is_face_restorer:
        raise SettingError(
            f"{spec.name} is a face network and knows aligned faces only. Use it with Tiled Face Restore, or "
            "choose an image network such as the bundled one."
        )
    count, height, width, channels = frames.shape
    planned = plan(Job(model, Work(height, width, count, tiled=True), budget, host, options))
    # Made for work that fits, since an upscaled frame is large; touched now, so that it is not taken for memory that
    # the work needs.
    result = torch.zeros(count, height * spec.scale, width * spec.scale, channels)
    report.frames = count
    with planned.open(report) as run:
        for frame, canvas in zip(frames, result, strict=True):
            run.frame(frame[..., :3], canvas[..., :3])
            if is_grey(frame[..., :3].numpy()):
                remove_colour(canvas.numpy())
            if channels == 4:
                canvas[..., 3] = _resized(frame[..., 3], *canvas.shape[:2])
    return result, report


def check_restores(model: Model) -> None:
    """Raises SettingError for a network that takes or gives something else than a picture."""
    spec = model.spec
    if spec.card.takes_tensors:
        raise SettingError(
            f"{spec.name} is a network of the family {spec.architecture} and restores nothing. Choose a "
            "restorer such as the bundled one."
        )


def _restore_aligned(frames: Pictures, result: Pictures, painted: Pictures, task: Task, report: Report) -> None:
    """Face networks: aligned crops in batches, warped back."""
    card = task.model.spec.card
    size, template = card.size, card.template
    assert size is not None and template is not None
    affines = [align.affine_for(face.landmarks, template, size) for face in task.faces]
    after = _aligned_bytes(affines, size) + task.restoring.keeping.bytes_for(size**2)
    shares = [detail_share(align.enlargement(affine)) for affine in affines]
    large = sum(share > 0 for share in shares)
    if task.restoring.face_side:
        report.notes.append(f"{task.model.spec.name} restores faces at {size} px, whatever side is asked for")
    if large:
        report.notes.append(f"faces larger than the network's {size} px that kept the frame's finest detail: {large}")

    waiting: deque[tuple[bool, Detail | None]] = deque()  # of each face in the network: is it grey, what comes back

    def crops() -> Iterator[torch.Tensor]:
        for face, affine, share in zip(task.faces, affines, shares, strict=True):
            frame = frames[face.frame].numpy()
            with report.stage("align"):
                crop = align.crop_face(frame, affine, size)
                waiting.append((is_grey(crop), Detail(frame, crop, share) if share else None))
            yield torch.from_numpy(crop).permute(2, 0, 1)

    work = Work(size, size, len(task.faces), tiled=False, after_bytes=after)
    crop_mask = soft.crop_mask(size)
    with plan(task.job(work)).open(report) as run:
        for face, affine, restored in zip(task.faces, affines, run.crops(crops()), strict=True):
            with report.stage("paste"):
                picture = restored.permute(1, 2, 0).numpy()
                grey, detail = waiting.popleft()
                picture = without_colour(picture) if grey else picture
            frame, points = frames[face.frame].numpy(), face.landmarks @ affine[:, :2].T + affine[:, 2]
            crop = align.crop_face(frame, affine, size) if task.restoring.keeping.keeps else picture
            picture = task.witness.restored(face, frame, crop, picture, points)
            with report.stage("paste"):
                task.canvas(face, result, painted).paste(picture, affine, crop_mask, detail)
            task.witness.step(face, "pasted", result[face.frame].numpy(), face.landmarks)


def _aligned_bytes(affines: list[np.ndarray], size: int) -> int:
    """What aligning or pasting one of some faces takes at most, beside its crop.

    affines: from frame to crops of `size` px.
    """
    most = 0
    for affine in affines:
        low, high = align.corner_bounds(align.inverse(affine), 0, 0, size, size)
        box = int(np.prod(high - low))  # px of the face's upright box
        square = align.averaged_pixels(affine)
        averaged = box // square**2 * FLOAT_PIXEL if square > 1 else 0
        detail = (
            2 * size**2 * FLOAT_PIXEL if detail_share(align.enlargement(affine)) else 0
        )  # the crop, and what is left
        most = max(most, averaged, min(box, BAND_PIXELS) * PASTE_PIXEL + detail)
    return most


def detail_share(enlargement: float) -> float:
    """How much of a frame's detail comes back to a face `enlargement` times as large as the network's crop: none at
    its size, all at half as much again, so that a face that grows from frame to frame does not change at once."""
    return round(min(1.0, max(0.0, (enlargement - 1) / (ALL_DETAIL - 1))), 3)


def _restore_upright(frames: Pictures, result: Pictures, painted: Pictures, task: Task, report: Report) -> None:
    """Image networks: each face's square as it stands in the frame, small ones enlarged, large ones in tiles."""
    spec = task.model.spec
    step, least = side_step(spec), task.restoring.side_for(spec)
    # By size, so that faces of one size, such as a person's in a video, follow one another and are run together.
    regions = [(align.upright_region(face, UPRIGHT_TEMPLATE, step), face) for face in task.faces]
    regions.sort(key=lambda region: region[0][2])
    largest = regions[-1][0][2]
    work = _upright_work(largest, max(largest, least), len(regions), spec)
    work = replace(work, after_bytes=work.after_bytes + task.restoring.keeping.bytes_for(largest**2))
    colourless: deque[bool] = deque()

    def crops() -> Iterator[torch.Tensor]:
        for (x0, y0, side), face in regions:
            with report.stage("align"):
                crop = align.crop_region(frames[face.frame].numpy(), x0, y0, side, side)
                colourless.append(is_grey(crop))
                crop = _enlarged(crop, max(side, least))
            yield torch.from_numpy(crop).permute(2, 0, 1)

    with plan(task.job(work)).open(report) as run:
        for ((x0, y0, side), face), restored in zip(regions, run.crops(crops()), strict=True):
            with report.stage("paste"):
                picture = _resized(restored.permute(1, 2, 0), side, side).numpy()
                picture = without_colour(picture) if colourless.popleft() else picture
            frame, points = frames[face.frame].numpy(), face.landmarks - np.array([x0, y0], np.float32)
            crop = align.crop_region(frame, x0, y0, side, side) if task.restoring.keeping.keeps else picture
            picture = task.witness.restored(face, frame, crop, picture, points)
            with report.stage("paste"):
                canvas = task.canvas(face, result, painted)
                canvas.paste_upright(picture, x0, y0, soft.region_mask(side, side))
            task.witness.step(face, "pasted", result[face.frame].numpy(), face.landmarks)


def side_step(spec: ModelSpec) -> int:
    """px in whose multiples the squares around faces are given to an image network."""
    return max(SIDE_STEP, spec.multiple)


def _upright_work(largest: int, working: int, count: int, spec: ModelSpec) -> Work:
    """What restoring `count` squares takes, the largest of which has `largest` px in the frame, `working` enlarged."""
    held = working**2 * FLOAT_PIXEL * (1 + spec.scale**2)  # the crop and its canvas
    resized = largest**2 * FLOAT_PIXEL if working != largest else 0
    after = held + resized + largest**2 * MASK_PIXEL + min(largest**2, BAND_PIXELS) * PASTE_PIXEL
    return Work(working, working, count, tiled=True, held_bytes=held, after_bytes=after)


def _enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A square (S, S, 3) float32 0..1 at `side` px: Lanczos, of which the averaging back loses least."""
    if side == len(picture):
        return picture
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_LANCZOS4).clip(0, 1)


def _resized(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(H, W) or (H, W, C) float32 at another size: averaged where it shrinks, linear where it grows."""
    if tuple(picture.shape[:2]) == (height, width):
        return picture
    shrinks = height < picture.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(picture.numpy(), (width, height), interpolation=how))
