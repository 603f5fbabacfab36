"""What an ONNX file of a known model is, whoever runs it: its spec, its order of inputs, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..catalog.card import NO_MEAN, NO_SCALE, ModelCard, Port
from ..catalog.opening import Stamp, check_unchanged, stamps
from ..catalog.signatures import Signature, input_order
from ..catalog.spec import ModelSpec
from ..engines.network import Network, Tensors
from ..engines.onnx import file as onnx_file
from ..engines.onnx import module as onnx_as_torch
from ..engines.onnx.file import OnnxGraph
from ..engines.onnx.operators.registry import UnsupportedError
from ..errors import ModelFileError
from .export import METADATA

Graph = Callable[..., Any]
Adapted = Callable[[Tensors, float], Tensors]
Loaded = TypeVar("Loaded", bound=Network)

# Sides of what a network of any size is tried on, px.
PROBE_SIDE, LARGER_PROBE_SIDE = 64, 128
LARGEST_SCALE = 16


@dataclass(frozen=True, eq=False)
class OnnxDescription:
    """A file with what it is.

    order: for each of the card's inputs, its place among the file's.
    files: what the weights lie in, the file itself and those beside it, as they were when it was described.
    """

    graph: OnnxGraph
    card: ModelCard
    order: tuple[int, ...]
    name: str
    licence: str
    files: Mapping[Path, Stamp]

    @property
    def key(self) -> tuple[Any, ...]:
        return str(self.graph.path), tuple(self.files.values())

    @property
    def is_picture_network(self) -> bool:
        return not self.card.takes_tensors

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the file wants its pictures."""
        dtype = self.graph.inputs[self.order[0]].dtype
        return dtype if dtype is not None and dtype.is_floating_point else torch.float32

    @property
    def largest_batch(self) -> int | None:
        """1 where the file was exported for a single sample, None where it leaves the batch open."""
        lengths = [value.shape[0] for value in self.graph.inputs if value.shape]
        return min((length for length in lengths if isinstance(length, int) and length > 0), default=None)


@lru_cache(maxsize=16)
def refused_by_torch(description: OnnxDescription) -> str:
    """Why torch cannot run a graph here, as the end of a sentence; "" where it can. Raises ModelFileError."""
    missing = onnx_as_torch.unsupported(description.graph)
    if missing:
        return f"has operators that are not supported in torch ({', '.join(missing)})"
    try:
        if description.card.is_image_network:
            scale_under_torch(description)  # what depends on sizes shows only when it is run
        else:
            _run_without_data(description)
    except UnsupportedError as error:
        reason = str(error).partition(". ")[0].replace(" cannot be run by torch", "")
        return f"cannot be run by torch ({reason})"
    return ""


def load_unchanged(description: OnnxDescription, load: Callable[[], Loaded]) -> Loaded:
    """What `load` makes, unless the files are others than when they were described. Raises ModelFileError."""
    check_unchanged(description.files)
    network = load()
    try:
        check_unchanged(description.files)  # while it was read
    except ModelFileError:
        network.close()
        raise
    return network


def describe(path: Path, name: str, card: ModelCard, licence: str) -> OnnxDescription:
    """Reads a file's graph; its weights stay on the disk. Raises ModelFileError."""
    return _describe(path, name, card, licence, Stamp.of(path))


@lru_cache(maxsize=16)
def _describe(path: Path, name: str, card: ModelCard, licence: str, stamp: Stamp) -> OnnxDescription:
    graph = onnx_file.read(path)
    if METADATA + "architecture" in graph.metadata:  # one of ours, which takes and gives 0..1 whatever is inside
        card = replace(card, mean=NO_MEAN, std=NO_SCALE, signed=False, has_fidelity=False)
    order = input_order(card, signature(graph))
    if order is None:
        raise ModelFileError(
            f"{name} does not have the inputs and outputs of a {card.name} network ({signature(graph)})."
        )
    files = stamps({path, *(tensor.file for tensor in graph.initializers.values())})
    return OnnxDescription(graph, card, order, name, licence, files)


def signature(graph: OnnxGraph) -> Signature:
    """What goes into a network and comes out, as the catalogue wants it."""

    def values(listed: tuple[onnx_file.Value, ...]) -> tuple[Any, ...]:
        return tuple((value.name, str(value.dtype).removeprefix("torch."), value.shape or ()) for value in listed)

    return Signature(values(graph.inputs), values(graph.outputs))


def spec_of(
    description: OnnxDescription, precisions: tuple[str, ...], largest_batch: int | None, scale: int
) -> ModelSpec:
    halo = _noted(description, "halo", description.card.halo)
    return ModelSpec(
        name=description.name,
        path=description.graph.path,
        card=description.card,
        architecture=description.card.name,
        licence=description.licence,
        parameters=description.graph.parameters,
        scale=scale,
        multiple=_noted(description, "multiple", 1),
        halo=halo,
        exact_halo=_noted(description, "exact_halo", halo),
        precisions=precisions,
        inputs=_input_ports(description) if description.card.takes_tensors else (),
        largest_batch=largest_batch,
    )


def _noted(description: OnnxDescription, key: str, usual: int) -> int:
    """A number that our export has left in the file, or the usual one. Raises ModelFileError."""
    value = description.graph.metadata.get(METADATA + key, str(usual))
    if not value.isdecimal():
        raise ModelFileError(
            f"{description.name} says that its {key} is {value!r}: the file was changed. Export it again."
        )
    return int(value)


def _input_ports(description: OnnxDescription) -> tuple[Port, ...]:
    """The card's inputs with the lengths that this file fixes."""
    ports = []
    for port, place in zip(description.card.inputs, description.order, strict=True):
        shape = (description.graph.inputs[place].shape or ())[-len(port.shape) or None :]
        lengths = [
            length if isinstance(length, int) and length > 0 else None if wanted == -1 else wanted
            for wanted, length in zip(port.shape, shape, strict=True)
        ]
        ports.append(replace(port, shape=tuple(lengths)))
    return tuple(ports)


@lru_cache(maxsize=16)
def scale_under_torch(description: OnnxDescription) -> int:
    """Output px for one input px, by running the network without data. Raises ModelFileError."""
    module, mode = onnx_as_torch.meta_model(description.graph, torch.float32)
    with mode, torch.no_grad():
        result, *_ = module(torch.empty(1, 3, PROBE_SIDE, PROBE_SIDE))
    return whole_scale(description.name, PROBE_SIDE, tuple(result.shape))


def _run_without_data(description: OnnxDescription) -> None:
    """Raises UnsupportedError for what shows only when a network of faces or tensors is run, and ModelFileError."""
    module, mode = onnx_as_torch.meta_model(description.graph, torch.float32)
    side = description.card.size or LARGER_PROBE_SIDE
    shapes: list[list[int]] = [[3, side, side]]
    if not description.is_picture_network:
        ports = _input_ports(description)
        shapes = [[LARGER_PROBE_SIDE if length is None else length for length in port.shape] for port in ports]
    with mode, torch.no_grad():
        adapted(description, module, torch.float32)(tuple(torch.empty(1, *shape) for shape in shapes), 0.5)


def whole_scale(name: str, side: int, shape: Sequence[int]) -> int:
    """Output px for one input px of a network that made `shape` of (1, 3, side, side). Raises ModelFileError."""
    scale = shape[-1] // side if len(shape) == 4 else 0
    if not 1 <= scale <= LARGEST_SCALE or tuple(shape) != (1, 3, side * scale, side * scale):
        raise ModelFileError(
            f"{name} makes {list(shape)} of a picture of {[1, 3, side, side]}: only networks that keep a picture's "
            f"size or make it 2 to {LARGEST_SCALE} times as large can be used as a restorer."
        )
    return scale


def adapted(description: OnnxDescription, graph: Graph, dtype: torch.dtype) -> Adapted:
    """A graph, called with its own tensors, as what `Network.run` takes and returns.

    dtype: of the run, for the floats of usual length.
    """
    tensors = partial(_run_tensors, description, graph, dtype)
    return partial(_run_pictures, description, tensors) if description.is_picture_network else tensors


def _run_tensors(
    description: OnnxDescription, graph: Graph, dtype: torch.dtype, inputs: Tensors, fidelity: float
) -> Tensors:
    """The card's inputs in the file's order and types, and the outputs that the card knows."""
    order, values, ports = description.order, description.graph.inputs, description.card.outputs
    ordered = [inputs[order.index(place)] for place in range(len(order))]
    typed = (_as(tensor, value.dtype or torch.float32, dtype) for tensor, value in zip(ordered, values, strict=True))
    results = zip(graph(*typed)[: len(ports)], ports, strict=True)
    # Some exports for one sample leave the batch out of what they give.
    return tuple(x if x.dim() > len(port.shape) else x.unsqueeze(0) for x, port in results)


def _run_pictures(description: OnnxDescription, tensors: Adapted, inputs: Tensors, fidelity: float) -> Tensors:
    """(n, 3, h, w) in 0..1 in the file's range and back."""
    card, (batch,) = description.card, inputs
    network_inputs = [_scaled(batch, card.mean, card.std)]
    if card.has_fidelity:
        shape = description.graph.inputs[description.order[1]].shape or ()
        network_inputs.append(torch.full([1] * len(shape), fidelity, device=batch.device))
    picture = tensors(tuple(network_inputs), fidelity)[0].float()
    return (picture.add_(1.0).div_(2.0) if card.signed else picture,)


def _as(tensor: torch.Tensor, wanted: torch.dtype, dtype: torch.dtype) -> torch.Tensor:
    """In the type of the run where the file has a float of usual length, else in the file's own."""
    usual = (torch.float32, torch.float16, torch.bfloat16)
    return tensor.to(dtype if wanted in usual else wanted)


def _scaled(batch: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 as (batch - mean) / std."""
    if set(mean) == {0.0} and set(std) == {1.0}:
        return batch
    of = batch.new_tensor
    return (batch - of(mean)[:, None, None]) / of(std)[:, None, None]
