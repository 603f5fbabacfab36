"""Between a clip's frames and the pixels that steps work on: colours, depth, alpha, rotation.

Only pixels that a step changed go back into a frame: all others keep the bits that the source had.
"""

from __future__ import annotations

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation

from ..opencv import cv2
from .read import UNSPECIFIED, Clip, Colour

_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_THUMB = (64, 36)  # width, height
_HD_LINES = 720  # from which on clips without tags are BT.709, as players take them
_BT709, _BT601 = 1, 5
_MATRIX_RGB = 0
_FULL = 2  # of ranges


def _matrix(colour: Colour, height: int) -> int:
    if colour.matrix in (UNSPECIFIED, _MATRIX_RGB):
        return _BT709 if height >= _HD_LINES else _BT601
    return colour.matrix


def _range(colour: Colour, pixels: str) -> int:
    """Full for RGB and for what JPEG writes, else what the file says, else that of television."""
    kind = av.VideoFormat(pixels)
    if kind.is_rgb or kind.has_palette or pixels.startswith("yuvj"):
        return _FULL
    return colour.range or 1


def _rgb_name(kind: av.VideoFormat) -> str:
    """The format of RGB that holds all of a format."""
    alpha = any(part.is_alpha for part in kind.components) or kind.has_palette
    deep = max(part.bits for part in kind.components) > 8
    return ("rgba" if alpha else "rgb") + ({True: "64le", False: "48le"}[alpha] if deep else ("" if alpha else "24"))


def to_pixels(frame: av.VideoFrame, clip: Clip) -> np.ndarray:
    """The frame as a viewer sees it: (H, W, 3 or 4) uint8 or uint16 RGB, upright."""
    name = _rgb_name(frame.format)
    rgb = frame.reformat(
        format=name,
        src_colorspace=_matrix(clip.colour, frame.height),
        src_color_range=_range(clip.colour, frame.format.name),
        dst_color_range=_FULL,
        interpolation=_EXACT,
    )
    pixels = rgb.to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, clip.rotation // 90)) if clip.rotation else pixels


def to_frame(picture: torch.Tensor, clip: Clip, pixels: str) -> av.VideoFrame:
    """A picture (H, W, C) float32 0..1, upright, as a frame of a format, turned as the clip's are."""
    kind = av.VideoFormat(pixels)
    name = _rgb_name(kind)
    deep = name.endswith("le")
    values = picture.numpy()
    if clip.rotation:
        values = np.rot90(values, -(clip.rotation // 90))
    if name.startswith("rgba") and values.shape[2] == 3:
        values = np.concatenate([values, np.ones_like(values[..., :1])], 2)
    elif not name.startswith("rgba"):
        values = values[..., :3]
    white, unchanged = (65535, np.uint16) if deep else (255, np.uint8)
    whole = np.rint(values.clip(0, 1) * np.float32(white)).astype(unchanged)
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole), name)
    frame = rgb.reformat(
        format=pixels,
        src_color_range=_FULL,
        dst_colorspace=_matrix(clip.colour, rgb.height),
        dst_color_range=_range(clip.colour, pixels),
        interpolation=_EXACT,
    )
    return tagged(frame, clip)


def tagged(frame: av.VideoFrame, clip: Clip) -> av.VideoFrame:
    """The frame with the clip's colour tags: some encoders take them from there."""
    colour = clip.colour
    frame.color_range, frame.color_primaries = colour.range, colour.primaries
    frame.color_trc, frame.colorspace = colour.transfer, colour.matrix
    return frame


def encodable(frame: av.VideoFrame, clip: Clip, pixels: str) -> av.VideoFrame:
    """The frame in the encoder's format; the same one where it is in it already."""
    if frame.format.name == pixels:
        return frame
    frame = frame.reformat(
        format=pixels,
        src_colorspace=_matrix(clip.colour, frame.height),
        dst_colorspace=_matrix(clip.colour, frame.height),
        src_color_range=_range(clip.colour, frame.format.name),
        dst_color_range=_range(clip.colour, pixels),
        interpolation=_EXACT,
    )
    return tagged(frame, clip)


def merged(original: av.VideoFrame, changed: torch.Tensor, mask: np.ndarray, clip: Clip) -> av.VideoFrame:
    """The original with those pixels of a picture that a mask (H, W) bool, upright, marks; all others to the bit.

    changed: (H, W, 3 or 4) float32 0..1, upright.
    """
    frame = to_frame(changed, clip, original.format.name)
    if clip.rotation:
        mask = np.rot90(mask, -(clip.rotation // 90))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return original
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    for old, new in zip(planes(original), planes(frame), strict=True):
        down, across = -(-mask.shape[0] // old.shape[0]), -(-mask.shape[1] // old.shape[1])
        whole = (
            slice(inside[0].start // down, -(-inside[0].stop // down)),
            slice(inside[1].start // across, -(-inside[1].stop // across)),
        )
        part = mask[whole[0].start * down : whole[0].stop * down, whole[1].start * across : whole[1].stop * across]
        unchanged = ~_any_in_cells(part, down, across)[: old[whole].shape[0], : old[whole].shape[1]]
        place = new[whole]
        place[unchanged] = old[whole][unchanged]
        outside = np.ones(old.shape[:2], bool)
        outside[whole] = False
        new[outside] = old[outside]
    return frame


def _any_in_cells(mask: np.ndarray, down: int, across: int) -> np.ndarray:
    """Whether any of each cell of down x across is set."""
    if down == across == 1:
        return mask
    height, width = -(-mask.shape[0] // down) * down, -(-mask.shape[1] // across) * across
    full = np.zeros((height, width), bool)
    full[: mask.shape[0], : mask.shape[1]] = mask
    return np.any(full.reshape(height // down, down, width // across, across), (1, 3))


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Views of the frame's planes: (h, w) or, where colours are packed, (h, w, n), in the type of its samples."""
    result = []
    parts = frame.format.components
    for index, plane in enumerate(frame.planes):
        mine = [part for part in parts if part.plane == index]
        if not mine:  # a palette
            result.append(np.frombuffer(memoryview(plane), np.uint8)[None, :1024])
            continue
        kind = np.dtype("<u2") if mine[0].bits > 8 else np.dtype(np.uint8)
        height, width = mine[0].height, mine[0].width
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height]
        used = np.ascontiguousarray(rows).view(kind) if plane.line_size % kind.itemsize else rows.view(kind)
        used = used[:, : width * len(mine)]
        result.append(used.reshape(height, width, len(mine)) if len(mine) > 1 else used)
    return result


def is_same(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    """Whether two frames of one kind have the same samples."""
    return all(np.array_equal(a, b) for a, b in zip(planes(one), planes(other), strict=True))


def thumbnail(frame: av.VideoFrame) -> np.ndarray:
    """(36, 64, 3) uint8 RGB: enough to tell whether another scene has begun."""
    return frame.reformat(*_THUMB, format="rgb24", interpolation=Interpolation.AREA).to_ndarray()


def scaled(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side is at most `side` px."""
    factor = side / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def shown(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture to look at: (h, w, 3) uint8, its longer side at most `side` px.

    picture: (H, W, 3 or 4) uint8, uint16, or float 0..1.
    """
    small = scaled(picture, side)[..., :3]
    if small.dtype == np.uint8:
        return np.ascontiguousarray(small)
    highest = np.iinfo(small.dtype).max if small.dtype.kind == "u" else 1.0
    return np.rint((small / highest).clip(0, 1) * 255).astype(np.uint8)
