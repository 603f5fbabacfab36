"""Takes the weave out of trained weights without training: by least squares, one upsampling layer after the other.

Each output of such a layer has weights of its own for every place of a square of 2 x 2. Where a picture is smooth the
four should agree; what they differ by on average is seen as lines (Odena et al. 2016, "Deconvolution and Checkerboard
Artifacts"). With x the inputs of a layer, m their means over a window and r what the means of its outputs lack to the
mean of the four, the change D of its weights minimises |D m - r|^2 + detail |D (x - m)|^2: the means agree, and what
the layer draws from detail stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..engines.torch.architectures import slim_unet
from ..engines.torch.architectures.slim_unet import PACK, Decoder, SlimUnet
from ..errors import ModelFileError, OutputError
from .data import Pictures, as_batch, patch_pair

SIDE, MARGIN = 384, 48  # px of a picture, and around it what the picture's end reaches
WINDOW, HEAD_WINDOW = 48, 24  # px over which means are taken
DETAIL, HEAD_DETAIL = 1.0, 0.1  # weight of what a layer draws from detail
RIDGE = 1e-5  # share of a feature's power that keeps alike features from large weights
CELL = 8  # px in which a picture's smoothness is measured
FAINT = 2 / 255  # standard deviation up to which a cell counts as smooth
COUNT = 40  # pictures


@dataclass(frozen=True)
class Seen:
    """A picture in the network. features: of the layer's input (1, C, H, W). skips: of each finer level. smooth: (1, 1,
    h, w), how much each cell of `CELL` px counts."""

    features: Tensor
    skips: list[Tensor]
    smooth: Tensor


def smoothness(picture: Tensor) -> Tensor:
    """(1, 1, h, w): one over the standard deviation of each cell inside the margin of (1, 3, H, W)."""
    inside = picture[..., MARGIN:-MARGIN, MARGIN:-MARGIN].mean(1, keepdim=True)
    mean = F.avg_pool2d(inside, CELL)
    spread = (F.avg_pool2d(inside.square(), CELL) - mean.square()).clamp(min=0).sqrt()
    return 1 / (spread + FAINT)


def inside(rows: Tensor, stride: int) -> Tensor:
    """Rows (1, C, H, W) of a grid of `stride` px without the margin."""
    edge = MARGIN // stride
    return rows[..., edge : rows.shape[-2] - edge, edge : rows.shape[-1] - edge]


def broadcast(means: Tensor, side: int) -> Tensor:
    return means.repeat_interleave(side, -2).repeat_interleave(side, -1)


def moments(layer: nn.Conv2d, seen: Sequence[Seen], stride: int, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a layer's inputs and a constant: the second moments of their means and of the detail around them, (K, K), and
    those of the means with what the layer's outputs lack, (K, O).

    stride: px of the layer's grid. window: px.
    """
    assert isinstance(layer.padding, tuple)
    size, total = window // stride, []
    for one in seen:
        height, width = one.features.shape[-2:]
        columns = F.unfold(one.features, layer.kernel_size, padding=layer.padding).view(1, -1, height, width)
        inputs = inside(columns, stride)
        weight = F.interpolate(one.smooth, size=inputs.shape[-2:], mode="area")
        outputs = F.avg_pool2d(inside(layer(one.features), stride), size)[0]
        phases = outputs.unflatten(0, (-1, PACK**2))
        lacking = (phases.mean(1, keepdim=True) - phases).flatten(0, 1).flatten(1).T
        means = F.avg_pool2d(inputs, size)
        detail = torch.cat([inputs - broadcast(means, size), torch.zeros_like(inputs[:, :1])], 1)[0].flatten(1)
        each = torch.cat([means, torch.ones_like(means[:, :1])], 1)[0].flatten(1)
        counted = F.avg_pool2d(weight, size).flatten() * size**2
        total.append(
            (
                ((each * counted) @ each.T).double(),
                ((detail * weight.flatten()) @ detail.T).double(),
                ((each * counted) @ lacking).double(),
            )
        )
    means_sum, detail_sum, lacking_sum = (torch.stack(part).sum(0) for part in zip(*total, strict=True))
    return means_sum, detail_sum, lacking_sum


def even_layer(layer: nn.Conv2d, seen: Sequence[Seen], stride: int, window: int, detail: float) -> None:
    """Changes the weights of a layer whose outputs are shuffled into 2 x 2 places."""
    means, around, lacking = moments(layer, seen, stride, window)
    held = means + detail * around + torch.diag(RIDGE * means.diagonal() + 1e-9)
    change = torch.linalg.solve(held, lacking).T.float()
    assert layer.bias is not None
    layer.weight += change[:, :-1].reshape(layer.weight.shape)
    layer.bias += change[:, -1]


@torch.no_grad()
def even_out(network: SlimUnet, decoder: Decoder, pictures: Sequence[Tensor]) -> None:
    """Takes the weave out of a decoder, the network's own or another on its encoder.

    pictures: (1, 3, H, W) damaged, of `SIDE` px or another multiple of `WINDOW`, above twice the margin.
    """
    seen = [Seen(*network.encode(picture), smoothness(picture)) for picture in pictures]
    for level in reversed(range(len(decoder.up))):
        layer, block = decoder.up[level], decoder.decoder[level]
        assert isinstance(layer, nn.Conv2d)
        even_layer(layer, seen, PACK * 2 ** (level + 1), WINDOW, DETAIL)
        seen = [
            Seen(block(F.pixel_shuffle(layer(one.features), 2) + one.skips[level]), one.skips, one.smooth)
            for one in seen
        ]
    even_layer(decoder.head, seen, PACK, HEAD_WINDOW, HEAD_DETAIL)


def damaged_pictures(pictures: Pictures, count: int, seed: int) -> Iterator[Tensor]:
    """`count` training pictures of `SIDE` px; the same for the same seed."""
    for index in range(count):
        yield as_batch([patch_pair(pictures, SIDE, np.random.default_rng((seed, index)))[0]])


@torch.no_grad()
def write_evened(start: Path, pictures: Pictures, out: Path, seed: int = 20, count: int = COUNT) -> None:
    """Writes the weights of a `SlimUnet` without their weave. Raises ModelFileError, OutputError."""
    if not start.is_file():
        raise ModelFileError(f"The weights {start} to start from do not exist.")
    network = slim_unet.load(load_file(start), {})
    whole = list(damaged_pictures(pictures, count, seed))
    sharp = None
    if network.delta is not None:
        sharp = Decoder(network.widths, network.depths)
        slim_unet.fold(network, 1.0, sharp)
        even_out(network, sharp, whole)
    network.delta = None
    even_out(network, network, whole)
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    if sharp is not None:
        own = network.state_dict()
        tensors |= {f"delta.{name}": (value - own[name]).half() for name, value in sharp.state_dict().items()}
    with safe_open(start, framework="pt") as file:
        metadata = dict(file.metadata() or {})
    metadata["training"] = f"{metadata.get('training', 'unknown weights')}, then evened out on {count} pictures"
    try:
        save_file(tensors, str(out), metadata)
    except Exception as error:  # safetensors raises an error of its own for a full disk
        raise OutputError(f"The weights cannot be written to {out} ({str(error)[:120]}).") from error
