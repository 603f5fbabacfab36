"""Cutting faces out of frames for whatever draws pictures: samplers, edit models, upscalers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...engines.host import Host, StandaloneHost
from ...engines.memory.budget import AUTOMATIC, MemoryBudget
from ...engines.memory.planner import FLOAT_PIXEL
from ...engines.memory.report import Report
from ...opencv import cv2
from .. import align
from ..detect.detection import changeable, detect_faces
from ..face import Faces
from ..frames import checked_frames
from ..identity.library import ModelLibrary
from ..restore import SMALLEST_ENLARGED
from . import shapes
from .geometry import Crop, Cropping, Crops, crop_affine
from .work import MODEL, Task, planned

# Bytes that a mask takes while it is made, at `shapes.SIDE` px or less: its planes, and the small picture for hair.
MASK_BYTES = shapes.SIDE**2 * 4 * 8 + shapes.HAIR_SIDE**2 * FLOAT_PIXEL * 8
CUT_PIXEL = 2 * FLOAT_PIXEL + 16  # of a crop: as it is warped, with alpha, and its mask while it is rounded
BASE_BYTES = 6 << 20  # what a first call leaves: threads' memory, and gaps between blocks

AS_USUAL = Cropping()


@dataclass(frozen=True, eq=False)
class Cropped:
    """images: (N, size, size, 3) float32 0..1. masks: (N, size, size) float32 0..1, soft, 0 at the border.

    Without a face there is one black picture with an empty mask, so that what comes next has something to work on.
    crops: where they lie. faces: all that were given or detected. report: what was done.
    """

    images: torch.Tensor
    masks: torch.Tensor
    crops: Crops
    faces: Faces
    report: Report


def crop_faces(
    frames: torch.Tensor,
    cropping: Cropping = AS_USUAL,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
    library: ModelLibrary | None = None,
) -> Cropped:
    """Cuts the faces of a batch, frame by frame, in the order of their numbers; `paste_faces` puts them back.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes; alpha is left out. library: the user's models, of
    which a face parser and a landmark network are used where they are there. Raises ImageError, FacesError,
    BudgetError, SettingError.
    """
    report, host = Report(), host or StandaloneHost()
    report.begin(budget)
    frames, faces, size = checked_frames(frames), cropping.faces, cropping.size
    smallest = cropping.detection.smallest_changed(faces is not None, SMALLEST_ENLARGED)
    if faces is None:
        faces = detect_faces(frames, host, cropping.detection, budget, report)
    faces.check_size(frames)
    usable = changeable([face for of_frame in faces.frames for face in of_frame], smallest, report)
    report.model, report.frames, report.faces = MODEL.name, len(frames), len(usable)
    # Made before the work is measured: they are what comes out of it.
    count = max(1, len(usable))
    images, masks, crops = torch.zeros(count, size, size, 3), torch.zeros(count, size, size), list[Crop]()
    if usable:
        models = replace(library or ModelLibrary(budget=budget, host=host), report=report)
        outlines = shapes.outlines(frames, usable, cropping, models)
        affines = [crop_affine(face, cropping) for face in usable]
        nbytes = max(cut_bytes(affine, size) for affine in affines) + len(usable) * size**2
        with planned(Task("crop", len(usable), nbytes), budget, host, report) as work:
            for index, face, outline, affine in work.over(usable, outlines, affines):
                picture = cut(frames[face.frame].numpy(), affine, size)
                crop = Crop(face.frame, affine, shapes.crop_mask(face, outline, affine, picture, cropping))
                images[index], masks[index] = torch.from_numpy(picture), torch.from_numpy(crop.weights())
                crops.append(crop)
    else:
        report.notes.append("no face was found: one black picture with an empty mask stands for the crops")
    cut_from = Crops(tuple(crops), size, len(frames), faces.height, faces.width)
    return Cropped(images, masks, cut_from, faces, report)


def cut(frame: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) float32 0..1 of a frame (H, W, 3 or 4), its edge carried on outside.

    Always the same for the same frame: what comes back is held against it, and nothing is changed where it is equal.
    """
    # Linear would blur what is enlarged.
    method = cv2.INTER_CUBIC if align.enlargement(affine) < 1 else cv2.INTER_LINEAR
    picture = np.ascontiguousarray(align.warped(frame, affine, (size, size), method)[..., :3])
    make_finite(picture, 0.0)
    return picture.clip(0, 1, out=picture)


def make_finite(values: np.ndarray, least: float) -> None:
    """Makes NaN 0, infinities 1 and `least`, in place; what holds none of them is only looked at."""
    if not np.isfinite(values).all():
        np.nan_to_num(values, copy=False, posinf=1.0, neginf=least)


def cut_bytes(affine: np.ndarray, size: int) -> int:
    """What cutting one crop takes beside the crop itself, in bytes."""
    square = align.averaged_pixels(affine)
    low, high = align.corner_bounds(align.inverse(affine), 0, 0, size, size)
    averaged = int(np.prod(high - low)) // square**2 * FLOAT_PIXEL if square > 1 else 0
    return BASE_BYTES + averaged + size**2 * CUT_PIXEL + MASK_BYTES
