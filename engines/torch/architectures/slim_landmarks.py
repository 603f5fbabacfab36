"""SlimLandmarks: the bundled 68-point landmarker, on an aligned crop of 112 px.

Four dense blocks of depthwise separable convolutions whose sums run on inside a block, a mean, a linear layer: the
layout of face-api.js's landmark network (Muehler 2018), from whose weights it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ModelFileError

ARCHITECTURE = "SlimLandmarks"
SIDE = 112  # px of the crop
POINTS = 68
WIDTHS = (32, 64, 128, 256)
LAYERS = 4  # convolutions of a block
MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)


class Separable(nn.Module):
    """A depthwise 3 x 3 convolution of a stride, then a pointwise one; odd sides are filled right and below."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding=0, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise(self.depthwise(filled(x, self.stride)))
        return result


def filled(x: Tensor, stride: int) -> Tensor:
    """Padded for a 3 x 3 kernel as TensorFlow does it: at stride 2 and an even side, right and below alone."""
    return F.pad(x, (0, 1, 0, 1) if stride == 2 and x.shape[-1] % 2 == 0 else (1, 1, 1, 1))


class SlimLandmarks(nn.Module):
    """(B, 3, 112, 112) RGB 0..1 to (B, 68, 2): x y as fractions of the crop's side, its left and top edge 0."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2)
        blocks = []
        for index, width in enumerate(WIDTHS):
            first = [] if index == 0 else [Separable(WIDTHS[index - 1], width, 2)]
            blocks.append(nn.ModuleList([*first, *(Separable(width, width, 1) for _ in range(LAYERS - 1))]))
        self.blocks = nn.ModuleList(blocks)
        self.points = nn.Linear(WIDTHS[-1], 2 * POINTS)

    def forward(self, crops: Tensor) -> Tensor:
        x = crops - self.mean
        for index, block in enumerate(self.blocks):
            layers = [*block.children()]
            first = self.stem(filled(x, 2)) if index == 0 else layers.pop(0)(x)
            total = F.relu(first)
            for place, layer in enumerate(layers):
                total = total + layer(F.relu(total) if place else total)
            x = F.relu(total)
        result: Tensor = self.points(x.mean((2, 3))).unflatten(1, (POINTS, 2))
        return result


def load(state_dict: Mapping[str, Tensor]) -> SlimLandmarks:
    """The network with these weights in float32; raises `ModelFileError` when one is missing."""
    network = SlimLandmarks()
    try:
        network.load_state_dict({key: value.float() for key, value in state_dict.items()})
    except RuntimeError as error:
        raise ModelFileError(f"These SlimLandmarks weights are incomplete: download the file again. {error}") from error
    return network.train(False).requires_grad_(False)
