"""Notes on what was done to a picture, in the file itself: in the texts of a PNG, else in its EXIF.

ComfyUI keeps workflows in the same two places: as PNG texts, and in EXIF tags as a name, a colon and JSON.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PIL import Image

from .metadata import PNG_TEXT, Metadata, started

NAME = "slimfusion"
SOFTWARE = 0x0131  # the EXIF tag for the program that made a picture
WITH_EXIF = ("JPEG", "WEBP", "TIFF", "AVIF", "HEIF")

Note = dict[str, Any]


def notes_with(noted: Any, note: Note) -> list[Any]:
    """The notes of a picture and one more. Something else of that name is kept, as the first of them."""
    return [*(noted if isinstance(noted, list) else [] if noted is None else [noted]), note]


def with_note(metadata: Metadata, note: Note, kind: str | None) -> Metadata | None:
    """The same with one more note; None where files of this kind hold none. kind: Pillow's name of it."""
    if kind == "PNG":
        return _with_text(metadata, note)
    return _with_tag(metadata, note) if kind in WITH_EXIF else None


def _with_text(metadata: Metadata, note: Note) -> Metadata:
    start = PNG_TEXT + NAME.encode() + b"\0"
    ours = [text for text in metadata.texts if text.startswith(start)]
    earlier = _parsed(ours[-1][len(start) :].decode("latin-1")) if ours else None
    text = start + json.dumps(notes_with(earlier, note)).encode()
    return replace(metadata, texts=(*(chunk for chunk in metadata.texts if chunk not in ours), text))


def _with_tag(metadata: Metadata, note: Note) -> Metadata:
    for before in (metadata.exif, None):  # damaged EXIF raises many types; it is replaced
        with suppress(Exception):
            return replace(metadata, exif=_tagged(before, note))
    return metadata


def _tagged(before: bytes | None, note: Note) -> bytes:
    exif = Image.Exif()
    if before is not None:
        exif.load(before)
    text = str(exif.get(SOFTWARE, ""))
    earlier = _parsed(text.removeprefix(f"{NAME}:")) if text.startswith(f"{NAME}:") else None
    exif[SOFTWARE] = f"{NAME}:{json.dumps(notes_with(earlier, note))}"
    return started(exif.tobytes())


def _parsed(text: str) -> Any:
    """JSON as what it says, anything else as the text that it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
