"""From pixels to the bytes of a picture file, with its profile, EXIF, XMP, resolution and texts."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ...opencv import cv2
from .metadata import (
    ICC_TAG,
    INCH,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP_TAG,
    Y_RESOLUTION,
    Metadata,
    exif_tags,
    png_chunk,
    png_with,
)

JPEG_QUALITY, AVIF_QUALITY = 95, 90
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": JPEG_QUALITY},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": AVIF_QUALITY, "subsampling": "4:4:4"},
    "HEIF": {"quality": AVIF_QUALITY},
}
_JPEG_SEGMENT = 65000  # bytes that EXIF or XMP may have in a JPEG file, with their headers
_ROWS = 256  # of a TIFF file's strip
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BYTES_TAG, _UNASSOCIATED_ALPHA, _DEFLATE, _DIFFERENCES = 7, 2, 8, 2


def encoded(kind: str, pixels: np.ndarray, metadata: Metadata) -> bytes:
    """A picture file. kind: one of picture_kinds.WRITTEN. pixels: (H, W, 1 to 4) uint8 or uint16, as the kind holds.

    Raises what Pillow and OpenCV raise for a picture that the kind cannot hold.
    """
    if kind == "PNG":
        return png_with(_png(pixels), metadata)
    if kind == "TIFF":
        try:
            return _tiff(pixels, metadata, with_exif=True)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, struct.error):
            return _tiff(pixels, metadata, with_exif=False)  # a camera's own tags may not fit their types
    if pixels.dtype == np.uint16:
        return _by_opencv(".pgm" if pixels.shape[2] == 1 else ".ppm", pixels)
    said = {"icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
    if kind == "JPEG":
        said |= {name: None for name in ("exif", "xmp") if len(said[name] or b"") > _JPEG_SEGMENT}
    stated = {name: value for name, value in said.items() if value is not None}
    file = io.BytesIO()
    _image(pixels).save(file, kind, **_SETTINGS.get(kind, {}), **stated)
    return file.getvalue()


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels, _MODES[pixels.shape[2]])


def _by_opencv(suffix: str, pixels: np.ndarray) -> bytes:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(pixels.shape[2])
    fine, content = cv2.imencode(suffix, pixels if order is None else cv2.cvtColor(pixels, order))
    if not fine:
        raise ValueError(f"{suffix} could not be encoded")
    return bytes(content)


def _png(pixels: np.ndarray) -> bytes:
    if pixels.shape[2] != 2:
        return _by_opencv(".png", pixels)
    file = io.BytesIO()
    if pixels.dtype == np.uint8:
        _image(pixels).save(file, "PNG")
        return file.getvalue()
    # Neither library writes grey with alpha in 16 bit. It has four bytes for each pixel, as RGBA has in 8 bit, and PNG
    # filters bytes: the same file, but for the header.
    _image(pixels.astype(">u2").view(np.uint8)).save(file, "PNG")
    content = file.getvalue()
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 4, 0, 0, 0)
    return content[:8] + png_chunk(b"IHDR", header) + content[33:]


def _tiff(pixels: np.ndarray, metadata: Metadata, with_exif: bool) -> bytes:
    """A TIFF file, deflated. Its tags are written by Pillow, whose own writer knows no colour in 16 bit."""
    height, width, channels = pixels.shape
    strips = [_strip(pixels[top : top + _ROWS]) for top in range(0, height, _ROWS)]
    tags = ImageFileDirectory_v2()
    if with_exif and metadata.exif is not None:
        for tag, value in exif_tags(metadata.exif):
            tags[tag] = value
    tags[256], tags[257], tags[258] = width, height, (pixels.itemsize * 8,) * channels
    tags[259], tags[262], tags[277], tags[284] = _DEFLATE, 2 if channels > 2 else 1, channels, 1
    tags[278], tags[279], tags[317] = _ROWS, tuple(map(len, strips)), _DIFFERENCES
    if channels in (2, 4):
        tags[338] = (_UNASSOCIATED_ALPHA,)
    starts = np.cumsum([0, *map(len, strips[:-1])])
    tags[273] = tuple(int(start) for start in starts)  # from the tags' end on, as Pillow expects them here
    for tag, value in ((ICC_TAG, metadata.icc), (XMP_TAG, metadata.xmp)):
        if value is not None:
            tags.tagtype[tag] = _BYTES_TAG
            tags[tag] = value
    if metadata.dpi is not None:
        tags[X_RESOLUTION], tags[Y_RESOLUTION], tags[RESOLUTION_UNIT] = *metadata.dpi, INCH
    file = io.BytesIO()
    tags.save(file)
    file.writelines(strips)
    return file.getvalue()


def _strip(rows: np.ndarray) -> bytes:
    """Some rows, each pixel as its difference from the one to its left, deflated."""
    rows = rows.astype(rows.dtype.newbyteorder("<"))
    rows[:, 1:] -= rows[:, :-1].copy()
    return zlib.compress(rows.tobytes(), 6)
