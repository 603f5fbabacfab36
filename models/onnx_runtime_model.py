"""An ONNX file run by onnxruntime: on CUDA in this process with its arena limited, elsewhere in a worker process.

In a worker an arena's limit holds for the whole process, and what cannot be limited can be ended: a wrong guess costs a
run, not the budget.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from ..catalog.spec import ModelSpec
from ..engines.live_peak import CountedModel, MetaModel, live_cost
from ..engines.memory import enforce
from ..engines.memory.budget import MemoryBudget, format_bytes
from ..engines.memory.cost import Cost
from ..engines.network import PRECISIONS, Traits
from ..engines.onnx import module as onnx_as_torch
from ..engines.ort import runtime
from ..engines.ort.probe import probed
from ..engines.ort.providers import PROVIDERS, Provider, order, this_machine
from ..errors import BudgetError, DeviceError, ModelFileError, printable
from .onnx_description import (
    LARGER_PROBE_SIDE,
    PROBE_SIDE,
    OnnxDescription,
    adapted,
    load_unchanged,
    refused_by_torch,
    scale_under_torch,
    spec_of,
    whole_scale,
)
from .onnx_networks import RuntimeNetwork, WorkerSession, opened

# onnxruntime holds 1.13 times the weights of GFPGAN, RestoreFormer and CodeFormer, and 1.45 times while it loads them.
PACKED_WEIGHTS = 1.2
PROCESS = 16 << 20  # bytes of a worker beside its session: code, stacks, shared frames

# Where nothing can be counted: GFPGAN, RestoreFormer and CodeFormer as they are published hold 2200 to 2800 bytes
# for each pixel in fp32.
GUESSED = Cost(64 << 20, 3000.0)


@dataclass(frozen=True, eq=False)
class OnnxRuntimeModel(CountedModel):
    """guess: the memory of a graph that torch cannot run, so that nothing can be counted; None for others."""

    spec: ModelSpec
    key: tuple[Any, ...]
    description: OnnxDescription
    provider: Provider
    traits: Traits
    guess: Cost | None = None

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        weights = int(self.spec.parameters * PRECISIONS[precision].itemsize * PACKED_WEIGHTS)
        return weights + (PROCESS if self.traits.is_outside else 0)

    def activations(self, precision: str, device_type: str) -> Cost:
        return self.guess or live_cost(self, precision, copies=device_type == "cpu")

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        module, mode = onnx_as_torch.meta_model(self.description.graph, dtype, frugal=False)
        return adapted(self.description, module, dtype), mode

    def load(self, device: torch.device, precision: str, limit: int) -> RuntimeNetwork:
        return load_unchanged(self.description, partial(self._load, limit))

    def _load(self, limit: int) -> RuntimeNetwork:
        session = opened(self.description.graph, self.provider, limit)
        return RuntimeNetwork(adapted(self.description, session, self.description.dtype), session)

    def hold_to(
        self, device: torch.device, allowed: int, ours: int
    ) -> contextlib.AbstractContextManager[enforce.Enforcement]:
        """An arena refuses more; a worker ends itself where it can read what it takes; else it is a prediction."""
        if self.provider.enforced:
            return contextlib.nullcontext("enforced")
        return contextlib.nullcontext("watched" if probed(self.provider.key).is_watched else "predicted")


def onnx_runtime_model(description: OnnxDescription, budget: MemoryBudget, refusal: str) -> OnnxRuntimeModel:
    """refusal: why torch cannot run the graph, so that nothing can be counted on tensors without data.

    Raises ModelFileError, DependencyError, BudgetError, and DeviceError when no provider runs.
    """
    path = description.graph.path
    if printable(str(path)) != str(path):
        raise ModelFileError(
            f"onnxruntime cannot open {path}, whose name is no Unicode text. Rename it, or choose the engine torch."
        )
    provider, notes = provider_for(budget.mode)
    scale, guess = 1, GUESSED if refusal else None
    if description.card.is_image_network:
        scale, guess = probe(description, budget.limit) if refusal else (scale_under_torch(description), None)
    if refusal:
        notes = (*notes, f"the memory of this file is a guess: it {refusal}")
    spec = spec_of(description, ("fp32",), description.largest_batch, scale)
    in_process = provider.key == "cuda"
    traits = Traits(
        f"onnxruntime {provider.title}",
        notes,
        is_outside=not in_process,
        takes_limit=True,
        steers_memory=in_process,
        is_exact=guess is not None,
    )
    return OnnxRuntimeModel(
        spec,
        (*description.key, provider.key),
        description,
        provider,
        traits,
        guess,
    )


@lru_cache(maxsize=16)
def probe(description: OnnxDescription, allowed: int | None = None) -> tuple[int, Cost]:
    """The scale and the cost of a network that torch cannot run, by running two small pictures in a worker.

    Its memory is limited as that of a network that was guessed, and to what is allowed: bytes, None for any. Raises
    ModelFileError, BudgetError and what a worker raises.
    """
    weights = int(description.graph.parameters * torch.float32.itemsize * 2 * PACKED_WEIGHTS)
    guessed = PROCESS + weights + 2 * GUESSED.bytes_for(LARGER_PROBE_SIDE**2)
    limit = min(guessed, allowed or guessed)
    try:
        return _tried_out(description, limit)
    except BudgetError as error:
        raise BudgetError(
            f"{description.name} must be tried out before its memory is known, because it "
            f"{refused_by_torch(description)}, and {format_bytes(limit)} are not enough for a picture of "
            f"{LARGER_PROBE_SIDE} px. Raise the budget, or get another export of the model.",
            error.needed,
            limit,
        ) from error


def _tried_out(description: OnnxDescription, limit: int) -> tuple[int, Cost]:
    session = WorkerSession(description.graph.path, PROVIDERS["cpu"], limit, False, True)
    run = adapted(description, session, description.dtype)
    peaks = []
    try:
        for side in (PROBE_SIDE, LARGER_PROBE_SIDE):
            (result,) = run((torch.full((1, 3, side, side), 0.5),), 0.5)
            scale = whole_scale(description.name, side, result.shape)
            peaks.append(session.outside_peak)
    finally:
        session.close()
    more = (peaks[1] - peaks[0]) / (LARGER_PROBE_SIDE**2 - PROBE_SIDE**2)
    return scale, Cost(GUESSED.fixed, max(GUESSED.per_pixel, more))


@lru_cache(maxsize=4)
def provider_for(mode: str) -> tuple[Provider, tuple[str, ...]]:
    """The first provider that really runs here, and why the ones before it do not. Raises DeviceError."""
    refused: list[str] = []
    for provider in order(mode, this_machine(), runtime.installed().offered):
        outcome = probed(provider.key)
        if outcome.ran:
            return provider, tuple(refused)
        refused.append(f"{provider.title} was not used: {outcome.reason}")
    runtime.loaded()  # says what is wrong with onnxruntime itself, where that is the reason
    raise DeviceError(f"onnxruntime runs on nothing here. {'; '.join(refused)}.")
