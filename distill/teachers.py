"""A user's teacher: any picture network that this package runs, made to answer at the size it was asked in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engines.host import StandaloneHost
from ..engines.network import runnable
from ..errors import ModelFileError

SCALES = (1, 2, 3, 4, 8)


@dataclass(frozen=True)
class Teacher:
    """A picture network. side: of the pictures that it takes, None for any. forward: (B, 3, h, w) 0..1 in and out."""

    name: str
    scale: int
    multiple: int
    side: int | None
    forward: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def taught(self, damaged: Tensor) -> Tensor:
        """(B, 3, H, W) restored to the same size, within 0..1.

        A teacher that enlarges gets the picture shrunk by its scale first, by averaging over whole pixels.
        """
        height, width = damaged.shape[-2:]
        given = F.avg_pool2d(damaged, self.scale) if self.scale > 1 else damaged
        rows, columns = (-side % self.multiple for side in given.shape[-2:])
        given = F.pad(given, (0, columns, 0, rows), mode="replicate")
        results = [self.forward(one[None])[..., :height, :width].float() for one in given]
        return torch.cat(results).clamp(0, 1)


def checked_scale(name: str, scale: int, patch: int) -> int:
    """`scale` when the network can be taught through it; raises `ModelFileError`."""
    if scale not in SCALES or patch % scale:
        raise ModelFileError(
            f"{name} enlarges by {scale}: a teacher enlarges by one of {', '.join(map(str, SCALES))}, and the patch "
            f"of {patch} px must divide by it. Take another teacher or --patch."
        )
    return scale


def read_teacher(path: Path, patch: int, fidelity: float = 0.5) -> Teacher:
    """The network in a file of spandrel's or in ONNX; raises `ModelFileError` for what restores no pictures."""
    from ..models.opening import open_model

    model = open_model(path, host=StandaloneHost("cpu"))
    spec = model.spec
    if spec.card.takes_tensors:
        raise ModelFileError(f"{path.name} is a {spec.architecture}, which restores no pictures.")
    scale = checked_scale(path.name, spec.scale, patch)
    network = runnable(model.load(torch.device("cpu"), "fp32", 0))
    return Teacher(path.name, scale, spec.multiple, _side(spec.size), lambda batch: network.run((batch,), fidelity)[0])


def _side(size: tuple[int, int] | int | None) -> int | None:
    return size[0] if isinstance(size, tuple) else size
