"""From a torch network to an ONNX file, compared with torch before anybody sees it.

The low-memory forward is exported, with pictures in 0..1, so that half precision is as safe in the file as it
is here. Inside may be fp16; what goes in and comes out is float32.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..catalog.spec import ModelSpec
from ..engines.network import Model, runnable
from ..environment import pip
from ..errors import DependencyError, ModelFileError, OutputError, SettingError

OPSET = 18
INPUT, OUTPUT = "input", "output"
METADATA = "slimfusion."

# What a file may differ from torch, in units of 1/255.
ALLOWED = {"fp32": 1.0, "fp16": 2.0}
SAMPLE_SIDE = 128  # px of the picture that is compared, for networks of any size, about: a multiple is taken


@dataclass(frozen=True)
class Exported:
    """largest_difference: from torch over the compared picture, in units of 1/255."""

    path: Path
    nbytes: int
    largest_difference: float


class Exportable(torch.nn.Module):
    """A loaded network as the exporter wants it: a module of one argument. fidelity: fixed from now on."""

    def __init__(self, model: Model, precision: str, fidelity: float) -> None:
        super().__init__()
        self._network = runnable(model.load(torch.device("cpu"), precision, 0))
        self._fidelity = fidelity

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        (result,) = self._network.run((picture,), self._fidelity)
        return result.float()


def export(model: Model, precision: str, target: Path, batch: int | None = None, fidelity: float = 0.5) -> Exported:
    """Writes the network to `target`, whole or not at all.

    batch: the number of pictures that the file takes at a time, None for any. Raises SettingError, DependencyError,
    OutputError, and ModelFileError when the file does not give what torch gives.
    """
    spec = model.spec
    if precision not in ALLOWED or precision not in spec.precisions:
        possible = ", ".join(precision_name for precision_name in spec.precisions if precision_name in ALLOWED)
        raise SettingError(f"{spec.name} cannot be exported in {precision}. Choose one of {possible}.")
    ort, onnx = _tools()
    network = Exportable(model, precision, fidelity)
    sample = _sample(spec, batch or 2)
    with torch.inference_mode():
        expected = network(sample)  # before the tracing, so that what a first run makes ready is not traced
    traced = _traced(network, sample, _free_sides(spec, batch))
    onnx.helper.set_model_props(traced, _metadata(spec, precision, fidelity))
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(traced, str(part))
        difference = _difference(ort, part.read_bytes(), sample, expected)
        if not difference <= ALLOWED[precision]:  # also when it is no number
            raise ModelFileError(
                f"{spec.name} was exported in {precision}, but the file differs from torch by {difference:.1f}/255, "
                f"which is more than {ALLOWED[precision]:.0f}/255: it was not kept."
            )
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror or error}).") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return Exported(target, target.stat().st_size, difference)


def _traced(network: Exportable, sample: torch.Tensor, free: dict[int, Any]) -> Any:
    """The network as an onnx.ModelProto."""
    with torch.inference_mode(), _silence():
        program = torch.onnx.export(
            network,
            (sample,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=(free,),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _difference(ort: Any, content: bytes, sample: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest between the file's result and torch's, in units of 1/255."""
    # By its content: names that are no UTF-8 are refused by onnxruntime.
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    got = torch.from_numpy(session.run(None, {INPUT: sample.numpy()})[0])
    return float((got - expected).abs().max()) * 255


def _tools() -> tuple[Any, Any]:
    """The modules onnxruntime and onnx. Raises DependencyError."""
    from ..engines.ort.runtime import loaded

    try:
        import onnx
        import onnxscript  # noqa: F401  what torch's exporter is written with
    except ImportError as error:
        raise DependencyError(
            f"To export, torch needs onnx and onnxscript ({error}). Type: {pip('install onnx onnxscript')}"
        ) from error
    return loaded(), onnx


def _sample(spec: ModelSpec, batch: int) -> torch.Tensor:
    """(batch, 3, h, w) of a fixed noise, large enough to be a picture and small enough to be quick."""
    height, width = spec.size or (-(-SAMPLE_SIDE // spec.multiple) * spec.multiple,) * 2
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def _free_sides(spec: ModelSpec, batch: int | None) -> dict[int, Any]:
    """The dimensions that the file leaves open; sides stay multiples of what the network needs."""
    dim = torch.export.Dim
    free: dict[int, Any] = {} if batch else {0: dim("batch")}
    if spec.size is None:
        sides = {2: dim("rows", min=2), 3: dim("columns", min=2)}
        free |= {axis: spec.multiple * side if spec.multiple > 1 else side for axis, side in sides.items()}
    return free


def _metadata(spec: ModelSpec, precision: str, fidelity: float) -> dict[str, str]:
    """What our own loader recognises the file by, and what its owner must know of it."""
    facts = {
        "architecture": spec.architecture,
        "licence": spec.licence,
        "name": spec.name,
        "precision": precision,
        "multiple": str(spec.multiple),
        "scale": str(spec.scale),
        "halo": str(spec.halo),
        "exact_halo": str(spec.exact_halo),
    }
    if spec.card.has_fidelity:
        facts["fidelity"] = str(fidelity)
    return {METADATA + key: value for key, value in facts.items()}


@contextmanager
def _silence() -> Iterator[None]:
    """Torch's exporter explains itself at length; what goes wrong it raises."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
