"""Where a face may be changed: box, areas, regions, what stands before it, and the user's own mask, in one.

Each of them is made in the face's aligned crop and the smallest counts at every pixel. Learned ones see the crop
through a network that the caller runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...engines.checks import check_numbers
from ...engines.network import Infer, Tensors
from ...errors import FacesError, SettingError
from ...opencv import cv2
from .. import align, paste
from ..face import Face, Faces
from ..frames import checked_mask
from ..identity.select import AddFacts
from . import soft as masks

TEMPLATE = "ffhq_512"
SIZE = 512  # px of the crops that masks are made in; they are as soft as they need to be at any size


@dataclass(frozen=True)
class MaskChoice:
    """What a face's mask is made of; the default is a soft square around the face.

    padding: top, right, bottom and left margin as parts of the crop's side. areas, regions: names from
    `masks.AREAS` and `masks.REGIONS`, () for no such limit. occlusion: leave out what stands before the face.
    feather: width of the fall as a part of the crop's side, 0..0.5. Raises SettingError for a value outside its range.
    """

    padding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    areas: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    occlusion: bool = False
    feather: float = 0.05

    def __post_init__(self) -> None:
        check_numbers(feather=self.feather, **dict(zip(("top", "right", "bottom", "left"), self.padding, strict=True)))
        if not all(0 <= margin < 1 for margin in self.padding):
            raise SettingError(f"The margins of a face mask must be 0 or more and below 1, not {self.padding}.")
        if not 0 <= self.feather <= 0.5:
            raise SettingError(f"The feather of a face mask must be between 0 and 0.5, not {self.feather}.")

    @property
    def sees_pixels(self) -> bool:
        return self.occlusion or bool(self.regions)


@dataclass(frozen=True)
class MaskNetwork:
    """A network that looks at crops: its card, and what runs it."""

    card: ModelCard
    infer: Infer


@dataclass(frozen=True)
class MaskNetworks:
    """occluder, parser: for `occlusion` and `regions`. landmarks: finds the 68 points of faces without, for `areas`."""

    occluder: MaskNetwork | None = None
    parser: MaskNetwork | None = None
    landmarks: AddFacts | None = None


def face_masks(
    faces: Faces,
    choice: MaskChoice,
    frames: torch.Tensor | None = None,
    networks: MaskNetworks | None = None,
    user: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mask (B, H, W) float32 0..1 of all faces of a batch, 0 outside them.

    frames: (B, H, W, C) as `checked_frames` gives them, for networks. user: a mask (H, W) or (1 or B, H, W)
    that limits all others. Raises FacesError for what is needed and missing, ImageError, SettingError.
    """
    networks = networks or MaskNetworks()
    if frames is not None:
        faces.check_size(frames)
    faces.check_places()
    shape = (len(faces.frames), faces.height, faces.width)
    limit = None if user is None else checked_mask(user, shape)
    every = [face for of_frame in faces.frames for face in of_frame]
    if not every:
        return torch.zeros(shape)
    if choice.areas:
        every = _with_points(every, networks.landmarks)
    affines = [align.affine_for(face.landmarks, TEMPLATE, SIZE) for face in every]
    hidden = _packed(occluded(every, affines, frames, networks.occluder)) if choice.occlusion else [None] * len(every)
    parsed: Sequence[np.ndarray | None] = [None] * len(every)
    if choice.regions:
        parsed = _packed(parsed_regions(every, affines, frames, networks.parser, choice))
    box = masks.box_mask(SIZE, choice.padding, choice.feather)
    result = torch.zeros(shape)
    for face, affine, seen, region in zip(every, affines, hidden, parsed, strict=True):
        mask = box
        if choice.areas:
            assert face.landmarks68 is not None
            points = face.landmarks68 @ affine[:, :2].T + affine[:, 2]
            inside = masks.area_inside(points, choice.areas, SIZE)
            mask = np.minimum(mask, masks.feathered(inside, choice.feather))
        for packed in (seen, region):
            if packed is not None:
                inside = np.unpackbits(packed).reshape(SIZE, SIZE)
                mask = np.minimum(mask, masks.feathered(inside, choice.feather))
        lay(result[face.frame].numpy(), mask, affine)
    return result if limit is None else torch.minimum(result, limit)


def lay(canvas: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> None:
    """Raises a frame's mask (H, W) float32, in place, to a crop's (S, S); only where the crop lies is touched."""
    back = align.inverse(affine)
    low, high = align.corner_bounds(back, -1, -1, len(mask), len(mask))
    x0, y0 = np.floor(low).astype(int)
    x1, y1 = np.ceil(high).astype(int) + 1
    rows, columns = paste.visible_region(canvas, x0, y0, x1, y1)
    extent = columns.stop - columns.start, rows.stop - rows.start
    if min(extent) < 1:
        return
    back[:, 2] -= columns.start, rows.start
    # Not averaged where it shrinks: it is smooth already, and averaging would widen small faces' feathers.
    placed = cv2.warpAffine(mask, back, extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    np.maximum(canvas[rows, columns], placed, out=canvas[rows, columns])


def occluded(
    faces: Sequence[Face], affines: Sequence[np.ndarray], frames: torch.Tensor | None, occluder: MaskNetwork | None
) -> Iterator[np.ndarray]:
    """(SIZE, SIZE) uint8 for each face: 1 where nothing stands before it."""
    network = _needed(occluder, "mask", "occlusion")
    threshold = 0.0 if network.card.signed else 0.5
    for result, *_ in network.infer(crops(faces, affines, frames, network.card)):
        side = max(result.shape)
        picture = cv2.resize(result.float().numpy().reshape(side, side), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        yield (picture > threshold).astype(np.uint8)


def parsed_regions(
    faces: Sequence[Face],
    affines: Sequence[np.ndarray],
    frames: torch.Tensor | None,
    parser: MaskNetwork | None,
    choice: MaskChoice,
) -> Iterator[np.ndarray]:
    """(SIZE, SIZE) uint8 for each face: 1 in the regions that are chosen."""
    network = _needed(parser, "parser", "regions")
    for scores, *_ in network.infer(crops(faces, affines, frames, network.card)):
        inside = masks.region_inside(scores.numpy().argmax(0), choice.regions)
        yield cv2.resize(inside, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)


def crops(
    faces: Sequence[Face], affines: Sequence[np.ndarray], frames: torch.Tensor | None, card: ModelCard
) -> Iterator[Tensors]:
    """Each face's crop as a network wants it. Raises FacesError without the frames."""
    if frames is None:
        raise FacesError("This mask needs the image: connect the image in which the faces were detected.")
    assert card.size is not None
    scale = card.size / SIZE
    for face, affine in zip(faces, affines, strict=True):
        # The crops' first pixel centres lie together, as their borders do.
        smaller = affine * scale
        smaller[:, 2] += (scale - 1) / 2
        crop = align.crop_face(frames[face.frame].numpy(), smaller, card.size)
        yield (network_input(crop, card),)


def network_input(crop: np.ndarray, card: ModelCard) -> torch.Tensor:
    """A crop (S, S, 3) float32 0..1 RGB in the range, colour order and layout of a card; NaN counts as black."""
    picture = np.nan_to_num(crop, posinf=1.0, neginf=0.0).clip(0, 1)
    if card.colour == "BGR":
        picture = picture[..., ::-1]
    picture = (picture - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)
    if card.layout == "NCHW":
        picture = picture.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32))


def _needed(network: MaskNetwork | None, kind: str, what: str) -> MaskNetwork:
    if network is None or network.card.kind != kind:
        raise SettingError(f"The {what} of a face need a {kind} network: choose one.")
    return network


def _with_points(faces: list[Face], landmarks: AddFacts | None) -> list[Face]:
    """The faces, with the 68 points of those that have none yet."""
    unknown = [face for face in faces if face.landmarks68 is None]
    if unknown and landmarks is None:
        raise FacesError(
            f"{len(unknown)} faces have no 68 points, which their areas are made from: connect the image, and "
            "choose a landmark network."
        )
    with_points = iter(landmarks(unknown) if unknown and landmarks is not None else ())
    return [next(with_points) if face.landmarks68 is None else face for face in faces]


def _packed(inside: Iterable[np.ndarray]) -> list[np.ndarray]:
    """What is 0 or 1, in an eighth of the memory: thousands of faces may wait for their second network."""
    return [np.packbits(plane) for plane in inside]
