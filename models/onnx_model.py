"""ONNX files as networks: rebuilt under torch, where a budget can be enforced, or run by onnxruntime.

Torch is taken unless the user asks for onnxruntime or for compatibility. A file with operators that are not known here
goes to onnxruntime, its memory guessed. A session of onnxruntime runs on CUDA in this process with its arena limited,
on any other provider in a worker process, where an arena's limit holds for the whole process and what cannot be limited
can be ended: a wrong guess costs a run, not the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..catalog.families import NO_MEAN, NO_SCALE, Family
from ..catalog.opening import Stamp, check_unchanged, stamps
from ..catalog.signatures import Signature, input_order
from ..catalog.spec import ModelSpec, Port
from ..engines.memory.cost import Cost
from ..engines.onnx import compile as onnx_plan
from ..engines.onnx import file as onnx_file
from ..engines.onnx import module as onnx_as_torch
from ..engines.onnx.file import OnnxGraph
from ..engines.onnx.operators.registry import UnsupportedError
from ..engines.ort import runtime
from ..engines.ort.probe import probed
from ..engines.ort.providers import PROVIDERS, Provider, order, this_machine
from ..engines.session import Blueprint, Network, Tensors
from ..errors import DeviceError, ModelFileError, printable
from .export import METADATA
from .onnx_networks import Adapter, RuntimeNetwork, TorchModule, WorkerSession, opened

# onnxruntime holds 1.13 times the weights of GFPGAN, RestoreFormer and CodeFormer, and 1.45 times while it loads them.
PACKED_WEIGHTS = 1.2
PROCESS = 16 << 20  # bytes of a worker beside its session: code, stacks, shared frames

# Where nothing can be counted: GFPGAN, RestoreFormer and CodeFormer as they are published hold 2200 to 2800 bytes
# for each pixel in fp32.
GUESSED = Cost(64 << 20, 3000.0)

# Sides of what a network of any size is tried on, px.
PROBE_SIDE, LARGER_PROBE_SIDE = 64, 128
LARGEST_SCALE = 16


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A file with what it is. order: for each of the family's inputs, its place among the file's."""

    graph: OnnxGraph
    family: Family
    order: tuple[int, ...]
    name: str
    licence: str

    @property
    def largest_batch(self) -> int | None:
        """1 where the file was exported for a single sample, None where it leaves the batch open."""
        lengths = [value.shape[0] for value in self.graph.inputs if value.shape]
        return min((each for each in lengths if isinstance(each, int) and each > 0), default=None)


def blueprint_from_onnx(
    path: Path, name: str, family: Family, licence: str, engine: str = "auto", mode: str = "auto"
) -> Blueprint:
    """Describes an .onnx file of a known family; its weights stay on the disk.

    engine: "auto", "torch" or "onnxruntime". mode: the budget's; "compatibility" means onnxruntime unless torch is
    asked for. Raises ModelFileError, DependencyError, and DeviceError when no provider runs.
    """
    model = _model(path, name, family, licence, Stamp.of(path))
    refusal = _refused_by_torch(model)
    if engine == "torch" and refusal:
        raise ModelFileError(f"{name} {refusal}. Get another export of the model, or choose the engine onnxruntime.")
    # The file, and those beside it that it keeps its weights in.
    files = stamps({path, *(tensor.file for tensor in model.graph.initializers.values())})
    key = (str(path), tuple(files.values()))
    if engine == "torch" or (engine == "auto" and not refusal and mode != "compatibility"):
        return _unchanging(_under_torch(model, key), files)
    return _unchanging(_under_onnxruntime(model, key, mode, refusal), files)


def _unchanging(blueprint: Blueprint, files: Mapping[Path, Stamp]) -> Blueprint:
    """The same, which is not opened from files that are others than when it was described."""

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> Network:
        check_unchanged(files)
        network = blueprint.build(device, dtype, limit)
        try:
            check_unchanged(files)  # while it was read
        except ModelFileError:
            network.close()
            raise
        return network

    return replace(blueprint, build=build)


@lru_cache(maxsize=16)
def _refused_by_torch(model: OnnxModel) -> str:
    """Why torch cannot run a graph here, as the end of a sentence; "" where it can. Raises ModelFileError."""
    missing = onnx_as_torch.unsupported(model.graph)
    if missing:
        return f"has operators that are not known to torch here ({', '.join(missing)})"
    try:
        if model.family.contract("").domain == "image":
            _scale_under_torch(model)  # what depends on sizes shows only when it is run
        else:
            onnx_plan.plan(model.graph, torch.device("cpu"), torch.float32)
    except UnsupportedError as error:
        return f"cannot be run by torch ({str(error).partition('. ')[0]})"
    return ""


@lru_cache(maxsize=16)
def _model(path: Path, name: str, family: Family, licence: str, stamp: Stamp) -> OnnxModel:
    graph = onnx_file.read(path)
    if METADATA + "architecture" in graph.metadata:  # one of ours, which takes and gives 0..1 whatever is inside
        family = replace(family, mean=NO_MEAN, std=NO_SCALE, signed=False, has_fidelity=False)
    order = input_order(family, signature(graph))
    if order is None:
        raise ModelFileError(
            f"{name} does not have the inputs and outputs of a {family.name} network ({signature(graph)})."
        )
    return OnnxModel(graph, family, order, name, licence)


def signature(graph: OnnxGraph) -> Signature:
    """What goes into a network and comes out, as the catalogue wants it."""

    def values(those: tuple[onnx_file.Value, ...]) -> tuple[Any, ...]:
        return tuple((each.name, str(each.dtype).removeprefix("torch."), each.shape or ()) for each in those)

    return Signature(values(graph.inputs), values(graph.outputs))


def _spec(model: OnnxModel, precisions: tuple[str, ...], largest_batch: int | None, scale: int) -> ModelSpec:
    contract = model.family.contract(model.licence)
    halo = _noted(model, "halo", contract.halo)
    tensors = contract.domain == "tensors"
    return ModelSpec(
        name=model.name,
        path=model.graph.path,
        contract=contract,
        parameters=model.graph.parameters,
        scale=scale,
        multiple=_noted(model, "multiple", 1),
        halo=halo,
        exact_halo=_noted(model, "exact_halo", halo),
        precisions=precisions,
        inputs=_input_ports(model) if tensors else (),
        outputs=model.family.outputs if tensors else (),
        largest_batch=largest_batch,
    )


def _noted(model: OnnxModel, key: str, usual: int) -> int:
    """A number that our export has left in the file, or the usual one. Raises ModelFileError."""
    value = model.graph.metadata.get(METADATA + key, str(usual))
    if not value.isdecimal():
        raise ModelFileError(f"{model.name} says that its {key} is {value!r}: the file was changed. Export it again.")
    return int(value)


def _input_ports(model: OnnxModel) -> tuple[Port, ...]:
    """The family's inputs with the lengths that this file fixes."""
    ports = []
    for port, place in zip(model.family.inputs, model.order, strict=True):
        shape = (model.graph.inputs[place].shape or ())[-len(port.shape) or None :]
        lengths = [
            given if isinstance(given, int) and given > 0 else None if wanted == -1 else wanted
            for wanted, given in zip(port.shape, shape, strict=True)
        ]
        ports.append(replace(port, shape=tuple(lengths)))
    return tuple(ports)


@lru_cache(maxsize=16)
def _scale_under_torch(model: OnnxModel) -> int:
    """Output px for one input px, by running the network without data. Raises ModelFileError."""
    module, mode = onnx_as_torch.meta_model(model.graph, torch.float32)
    with mode, torch.no_grad():
        result, *_ = module(torch.empty(1, 3, PROBE_SIDE, PROBE_SIDE))
    return whole_scale(model.name, PROBE_SIDE, tuple(result.shape))


def whole_scale(name: str, side: int, shape: Sequence[int]) -> int:
    """Output px for one input px of a network that made `shape` of (1, 3, side, side). Raises ModelFileError."""
    scale = shape[-1] // side if len(shape) == 4 else 0
    if not 1 <= scale <= LARGEST_SCALE or tuple(shape) != (1, 3, side * scale, side * scale):
        raise ModelFileError(
            f"{name} makes {list(shape)} of a picture of {[1, 3, side, side]}: only networks that keep a picture's "
            f"size or make it 2 to {LARGEST_SCALE} times as large can be used as a restorer."
        )
    return scale


@lru_cache(maxsize=16)
def probe(model: OnnxModel) -> tuple[int, Cost]:
    """The scale and the cost of a network that torch cannot run, by running two small pictures in a worker.

    Its memory is limited as that of a network that was guessed. Raises ModelFileError, BudgetError and what a worker
    raises.
    """
    weights = int(model.graph.parameters * torch.float32.itemsize * 2 * PACKED_WEIGHTS)
    limit = PROCESS + weights + 2 * GUESSED.bytes_for(LARGER_PROBE_SIDE**2)
    session = WorkerSession(model.graph.path, PROVIDERS["cpu"], limit, False, True)
    run = _adapter(model)(session, _file_dtype(model))
    peaks = []
    try:
        for side in (PROBE_SIDE, LARGER_PROBE_SIDE):
            result = run(torch.full((1, 3, side, side), 0.5), 0.5)
            scale = whole_scale(model.name, side, result.shape)
            peaks.append(session.outside_peak)
    finally:
        session.close()
    more = (peaks[1] - peaks[0]) / (LARGER_PROBE_SIDE**2 - PROBE_SIDE**2)
    return scale, Cost(GUESSED.fixed, max(GUESSED.per_pixel, more))


def _under_torch(model: OnnxModel, key: tuple[Any, ...]) -> Blueprint:
    adapter = _adapter(model)

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> Network:
        return TorchModule(adapter(onnx_as_torch.build(model.graph, device, dtype), torch.float32))

    @lru_cache(maxsize=1)  # both are asked for one after the other
    def made(dtype: torch.dtype) -> tuple[Adapter, Any, int]:
        module, mode = onnx_as_torch.meta_model(model.graph, dtype)
        held = sum(each.numel() * each.element_size() for each in module.parameters())
        kept = max(0, held - model.graph.parameters * dtype.itemsize)
        return adapter(module, torch.float32), mode, kept + module.opening_bytes

    scale = _scale_under_torch(model) if model.family.contract("").domain == "image" else 1
    precisions = ("bf16", "fp32") if model.family.kind in ("restorer", "image network") else ("fp32",)
    return Blueprint(
        _spec(model, precisions, None, scale),  # what was exported for one sample is run for many all the same
        (*key, "torch"),
        build,
        lambda dtype: made(dtype)[:2],
        engine="torch (from ONNX)",
        constants=lambda dtype: made(dtype)[2],
    )


def _under_onnxruntime(model: OnnxModel, key: tuple[Any, ...], mode: str, refusal: str) -> Blueprint:
    """refusal: why torch cannot run the graph, so that nothing can be counted on tensors without data."""
    if printable(str(model.graph.path)) != str(model.graph.path):
        raise ModelFileError(
            f"onnxruntime cannot open {model.graph.path}, whose name is no Unicode text. Rename it, or choose the "
            "engine torch."
        )
    provider, notes = provider_for(mode)
    scale, cost = 1, GUESSED if refusal else None
    if model.family.contract("").domain == "image":
        scale, cost = probe(model) if refusal else (_scale_under_torch(model), None)
    if refusal:
        notes = (*notes, f"the memory of this file is a guess: it {refusal}")
    adapter, elsewhere = _adapter(model), provider.key != "cuda"

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> Network:
        session = opened(model.graph, provider, limit)
        return RuntimeNetwork(adapter(session, _file_dtype(model)), session)

    def meta_model(dtype: torch.dtype) -> tuple[Adapter, Any]:
        module, mode = onnx_as_torch.meta_model(model.graph, dtype, frugal=False)
        return adapter(module, dtype), mode

    spec = _spec(model, ("fp32",), model.largest_batch, scale)
    return Blueprint(
        spec,
        (*key, provider.key),
        build,
        meta_model,
        engine=f"onnxruntime {provider.title}",
        enforcer="engine" if provider.enforced else "worker" if probed(provider.key).is_watched else "nobody",
        elsewhere=elsewhere,
        weight_factor=PACKED_WEIGHTS,
        constants=lambda dtype: PROCESS if elsewhere else 0,
        cost=cost,
        notes=notes,
    )


@lru_cache(maxsize=4)
def provider_for(mode: str) -> tuple[Provider, tuple[str, ...]]:
    """The first provider that really runs here, and why the ones before it do not. Raises DeviceError."""
    refused: list[str] = []
    for provider in order(mode, this_machine(), runtime.installed().offered):
        found = probed(provider.key)
        if found.ran:
            return provider, tuple(refused)
        refused.append(f"{provider.title} was not used: {found.reason}")
    runtime.loaded()  # says what is wrong with onnxruntime itself, where that is the reason
    raise DeviceError(f"onnxruntime runs on nothing here. {'; '.join(refused)}.")


def _file_dtype(model: OnnxModel) -> torch.dtype:
    """The type in which the file wants its pictures."""
    dtype = model.graph.inputs[model.order[0]].dtype
    return dtype if dtype is not None and dtype.is_floating_point else torch.float32


def _adapter(model: OnnxModel) -> Callable[[Adapter, torch.dtype], Adapter]:
    """Turns a graph, called with its own tensors, into what a session calls: pictures or the family's tensors."""
    places = [model.order.index(place) for place in range(len(model.order))]
    dtypes = [value.dtype or torch.float32 for value in model.graph.inputs]
    ports = model.family.outputs

    def tensors(graph: Adapter, dtype: torch.dtype) -> Adapter:
        def forward(*inputs: torch.Tensor) -> Tensors:
            given = [inputs[place] for place in places]
            results = graph(*(_as(each, want, dtype) for each, want in zip(given, dtypes, strict=True)))
            wanted = zip(results[: len(ports)], ports, strict=True)
            # Some exports for one sample leave the batch out of what they give.
            return tuple(x if x.dim() > len(port.shape) else x.unsqueeze(0) for x, port in wanted)

        return forward

    def pictures(graph: Adapter, dtype: torch.dtype) -> Adapter:
        run = tensors(graph, dtype)

        def forward(batch: torch.Tensor, fidelity: float) -> torch.Tensor:
            given = [_scaled(batch, model.family.mean, model.family.std)]
            if model.family.has_fidelity:
                shape = model.graph.inputs[model.order[1]].shape or ()
                given.append(torch.full([1] * len(shape), fidelity, device=batch.device))
            result: torch.Tensor = run(*given)[0].float()
            return result.add_(1.0).div_(2.0) if model.family.signed else result

        return forward

    return tensors if model.family.contract("").domain == "tensors" else pictures


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
