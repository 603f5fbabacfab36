"""How many bytes a network will take, known before the first one is taken.

The network's meta model, on tensors without data, is run once or twice while every storage that comes to life is
counted until it dies: the highest sum is what torch's allocator will be asked for. On a CPU, convolutions copy what
they take and give where it is not laid out as they like it, or unfold it: that is counted too. A convolutional
network's peak is exactly linear in the pixels of its batch, so two probes give every size.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..catalog.spec import ModelSpec
from .memory import meter
from .memory.cost import Cost
from .network import PRECISIONS, Model, Tensors

# torch's allocators hand out whole blocks of this size.
BLOCK = 512

# Sides of the two probes of a network that takes any size: small enough to be quick, large enough that a
# network which shrinks its input by 64 still has something left.
PROBES = (128, 256)

# How a network is called on tensors without data, as `Network.run` is, and the mode that they live in.
MetaModel = tuple[Callable[[Tensors, float], Any], Any]


class CountedModel(Model):
    """A model whose memory is counted on tensors without data."""

    @abstractmethod
    def meta_model(self, dtype: torch.dtype) -> MetaModel: ...

    def activations(self, precision: str, device_type: str) -> Cost:
        return live_cost(self, precision, copies=device_type == "cpu")


class LivePeak(TorchDispatchMode):
    """Counts the bytes of storages born under the mode until they die: `live` now, `peak` the most at one time.

    copies: also what convolutions on a CPU copy meanwhile.
    """

    def __init__(self, ignored: Iterable[torch.Tensor] = (), copies: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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
        inputs = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in inputs:
                self._count(leaf)
        if convolves:
            if meter.cpu_convolves(args[0].dtype):
                beside = copied_by_convolution(args[0], result)
            else:
                beside = unfolded_by_convolution(Convolution(*args), result)
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


def laid_out_by_convolution(result: torch.Tensor, picture: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The result as a CPU lays it out: channels last where picture or weights are. Without data it is always planes."""
    is_last = any(tensor.dim() == 4 and tensor.stride(1) == 1 < tensor[0, 0].numel() for tensor in (picture, weight))
    if not is_last or result.is_contiguous(memory_format=torch.channels_last):
        return result
    return torch.empty_like(result, memory_format=torch.channels_last)


def copied_by_convolution(picture: torch.Tensor, result: torch.Tensor) -> int:
    """Bytes that oneDNN's convolution copies into layouts of its own, beside what it takes and gives.

    Planes become blocks of channels first, and blocks planes at the end, when the first copy is gone. With channels
    last nothing is copied but a slice of channels. (Measured: 3x3 and 1x1, 3 to 256 channels.)
    """
    sizes = [tensor.numel() * tensor.element_size() for tensor in (picture, result)]
    if result.is_contiguous():
        return max(sizes)
    return 0 if picture.is_contiguous(memory_format=torch.channels_last) else sizes[0]


class Convolution(NamedTuple):
    """What torch's convolution takes, in its order."""

    picture: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int


def unfolded_by_convolution(convolution: Convolution, result: torch.Tensor) -> int:
    """Bytes of the unfolded pixels of a convolution that oneDNN has not in its type: torch's own multiplies matrices.

    Every pixel's neighbourhood becomes a column: of the input, or of the result where it is transposed. One group is
    unfolded at a time; of a dilated convolution one item. (Measured: 1x1 and 3x3, strides, groups, fp32 and bf16.)
    """
    picture, weight = convolution.picture, convolution.weight
    seen = picture if convolution.transposed else result
    if weight.shape[2:].numel() == 1 and picture.shape[2:] == result.shape[2:]:
        return 0
    items = 1 if max(convolution.dilation) > 1 else len(picture)
    return items * weight[0].numel() * seen[0, 0].numel() * picture.element_size()


def live_peak(model: CountedModel, precision: str, batch: int, height: int, width: int, copies: bool = False) -> int:
    """Bytes of activations that one forward pass holds at most, input and output included.

    copies: also what convolutions on a CPU copy meanwhile.
    """
    forward, mode = model.meta_model(PRECISIONS[precision])
    with mode, torch.no_grad():
        inputs = _sample(model.spec, batch, height, width)
        tracker = LivePeak(inputs, copies)
        with tracker:
            forward(tuple(inputs), 0.5)
    return tracker.peak + sum(tensor.numel() * tensor.element_size() for tensor in inputs)


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


def live_cost(model: CountedModel, precision: str, copies: bool = False) -> Cost:
    """Bytes that live at the worst moment of a forward pass, by pixels. copies: see `live_peak`.

    A network of one size is probed with batches of one and two, any other at two sizes.
    """
    size = model.spec.size
    if size is not None:
        once = live_peak(model, precision, 1, *size, copies)
        if model.spec.largest_batch == 1:
            return Cost(once, 0.0)
        twice = live_peak(model, precision, 2, *size, copies)
        return Cost(2 * once - twice, (twice - once) / (size[0] * size[1]))
    small, large = (live_peak(model, precision, 1, side, side, copies) for side in PROBES)
    per_pixel = (large - small) / (PROBES[1] ** 2 - PROBES[0] ** 2)
    return Cost(small - per_pixel * PROBES[0] ** 2, per_pixel)
