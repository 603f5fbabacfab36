"""What others do, written out plainly to be timed against: pasting and restoring over whole frames, facenet-pytorch.

Pasting follows the description of InsightFace's and ReActor's way, less a second mask that they compute and do not
use. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...faces.align import affine_for
from ...opencv import cv2

FACENET = "facenet-pytorch==2.6.0"
CROP = 512


def paste_whole_frame(frame: np.ndarray, crop: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The frame with a crop (S, S, 3) uint8 in it; affine: (2, 3), frame pixels to crop pixels."""
    back = cv2.invertAffineTransform(affine)
    size = frame.shape[1], frame.shape[0]
    picture = cv2.warpAffine(crop, back, size)
    mask = cv2.warpAffine(np.full(crop.shape[:2], 255, np.float32), back, size)
    mask[mask > 20] = 255
    rows, columns = np.where(mask == 255)
    side = int(np.sqrt(np.ptp(rows) * np.ptp(columns)))
    erosion, blur = max(side // 10, 10), max(side // 20, 5)
    mask = cv2.erode(mask, np.ones((erosion, erosion), np.uint8))
    mask = cv2.GaussianBlur(mask, (2 * blur + 1, 2 * blur + 1), 0)[..., None] / 255
    return (mask * picture + (1 - mask) * frame.astype(np.float32)).astype(np.uint8)


def restored_face_by_face(
    frame: np.ndarray, detector: Any, network: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """A frame whose faces were cropped, restored alone and pasted over the whole frame, one after the other.

    detector: facenet-pytorch's, whose weights are those of ours.
    """
    _, _, landmarks = detector.detect(frame, landmarks=True)
    for points in [] if landmarks is None else landmarks:
        affine = affine_for(np.asarray(points, np.float64), "ffhq_512", CROP)
        crop = cv2.warpAffine(frame, affine, (CROP, CROP))
        batch = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
        restored = network(batch)[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
        frame = paste_whole_frame(frame, restored, affine)
    return frame


def facenet(min_face: int, score: float) -> Any:
    """facenet-pytorch's detector with the thresholds of ours; installed into a folder of its own if it is missing.

    Without its pins, which would replace torch. Where torchvision has no compiled suppression of boxes, OpenCV's
    takes its place, which is as quick.
    """
    try:
        package = importlib.import_module("facenet_pytorch")
    except ImportError:
        folder = Path(tempfile.gettempdir()) / "slimfusion-bench-facenet"
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder), FACENET]
        subprocess.run(pip, check=True)
        sys.path.append(str(folder))
        package = importlib.import_module("facenet_pytorch")
    detection: Any = importlib.import_module("facenet_pytorch.models.utils.detect_face")
    try:
        detection.batched_nms(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1, dtype=torch.long), 0.5)
    except RuntimeError:  # torchvision without its compiled half
        detection.batched_nms = _suppressed
    return package.MTCNN(min_face_size=min_face, thresholds=[0.6, 0.7, score], keep_all=True)


def _suppressed(boxes: torch.Tensor, scores: torch.Tensor, owners: torch.Tensor, limit: float) -> torch.Tensor:
    if not len(boxes):
        return torch.empty(0, dtype=torch.long)
    corners = boxes.numpy().astype(np.float64)
    rectangles = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    given = rectangles.tolist(), scores.tolist(), owners.tolist()
    kept = cv2.dnn.NMSBoxesBatched(*given, 0.0, limit)
    return torch.as_tensor(np.array(kept, np.int64))


def facenet_boxes(network: Any, frames: np.ndarray, at_once: int) -> list[np.ndarray]:
    """The boxes (n, 4) of each frame (H, W, 3) uint8, in pixel edges: facenet-pytorch counts pixels from 1."""
    found: list[np.ndarray] = []
    for first in range(0, len(frames), at_once):
        boxes, _, _ = network.detect(frames[first : first + at_once], landmarks=True)
        shift = np.array([1.0, 1.0, 0.0, 0.0])
        found += [np.empty((0, 4)) if each is None else np.asarray(each, float) - shift for each in boxes]
    return found
