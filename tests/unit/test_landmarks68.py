"""The bundled landmarker: plausible points on a real face, wherever and however turned it lies; its file."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from slimfusion.bench.portraits import astronaut
from slimfusion.engines.torch.architectures import slim_landmarks
from slimfusion.errors import FacesError, ModelFileError
from slimfusion.faces.align import warped
from slimfusion.faces.face import Face
from slimfusion.faces.landmarks import bundled as landmarks68

FIVE = np.array([[203.1, 99.7], [246.4, 102.9], [224.4, 127.9], [201.8, 139.1], [244.9, 141.2]], np.float32)
EYES = 42  # px between the astronaut's eyes


def face_at(points: np.ndarray) -> Face:
    return Face(0, np.array([180, 70, 270, 180], np.float32), points.astype(np.float32), 1.0)


def five_of(points: np.ndarray) -> np.ndarray:
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def points_of(picture: np.ndarray, five: np.ndarray) -> np.ndarray:
    (points,) = landmarks68.landmarks68([(picture, face_at(five))])
    return points


def test_points_lie_where_the_five_points_say() -> None:
    points = points_of(astronaut(), FIVE)
    assert (points.shape, points.dtype) == ((68, 2), np.float32)
    assert np.linalg.norm(five_of(points) - FIVE, axis=1).max() < 0.2 * EYES
    assert (np.diff(points[:17, 0]) > 0).all() and points[8, 1] == points[:, 1].max()  # the jaw, ear to ear


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_points_turn_with_the_face(degrees: int) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([255.5, 255.5])
    affine = np.column_stack([turn, middle - turn @ middle])
    upright = points_of(astronaut(), FIVE)
    turned = points_of(warped(astronaut(), affine, (512, 512)), FIVE @ turn.T + affine[:, 2])
    assert np.linalg.norm(turned - (upright @ turn.T + affine[:, 2]), axis=1).mean() < 0.02 * EYES


def test_a_face_without_an_extent_is_refused() -> None:
    with pytest.raises(FacesError, match="five points coincide"):
        points_of(astronaut(), np.full((5, 2), 100.0))


def test_its_file_is_small_half_precision_and_says_where_it_comes_from() -> None:
    assert landmarks68.WEIGHTS.stat().st_size <= 1_000_000
    with safe_open(landmarks68.WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "SlimLandmarks" and "MIT" in metadata["licence"] and metadata["training"]
    assert {value.dtype for value in load_file(landmarks68.WEIGHTS).values()} == {torch.float16}


def test_incomplete_weights_are_named() -> None:
    tensors = load_file(landmarks68.WEIGHTS)
    del tensors["points.bias"]
    with pytest.raises(ModelFileError, match=r"(?s)incomplete.*points\.bias"):
        slim_landmarks.load(tensors)
