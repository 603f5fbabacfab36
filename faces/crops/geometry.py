"""Where crops lie: what is cut from frames, and where it is put back.

A crop is a square of `size` px. An affine is (2, 3) float64 and takes (x, y, 1) in frame pixels to crop pixels; pixel
centres lie at whole numbers in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...engines.checks import check_numbers
from ...errors import FacesError, SettingError
from .. import align
from ..detect.settings import DEFAULT_DETECTION, DetectionSettings
from ..face import Face, Faces

# How a crop is laid around a face: a square around its box, or one of the field's templates.
TEMPLATES = {"ffhq": "ffhq_512", "arcface": "arcface_112_v2"}
SQUARES = ("loose", *TEMPLATES)
MASKS = ("face", "face and hair", "square")

STEP = 64  # px: what samplers and their encoders divide by
LEAST_SIZE, MOST_SIZE = 64, 2048  # px
MOST_CONTEXT, MOST_MARGIN = 4.0, 2.0
SAME_SHAPE = 0.01  # by which the sides of frames may be scaled differently


@dataclass(frozen=True, eq=False)
class Cropping:
    """How faces are cut.

    faces: detected before, None to detect them.
    square: one of SQUARES.
    size: px of each crop's side, a multiple of 64.
    context: 1 or more, how many times larger the crop's square is than what is pasted of it.
    margin: what a loose square has around the face's box, as a part of the box's longer side.
    upright: turn each face so that it stands upright in its crop.
    mask: one of MASKS.
    feather: width of the mask's fall, as a part of the square's side without its context, 0..0.5.
    detection: how faces are looked for, and the smallest that is cut.
    Raises SettingError.
    """

    faces: Faces | None = None
    square: str = "loose"
    size: int = 512
    context: float = 1.0
    margin: float = 0.3
    upright: bool = True
    mask: str = "face"
    feather: float = 0.1
    detection: DetectionSettings = DEFAULT_DETECTION

    def __post_init__(self) -> None:
        check_numbers(size=self.size, context=self.context, margin=self.margin, feather=self.feather)
        for name, value, choices in (("square", self.square, SQUARES), ("mask", self.mask, MASKS)):
            if value not in choices:
                raise SettingError(f"The {name} of a crop must be one of {', '.join(choices)}, not {value!r:.100}.")
        if not LEAST_SIZE <= self.size <= MOST_SIZE or self.size % STEP:
            raise SettingError(
                f"The size of a crop must be a multiple of {STEP} from {LEAST_SIZE} to {MOST_SIZE} px, not {self.size}."
            )
        if not 1 <= self.context <= MOST_CONTEXT:
            raise SettingError(f"The context must be between 1 and {MOST_CONTEXT:g}, not {self.context}.")
        if not 0 <= self.margin <= MOST_MARGIN:
            raise SettingError(f"The margin must be between 0 and {MOST_MARGIN:g}, not {self.margin}.")
        if not 0 <= self.feather <= 0.5:
            raise SettingError(f"The feather of a crop's mask must be between 0 and 0.5, not {self.feather}.")


@dataclass(frozen=True, eq=False)
class Crop:
    """One face's square.

    frame: index of its frame in the batch.
    affine: (2, 3) float64, frame pixels to the crop's.
    mask: (size, size) uint8: 255 where the crop is pasted, 0 where the frame stays, as it does at the border.
    """

    frame: int
    affine: np.ndarray
    mask: np.ndarray

    def weights(self) -> np.ndarray:
        """The mask as (size, size) float32 0..1."""
        return self.mask.astype(np.float32) * np.float32(1 / 255)


@dataclass(frozen=True, eq=False, repr=False)
class Crops:
    """Where the crops of a batch lie; pictures are not kept.

    crops: one per face, in the order of the batch of pictures. size: px of each crop's side.
    frames, height, width: of the batch that they were cut from.
    """

    crops: tuple[Crop, ...]
    size: int
    frames: int
    height: int
    width: int

    def __repr__(self) -> str:
        return f"Crops({len(self.crops)} of {self.size} px from {self.frames} frames of {self.width} x {self.height})"

    def placed_in(self, frames: torch.Tensor) -> Crops:
        """The crops where they lie in other frames (B, H, W, C): of the same pictures, at any size.

        Raises FacesError for another number of frames, or another shape.
        """
        count, height, width = (int(length) for length in frames.shape[:3])
        if count == self.frames and (height, width) == (self.height, self.width):
            return self
        across, down = width / self.width, height / self.height
        if count != self.frames or abs(across / down - 1) > SAME_SHAPE:
            raise FacesError(
                f"The faces were cut from {self.frames} frames of {self.width} x {self.height}, but the image has "
                f"{count} of {width} x {height}: connect the image that went into Crop Faces, at any scale."
            )
        to_old = np.array([[1 / across, 0, 0.5 / across - 0.5], [0, 1 / down, 0.5 / down - 0.5]])
        crops = tuple(replace(crop, affine=align.chained(to_old, crop.affine)) for crop in self.crops)
        return Crops(crops, self.size, count, height, width)


def crop_affine(face: Face, cropping: Cropping) -> np.ndarray:
    """The affine (2, 3) of a face's crop. Raises FacesError for five points that cannot be aligned.

    A square that is not turned begins and ends between pixels of the frame, so that where it has the crop's size its
    pixels are the frame's own.
    """
    middle, side, angle = square_around(face, cropping)
    side *= cropping.context
    if cropping.upright:
        return turned_square(middle, side, angle, cropping.size)
    side = max(1, round(side))
    first = np.round(middle + 0.5 - side / 2)
    scale = cropping.size / side
    return np.column_stack([np.eye(2) * scale, (0.5 - first) * scale - 0.5])


def square_around(face: Face, cropping: Cropping) -> tuple[np.ndarray, float, float]:
    """The middle (x, y) in the frame, the side in px and the angle in radians of what is pasted of a face's crop.

    The angle is the one by which the face is turned to stand upright.
    """
    template = TEMPLATES.get(cropping.square, "ffhq_512")
    affine = align.affine_for(face.landmarks, template, cropping.size)
    angle = float(np.arctan2(affine[1, 0], affine[0, 0]))
    box = np.asarray(face.box, np.float64)
    if cropping.square == "loose" and np.isfinite(box).all() and face.side >= 1:
        return (box[:2] + box[2:]) / 2 - 0.5, face.side * (1 + 2 * cropping.margin), angle
    middle = align.inverse(affine) @ [(cropping.size - 1) / 2, (cropping.size - 1) / 2, 1.0]
    return middle, cropping.size * align.enlargement(affine), angle


def turned_square(middle: np.ndarray, side: float, angle: float, size: int) -> np.ndarray:
    """The affine (2, 3) to a crop of `size` px from the square around a point, turned by an angle."""
    scale = size / side
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, (size - 1) / 2 - linear @ middle])
