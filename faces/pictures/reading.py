"""From the bytes of a picture file to pixels, in the depth that the file has.

Pillow reads everything of 8 bit and what files say beside their pixels. It knows 16 bit only without colour: such
PNG, TIFF and PPM files are decoded by OpenCV.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ...opencv import cv2
from .grey import is_grey
from .kinds import kinds_read
from .metadata import Metadata, metadata_of, orientation_of

UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_LEVELS_OF_16_BIT = 65535
_PNG_DEPTH, _PNG_COLOURS = 24, 25  # offsets of the bits per channel and of the kind of colours in a PNG file
_PNG_GREY = (0, 4)
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_GREY_OR_RGB = (1, 2)  # of _PHOTOMETRIC, as white is the highest value
_UNSIGNED = 1
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF", "HEIF")
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Decoded:
    """pixels: (H, W, C) uint8 or uint16, upright: grey (1), grey with alpha (2), RGB (3) or RGBA (4)."""

    pixels: np.ndarray
    metadata: Metadata
    notes: tuple[str, ...] = ()


class UnknownPixelsError(ValueError):
    """Pixels of another type than 8 or 16 bit, such as floats."""


class TooLargeError(ValueError):
    """More pixels than may be read; the arguments are width and height."""


def decoded(content: bytes, most_pixels: int) -> Decoded:
    """The first picture of a file. Raises TooLargeError before anything is decoded, and for damaged content whatever
    Pillow and OpenCV raise, which is many types.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of it is raised
        with _without_pillows_limit():
            image: Any = Image.open(io.BytesIO(content), formats=kinds_read())
        width, height = image.size
        if width * height > most_pixels:
            raise TooLargeError(width, height)
        notes = _notes(image)
        deep = _is_deep(image, content)
        grey = image.mode in _GREY or (image.format == "PNG" and content[_PNG_COLOURS] in _PNG_GREY)
        is_tiff = image.format == "TIFF"
        if not deep:
            image.load()
        left = 1 if deep and is_tiff else orientation_of(image)  # OpenCV turns TIFF files itself
        metadata = metadata_of(image, left > 4, content)
        if deep:
            pixels = _by_opencv(content, grey)
        else:
            pixels, metadata = _by_pillow(image, metadata)
    return Decoded(turned(pixels, left), metadata, notes)


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's limit of pixels is the whole program's and fixed: it is left aside where ours comes at once."""
    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _notes(image: Any) -> tuple[str, ...]:
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # damage behind the first frame
        return ()
    if count > 1 and image.format in _ANIMATED:
        return (f"it is animated: only the first of its {count} frames was taken",)
    if count > 1 and image.format == "TIFF":
        return (f"it has {count} pages: only the first was taken",)
    return ()


def _is_deep(image: Any, content: bytes) -> bool:
    """Whether the file has 16 bit for each channel, and is of a kind that OpenCV reads so."""
    if image.format == "PNG":
        return content[_PNG_DEPTH] == 16
    if image.format == "TIFF":
        tags = image.tag_v2
        is_unsigned = set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))) == {_UNSIGNED}
        return set(tags.get(_BITS, ())) == {16} and is_unsigned and tags.get(_PHOTOMETRIC) in _GREY_OR_RGB
    if image.format == "PPM":
        arguments = image.tile[0][3] if image.tile else ()
        return image.mode == "I" or (isinstance(arguments, tuple) and _LEVELS_OF_16_BIT in arguments)
    return False


def _by_opencv(content: bytes, grey: bool) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != UINT16:
        raise UnknownPixelsError
    if pixels.ndim == 2:
        return np.asarray(pixels[..., None])
    if grey:
        return np.ascontiguousarray(pixels[..., :1] if pixels.shape[2] == 3 else pixels[..., [0, 3]])
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, order))


def _by_pillow(image: Any, metadata: Metadata) -> tuple[np.ndarray, Metadata]:
    """Pixels of 8 bit, or 16 bit grey, in a form that every part of this package knows."""
    mode, see_through = image.mode, "transparency" in image.info
    if mode.startswith("I;16"):
        return np.asarray(image, UINT16)[..., None], metadata
    if mode in ("I", "F"):
        raise UnknownPixelsError
    if mode in ("CMYK", "LAB"):
        return np.asarray(_from_print(image, metadata.icc)), replace(metadata, icc=None)
    if mode in ("1", "L"):
        plain = image.convert("LA" if see_through else "L")
    elif mode in ("LA", "La"):
        plain = image.convert("LA")
    else:
        has_alpha = see_through or mode in ("RGBA", "RGBa", "PA")
        plain = image.convert("RGBA" if has_alpha else "RGB")
    pixels = np.asarray(plain)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if mode in ("P", "PA") and is_grey(pixels[..., :3]):
        pixels = pixels[..., [0, 3]] if pixels.shape[2] == 4 else pixels[..., :1]
    return pixels, metadata


def _from_print(image: Any, icc: bytes | None) -> Any:
    """Inks, or L*a*b*, as sRGB: by the file's profile, or for inks without one (or with a broken one) by Pillow's
    plain formula.
    """
    try:
        lab = image.mode == "LAB"
        source = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(icc or b""))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError):
        return image.convert("RGB")


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) upright. orientation: 1 to 8, as EXIF numbers it."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
