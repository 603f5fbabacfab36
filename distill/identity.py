"""Whether a restored face is still the same person: a loss on dlib's embedding of whole faces of the pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..engines.host import StandaloneHost
from ..errors import ImageError
from ..faces.align import inverse, similarity
from ..faces.detect.detection import detect_faces
from . import face_api
from .data import MARGIN, Group, Pictures, Pixels, as_batch, as_float
from .degrade import degraded_heavily, degraded_randomly, random_look

SIDE = 256  # px of the square around a face that is damaged and restored
HEAVY_SHARE = 0.75  # of the faces are damaged so that hardly more than the likeness is at stake
LONGEST = 512  # px: pictures in which a face is about as large as the recogniser wants it


@dataclass(frozen=True)
class FacePicture:
    """A picture (H, W, 3) uint8 and the five points (5, 2) of its largest face."""

    picture: Pixels
    points: NDArray[np.float32]


@dataclass(frozen=True)
class FaceLesson:
    """(1, 3, SIDE, SIDE) damaged and original, and where each pixel of the recogniser's chip lies in them: (1, 150,
    150, 2), as `grid_sample` takes it."""

    damaged: Tensor
    original: Tensor
    grid: Tensor


def points_of(picture: Pixels) -> NDArray[np.float32] | None:
    """The five points (5, 2) of the largest face, None where there is none."""
    faces = detect_faces(torch.from_numpy(as_float(picture))[None], StandaloneHost("cpu")).frames[0]
    return max(faces, key=lambda face: float(face.box[2] - face.box[0])).landmarks if faces else None


def is_looked_through(group: Group) -> bool:
    """Whether faces are looked for in its pictures: in those of about `LONGEST` px."""
    return LONGEST // 2 < max(group.pictures[0].shape[:2]) <= LONGEST


def with_points(pictures: Pictures) -> Pictures:
    """The same with the points of faces in every group of portraits, each portrait looked through at one size."""
    portraits = [group for group in pictures.groups if group.faces]
    seen = next((group for group in portraits if is_looked_through(group)), None)
    if seen is None:
        return pictures
    points = [points_of(picture) for picture in seen.pictures]

    def pointed(group: Group) -> Group:
        if not group.faces or len(group.pictures) != len(points):
            return group
        ratio = np.float32(max(group.pictures[0].shape[:2]) / max(seen.pictures[0].shape[:2]))
        return replace(group, points=tuple(None if known is None else known * ratio for known in points))

    return replace(pictures, groups=tuple(pointed(group) for group in pictures.groups))


def face_pictures(pictures: Pictures) -> tuple[FacePicture, ...]:
    """The training pictures of about `LONGEST` px in which a face is found. Raises ImageError when there is none."""
    found = []
    for group in filter(is_looked_through, pictures.groups):
        points = group.points or tuple(points_of(picture) for picture in group.pictures)
        for picture, known in zip(group.pictures, points, strict=True):
            if known is not None and min(picture.shape[:2]) >= SIDE + MARGIN:
                found.append(FacePicture(picture, known))
    if not found:
        raise ImageError("No face was found in the training pictures: leave --identity out, or add portraits.")
    return tuple(found)


def face_lesson(faces: tuple[FacePicture, ...], seed: tuple[int, int]) -> FaceLesson:
    """One face, most often heavily damaged; the same for the same seed."""
    rng = np.random.default_rng((*seed, 3))
    chosen = faces[rng.integers(len(faces))]
    middle = chosen.points.mean(0) + rng.normal(0, 8, 2)
    side, limits = SIDE + MARGIN, chosen.picture.shape[1::-1]
    left, top = (int(np.clip(at - side / 2, 0, limit - side)) for at, limit in zip(middle, limits, strict=True))
    crop = random_look(as_float(chosen.picture[top : top + side, left : left + side]), rng)
    inner = slice(MARGIN // 2, MARGIN // 2 + SIDE)
    damaged = (degraded_heavily if rng.random() < HEAVY_SHARE else degraded_randomly)(crop, rng)[inner, inner]
    corner = np.array([left, top], np.float32) + MARGIN // 2
    return FaceLesson(as_batch([damaged]), as_batch([crop[inner, inner]]), chip_grid(chosen.points - corner))


def chip_grid(points: NDArray[np.float32]) -> Tensor:
    """Where each pixel of a chip lies in a square of `SIDE` px, -1..1 from the first pixel's centre to the last's."""
    back = inverse(similarity(points, face_api.chip_points()))
    y, x = np.mgrid[: face_api.CHIP_SIZE, : face_api.CHIP_SIZE]
    places = np.stack([x, y, np.ones_like(x)], -1) @ back.T
    return torch.from_numpy((places * 2 / (SIDE - 1) - 1).astype(np.float32))[None]


def distance(output: Tensor, lesson: FaceLesson) -> Tensor:
    """How far the embedding of the restored face is from the original's; people are told apart at about 0.5."""
    chips = F.grid_sample(torch.cat([output, lesson.original]), lesson.grid.expand(2, -1, -1, -1), align_corners=True)
    restored, original = face_api.embeddings(chips)
    return torch.linalg.vector_norm(restored - original)
