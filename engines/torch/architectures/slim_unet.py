"""SlimUnet: the bundled restorer, a small fully convolutional residual U-Net with x1 output.

The layout is the plain U-Net of Ronneberger et al. 2015 ("U-Net: Convolutional Networks for Biomedical Image
Segmentation") with residual blocks and additive skips, working on pixel-unshuffled input (Shi et al. 2016,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN").

A file may hold a second decoder as its difference from the first one. The first is faithful, the sum of both is
sharp, and what lies between follows by network interpolation (Wang et al. 2018, "ESRGAN", section 3.4): the
encoder is shared, the decoder used is `faithful + amount * difference`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ImageError, ModelFileError

ARCHITECTURE = "SlimUnet"
PACK = 2  # pixel-unshuffle factor of the stem
SLOPE = 0.1  # of the leaky rectifier
# Details are small beside brightness, what is to be corrected is smaller still: both are brought near unit
# size, without which training does not leave the identity.
MIDDLE, GAIN_IN, GAIN_OUT = 0.5, 4.0, 0.05


class ResidualBlock(nn.Module):
    """`x + second(act(first(x)))` on (B, width, H, W), without normalisation, so that tiles are exact."""

    def __init__(self, width: int, kernels: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernels[0], padding=kernels[0] // 2)
        self.second = nn.Conv2d(width, width, kernels[1], padding=kernels[1] // 2)
        with torch.no_grad():  # close to identity, or a stack without normalisation does not train
            for parameter in self.second.parameters():
                parameter.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(F.leaky_relu(self.first(x), SLOPE, inplace=not torch.is_grad_enabled()))
        return result


def stack(width: int, depth: int, kernels: tuple[int, int] = (3, 3)) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width, kernels) for _ in range(depth)))


class Decoder(nn.Module):
    """The way up: from the middle's features and the skips to what is added to the picture."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        levels = range(len(widths) - 1)
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], 4 * widths[i], 1) for i in levels)
        self.decoder = nn.ModuleList(stack(widths[i], depths[i]) for i in levels)
        self.head = nn.Conv2d(widths[0], 3 * PACK**2, 3, padding=1)

    def zeroed(self) -> Decoder:
        """Itself with all weights 0: no difference."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        return self

    def correction(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(B, 3, H, W) to add to the picture, from the features of the middle and of each finer level."""
        for i in reversed(range(len(skips))):
            features = self.decoder[i](F.pixel_shuffle(self.up[i](features), 2) + skips[i])
        return GAIN_OUT * F.pixel_shuffle(self.head(features), PACK)


class SlimUnet(Decoder):
    """Restores blurred, shrunk, noisy or JPEG-damaged pictures without changing their size.

    widths: channels of each level; level i works at 1 / 2**(i+1) of the picture. depths: residual blocks of
    each level, the same number on the way down and up; the last level is the middle. has_delta: whether there
    is a second decoder; `delta` is its difference from the network's own.

    Input and output: (B, 3, H, W), RGB, 0..1 (the output may leave the range by a little), any float type;
    H and W are multiples of `multiple`. Raises `ImageError` for another size.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 160, 256),
        depths: Sequence[int] = (1, 1, 1, 1),
        has_delta: bool = False,
    ) -> None:
        super().__init__(widths, depths)
        self.widths, self.depths = tuple(widths), tuple(depths)
        self.multiple = PACK * 2 ** (len(self.widths) - 1)
        levels = range(len(self.widths) - 1)
        self.stem = nn.Conv2d(3 * PACK**2, self.widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(stack(self.widths[i], self.depths[i]) for i in levels)
        self.down = nn.ModuleList(nn.Conv2d(self.widths[i], self.widths[i + 1], 2, stride=2) for i in levels)
        # The second convolution of the middle is 1x1: a 3x3 there would add 16 px to the halo.
        self.middle = stack(self.widths[-1], self.depths[-1], (3, 1))
        self.delta = Decoder(widths, depths).zeroed() if has_delta else None
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @property
    def receptive_radius(self) -> int:
        """Pixels around an output pixel, in any direction, beyond which the input has no influence on it."""
        return max(max(p - low, high - p) for p in range(self.multiple) for low, high in [self._seen_by(p)])

    def _seen_by(self, pixel: int) -> tuple[int, int]:
        """First and last input column that reach output column `pixel`, by walking the layers backwards."""
        low = high = pixel // PACK
        low, high = low - 1, high + 1
        for depth in self.depths[:-1]:
            low, high = (low - 2 * depth) // 2, (high + 2 * depth) // 2
        low, high = low - self.depths[-1], high + self.depths[-1]
        for depth in reversed(self.depths[:-1]):
            low, high = 2 * low - 2 * depth, 2 * high + 1 + 2 * depth
        low, high = low - 1, high + 1
        return PACK * low, PACK * high + PACK - 1

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The middle's features, and those of each finer level."""
        # x may be finer than the weights: half precision then touches only what is added to it.
        packed = F.pixel_unshuffle((x - MIDDLE) * GAIN_IN, PACK)
        features = self.stem(packed.to(self.stem.weight.dtype))
        skips: list[Tensor] = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            features = encode(features)
            skips.append(features)
            features = down(features)
        return self.middle(features), skips

    def forward(self, x: Tensor, decoder: Decoder | None = None) -> Tensor:
        """The picture restored by its own decoder, the faithful one, or by `decoder`."""
        height, width = x.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ImageError(
                f"SlimUnet got {width} x {height} pixels: pad both sides to a multiple of {self.multiple}."
            )
        features, skips = self.encode(x)
        return x + (decoder or self).correction(features, skips)


def sharpness(fidelity: float) -> float:
    """How much of the difference is added at a fidelity in 0..1: all at 0, none at 1, and less than half between.

    The square, because the first share of the difference costs little fidelity and brings much of the sharpness.
    """
    return (1 - min(1.0, max(0.0, fidelity))) ** 2


@torch.no_grad()
def fold(network: SlimUnet, amount: float, into: Decoder) -> None:
    """Writes the network's decoder plus `amount` of its difference into `into`, without other memory."""
    assert network.delta is not None
    own = dict(network.named_parameters())
    differences = dict(network.delta.named_parameters())
    for name, folded in into.named_parameters():
        folded.copy_(own[name]).add_(differences[name], alpha=amount)


@torch.no_grad()
def decoder_between(network: SlimUnet, sharp: Decoder, fidelity: float) -> Decoder:
    """A decoder of its own between the network's and the absolute `sharp` one, as a fidelity would fold it."""
    between, own = copy.deepcopy(sharp), dict(network.named_parameters())
    for name, parameter in between.named_parameters():
        parameter.lerp_(own[name], 1 - sharpness(fidelity))
    return between


@dataclass
class Prepared:
    """A network with room for one folded decoder; `fidelity` is the one it was folded for last."""

    network: SlimUnet
    folded: Decoder | None
    fidelity: float | None = None


def prepare(module: SlimUnet, device: torch.device, dtype: torch.dtype) -> Prepared:
    """Makes room for the decoder of one fidelity; the encoder is shared and the module stays as it is."""
    if module.delta is None:
        return Prepared(module, None)
    with torch.device("meta"):
        folded = Decoder(module.widths, module.depths)
    empty = {name: torch.empty_like(value) for name, value in module.delta.state_dict().items()}
    folded.load_state_dict(empty, assign=True)
    return Prepared(module, folded.requires_grad_(False))


def run(prepared: Prepared, batch: Tensor, fidelity: float) -> Tensor:
    """(B, 3, H, W) float32 0..1, the same out, whatever the type of the weights.

    fidelity: 0 sharp to 1 faithful; a file with one decoder knows no other than faithful.
    """
    if prepared.folded is not None and prepared.fidelity != fidelity:
        prepared.fidelity = None  # a stop in the middle leaves neither the old decoder nor the new one
        fold(prepared.network, sharpness(fidelity), prepared.folded)
        prepared.fidelity = fidelity
    result: Tensor = prepared.network(batch, prepared.folded)
    return result


def level_depths(state_dict: Mapping[str, Tensor], levels: int) -> list[int]:
    """Residual blocks of each level, counted from the tensor names."""
    prefixes = [f"encoder.{i}." for i in range(levels - 1)] + ["middle."]
    ends = [{key[len(prefix) :].split(".")[0] for key in state_dict if key.startswith(prefix)} for prefix in prefixes]
    return [len(indices) for indices in ends]


def detect(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are those of a SlimUnet, by their names and shapes."""
    needed = (
        "stem.weight",
        "head.weight",
        "middle.0.first.weight",
        "encoder.0.0.first.weight",
        "up.0.weight",
    )
    packed = 3 * PACK**2
    return all(key in state_dict for key in needed) and (
        state_dict["stem.weight"].shape[1] == packed and state_dict["head.weight"].shape[0] == packed
    )


def load(state_dict: Mapping[str, Tensor], metadata: Mapping[str, str]) -> SlimUnet:
    """SlimUnet with these weights, float32; widths and depths are read from the tensors.

    metadata: of the safetensors file; its version is named in the `ModelFileError` raised when a tensor is
    missing or has another shape.
    """
    downs = sum(key.startswith("down.") and key.endswith(".weight") for key in state_dict)
    names = ["stem.weight", *(f"down.{i}.weight" for i in range(downs))]
    try:
        widths = [int(state_dict[name].shape[0]) for name in names]
        has_delta = any(key.startswith("delta.") for key in state_dict)
        network = SlimUnet(widths, level_depths(state_dict, len(widths)), has_delta)
        network.load_state_dict({key: value.float() for key, value in state_dict.items()})
    except (KeyError, RuntimeError) as error:
        version = metadata.get("version", "unknown")
        raise ModelFileError(
            f"These SlimUnet weights (version {version}) are incomplete: download the file again. {error}"
        ) from error
    return network.train(False)
