"""How many bytes a network will take, known before the first one is taken.

The network's meta model on tensors without data is run once or twice while every storage that comes to life is
counted until it dies: the highest sum is what torch's allocator will be asked for. On a CPU, convolutions copy what
they take and give where it is not laid out as they like it, or unfold it: that is counted too. A convolutional
network's peak is exactly linear in the pixels of its batch, so two probes give every size.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...catalog.spec import ModelSpec
from ..session import PRECISIONS, Blueprint
from . import meter
from .cost import Cost
from .factors import Factors

# torch's allocators hand out whole blocks of this size.
BLOCK = 512

# What there is beside what is counted: on a CPU rearranged weights, on a GPU cuDNN's workspaces; on a CPU also what
# the first runs leave behind, whatever their size: kernels that oneDNN compiles, its threads' own memory.
SCRATCH = {"cpu": 1.15, "cuda": 1.3}
OTHER_SCRATCH = 1.5
LEFT_BEHIND = {"cpu": 10 << 20}

# Bytes below which the process's own noise is larger than what could be learnt.
LEARNABLE = 64 << 20

# Sides of the two probes of a network that takes any size: small enough to be quick, large enough that a
# network which shrinks its input by 64 still has something left.
PROBES = (128, 256)


class LivePeak(TorchDispatchMode):
    """Counts the bytes of storages born under the mode until they die: `live` now, `peak` the most at one time.

    copies: also what convolutions on a CPU copy meanwhile.
    """

    def __init__(self, ignored: Iterable[torch.Tensor] = (), copies: bool = False) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._copies = copies
        self._sizes: dict[int, int] = {}
        self._ignored = {tensor.untyped_storage()._cdata for tensor in ignored}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        convolves = self._copies and func is torch.ops.aten.convolution.default
        if convolves:
            result = laid_out_by_convolution(result, *args[:2])
        # A view of what was there before, such as a transposed weight, is no new storage.
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in given:
                self._count(leaf)
        if convolves:
            unfolds = not meter.cpu_convolves(args[0].dtype)
            beside = (
                unfolded_by_convolution(*args, result=result) if unfolds else copied_by_convolution(args[0], result)
            )
            self.peak = max(self.peak, self.live + beside)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes or key in self._ignored:
            return
        self._sizes[key] = -(-storage.nbytes() // BLOCK) * BLOCK
        self.live += self._sizes[key]
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)


def laid_out_by_convolution(result: torch.Tensor, given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The result as a CPU lays it out: channels last where picture or weights are. Without data it is always planes."""
    is_last = any(each.dim() == 4 and each.stride(1) == 1 < each[0, 0].numel() for each in (given, weight))
    if not is_last or result.is_contiguous(memory_format=torch.channels_last):
        return result
    return torch.empty_like(result, memory_format=torch.channels_last)


def copied_by_convolution(given: torch.Tensor, result: torch.Tensor) -> int:
    """Bytes that oneDNN's convolution copies into layouts of its own, beside what it takes and gives.

    Planes become blocks of channels first, and blocks planes at the end, when the first copy is gone. With channels
    last nothing is copied but a slice of channels. (Measured: 3x3 and 1x1, 3 to 256 channels.)
    """
    sizes = [each.numel() * each.element_size() for each in (given, result)]
    if result.is_contiguous():
        return max(sizes)
    return 0 if given.is_contiguous(memory_format=torch.channels_last) else sizes[0]


def unfolded_by_convolution(
    given: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *,
    result: torch.Tensor,
) -> int:
    """Bytes of the unfolded pixels of a convolution that oneDNN has not in its type: torch's own multiplies matrices.

    Every pixel's neighbourhood becomes a column: of the input, or of the result where it is transposed. One group is
    unfolded at a time; of a dilated convolution one item. (Measured: 1x1 and 3x3, strides, groups, fp32 and bf16.)
    """
    seen = given if transposed else result
    if weight.shape[2:].numel() == 1 and given.shape[2:] == result.shape[2:]:
        return 0
    items = 1 if max(dilation) > 1 else len(given)
    return items * weight[0].numel() * seen[0, 0].numel() * given.element_size()


def live_peak(blueprint: Blueprint, precision: str, batch: int, height: int, width: int, copies: bool = False) -> int:
    """Bytes of activations that one forward pass holds at most, input and output included.

    copies: also what convolutions on a CPU copy meanwhile.
    """
    forward, mode = blueprint.meta_model(PRECISIONS[precision])
    with mode, torch.no_grad():
        given = _sample(blueprint.spec, batch, height, width)
        tracker = LivePeak(given, copies)
        with tracker:
            forward(*given, *(() if blueprint.spec.inputs else (0.5,)))
    return tracker.peak + sum(each.numel() * each.element_size() for each in given)


def _sample(spec: ModelSpec, batch: int, height: int, width: int) -> list[torch.Tensor]:
    """One tensor without content for each input of a network; what has any length is as large as asked for."""
    if not spec.inputs:
        return [torch.empty((batch, 3, height, width))]
    free = {-2: height, -1: width}
    shapes = [
        [free.get(i - len(port.shape), 1) if length is None else length for i, length in enumerate(port.shape)]
        for port in spec.inputs
    ]
    return [
        torch.empty((batch, *shape), dtype=getattr(torch, port.dtype))
        for shape, port in zip(shapes, spec.inputs, strict=True)
    ]


class CostStore:
    """What networks cost: probed once a process, corrected by what runs have measured (see `factors`).

    The corrections are factors on the probed bytes, one a (network, engine, precision, device).
    """

    def __init__(self, factors: Factors | None = None) -> None:
        self._live: dict[tuple[Any, ...], Cost] = {}
        self._factors = factors or Factors()

    def cost(self, blueprint: Blueprint, precision: str, device: torch.device, folder: Path | None) -> Cost:
        """Bytes of activations on a device, kernels' scratch included."""
        if blueprint.cost is not None:
            return blueprint.cost
        without = SCRATCH.get(device.type, OTHER_SCRATCH)
        return self._scaled(
            blueprint, precision, device, self._factors.value(factor_key(blueprint, precision, device), without, folder)
        )

    def doubtful_cost(
        self, blueprint: Blueprint, precision: str, device: torch.device, folder: Path | None
    ) -> Cost | None:
        """`cost` without what was learnt, where that may be tried; None where it was tried or there is nothing."""
        key = factor_key(blueprint, precision, device)
        if blueprint.cost is not None or not self._factors.may_doubt(key, folder):
            return None
        return self._scaled(blueprint, precision, device, SCRATCH.get(device.type, OTHER_SCRATCH))

    def doubt(self, blueprint: Blueprint, precision: str, device: torch.device, folder: Path | None) -> None:
        """Notes that `doubtful_cost` is tried now."""
        self._factors.doubt(factor_key(blueprint, precision, device), folder)

    def learn(
        self,
        blueprint: Blueprint,
        precision: str,
        device: torch.device,
        pixels: int,
        measured: int,
        folder: Path | None,
    ) -> None:
        """Takes in that a forward pass over so many pixels took `measured` bytes beside the weights."""
        if blueprint.cost is not None:
            return
        probed = self._probed(blueprint, precision, device).bytes_for(pixels)
        if probed < LEARNABLE:
            return
        of_network = measured - LEFT_BEHIND.get(device.type, 0)
        self._factors.measured(factor_key(blueprint, precision, device), of_network / probed, folder)

    def _scaled(self, blueprint: Blueprint, precision: str, device: torch.device, factor: float) -> Cost:
        probed = self._probed(blueprint, precision, device)
        return probed.scaled(factor).plus(LEFT_BEHIND.get(device.type, 0))

    def _probed(self, blueprint: Blueprint, precision: str, device: torch.device) -> Cost:
        key = (blueprint.key, precision, device.type == "cpu")
        if key not in self._live:
            self._live[key] = live_cost(blueprint, precision, copies=device.type == "cpu")
        return self._live[key]


# The process's own.
COSTS = CostStore()


def factor_key(blueprint: Blueprint, precision: str, device: torch.device) -> str:
    """What a measured factor is valid for. Files of one architecture and size behave alike."""
    spec = blueprint.spec
    network = f"{spec.contract.architecture}-{spec.parameters}-x{spec.scale}"
    return f"{network} {blueprint.engine} {precision} {meter.device_name(device)}"


def live_cost(blueprint: Blueprint, precision: str, copies: bool = False) -> Cost:
    """Bytes that live at the worst moment of a forward pass, by pixels. copies: see `live_peak`.

    A network of one size is probed with batches of one and two, any other at two sizes.
    """
    size = blueprint.spec.size
    if size is not None:
        once = live_peak(blueprint, precision, 1, *size, copies)
        if blueprint.spec.largest_batch == 1:
            return Cost(once, 0.0)
        twice = live_peak(blueprint, precision, 2, *size, copies)
        return Cost(2 * once - twice, (twice - once) / (size[0] * size[1]))
    small, large = (live_peak(blueprint, precision, 1, side, side, copies) for side in PROBES)
    per_pixel = (large - small) / (PROBES[1] ** 2 - PROBES[0] ** 2)
    return Cost(small - per_pixel * PROBES[0] ** 2, per_pixel)
