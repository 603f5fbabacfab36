"""What an operator is to the interpreter, and the table of all of them.

Two kinds of values flow through a graph. Tensors are data, on the device in the run's type. Host values are numpy
arrays: sizes, axes, indices and what is computed from them. They stay on the CPU whatever the device, so that a
graph runs without waiting for it, and on tensors without data too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from ....errors import ModelFileError
from ..limits import HOST_ITEM_BYTES, HOST_VALUE_BYTES


class TooLargeError(ModelFileError):
    """What an operator would make on the host is larger than any size or index is."""


class UnsupportedError(ModelFileError):
    """A graph asks for what torch cannot do here; another engine may."""


# For whoever may choose: files that are found by themselves, such as detectors, follow the budget's mode alone.
OTHER_ENGINE = (
    "onnxruntime may run this file: choose the engine onnxruntime or, where there is no such choice, the mode "
    "compatibility in the budget."
)


Array = np.ndarray[Any, Any]
Run = Callable[..., Any]
AnyRun = TypeVar("AnyRun", bound=Run)


@dataclass(frozen=True)
class Operator:
    """How an operator is run.

    run: takes a Call and its inputs (None for one that is left out), gives a tensor or as many as the node has
    outputs. host_inputs: positions that are wanted as numpy arrays. scalars: constants of one element come as
    Python numbers. aliases: outputs may share memory with inputs. overwrites: inputs whose memory may become the
    output's, where nobody else needs them. exact: constants there stay float32 whatever the run's type. on_host: the
    same on numpy arrays alone, for sizes and indices.
    """

    run: Run | None = None
    host_inputs: frozenset[int] = frozenset()
    scalars: bool = False
    aliases: bool = False
    overwrites: frozenset[int] = frozenset()
    exact: frozenset[int] = frozenset()
    on_host: Run | None = None


# By name; ('com.microsoft.' and such) before the names of what is not in the standard.
OPERATORS: dict[str, Operator] = {}


@dataclass(frozen=True, eq=False)
class Call:
    """A node as its operator sees it.

    dtype: of every floating tensor here, the run's, or float32 where pictures are summed. reuse: positions of inputs
    that may be overwritten. seed: the same for the same node of the same graph.
    """

    op: str
    name: str
    opset: int
    outputs: int
    attributes: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    reuse: tuple[int, ...] = ()
    seed: int = 0
    cache: dict[Any, Any] = field(default_factory=dict)

    def number(self, name: str, default: Any) -> Any:
        value = self.attributes.get(name)
        return default if value is None else value

    def ints(self, name: str) -> tuple[int, ...] | None:
        return self.attributes.get(name)

    def tensor_type(self, onnx_type: int) -> torch.dtype:
        """The torch type that stands for an ONNX type in this run: floating types are all the run's."""
        from ..tensors import DTYPES

        dtype = DTYPES.get(onnx_type)
        if dtype is None:
            raise self.refused(f"its type {onnx_type} is not supported")
        return self.dtype if dtype.is_floating_point else dtype

    def check_table(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of an array on the host that is about to be made. Raises ModelFileError for an impossible one."""
        if any(size < 0 for size in shape) or math.prod(shape) * HOST_ITEM_BYTES > HOST_VALUE_BYTES:
            raise self.too_large(f"it makes a table of the shape {list(shape)}")
        return tuple(shape)

    def too_large(self, why: str) -> TooLargeError:
        return TooLargeError(
            f"The operator {self.op} ({self.name or 'without a name'}) is not run: {why}. Sizes and indices of a model "
            "take a few MiB, so that the file is damaged or not what it is said to be. Get another export of the model."
        )

    def refused(self, why: str) -> UnsupportedError:
        return UnsupportedError(
            f"The operator {self.op} ({self.name or 'without a name'}) cannot be run by torch: {why}. {OTHER_ENGINE}"
        )


def operator(
    *names: str,
    host: Iterable[int] = (),
    scalars: bool = False,
    aliases: bool = False,
    overwrites: Iterable[int] = (),
    exact: Iterable[int] = (),
) -> Callable[[AnyRun], AnyRun]:
    """Enters a function on tensors under its operators' names."""

    def enter(run: AnyRun) -> AnyRun:
        for name in names:
            registered = OPERATORS.get(name, Operator())
            OPERATORS[name] = Operator(
                run, frozenset(host), scalars, aliases, frozenset(overwrites), frozenset(exact), registered.on_host
            )
        return run

    return enter


def host_operator(*names: str) -> Callable[[AnyRun], AnyRun]:
    """Enters a function on numpy arrays under its operators' names."""

    def enter(run: AnyRun) -> AnyRun:
        for name in names:
            OPERATORS[name] = replace(OPERATORS.get(name, Operator()), on_host=run)
        return run

    return enter


def find(kind: str) -> Operator | None:
    """An operator by its name as `Node.kind` has it."""
    return OPERATORS.get(kind)


def numbers(array: Array | None) -> list[int]:
    """A host value as whole numbers."""
    return [] if array is None else [int(x) for x in np.asarray(array).reshape(-1)]


def has_no_data(device: torch.device) -> bool:
    """Whether only sizes count on a device now: what is worked out for such a tensor must not take memory."""
    return device.type == "meta" or isinstance(torch.empty(0, device=device), FakeTensor)


def writable(x: torch.Tensor) -> bool:
    """Whether every element has a place of its own: what Expand gives has not."""
    return all(stride or size == 1 for stride, size in zip(x.stride(), x.shape, strict=True))
