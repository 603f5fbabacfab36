"""Picture files in and out: in the depth that they have, grey as grey, with what they say beside their pixels."""

from __future__ import annotations

import glob
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError

from ...engines.memory import meter
from ...errors import ImageError, OutputError
from . import grey as greys
from . import kinds
from .metadata import Metadata
from .reading import UINT8, UINT16, TooLargeError, UnknownPixelsError, decoded
from .writing import encoded

_WHITE = {UINT8: 255, UINT16: 65535}
NOTHING_SAID = Metadata()
MOST_PIXELS = 512 * 10**6
# From reading a picture to writing its result, with a copy and a mask between: 37 (JPEG), 51 (PNG with alpha) and 64
# (WebP) were measured at 48 million px.
BYTES_PER_PIXEL = 64
_BAND = 512  # rows that are turned into whole numbers at a time


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: (H, W, 3 or 4) float32 0..1 RGB. depth: the file's own type, to be written again.

    grey: the file has no colours. metadata: what it says beside its pixels. notes: what the user should know.
    """

    pixels: torch.Tensor
    depth: np.dtype
    grey: bool = False
    metadata: Metadata = NOTHING_SAID
    notes: tuple[str, ...] = ()


def user_path(text: str | Path) -> Path:
    """A path with ~ for somebody's home. Raises ImageError where there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ImageError(f"{text} cannot be found: there is no such home folder. Write the path in full.") from error


def picture_paths(source: str) -> list[Path]:
    """The picture files that a file name, a folder or a pattern with * means, in order of name.

    Raises ImageError when there is none.
    """
    path = user_path(source)
    suffixes = kinds.read_suffixes()
    try:
        if path.is_file():
            return [path]
        candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
        paths = [path for path in candidates if path.suffix.lower() in suffixes and path.is_file()]
    except OSError as error:
        raise ImageError(f"{source} cannot be searched for pictures: {error.strerror}.") from error
    if not paths:
        raise ImageError(f"No picture was found at {source} (looked for {', '.join(suffixes)}).")
    return sorted(paths)


def pixels_that_fit() -> int:
    """The most pixels that a picture may have: MOST_PIXELS, or what the memory that is free now holds."""
    _, free = meter.total_and_free(torch.device("cpu"))
    return min(MOST_PIXELS, free // BYTES_PER_PIXEL)


def read_picture(path: Path | str, most_pixels: int = 0) -> Picture:
    """Reads a file, turned the way its camera was held; of several pictures in it the first.

    most_pixels: refuse a larger one before it is decoded; 0 for `pixels_that_fit`. Raises ImageError when it is none
    that can be read.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
    limit = most_pixels or pixels_that_fit()
    try:
        file = decoded(content, limit)
    except TooLargeError as error:
        width, height = error.args
        raise ImageError(
            f"{path} has {width} x {height} px, more than the {limit / 1e6:.0f} million that are read here. If it is "
            "no mistake, set a higher limit (--max-pixels)."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{path} is larger than what fits into memory. Close other programs, or shrink it.") from error
    except Exception as error:  # readers raise many types for what is damaged
        unnamed = isinstance(error, (UnknownPixelsError, UnidentifiedImageError))
        reason = "" if unnamed else f" ({type(error).__name__}: {error})"[:200]
        raise ImageError(
            f"{path} is not a picture that can be read; it may be damaged or of another kind{reason}."
        ) from error
    channels, depth = file.pixels.shape[2], file.pixels.dtype
    whole = file.pixels.astype(np.float32)
    whole /= _WHITE[depth]
    if channels < 3:
        grey = np.repeat(whole[..., :1], 3, 2)
        whole = np.concatenate([grey, whole[..., 1:]], 2) if channels == 2 else grey
    return Picture(torch.from_numpy(whole), depth, channels < 3, file.metadata, file.notes)


def without_colour(pixels: torch.Tensor) -> torch.Tensor:
    """(H, W, 3 or 4) with its luminance alone; what is grey already stays as it is, to the bit."""
    colours = pixels[..., :3].numpy()
    if greys.is_grey(colours):
        return pixels
    return torch.cat([torch.from_numpy(greys.without_colour(colours)), pixels[..., 3:]], 2)


def write_picture(
    path: Path | str,
    pixels: torch.Tensor,
    depth: np.dtype = UINT8,
    grey: bool = False,
    metadata: Metadata = NOTHING_SAID,
) -> None:
    """Writes (H, W, 3 or 4) float32 0..1 RGB in the wanted depth, as far as the kind of file holds it.

    grey: write a picture without colours as grey. What was at `path` is replaced once all is written, or stays.
    Raises OutputError when the place cannot be written to.
    """
    path = Path(path)
    kind = kinds.kind_written(path.suffix)
    if kind is None:
        raise OutputError(f"{path.name} has no ending of a picture; use one of {', '.join(kinds.written_suffixes())}.")
    if depth not in _WHITE or kind not in kinds.WITH_16_BIT:
        depth = UINT8
    whole = _quantised(pixels if kind in kinds.WITH_ALPHA else pixels[..., :3], depth)
    # Grey with alpha in 16 bit is a TIFF file that hardly anybody reads.
    rare = kind == "TIFF" and depth == UINT16 and whole.shape[2] == 4
    is_without = grey and not rare and kind in kinds.WITH_GREY and greys.is_grey(whole[..., :3])
    if is_without:
        whole = np.ascontiguousarray(whole[..., [0, 3]] if whole.shape[2] == 4 else whole[..., :1])
    height, width = whole.shape[:2]
    try:
        content = encoded(kind, whole, metadata.for_pixels(width, height, is_without))
    except Exception as error:  # writers raise many types too
        raise OutputError(f"{path.name} could not be encoded: {width} x {height} px may be too large.") from error
    write_whole(path, content)


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file in its place once all of it is on the disk, so that no half of it is ever seen there.

    Raises OutputError.
    """
    real = path.resolve()  # a link stays a link
    beside = real.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, real)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that you may write to."
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _quantised(pixels: torch.Tensor, depth: np.dtype) -> np.ndarray:
    """(H, W, C) float32 0..1 as whole numbers of a type."""
    values = pixels.numpy()
    whole = np.empty(values.shape, depth)
    for top in range(0, len(values), _BAND):
        whole[top : top + _BAND] = np.rint(values[top : top + _BAND] * _WHITE[depth])
    return whole
