"""Putting crops back, whatever was done to them: as many as there are, at any size, with alpha or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...engines.checks import check_numbers
from ...engines.host import Host, StandaloneHost
from ...engines.memory.budget import AUTOMATIC, MemoryBudget
from ...engines.memory.planner import FLOAT_PIXEL
from ...engines.memory.report import Report
from ...errors import FacesError, ImageError, SettingError
from ...opencv import cv2
from .. import align
from ..frames import checked_frames, checked_mask
from ..masks import soft
from ..paste import BAND_PIXELS
from ..restore import PASTE_PIXEL
from .change import Change, as_returned, difference_of
from .cut import BASE_BYTES, cut, cut_bytes
from .geometry import Crop, Crops
from .shapes import BORDER, resizing
from .work import MODEL, Task, planned


@dataclass(frozen=True, eq=False)
class Pasting:
    """How crops are put back.

    masks: (h, w) or (N, h, w) of any size, instead of those that the crops came with; fewer are repeated in order.
    strength: 0..1, 0 leaves the frames alone.
    colour: 0..1, how far what came back takes the colours of what was cut: mean and spread within the mask.
    Raises SettingError.
    """

    masks: torch.Tensor | None = None
    strength: float = 1.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(strength=self.strength, colour=self.colour)
        for name in ("strength", "colour"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"The setting {name} must be between 0 and 1, not {getattr(self, name)}.")


AS_IT_IS = Pasting()


@dataclass(frozen=True, eq=False)
class Pasted:
    """frames: as they came in, with the crops. mask: (B, H, W) float32 0..1, where crops were put."""

    frames: torch.Tensor
    mask: torch.Tensor
    report: Report


def paste_faces(
    frames: torch.Tensor,
    images: torch.Tensor,
    crops: Crops,
    pasting: Pasting = AS_IT_IS,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
) -> Pasted:
    """Puts crops back into the frames from which `crop_faces` cut them, or into those at another scale.

    frames: (B, H, W, C) 0..1; alpha stays. images: (N, h, w, C), one per crop, of any size; more are left out, and
    faces without one stay as they are. Where an image is transparent the frame stays. A crop that came back as it went
    changes nothing, to the bit. Raises ImageError, FacesError, BudgetError, SettingError.
    """
    report, host = Report(), host or StandaloneHost()
    report.begin(budget)
    if not isinstance(crops, Crops):
        raise FacesError("What is to be pasted has no geometry: connect the one that Crop Faces gives.")
    frames = checked_frames(frames)
    images = images[None] if images.ndim == 3 else images
    checked_frames(images[:1])
    placed = crops.placed_in(frames)
    count = min(len(images), len(placed.crops))
    report.model, report.frames, report.faces = MODEL.name, len(frames), count
    report.notes += notes(images, crops, frames, pasting)
    result, painted = frames.clone(), torch.zeros(frames.shape[:3])
    if count and pasting.strength > 0:
        used = placed.crops[:count]
        task = Task("paste", count, paste_bytes(used, images, crops.size, pasting))
        with planned(task, budget, host, report) as work:
            for index, crop in work.over(used):
                frame, canvas = result[crop.frame].numpy(), painted[crop.frame].numpy()
                change_of(frame, crop, images[index], index, pasting).add_to(frame, canvas)
    return Pasted(result, painted, report)


def change_of(frame: np.ndarray, crop: Crop, image: torch.Tensor, index: int, pasting: Pasting) -> Change:
    """What an image (h, w, C) changes in a frame (H, W, 3 or 4), where it stands for a crop of it."""
    returned = checked_frames(image[None])[0].numpy()
    height, width = returned.shape[:2]
    size = len(crop.mask)
    weights = crop.weights() if pasting.masks is None else own_mask(pasting.masks, index, size)
    if returned.shape[2] == 4:
        weights *= cv2.resize(np.nan_to_num(returned[..., 3]).clip(0, 1), (size, size), interpolation=cv2.INTER_AREA)
    before = as_returned(cut(frame, crop.affine, size), height, width, image.dtype)
    difference = difference_of(returned, before, pasting.colour, weights)
    weights *= np.float32(pasting.strength)
    across, down = resizing(size, width)[0], resizing(size, height)[1]
    to_returned = align.chained(crop.affine, np.stack([across, down]))
    return Change(difference, to_returned, weights, crop.affine)


def own_mask(masks: torch.Tensor, index: int, size: int) -> np.ndarray:
    """The user's mask of one crop as (size, size) float32 0..1, with a soft border. Raises ImageError."""
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or 0 in masks.shape:
        raise ImageError(f"A mask has a height and a width, and a batch one more axis; this has {tuple(masks.shape)}.")
    mask = checked_mask(masks[index % len(masks)], (1, size, size))[0].numpy()
    return np.asarray(mask * soft.crop_mask(size, BORDER), np.float32)


def notes(images: torch.Tensor, crops: Crops, frames: torch.Tensor, pasting: Pasting) -> list[str]:
    """What a report says of a batch that is not what was cut."""
    count, expected, said = len(images), len(crops.crops), []
    height, width = (int(length) for length in images.shape[1:3])
    if not expected:
        return ["no face was cut: all frames are unchanged"]
    if count > expected:
        said.append(f"images for which no face was cut, not used: {count - expected}")
    if count < expected:
        said.append(f"faces for which no image came back, not changed: {expected - count}")
    if (height, width) != (crops.size, crops.size):
        back = f"{width} x {height}" if height == width else f"{width} x {height}, stretched to squares"
        said.append(f"crops of {crops.size} px came back at {back}")
    if images.shape[3] == 4:
        said.append("where an image is transparent, the frame is unchanged")
    if (int(frames.shape[1]), int(frames.shape[2])) != (crops.height, crops.width):
        size = f"{frames.shape[2]} x {frames.shape[1]}"
        said.append(f"cut at {crops.width} x {crops.height} and pasted at {size}")
    if pasting.masks is not None and not bool(pasting.masks.any()):
        said.append("the masks are empty: nothing was changed")
    return said


def paste_bytes(crops: Sequence[Crop], images: torch.Tensor, size: int, pasting: Pasting) -> int:
    """What putting back the largest of these crops takes beside frames and images, in bytes."""
    pixels = int(images.shape[1]) * int(images.shape[2])
    crop, returned, masks = size**2 * FLOAT_PIXEL, pixels * FLOAT_PIXEL, size**2 * 4 * 3
    is_converted = images.dtype != torch.float32 or images.device.type != "cpu"
    is_resized = tuple(images.shape[1:3]) != (size, size)
    # As it comes back, what was cut at its size, what has its colours, and whether numbers are finite.
    beside = returned * (is_converted + is_resized + (pasting.colour > 0)) + pixels * 3 + masks
    most = 0
    for placed in crops:
        low, high = align.corner_bounds(align.inverse(placed.affine), 0, 0, size, size)
        box = int(np.prod(high - low))
        shrunk = max(1, int((pixels / max(1, box)) ** 0.5))
        averaged = returned // shrunk**2 if shrunk > 1 else 0
        band = min(box, BAND_PIXELS) * PASTE_PIXEL
        most = max(most, cut_bytes(placed.affine, size), crop + beside + averaged + band)
    return most + BASE_BYTES
