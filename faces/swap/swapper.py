"""What a swapper wants and gives, by its family: crop, identity, result. Nobody runs a network here.

Crops are numpy arrays (S, S, 3) float32 0..1 RGB. Values from the programs that ship the files, collected in the
project's model notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ...catalog.families import FAMILIES, Family
from ...catalog.swappers import TEMPLATE_OFFSETS, wants_length_1
from ...engines.host import Host
from ...engines.network import Model, Tensors
from ...engines.onnx import file as onnx_file
from ...errors import ModelFileError, SettingError
from ...models import library as model_files
from ..align import crop_face, similarity, template_points
from ..face import Face
from ..masks.face_masks import network_input
from .boost import boosted

MATRIX_SIDE = 512


@dataclass(frozen=True, eq=False)
class Swapper:
    """A family with what its file brings along.

    matrix: (512, 512) float32 of families that take a projected identity. to_length_1: whether that is normalised
    again. Raises ModelFileError when a matrix is needed and has another shape.
    """

    family: Family
    matrix: np.ndarray | None = None
    to_length_1: bool = True

    def __post_init__(self) -> None:
        if self.family.identity != "projected":
            return
        shape = None if self.matrix is None else self.matrix.shape
        if shape != (MATRIX_SIDE, MATRIX_SIDE):
            raise ModelFileError(
                f"The {self.family.name} file does not end with a matrix of 512 x 512 numbers, which turns an identity "
                f"into its own (there is {shape}). Get another copy of the model."
            )

    @property
    def size(self) -> int:
        assert self.family.size is not None
        return self.family.size


def swapper_for(model: Model, host: Host) -> Swapper:
    """The swapper that a model file is. Raises SettingError when it is none, ModelFileError without its matrix."""
    spec = model.spec
    family = FAMILIES.get(spec.contract.architecture)
    if family is None or family.kind != "swapper":
        raise SettingError(
            f"{spec.name} is no swap model but {spec.contract.architecture}. Choose one, or leave the model out to "
            "fuse without."
        )
    if family.identity != "projected" or spec.path is None:
        return Swapper(family)
    stat = spec.path.stat()
    known = model_files.identified(spec.path, host.state_folder(), host).known
    return Swapper(family, matrix_in(spec.path, stat.st_mtime_ns, stat.st_size), wants_length_1(known))


@lru_cache(maxsize=4)
def matrix_in(path: Path, modified: int, size: int) -> np.ndarray | None:
    """The last initializer of an ONNX file, read alone and kept: 1 MiB. modified, size: change when the file does."""
    graph = onnx_file.read(path)
    tensor = graph.initializers.get("emap") or graph.last_initializer
    return None if tensor is None or tensor.dtype is None else tensor.load().float().numpy().copy()


def affine_for(swapper: Swapper, face: Face, factor: int = 1) -> np.ndarray:
    """The affine (2, 3) from frame pixels to the face's crop of `factor` times the network's side."""
    family = swapper.family
    assert family.template is not None
    points = template_points(family.template, swapper.size) + TEMPLATE_OFFSETS.get(family.name, 0.0)
    return boosted(similarity(face.landmarks, points), factor)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def identity_input(swapper: Swapper, vector: np.ndarray) -> torch.Tensor:
    """The swapper's source (512,) float32.

    vector: the recogniser's (512,) as it comes; for families with a converter, what that has made of it.
    """
    exact = np.asarray(vector, np.float64)
    kind = swapper.family.identity
    if kind == "projected":
        assert swapper.matrix is not None
        exact = unit(exact) @ swapper.matrix.astype(np.float64)
        exact = unit(exact) if swapper.to_length_1 else exact
    elif kind in ("unit", "converted unit"):
        exact = unit(exact)
    return torch.from_numpy(exact.astype(np.float32))


def picture_input(swapper: Swapper, picture: np.ndarray, face: Face) -> torch.Tensor:
    """The source (3, s, s) float32 0..1 of families that look at a picture (H, W, 3 or 4) of the source."""
    family = swapper.family
    size = family.inputs[1].shape[-1]
    assert family.source_template is not None and size is not None
    affine = similarity(face.landmarks, template_points(family.source_template, size))
    crop = np.nan_to_num(crop_face(picture, affine, size), posinf=1.0, neginf=0.0).clip(0, 1)
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32))


def target_input(swapper: Swapper, crop: np.ndarray) -> torch.Tensor:
    """The target (3, S, S) float32 as the network wants it."""
    return network_input(crop, swapper.family)


def result_of(swapper: Swapper, outputs: Tensors) -> np.ndarray:
    """The network's picture and mask as (S, S, 4) float32 0..1; the mask is 1 where it gives none."""
    family = swapper.family
    picture = outputs[0].float().numpy().transpose(1, 2, 0)
    if family.signed:
        picture = picture * np.array(family.std, np.float32) + np.array(family.mean, np.float32)
    if len(outputs) > 1 and len(family.outputs) > 1:
        mask = outputs[1].float().numpy().reshape(swapper.size, swapper.size, 1)
    else:
        mask = np.ones((swapper.size, swapper.size, 1), np.float32)
    return np.concatenate([picture, mask], -1).clip(0, 1)
