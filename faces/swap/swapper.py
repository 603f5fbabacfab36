"""What a swapper takes and returns, by its card: crop, identity, result. Nobody runs a network here.

Crops are numpy arrays (S, S, 3) float32 0..1 RGB. docs/MODELS.md shows the cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...catalog.cards import CARDS
from ...catalog.known import KNOWN
from ...engines.network import Model, Tensors
from ...engines.onnx import file as onnx_file
from ...errors import ModelFileError, SettingError
from ..align import crop_face, similarity, template_points
from ..face import Face
from ..masks.face_masks import network_input
from .boost import boosted

MATRIX_SIDE = 512


@dataclass(frozen=True, eq=False)
class Swapper:
    """A card with what its file brings along.

    matrix: (512, 512) float32 of those that take a projected identity. Raises ModelFileError when it is needed and has
    another shape.
    """

    card: ModelCard
    matrix: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.card.needs_matrix:
            return
        shape = None if self.matrix is None else self.matrix.shape
        if shape != (MATRIX_SIDE, MATRIX_SIDE):
            raise ModelFileError(
                f"The {self.card.name} file does not end with a matrix of 512 x 512 numbers, which turns an identity "
                f"into its own (there is {shape}). Get another copy of the model."
            )

    @property
    def size(self) -> int:
        assert self.card.size is not None
        return self.card.size


def swapper_for(model: Model) -> Swapper:
    """The swapper that a model file is. Raises SettingError when it is none, ModelFileError without its matrix."""
    spec = model.spec
    card = spec.card
    if card.kind != "swapper":
        raise SettingError(
            f"{spec.name} is not a swap model but {spec.architecture}. Choose a swap model, or leave it out to "
            "blend without one."
        )
    if not card.needs_matrix or spec.path is None:
        return Swapper(card)
    stat = spec.path.stat()
    return Swapper(card, matrix_in(spec.path, stat.st_mtime_ns, stat.st_size))


def missing_converter(card: ModelCard) -> str:
    """What to say when the network that makes a swapper's identity is not there."""
    assert card.converter is not None
    converter = CARDS[card.converter]
    listed = next((file for file in KNOWN if file.card is converter), None)
    source = "" if listed is None else f" from {listed.source}"
    return (
        f"{card.name} needs the converter {converter.name}.onnx (licence: {converter.licence}), which turns the "
        f"recogniser's vector into its own, and it was not found. Put it{source} into models/{converter.folder}."
    )


@lru_cache(maxsize=4)
def matrix_in(path: Path, modified: int, size: int) -> np.ndarray | None:
    """The last initializer of an ONNX file, read alone and kept: 1 MiB. modified, size: change when the file does."""
    graph = onnx_file.read(path)
    tensor = graph.initializers.get("emap") or graph.last_initializer
    return None if tensor is None or tensor.dtype is None else tensor.load().float().numpy().copy()


def affine_for(swapper: Swapper, face: Face, factor: int = 1) -> np.ndarray:
    """The affine (2, 3) from frame pixels to the face's crop of `factor` times the network's side."""
    card = swapper.card
    assert card.template is not None
    points = template_points(card.template, swapper.size) + card.template_offset
    return boosted(similarity(face.landmarks, points), factor)


def unit(vector: np.ndarray) -> np.ndarray:
    result: np.ndarray = vector / np.linalg.norm(vector)
    return result


def identity_input(swapper: Swapper, vector: np.ndarray) -> torch.Tensor:
    """The swapper's source (512,) float32.

    vector: the recogniser's (512,) as it comes; for swappers with a converter, what that has made of it.
    """
    exact = np.asarray(vector, np.float64)
    if swapper.card.needs_matrix:
        assert swapper.matrix is not None
        exact = unit(exact) @ swapper.matrix.astype(np.float64)
    if swapper.card.identity in ("projected unit", "unit", "converted unit"):
        exact = unit(exact)
    return torch.from_numpy(exact.astype(np.float32))


def picture_input(swapper: Swapper, picture: np.ndarray, face: Face) -> torch.Tensor:
    """The source (3, s, s) float32 0..1 of swappers that look at a picture (H, W, 3 or 4) of the source."""
    card = swapper.card
    size = card.inputs[1].shape[-1]
    assert card.source_template is not None and size is not None
    affine = similarity(face.landmarks, template_points(card.source_template, size))
    crop = np.nan_to_num(crop_face(picture, affine, size), posinf=1.0, neginf=0.0).clip(0, 1)
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32))


def target_input(swapper: Swapper, crop: np.ndarray) -> torch.Tensor:
    """The target (3, S, S) float32 as the network wants it."""
    return network_input(crop, swapper.card)


def result_of(swapper: Swapper, outputs: Tensors) -> np.ndarray:
    """The network's picture and mask as (S, S, 4) float32 0..1; the mask is 1 where it gives none."""
    card = swapper.card
    picture = outputs[0].float().numpy().transpose(1, 2, 0)
    if card.signed:
        picture = picture * np.array(card.std, np.float32) + np.array(card.mean, np.float32)
    if len(outputs) > 1 and len(card.outputs) > 1:
        mask = outputs[1].float().numpy().reshape(swapper.size, swapper.size, 1)
    else:
        mask = np.ones((swapper.size, swapper.size, 1), np.float32)
    return np.concatenate([picture, mask], -1).clip(0, 1)
