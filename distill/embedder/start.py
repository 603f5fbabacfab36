"""The teacher in our layout, and a last layer that is fitted to it by least squares."""

from __future__ import annotations

import torch
from torch import Tensor

from ...engines.torch.architectures.slim_embedder import SlimEmbedder, load
from ..face_api import MEAN, weights

TEACHER_NAMES = [
    "32_1",
    "32_2",
    "32_3",
    "64_down",
    "64_1",
    "64_2",
    "64_3",
    "128_down",
    "128_1",
    "128_2",
    "256_down",
    "256_1",
    "256_2",
    "256_down_out",
]
RIDGE = 0.1  # how strongly the last layer is held to what it was, against the mean square of what it is given


def teacher() -> SlimEmbedder:
    """dlib's recogniser, its normalisation and scales folded into its convolutions."""
    tensors = weights("face_recognition_model")

    def folded(name: str) -> tuple[Tensor, Tensor]:
        scale = tensors[f"{name}/scale/weights"]
        kernel = tensors[f"{name}/conv/filters"].permute(3, 2, 0, 1) * scale.view(-1, 1, 1, 1)
        return kernel, tensors[f"{name}/conv/bias"] * scale + tensors[f"{name}/scale/biases"]

    kernel, bias = folded("conv32_down")
    state = {
        "stem.weight": kernel,
        "stem.bias": bias - (kernel * torch.tensor(MEAN).view(3, 1, 1) / 255).sum((1, 2, 3)),
    }
    for index, name in enumerate(TEACHER_NAMES):
        for layer, part in (("first", "conv1"), ("second", "conv2")):
            kernel, bias = folded(f"conv{name}/{part}")
            if (name, layer) == (TEACHER_NAMES[-1], "second"):  # it sees one pixel
                kernel = kernel[..., 1:2, 1:2]
            state |= {f"blocks.{index}.{layer}.weight": kernel, f"blocks.{index}.{layer}.bias": bias}
    return load({**state, "embedding.weight": tensors["fc"].T})


@torch.no_grad()
def fit_last(small: SlimEmbedder, means: Tensor, told: Tensor) -> None:
    """Moves the last layer so that of its inputs (n, 256) it makes what the teacher told (n, 128)."""
    square = (means.T @ means).double()
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    missing = told - small.embedding(means)
    shift = torch.linalg.solve(square, (means.T @ missing).double()).float()
    small.embedding.weight.add_(shift.T)
