"""The portrait that is always there, and where its face is: what the demo and the benches share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ..distill.data import as_float, read_picture
from ..distill.degrade import Image, Severity
from ..errors import DependencyError
from ..faces.detect.mtcnn import Mtcnn
from ..faces.face import Face

# What the demo does to the astronaut: out of focus, half the pixels, a noisy sensor, JPEG. Her face is small, about
# 100 px: where shrinking by three has taken its detail, no restorer that invents nothing brings it back.
DEMO_DAMAGE = Severity(blur=1.5, scale=2, noise=8 / 255, jpeg=80)


def astronaut() -> Image:
    """scikit-image's public domain portrait, (512, 512, 3); raises `DependencyError` without scikit-image."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise DependencyError("scikit-image, whose astronaut is measured, is missing: pip install it.")
    return as_float(read_picture(Path(found.origin).parent / "data" / "astronaut.png"))


def face_region(picture: Image, detector: Mtcnn) -> tuple[slice, slice]:
    """Rows and columns of the largest face in `picture`; its middle half where none is found."""
    height, width = picture.shape[:2]
    (faces,) = detector.detect(torch.from_numpy(picture)[None])
    boxes = [face.box for face in faces] or [np.array([width / 4, height / 4, width * 3 / 4, height * 3 / 4])]
    x0, y0, x1, y1 = np.rint(max(boxes, key=lambda b: float((b[2] - b[0]) * (b[3] - b[1])))).astype(int)
    return slice(max(0, y0), y1), slice(max(0, x0), x1)


def face_region_of(face: Face) -> tuple[slice, slice]:
    """Rows and columns of a face's box."""
    x0, y0, x1, y1 = np.rint(face.box).astype(int)
    return slice(max(0, y0), y1), slice(max(0, x0), x1)
