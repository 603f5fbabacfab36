"""Pictures at the door: everything that a user may hand over, as the one kind that the rooms behind know."""

from __future__ import annotations

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
    frames = frames.detach().to("cpu", torch.float32)
    return frames.expand(-1, -1, -1, 3) if frames.shape[3] == 1 else frames


def checked_mask(mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The user's mask (H, W) or (1 or B, H, W) as (1 or B, H, W) float32 0..1 on the CPU; no numbers become 0.

    shape: of the frames it belongs to, (B, H, W). Raises ImageError for another size.
    """
    mask = mask.to("cpu", torch.float32)
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.shape[1:] != tuple(shape[1:]) or len(mask) not in (1, shape[0]):
        raise ImageError(
            f"The mask is {tuple(mask.shape)} but the image {tuple(shape)}: make it the size of the image, one for "
            "all frames or one for each."
        )
    return mask.nan_to_num(0.0).clamp(0, 1)
