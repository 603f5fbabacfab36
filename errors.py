"""What can go wrong at a boundary. Each message is one sentence a user can act on."""

import unicodedata

# Control and formatting characters, halves of surrogate pairs (a file name that is no UTF-8), and line ends: they
# break consoles, logs and whoever encodes the text.
_NOT_SHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with what cannot be encoded as UTF-8 or shown written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _NOT_SHOWN else char for char in text)


def _escaped(char: str) -> str:
    """A byte that Python could not decode is a half pair from DC80 on, and is written as that byte."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return ascii(char)[1:-1]


class SlimFusionError(Exception):
    """Base of every error that this package raises on purpose. Its message can be printed anywhere."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class ModelFileError(SlimFusionError):
    """A model file is missing, damaged, unsafe or of an unknown architecture."""


class ImageError(SlimFusionError):
    """A picture has a shape, type or content that cannot be worked on."""


class ClipError(SlimFusionError):
    """A clip cannot be read."""


class FacesError(SlimFusionError):
    """Faces do not belong to the picture they are used with."""


class SettingError(SlimFusionError):
    """A value given by the user is outside what the setting accepts."""


class DependencyError(SlimFusionError):
    """A package or system library is missing or does not load."""


class DeviceError(SlimFusionError):
    """A device stopped working while it was used."""


class OutputError(SlimFusionError):
    """A result cannot be written where the user asked for it."""


class DownloadError(SlimFusionError):
    """A file cannot be downloaded from where it should be."""


class BudgetError(SlimFusionError):
    """The work does not fit the memory budget, whatever is tried.

    `needed` and `given` are bytes on the device, so that a host can make room and ask again.
    """

    def __init__(self, message: str, needed: int, given: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.given = given
