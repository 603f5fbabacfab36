"""The bundled recogniser: on the CPU, without a model file of the user's. It feeds no swap model.

The crop is aligned by the face's five points; its weights and their story are in weights/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.torch.architectures.eight_bit_embedder import in_eight_bits
from ...engines.torch.architectures.slim_embedder import SIDE, SlimEmbedder, load
from ...models.built_in import BuiltInModel, channels_last
from ..align import crop_face, similarity
from ..face import Face
from .keeping import LOOK_BYTES

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "slim_embedder.safetensors"
# Where the five points lie in the crop, as fractions of its side: dlib's face chip with a quarter of it around.
TEMPLATE = (
    np.array([[0.2255, 0.2160], [0.7547, 0.2160], [0.4901, 0.5156], [0.2541, 0.7802], [0.7261, 0.7802]]) + 0.25
) / 1.5
WEIGHT_BYTES = 26 << 20  # in float32 and in 8 bits

Look = Callable[[torch.Tensor], torch.Tensor]  # (1, 3, 150, 150) to (1, 128)


@dataclass(frozen=True)
class Recogniser:
    """The network, and the same in 8 bits: three times as fast, and up to a tenth of the distance between people off.

    What only tells people apart asks `quick`; where small moves of one face are compared, `exact`.
    """

    exact: Look
    quick: Look


def load_embedder() -> SlimEmbedder:
    return channels_last(load(load_file(WEIGHTS)))


def load_recogniser() -> Recogniser:
    exact = load_embedder()
    return Recogniser(exact, in_eight_bits(exact))


EMBEDDER = BuiltInModel("SlimEmbedder", load_recogniser, WEIGHT_BYTES)


def bundled_embeddings(
    faces: Sequence[tuple[np.ndarray, Face]],
    budget: MemoryBudget | None = None,
    host: Host | None = None,
    report: Report | None = None,
) -> list[np.ndarray]:
    """The vector (128,) float32 of each face.

    faces: each with its frame (H, W, 3 or 4) float32 0..1 RGB. Raises FacesError when a face's five points coincide,
    BudgetError.
    """
    if not faces:
        return []
    work = Work(1, 1, len(faces), tiled=False, after_bytes=LOOK_BYTES)
    with EMBEDDER.at_work(work, "recognise", budget, host, report) as recogniser:
        return [vector_of(recogniser.quick, chip(frame, face.landmarks)) for frame, face in faces]


def chip(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The crop (150, 150, 3) float32 0..1 that the recogniser looks at. points: (5, 2) in px of the frame."""
    crop = crop_face(frame, similarity(points, TEMPLATE * SIDE), SIDE)
    result: np.ndarray = np.nan_to_num(crop, posinf=1.0, neginf=0.0).clip(0, 1)
    return result


@torch.inference_mode()
def vector_of(network: Look, crop: np.ndarray) -> np.ndarray:
    """What the recogniser says (128,) float32 of one crop (150, 150, 3)."""
    planes = torch.from_numpy(crop).permute(2, 0, 1)[None]  # channels stay side by side in memory
    return np.asarray(network(planes)[0].numpy().copy(), np.float32)
