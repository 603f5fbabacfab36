"""Which kinds of picture files are read and written, and what each kind holds. Pillow knows the endings.

The kinds are a list of our own: some of Pillow's readers start other programs (EPS) or are stubs (HDF5, MPEG).
"""

from __future__ import annotations

from functools import lru_cache

from PIL import Image

try:
    import pillow_heif
except ImportError:
    pass
else:
    pillow_heif.register_heif_opener()

WRITTEN = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF", "BMP", "DIB", "PPM", "TGA", "QOI")
READ = (*WRITTEN, "GIF", "PCX", "SGI", "DDS", "ICO", "PSD")
WITH_ALPHA = ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF", "TGA", "QOI")
WITH_16_BIT = ("PNG", "TIFF", "PPM")
WITH_GREY = ("PNG", "JPEG", "TIFF", "JPEG2000", "BMP", "DIB", "PPM", "TGA")
LIKE_PNG = ".png"  # the ending written for a picture whose own kind is only read

_FIRST = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")  # the usual ones lead in sentences
_FLOAT_OR_ONE_BIT = (".pfm", ".pbm")  # endings of the kind PPM that promise other values than are written


def read_suffixes() -> tuple[str, ...]:
    """The endings of files that can be read here, in lower case, such as ".png"."""
    return _suffixes(READ, reading=True)


def written_suffixes() -> tuple[str, ...]:
    """The endings of files that can be written here."""
    return _suffixes(WRITTEN, reading=False)


def kinds_read() -> list[str]:
    """Pillow's names of the kinds that can be read here."""
    Image.init()
    return [kind for kind in READ if kind in Image.OPEN]


def kind_written(suffix: str) -> str | None:
    """Pillow's name of the kind that an ending stands for; None where it cannot be written."""
    suffix = suffix.lower()
    return Image.registered_extensions()[suffix] if suffix in written_suffixes() else None


def result_suffix(suffix: str) -> str:
    """The ending of the result of a picture with this ending: the same, or .png where that is only read."""
    return suffix if kind_written(suffix) else LIKE_PNG


@lru_cache(maxsize=2)
def _suffixes(kinds: tuple[str, ...], reading: bool) -> tuple[str, ...]:
    registered = Image.registered_extensions()
    able = Image.OPEN if reading else Image.SAVE
    fitting = {suffix for suffix, kind in registered.items() if kind in kinds and kind in able}
    if not reading:
        fitting -= set(_FLOAT_OR_ONE_BIT)
    return tuple(
        sorted(fitting, key=lambda suffix: (_FIRST.index(suffix) if suffix in _FIRST else len(_FIRST), suffix))
    )
