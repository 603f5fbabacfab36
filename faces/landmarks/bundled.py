"""The bundled 68-point landmarker: on the CPU, without a model file of the user's.

The crop is aligned by the face's five points, so that a turned face stands upright in it whatever a detector's box
looks like. It is 112 px wide and a little larger than the face; its weights and their story are in weights/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.torch.architectures.slim_landmarks import SIDE, SlimLandmarks, load
from ...models.built_in import BuiltInModel, channels_last
from ..align import crop_face, inverse, similarity
from ..face import Face

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "slim_landmarks.safetensors"
# Where the five points lie in the crop, as fractions of its side: their mean in the teacher's crops, made symmetric.
TEMPLATE = np.array([[0.3338, 0.3944], [0.6573, 0.3944], [0.4955, 0.5885], [0.3439, 0.7297], [0.6472, 0.7297]])
WEIGHT_BYTES = 3 << 19  # 1.5 MiB
FORWARD_BYTES = 8 << 20  # of one crop, what torch makes ready included


def _load() -> SlimLandmarks:
    return channels_last(load(load_file(WEIGHTS)))


LANDMARKER = BuiltInModel("SlimLandmarks", _load, WEIGHT_BYTES)


def landmarks68(
    faces: Sequence[tuple[np.ndarray, Face]],
    budget: MemoryBudget | None = None,
    host: Host | None = None,
    report: Report | None = None,
) -> list[np.ndarray]:
    """The 68 points (68, 2) float32 x y of each face, in the order of iBUG 300-W, in pixels of its frame.

    faces: each with its frame (H, W, 3 or 4) float32 0..1 RGB. Raises FacesError when a face's five points coincide,
    BudgetError.
    """
    if not faces:
        return []
    work = Work(1, 1, len(faces), tiled=False, after_bytes=FORWARD_BYTES)
    with LANDMARKER.at_work(work, "landmarks", budget, host, report) as network:
        return [_points(network, frame, face) for frame, face in faces]


@torch.inference_mode()
def _points(network: SlimLandmarks, frame: np.ndarray, face: Face) -> np.ndarray:
    affine = similarity(face.landmarks, TEMPLATE * SIDE)
    crop = torch.from_numpy(crop_face(frame, affine, SIDE)).permute(2, 0, 1)[None]
    points = network(crop)[0].numpy() * SIDE - 0.5
    back = inverse(affine)
    return np.asarray(points @ back[:, :2].T + back[:, 2], np.float32)
