"""The soft mask of a crop: the face without its hair, with it, or all of the square.

Made small and enlarged, because it is smooth. Where the user has a face parser it says what is face and what is hair;
else the face is the hull of its 68 points and the forehead above them, less what has not the colour of its skin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import ModelFileError
from ...opencv import cv2
from .. import align, warp
from ..face import Face
from ..fuse.classic import hair_mask
from ..identity.library import PARSERS, ModelLibrary, add_landmarks68, mask_network
from ..masks import face_masks, soft
from ..masks.face_masks import MaskChoice
from .geometry import Cropping

SIDE = 256  # px that a mask is made at
BORDER = 0.04  # of the crop's side, over which every mask falls to its border
OUTLINE = 0.5  # of the feather, by which the fall begins outside the jaw
HAIR_SIDE = 96  # px of the picture in which hair is told from skin

FACE_REGIONS = ("skin", "brows", "eyes", "glasses", "nose", "mouth", "lips")
HAIR_REGIONS = (*FACE_REGIONS, "ears", "hair", "hat")


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of a face's shape. points: its mesh (93, 2) in the frame, or None.

    seen: bits of (face_masks.SIZE, face_masks.SIZE), 1 where a parser saw what the mask is made of, or None.
    """

    points: np.ndarray | None = None
    seen: np.ndarray | None = None


def outlines(frames: torch.Tensor, faces: Sequence[Face], cropping: Cropping, library: ModelLibrary) -> list[Outline]:
    """Of each face, from the user's parser or else from 68 points; notes in the library's report which.

    frames: as `checked_frames` gives them. Raises what the networks raise.
    """
    if cropping.mask == "square" or not faces:
        return [Outline()] * len(faces)
    regions = HAIR_REGIONS if cropping.mask == "face and hair" else FACE_REGIONS
    try:
        parser = mask_network(library, "parser", PARSERS, len(faces))
    except ModelFileError:  # none is there
        with_points = add_landmarks68(frames, [face for face in faces if face.landmarks68 is None], library)
        points = iter(with_points)
        complete = [next(points) if face.landmarks68 is None else face for face in faces]
        return [Outline(warp.mesh_points(face.landmarks68)) for face in complete if face.landmarks68 is not None]
    affines = [align.affine_for(face.landmarks, face_masks.TEMPLATE, face_masks.SIZE) for face in faces]
    inside = face_masks.parsed_regions(faces, affines, frames, parser, MaskChoice(regions=regions))
    seen = [np.packbits(plane) for plane in inside]
    library.report.notes.append(f"the masks are those of {parser.card.name}")
    return [Outline(seen=bits) for bits in seen]


def crop_mask(face: Face, outline: Outline, affine: np.ndarray, picture: np.ndarray, cropping: Cropping) -> np.ndarray:
    """The mask (size, size) uint8 of a face's crop, 0 at its border.

    affine: (2, 3), frame pixels to crop pixels. picture: the crop (size, size, 3).
    """
    size = cropping.size
    side = min(size, SIDE)
    to_mask = align.chained(affine, resizing(size, side))
    feather = cropping.feather * side / cropping.context
    if outline.points is not None:
        mesh = warp.placed(outline.points, to_mask)
        mask = pointed_mask(mesh, side, feather, cropping.mask)
        if cropping.mask == "face":
            mask *= 1 - fringe(picture, warp.placed(outline.points, affine), side)
    elif outline.seen is not None:
        mask = parsed_mask(face, outline.seen, to_mask, side, feather)
    else:
        share = (1 - 1 / cropping.context) / 2
        mask = soft.box_mask(side, (share, share, share, share), min(0.5, cropping.feather / cropping.context))
    mask = np.minimum(mask, soft.crop_mask(side, BORDER))
    if side != size:
        mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(mask * 255), np.uint8)


def resizing(size: int, side: int) -> np.ndarray:
    """The affine (2, 3) from pixels of a crop to those of the same crop at another side."""
    scale = side / size
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])


def pointed_mask(mesh: np.ndarray, side: int, feather: float, kind: str) -> np.ndarray:
    """(side, side) float32 of a face whose mesh (93, 2) lies in the mask's pixels. feather: px."""
    if kind == "face and hair":
        outline = mesh[-warp.RING_POINTS :]
    else:
        outline = mesh[: -warp.RING_POINTS].copy()
        # The jaw alone: above it lies hair.
        away = outline[warp.JAW] - outline.mean(0)
        outline[warp.JAW] += away * (OUTLINE * feather / np.maximum(np.hypot(*away.T), 1e-6))[:, None]
    return soft.hann_ramp(soft.depth_inside(outline, side, side), feather)


def fringe(picture: np.ndarray, mesh: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32: 1 where there is hair or a hat on the forehead of a crop (S, S, 3) with its mesh."""
    small_side = min(HAIR_SIDE, len(picture))
    small = cv2.resize(picture, (small_side, small_side), interpolation=cv2.INTER_AREA)
    points = warp.placed(mesh, resizing(len(picture), small_side))
    hair = hair_mask(small, small, np.ones(small.shape[:2], bool), points)
    return np.asarray(cv2.resize(hair, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def parsed_mask(face: Face, seen: np.ndarray, to_mask: np.ndarray, side: int, feather: float) -> np.ndarray:
    """(side, side) float32 of what a parser saw. to_mask: (2, 3), frame pixels to the mask's. feather: px."""
    size = face_masks.SIZE
    inside = np.unpackbits(seen, count=size**2).reshape(size, size).astype(np.float32)
    from_seen = align.inverse(align.affine_for(face.landmarks, face_masks.TEMPLATE, size))
    mask = align.warped(inside, align.chained(from_seen, to_mask), (side, side), zero=True)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.3, feather / 4)), np.float32)
