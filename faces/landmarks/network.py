"""68 points by networks that come as ONNX files, and the five points that alignment wants out of them.

Points are (68, 2) float32 x y in pixels of the frame, in the order of iBUG 300-W, left as seen in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...engines.network import Infer, Tensors
from ...errors import ModelFileError
from ...opencv import cv2
from ..align import affine_for, can_align, inverse, warped
from ..face import Face
from ..masks.face_masks import network_input

FACE_SIDE = 195  # px of a box's longer side in the crop of 256
CROP = 256
GRID = 64  # the networks count their points in cells of 64 x 64
DARK = 30  # of 100: crops with less lightness on average have their contrast raised
SURE = {"2dfan4": 0.9, "peppa_wutz": 0.95}  # the mean certainty that counts as 1
LEAST_SCORE = 0.5  # below, a landmarker's points are worse than the detector's five


def five_from_68(points: np.ndarray) -> np.ndarray:
    """The five points (..., 5, 2) of 68 (..., 68, 2): middles of the eyes, tip of the nose, corners of the mouth."""
    points = np.asarray(points)
    eyes = [points[..., eye, :].mean(-2) for eye in (slice(36, 42), slice(42, 48))]
    return np.stack([*eyes, *(points[..., index, :] for index in (30, 48, 54))], -2)


def box_affine(box: np.ndarray, side: int = FACE_SIDE, crop: int = CROP) -> np.ndarray:
    """The affine (2, 3) to a crop that has the box's middle in its own and the box's longer side at `side` px."""
    box = np.asarray(box, np.float64)
    scale = side / max(float((box[2:] - box[:2]).max()), 1.0)
    # Boxes are in pixel edges, affines in pixel centres: half a pixel on both sides.
    shift = crop / 2 - scale * (box[:2] + box[2:]) / 2 + (scale - 1) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def landmarker_crop(frame: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A box's crop (256, 256, 3) float32 0..1 RGB of a frame (H, W, 3 or 4); dark ones with more contrast."""
    crop: np.ndarray = warped(frame, affine, (CROP, CROP))[..., :3]
    crop = np.nan_to_num(crop, posinf=1.0, neginf=0.0).clip(0, 1)
    lab = cv2.cvtColor(np.round(crop * 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
    if lab[..., 0].mean() * (100 / 255) >= DARK:
        return crop
    lab[..., 0] = cv2.createCLAHE(2.0).apply(np.ascontiguousarray(lab[..., 0]))
    result: np.ndarray = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.float32) / 255
    return result


def decoded(outputs: Tensors, name: str) -> tuple[np.ndarray, float]:
    """The points (68, 2) float32 in pixels of the crop, and how sure the network is of them, 0..1.

    outputs: (68, 3) x, y and certainty in cells of 64 x 64, and for 2dfan4 heat maps (68, 64, 64). Raises
    ModelFileError for other shapes.
    """
    arrays = [array.numpy() for array in outputs]
    table = next((array for array in arrays if array.size == 68 * 3), None)
    maps = next((array for array in arrays if array.size == 68 * GRID * GRID), None)
    if table is None:
        raise ModelFileError(f"A landmarker gives 68 points of three numbers, not {[array.shape for array in arrays]}.")
    table = table.reshape(68, 3)
    certainty = table[:, 2] if maps is None else maps.reshape(68, -1).max(1)
    sure = np.interp(certainty.mean(), [0.0, SURE.get(name, 1.0)], [0.0, 1.0])
    return (table[:, :2] * (CROP / GRID)).astype(np.float32), float(sure)


def with_landmarks(
    frames: torch.Tensor, faces: Sequence[Face], card: ModelCard, infer: Infer, least_score: float = LEAST_SCORE
) -> list[Face]:
    """The faces with 68 points of a network; where it is sure of them, the five points are made from them too.

    frames: (B, H, W, 3 or 4) as `checked_frames` gives them. card: of 2dfan4, peppa_wutz, or fan_68_5, which sees
    the five points only and leaves them as they are. least_score: 0..1.
    """
    if card.name == "fan_68_5":
        affines = [affine_for(face.landmarks, "ffhq_512", 1) for face in faces]
        results = infer(_normalised(faces, affines))
        point_sets = [outputs[0].numpy().reshape(68, 2) for outputs in results]
        return [
            replace(face, landmarks68=_back(points, affine))
            for face, points, affine in zip(faces, point_sets, affines, strict=True)
        ]
    affines = [box_affine(face.box) for face in faces]
    results = infer(_crops(frames, faces, affines, card))
    moved_faces = []
    for face, affine, outputs in zip(faces, affines, results, strict=True):
        points, sure = decoded(outputs, card.name)
        points = _back(points, affine)
        face = replace(face, landmarks68=points)
        five = five_from_68(points)
        moved_faces.append(replace(face, landmarks=five) if sure >= least_score and can_align(five) else face)
    return moved_faces


def _back(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    back = inverse(affine)
    result: np.ndarray = (points @ back[:, :2].T + back[:, 2]).astype(np.float32)
    return result


def _normalised(faces: Sequence[Face], affines: Sequence[np.ndarray]) -> Iterator[Tensors]:
    for face, affine in zip(faces, affines, strict=True):
        points = face.landmarks @ affine[:, :2].T + affine[:, 2]
        yield (torch.from_numpy(points.astype(np.float32)),)


def _crops(
    frames: torch.Tensor, faces: Sequence[Face], affines: Sequence[np.ndarray], card: ModelCard
) -> Iterator[Tensors]:
    for face, affine in zip(faces, affines, strict=True):
        yield (network_input(landmarker_crop(frames[face.frame].numpy(), affine), card),)
