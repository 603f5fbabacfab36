"""How each known architecture is called. What spandrel detects and is not named here is called its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import codeformer, esrgan, gfpgan, restoreformer, slim_unet


@dataclass(frozen=True)
class LowMemoryForward:
    """Our way of running an architecture: the same picture as spandrel's, in less memory and time.

    prepare: called once a load with the bare module on its device in its type (or its meta model on tensors without
    data); gives what `forward` takes, and leaves the module as it is: others may hold it. forward: takes that,
    (n, 3, h, w) in 0..1 RGB and a fidelity; gives the picture in 0..1, float32 where the last sums were kept so.
    half_safe: fp16 holds its values, whatever spandrel's own forward does. takes_float32: the picture comes in
    float32 whatever the type of the weights, because it goes into the last sum.
    """

    forward: Callable[[Any, torch.Tensor, float], torch.Tensor]
    prepare: Callable[[Any, torch.device, torch.dtype], Any]
    half_safe: bool = False
    takes_float32: bool = False


FORWARDS: dict[str, LowMemoryForward] = {
    gfpgan.ARCHITECTURE: LowMemoryForward(gfpgan.forward, gfpgan.prepare, half_safe=True),
    restoreformer.ARCHITECTURE: LowMemoryForward(restoreformer.forward, restoreformer.prepare),
    codeformer.ARCHITECTURE: LowMemoryForward(codeformer.forward, codeformer.prepare),
    esrgan.ARCHITECTURE: LowMemoryForward(esrgan.forward, esrgan.prepare),
    slim_unet.ARCHITECTURE: LowMemoryForward(slim_unet.run, slim_unet.prepare, half_safe=True, takes_float32=True),
}
