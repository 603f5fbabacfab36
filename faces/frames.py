"""Pictures at the door: everything that a user may hand over, as the one kind that the rooms behind know."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..errors import ImageError

# Of one element: 8-bit and 16-bit pictures count from 0 to these.
_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}


def checked_frames(frames: torch.Tensor) -> torch.Tensor:
    """Frames as the package works on them: (B, H, W, C) float32 0..1 on the CPU, C 3 (RGB) or 4 (with alpha).

    Takes any float type, 8 and 16 bit integers, one picture without the batch axis, and greyscale, which
    becomes RGB. Returns the same tensor where nothing had to change. Raises ImageError.
    """
    if frames.ndim == 3:
        frames = frames[None]
    if frames.ndim != 4:
        raise ImageError(
            f"A picture has height, width and channels, and a batch one more axis; this has {frames.ndim} axes "
            f"{tuple(frames.shape)}."
        )
    if frames.shape[0] == 0 or 0 in frames.shape[1:3]:
        raise ImageError(f"There is no picture in this batch: its shape is {tuple(frames.shape)}.")
    if frames.shape[3] not in (1, 3, 4):
        raise ImageError(f"A picture has 1, 3 or 4 channels, this one {frames.shape[3]}: {tuple(frames.shape)}.")
    if frames.dtype in _WHITE:
        frames = frames.to("cpu", torch.float32) / _WHITE[frames.dtype]
    elif not frames.dtype.is_floating_point:
        raise ImageError(f"Pixels of type {frames.dtype} are not known; use float, 8-bit or 16-bit pictures.")
    if frames.requires_grad:
        frames = frames.detach()
    frames = frames.to("cpu", torch.float32)
    return frames.expand(-1, -1, -1, 3) if frames.shape[3] == 1 else frames


def checked_mask(mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The user's mask (H, W) or (N, H, W) of any size as (1 or B, H, W) float32 0..1 on the CPU.

    shape: of the frames it belongs to, (B, H, W). Another size is resized bilinearly, and fewer masks than frames are
    repeated in order, both as ComfyUI's core does. What is not a number becomes 0. Raises ImageError.
    """
    mask = mask.to("cpu", torch.float32)
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise ImageError(f"A mask has a height and a width, and a batch one more axis; this has {tuple(mask.shape)}.")
    frames, height, width = (int(length) for length in shape)
    mask = mask[:frames].nan_to_num(0.0).clamp(0, 1)
    if mask.shape[1:] != (height, width):
        mask = torch.nn.functional.interpolate(mask[None], size=(height, width), mode="bilinear")[0]
    if len(mask) not in (1, frames):
        mask = mask.repeat(math.ceil(frames / len(mask)), 1, 1)[:frames]
    return mask


def empty_mask_note(mask: torch.Tensor | None) -> list[str]:
    """What a report says of a mask that allows no change anywhere; nothing of any other."""
    if mask is None or bool(mask.any()):
        return []
    return ["the mask is empty: nothing was changed (an image without a painted mask gives an empty one)"]


def as_floats(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures (H, W, C) of one size, uint8 or uint16, as frames (B, H, W, C) float32 0..1."""
    white = 65535.0 if pixels[0].dtype == np.uint16 else 255.0
    frames = torch.empty(len(pixels), *pixels[0].shape)
    for place, picture in zip(frames, pixels, strict=True):
        np.divide(picture, white, out=place.numpy(), dtype=np.float32)
    return frames
