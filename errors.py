"""What can go wrong at a boundary. Each message is one sentence a user can act on."""


class SlimFusionError(Exception):
    """Base of every error that this package raises on purpose."""


class ModelFileError(SlimFusionError):
    """A model file is missing, damaged, unsafe or of an unknown architecture."""


class ImageError(SlimFusionError):
    """A picture has a shape, type or content that cannot be worked on."""


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


class BudgetError(SlimFusionError):
    """The work does not fit the memory budget, whatever is tried.

    `needed` and `given` are bytes on the device, so that a host can make room and ask again.
    """

    def __init__(self, message: str, needed: int, given: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.given = given
