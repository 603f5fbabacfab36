"""The bundled 68-point landmarker: on the CPU, without a model file of the user's.

The crop is aligned by the face's five points, so that a turned face stands upright in it whatever a detector's box
looks like. It is 112 px wide and a little larger than the face; its weights and their story are in weights/.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ...engines.torch.architectures.slim_landmarks import SIDE, SlimLandmarks, load
from ..align import crop_face, inverse, similarity
from ..face import Face

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "slim_landmarks.safetensors"
# Where the five points lie in the crop, as fractions of its side: their mean in the teacher's crops, made symmetric.
TEMPLATE = np.array([[0.3338, 0.3944], [0.6573, 0.3944], [0.4955, 0.5885], [0.3439, 0.7297], [0.6472, 0.7297]])


@lru_cache(maxsize=1)
def landmarker() -> SlimLandmarks:
    """The network, 1.4 MB in memory, read once."""
    network = load(load_file(WEIGHTS))
    for parameter in network.parameters():
        if parameter.ndim == 4:  # as crops lie, whose channels are side by side: a third of the time less
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@torch.inference_mode()
def landmarks68(frame: np.ndarray, face: Face) -> np.ndarray:
    """The 68 points (68, 2) float32 x y of a face, in the order of iBUG 300-W, in pixels of its frame.

    frame: (H, W, 3 or 4) float32 0..1 RGB. Raises FacesError when the face's five points coincide.
    """
    affine = similarity(face.landmarks, TEMPLATE * SIDE)
    crop = torch.from_numpy(crop_face(frame, affine, SIDE)).permute(2, 0, 1)[None]
    points = landmarker()(crop)[0].numpy() * SIDE - 0.5
    back = inverse(affine)
    return np.asarray(points @ back[:, :2].T + back[:, 2], np.float32)
