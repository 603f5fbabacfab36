"""SlimEmbedder: the bundled recogniser of people, on an aligned crop of 150 px.

The layout of dlib's residual network (King 2017). Most weights are stored in 4 bits each,
with a scale for every few of them, and are brought back to float32 when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ModelFileError

ARCHITECTURE = "SlimEmbedder"
SIDE = 150  # px of the crop
DIMENSION = 128
MIDDLE = 8  # the code of 4 bits that stands for 0
# Of each block: channels in, inside, out, and whether it halves the sides.
BLOCKS = (
    *((32, 32, 32, False),) * 3,
    (32, 64, 64, True),
    *((64, 64, 64, False),) * 3,
    (64, 128, 128, True),
    *((128, 128, 128, False),) * 2,
    (128, 256, 256, True),
    *((256, 256, 256, False),) * 2,
    (256, 256, 256, True),
)


class Block(nn.Module):
    """Two convolutions beside the input; where it halves the sides, the input is averaged and filled with 0.

    kernel: of the second one.
    """

    def __init__(self, channels: int, inside: int, width: int, halves: bool, kernel: int = 3) -> None:
        super().__init__()
        self.halves, self.more = halves, width - channels
        self.first = nn.Conv2d(channels, inside, 3, 2 if halves else 1, 0 if halves else 1)
        self.second = nn.Conv2d(inside, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        new: Tensor = self.second(F.relu_(self.first(x)))
        if not self.halves:
            return F.relu_(new + x)
        return self.joined(new, x)

    def joined(self, new: Tensor, x: Tensor) -> Tensor:
        """What the convolutions of a block that halves the sides made, and its input."""
        passed = F.avg_pool2d(x, 2, 2)
        missing = passed.shape[-1] - new.shape[-1]  # an even side leaves a halving convolution one pixel less
        passed = F.pad(passed, (0, 0, 0, 0, 0, self.more))
        return F.relu_(passed + (F.pad(new, (0, missing, 0, missing)) if missing else new))


class SlimEmbedder(nn.Module):
    """(B, 3, 150, 150) RGB 0..1 to (B, 128); people are told apart by a distance of about 0.5."""

    def __init__(self, blocks: tuple[tuple[int, int, int, bool], ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, blocks[0][0], 7, 2)
        # The last block sees one pixel, of which a kernel of 3 x 3 has its middle alone.
        self.blocks = nn.ModuleList([*(Block(*block) for block in blocks[:-1]), Block(*blocks[-1], kernel=1)])
        self.embedding = nn.Linear(blocks[-1][2], DIMENSION, bias=False)

    def means(self, crops: Tensor) -> Tensor:
        """(B, 256) that the last layer sees."""
        x = F.max_pool2d(F.relu_(self.stem(crops)), 3, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, crops: Tensor) -> Tensor:
        result: Tensor = self.embedding(self.means(crops))
        return result


def load(state_dict: Mapping[str, Tensor]) -> SlimEmbedder:
    """The network with these weights in float32; raises `ModelFileError` when one is missing or has another shape."""
    network = SlimEmbedder()
    try:
        weights = {name: weight(state_dict, name, wanted) for name, wanted in network.state_dict().items()}
        network.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelFileError(f"These SlimEmbedder weights are incomplete: download the file again. {error}") from error
    return network.train(False).requires_grad_(False)


def weight(state_dict: Mapping[str, Tensor], name: str, wanted: Tensor) -> Tensor:
    """One weight in float32: as it is, or out of codes of 4 or 8 bits and their scales.

    codes: (n, k) int8, or (n, k / 2) uint8 of two codes each, the lower half first. scales: (n, groups) float16.
    """
    if f"{name}.codes" not in state_dict:
        return state_dict[name].float()
    codes, scales = state_dict[f"{name}.codes"], state_dict[f"{name}.scales"].float()
    if codes.dtype == torch.uint8:
        codes = torch.stack([codes & 15, codes >> 4], -1).flatten(1).short() - MIDDLE
    grouped = codes.float().reshape(*scales.shape, -1)
    return (grouped * scales[..., None]).reshape(wanted.shape)
