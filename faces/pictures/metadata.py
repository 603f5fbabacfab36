"""What picture files say beside their pixels: colour profile, EXIF, XMP, resolution and the texts of PNG files, read
from one and put into another.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from PIL import ExifTags, Image

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
PIXELS_WIDE, PIXELS_HIGH = 0xA002, 0xA003  # inside the EXIF's own table
XMP_TAG, ICC_TAG = 700, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 282, 283, 296, 2
EXIF_START = b"Exif\0\0"
PNG_XMP = b"XML:com.adobe.xmp"
PNG_TEXT = b"tEXt"
_PNG_TEXTS = (PNG_TEXT, b"zTXt", b"iTXt")
# Chunks of a PNG file that say the same as other fields of `Metadata`; the second kind is ImageMagick's.
_SAID_ELSEWHERE = (PNG_XMP + b"\0", b"Raw profile type ")

# Tags that say how a TIFF file keeps its pixels, or stand elsewhere in `Metadata`: not those of another file.
_OF_THE_FILE = {*range(254, 260), 262, 263, 266, 273, *range(277, 282), 284, 288, 289, 290, 291, 292, 293, 297, 301}
_OF_THE_FILE |= {*range(317, 350), *range(512, 533), XMP_TAG, ICC_TAG, 33723, 34377, 37724, *range(50706, 51200)}

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_START = len(PNG_SIGNATURE) + 25  # the signature and the chunk IHDR, after which others may come
_TURNED_IN_XMP = re.compile(rb"(tiff:Orientation(?:=\"|=\'|>))\s*[2-8]")


@dataclass(frozen=True)
class Metadata:
    """icc: an ICC profile. exif: "Exif", two zeros and a TIFF structure, upright. xmp: an XMP packet. dpi: x, y.

    texts: the text chunks of a PNG file, such as ComfyUI's workflows: each its name and content, as they stand there.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: tuple[bytes, ...] = ()

    def for_pixels(self, width: int, height: int, grey: bool) -> Metadata:
        """The same for a picture of another size, without a profile of other colours than it has."""
        fits = self.icc is not None and self.icc[16:20] == (b"GRAY" if grey else b"RGB ")
        return replace(self, icc=self.icc if fits else None, exif=_resized_exif(self.exif, width, height))


def orientation_of(image: Image.Image) -> int:
    """How an image that has been loaded is still to be turned: 1 (not) to 8, as EXIF numbers it."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises many types, and is no reason to refuse the pixels
        return 1
    return value if value in range(1, 9) else 1


def metadata_of(image: Image.Image, turned: bool, content: bytes = b"") -> Metadata:
    """What an image that has been loaded says. turned: by a quarter, so that x and y resolution change places.

    content: the file, from which the texts are taken where it is a PNG.
    """
    dpi = image.info.get("dpi")
    try:
        dpi = (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        dpi = None
    if dpi and turned:
        dpi = dpi[::-1]
    icc = image.info.get("icc_profile")
    icc = icc if isinstance(icc, bytes) and icc else None
    texts = tuple(png_texts(content)) if image.format == "PNG" else ()
    return Metadata(icc, _upright_exif(image), _upright_xmp(image), dpi, texts)


def _upright_exif(image: Image.Image) -> bytes | None:
    try:
        exif = image.getexif()
        for tag in _OF_THE_FILE & set(exif):
            del exif[tag]
        if ORIENTATION in exif:
            exif[ORIENTATION] = 1
        if not set(exif) - {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}:
            return None
        return started(exif.tobytes())
    except Exception:  # as above: what cannot be read is left out
        return None


def _upright_xmp(image: Image.Image) -> bytes | None:
    value: Any = image.info.get("xmp") or image.info.get(PNG_XMP.decode())
    if value is None and image.format == "TIFF":
        value = getattr(image, "tag_v2", {}).get(XMP_TAG)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return _TURNED_IN_XMP.sub(rb"\g<1>1", value) if isinstance(value, bytes) and value else None


def _resized_exif(content: bytes | None, width: int, height: int) -> bytes | None:
    """EXIF whose own width and height, where it states them, are those of the picture."""
    if content is None:
        return None
    try:
        exif = Image.Exif()
        exif.load(content)
        inside = exif.get_ifd(EXIF_IFD)
        if PIXELS_WIDE not in inside and PIXELS_HIGH not in inside:
            return content
        inside[PIXELS_WIDE], inside[PIXELS_HIGH] = width, height
        return started(exif.tobytes())
    except Exception:
        return content


def started(content: bytes) -> bytes:
    return content if content.startswith(EXIF_START) else EXIF_START + content


def exif_tags(content: bytes) -> Iterator[tuple[int, Any]]:
    """The tags of EXIF as a TIFF file holds them, tables inside as dictionaries."""
    exif = Image.Exif()
    exif.load(content)
    tables = {EXIF_IFD: dict(exif.get_ifd(EXIF_IFD)), GPS_IFD: dict(exif.get_ifd(GPS_IFD))}
    if INTEROP_IFD in tables[EXIF_IFD]:
        tables[EXIF_IFD][INTEROP_IFD] = dict(exif.get_ifd(ExifTags.IFD.Interop))
    for tag, value in exif.items():
        if tag not in tables:
            yield tag, value
    yield from ((tag, table) for tag, table in tables.items() if table)


def png_with(content: bytes, metadata: Metadata) -> bytes:
    """A PNG file with the chunks that say what `metadata` does."""
    parts = [content[:_PNG_START]]
    if metadata.icc is not None:
        parts.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        x, y = (min(round(inches / 0.0254), 0xFFFFFFFF) for inches in metadata.dpi)  # pixels per metre
        parts.append(png_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif is not None:
        parts.append(png_chunk(b"eXIf", metadata.exif.removeprefix(EXIF_START)))
    if metadata.xmp is not None:
        parts.append(png_chunk(b"iTXt", PNG_XMP + b"\0\0\0\0\0" + metadata.xmp))
    parts += [png_chunk(text[:4], text[4:]) for text in metadata.texts]
    return b"".join([*parts, content[_PNG_START:]])


def png_texts(content: bytes) -> Iterator[bytes]:
    """The text chunks of a PNG file, each its name and its content; where the file breaks off they end."""
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        data = content[start + 8 : start + 8 + length]
        if name in _PNG_TEXTS and len(data) == length and not data.startswith(_SAID_ELSEWHERE):
            yield name + data
        start += 12 + length


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
