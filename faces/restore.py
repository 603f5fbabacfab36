"""Restoring: find the faces once, run them through a network, blend them back; or whole frames in tiles.

A face network (GFPGAN and its kind) sees every face aligned to its template at its own size. An image network
sees the face as it stands in the frame, in an upright square: it needs no alignment. A small square is enlarged to
the side at which the network is best and averaged back; a large one keeps the frame's own resolution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..catalog.spec import ModelSpec
from ..engines.checks import check_numbers
from ..engines.host import Host
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.planner import FLOAT_PIXEL, Work
from ..engines.memory.report import Report
from ..engines.planning import DEFAULTS, Job, Options, planned
from ..engines.run import open_run
from ..engines.session import Blueprint
from ..errors import SettingError
from ..opencv import cv2
from . import align, paste
from .detect.detection import changeable, detect_faces, most_detection_bytes
from .detect.settings import DEFAULT_DETECTION, SMALLEST_CHANGED, DetectionSettings
from .face import Face, Faces
from .frames import checked_frames, checked_mask, empty_mask_note
from .masks import soft as masks
from .pictures.grey import is_grey, without_colour

# Bytes for each pixel of a face's box while it is blended in: the picture, its mask and weight, the frame's
# part, the product and the sum of both.
PASTE_PIXEL = 3 * FLOAT_PIXEL + 4 * 4
MASK_PIXEL = 4

# How much around a face an image network restores: what FFHQ's crop shows.
UPRIGHT_TEMPLATE = "ffhq_512"
# px of the longer side of the smallest face that is enlarged and restored: at 20 to 28 px all of 216 noisy JPEGs
# gained 0.6 dB or more, and none lost in LPIPS.
SMALLEST_ENLARGED = 24
SIDE_STEP = 32  # px between the sides of such squares: fewer sizes, so that more faces can be run together


@dataclass(frozen=True, eq=False)
class Restored:
    """frames: as they came in, restored. mask: (B, H, W) float32 0..1, how far each pixel was replaced."""

    frames: torch.Tensor
    mask: torch.Tensor
    faces: Faces
    report: Report


@dataclass(frozen=True, eq=False)
class _Task:
    """What both ways of restoring faces need to know. mask: (1 or B, H, W) float32, or None."""

    faces: list[Face]
    blueprint: Blueprint
    budget: MemoryBudget
    host: Host
    mask: torch.Tensor | None
    strength: float
    options: Options

    def job(self, work: Work) -> Job:
        return Job(self.blueprint, work, self.budget, self.host, self.options)

    def mask_of(self, face: Face) -> np.ndarray | None:
        return None if self.mask is None else self.mask[face.frame if len(self.mask) > 1 else 0].numpy()


def restore_faces(
    frames: torch.Tensor,
    blueprint: Blueprint,
    budget: MemoryBudget,
    host: Host,
    faces: Faces | None = None,
    mask: torch.Tensor | None = None,
    strength: float = 1.0,
    options: Options = DEFAULTS,
    detection: DetectionSettings = DEFAULT_DETECTION,
) -> Restored:
    """Restores the faces of a batch; every pixel outside them stays as it was, to the bit.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. faces: detected before, None to detect
    now. mask: (B or 1, H, W) float32 0..1, where the user wants it. strength: 0 leaves the faces alone. detection:
    how faces are looked for, and the smallest that is restored.
    Raises ImageError, FacesError, BudgetError, ModelFileError, SettingError.
    """
    report = Report()
    report.begin(budget)
    _check_restores(blueprint)
    frames = checked_frames(frames)
    mask = None if mask is None else checked_mask(mask, frames.shape[:3])
    report.notes += empty_mask_note(mask)
    check_numbers(strength=strength)
    if not 0 <= strength <= 1:
        raise SettingError(f"The strength goes from 0 to 1, not {strength}.")
    usual = SMALLEST_ENLARGED if blueprint.spec.card.face_side else SMALLEST_CHANGED
    smallest_changed = detection.smallest_changed(faces is not None, usual)
    if faces is None:
        # Whatever the user wants, the smallest way: how large the faces are is not known yet.
        smallest = replace(budget, on_low_memory="degrade")
        planned(Job(blueprint, _least_work(frames, blueprint, detection), smallest, host, options), report)
        faces = detect_faces(frames, host, detection, budget, report)
    faces.check_size(frames)
    result = frames.clone()
    painted = torch.zeros(frames.shape[:3])
    report.frames, report.faces, report.model = len(frames), faces.count, blueprint.spec.name
    usable = changeable([face for of_frame in faces.frames for face in of_frame], smallest_changed, report)
    if usable and strength > 0:
        task = _Task(usable, blueprint, budget, host, mask, strength, options)
        restore = _restore_aligned if blueprint.spec.card.is_face_restorer else _restore_upright
        restore(frames, result, painted, task, report)
    elif not faces.count:
        report.notes.append("no face was found: every frame is as it came in")
    return Restored(result, painted, faces, report)


def _least_work(frames: torch.Tensor, blueprint: Blueprint, detection: DetectionSettings) -> Work:
    """What looking for faces and any face will take at least: asked for before the faces are looked for."""
    size, after = blueprint.spec.card.size, most_detection_bytes(frames.shape[1], frames.shape[2], detection)
    if size is not None:
        return Work(size, size, 1, tiled=False, after_bytes=after)
    return Work(frames.shape[1], frames.shape[2], 1, tiled=True, after_bytes=after)


def restore_image(
    frames: torch.Tensor, blueprint: Blueprint, budget: MemoryBudget, host: Host, options: Options = DEFAULTS
) -> tuple[torch.Tensor, Report]:
    """Runs an image network over whole frames, in tiles where they do not fit.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. Returns (B, H * scale, W * scale, C)
    float32; alpha passes through, resized where the network scales. Raises as `restore_faces`.
    """
    report = Report()
    report.begin(budget)
    _check_restores(blueprint)
    frames = checked_frames(frames)
    spec = blueprint.spec
    if spec.card.is_face_restorer:
        raise SettingError(
            f"{spec.name} is a face network and knows aligned faces only. Use it with Tiled Face Restore, or "
            "choose an image network such as the bundled one."
        )
    count, height, width, channels = frames.shape
    work = Work(height, width, count, tiled=True)
    # An upscaled frame is large: it is made for work that fits.
    planned(Job(blueprint, work, budget, host, options), report)
    # Touched now, so that the output is not taken for memory that the work needs.
    result = torch.zeros(count, height * spec.scale, width * spec.scale, channels)
    report.frames = count
    with open_run(Job(blueprint, work, budget, host, options), report) as run:
        for frame, canvas in zip(frames, result, strict=True):
            run.frame(frame[..., :3], canvas[..., :3])
            if is_grey(frame[..., :3].numpy()):
                canvas[..., :3] = torch.from_numpy(without_colour(canvas[..., :3].numpy()))
            if channels == 4:
                canvas[..., 3] = _resized(frame[..., 3], *canvas.shape[:2])
    return result, report


def _check_restores(blueprint: Blueprint) -> None:
    """Raises SettingError for a network that takes or gives something else than a picture."""
    spec = blueprint.spec
    if spec.card.takes_tensors:
        raise SettingError(
            f"{spec.name} is a network of the family {spec.architecture} and restores nothing. Choose a "
            "restorer such as the bundled one."
        )


def _restore_aligned(
    frames: torch.Tensor, result: torch.Tensor, painted: torch.Tensor, task: _Task, report: Report
) -> None:
    """Face networks: aligned crops in batches, warped back."""
    card = task.blueprint.spec.card
    size, template = card.size, card.template
    assert size is not None and template is not None
    affines = [align.affine_for(face.landmarks, template, size) for face in task.faces]
    corners = [align.corner_bounds(align.inverse(affine), 0, 0, size, size) for affine in affines]
    box = max(int(np.prod(high - low)) for low, high in corners)  # px of the largest face's upright box
    box = min(box, paste.BAND_PIXELS)

    colourless: deque[bool] = deque()

    def crops() -> Iterator[torch.Tensor]:
        for face, affine in zip(task.faces, affines, strict=True):
            with report.stage("align"):
                crop = align.crop_face(frames[face.frame].numpy(), affine, size)
                colourless.append(is_grey(crop))
            yield torch.from_numpy(crop).permute(2, 0, 1)

    work = Work(size, size, len(task.faces), tiled=False, after_bytes=box * PASTE_PIXEL)
    soft = masks.crop_mask(size)
    with open_run(task.job(work), report) as run:
        for face, affine, restored in zip(task.faces, affines, run.crops(crops()), strict=True):
            with report.stage("paste"):
                picture = restored.permute(1, 2, 0).numpy()
                paste.paste(
                    result[face.frame].numpy(),
                    without_colour(picture) if colourless.popleft() else picture,
                    affine,
                    soft,
                    task.strength,
                    task.mask_of(face),
                    painted[face.frame].numpy(),
                )


def _restore_upright(
    frames: torch.Tensor, result: torch.Tensor, painted: torch.Tensor, task: _Task, report: Report
) -> None:
    """Image networks: each face's square as it stands in the frame, small ones enlarged, large ones in tiles."""
    spec = task.blueprint.spec
    step = max(SIDE_STEP, spec.multiple)
    # By size, so that faces of one size, such as a person's in a video, follow one another and are run together.
    regions = [(align.upright_region(face, UPRIGHT_TEMPLATE, step), face) for face in task.faces]
    regions.sort(key=lambda region: region[0][2])
    largest = regions[-1][0][2]
    work = _upright_work(largest, len(regions), spec)
    colourless: deque[bool] = deque()

    def crops() -> Iterator[torch.Tensor]:
        for (x0, y0, side), face in regions:
            with report.stage("align"):
                crop = align.crop_region(frames[face.frame].numpy(), x0, y0, side, side)
                colourless.append(is_grey(crop))
                working = max(side, spec.card.face_side or side)
                crop = _enlarged(crop, working)
            yield torch.from_numpy(crop).permute(2, 0, 1)

    with open_run(task.job(work), report) as run:
        for ((x0, y0, side), face), restored in zip(regions, run.crops(crops()), strict=True):
            with report.stage("paste"):
                picture = _resized(restored.permute(1, 2, 0), side, side).numpy()
                paste.paste_region(
                    result[face.frame].numpy(),
                    without_colour(picture) if colourless.popleft() else picture,
                    x0,
                    y0,
                    masks.region_mask(side, side),
                    task.strength,
                    task.mask_of(face),
                    painted[face.frame].numpy(),
                )


def _upright_work(largest: int, count: int, spec: ModelSpec) -> Work:
    """What restoring `count` squares takes, the largest of which has `largest` px in the frame."""
    working = max(largest, spec.card.face_side or largest)
    held = working**2 * FLOAT_PIXEL * (1 + spec.scale**2)  # the crop and its canvas
    resized = largest**2 * FLOAT_PIXEL if working != largest else 0
    after = held + resized + largest**2 * MASK_PIXEL + min(largest**2, paste.BAND_PIXELS) * PASTE_PIXEL
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
