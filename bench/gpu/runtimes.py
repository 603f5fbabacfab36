"""The same GFPGAN in every engine on the card, against torch from its weights.

Its ONNX file under torch, onnxruntime's CUDA with its arena limited, and TensorRT: built, run, and compared with what
it said it would take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engines.host import StandaloneHost
from ...engines.memory.budget import MIB
from ...engines.network import Model
from ...engines.session import Session
from ...errors import DependencyError, SlimFusionError
from ...models.export import export
from ...models.opening import Opening, open_model
from ...models.torch_model import TorchModel, torch_model
from .. import twins
from ..engines import environments, providers
from ..engines.environments import Unavailable
from ..memory.card_memory import card_rise
from ..result import at_least, at_most
from .place import Findings, Place, Skipped, best_seconds

ALLOWED = {"fp32": 1.0, "fp16": 2.0, "bf16": 2.0}  # of 255
ROUNDS = 10
SHARES = (0.4, 0.6, 0.8)  # of what onnxruntime takes, as limits
OUTSIDE_ARENA_MIB = 400  # handles and kernels of CUDA's libraries, which no arena serves


def _weights(place: Place) -> TorchModel:
    """GFPGAN's, or the bundled network's in a rehearsal."""
    if place.is_rehearsal:
        from ...catalog.files import BUNDLED_FILE

        return torch_model(BUNDLED_FILE)
    return torch_model(twins.save_twin("GFPGAN", place.folder / "GFPGAN.pth"))


def _exported(place: Place, model: TorchModel) -> Path:
    path = place.folder / "network.onnx"
    export(model, "fp32", path, batch=1)
    return path


def _picture(place: Place) -> torch.Tensor:
    return torch.rand(1, 3, place.side(), place.side(), generator=torch.Generator().manual_seed(1))


def _run(place: Place, model: Model, precision: str) -> tuple[torch.Tensor, float]:
    """The picture that a network makes, and the seconds that it takes, copies to and from the card included."""
    session, picture = Session(model, place.device, precision), _picture(place)
    try:
        seconds = best_seconds(lambda: session.run(picture, 0.5), place.device, 2 if place.is_rehearsal else ROUNDS)
        return session.run(picture, 0.5), seconds
    finally:
        session.close()


def measure_onnx(place: Place) -> Findings:
    """The ONNX file under torch, against the weights."""
    findings, model = Findings(), _weights(place)
    path = _exported(place, model)
    expected, seconds = _run(place, model, "fp32")
    findings.rows["weights in torch, fp32"] = f"{seconds * 1e3:.1f} ms"
    of_file = open_model(path, host=StandaloneHost(place.device), opening=Opening("torch"))
    for precision in of_file.spec.precisions:
        result, seconds = _run(place, of_file, precision)
        findings.rows[f"ONNX in torch, {precision}"] = f"{seconds * 1e3:.1f} ms"
        difference = round(float((result - expected).abs().max()) * 255, 4)
        findings.bars.append(at_most(f"ONNX in torch, {precision}, difference of 255", difference, ALLOWED[precision]))
    return findings


def measure_onnxruntime(place: Place) -> Findings:
    """CUDA in an environment of its own: right, and refused beyond its arena's limit."""
    name = "CPU" if place.is_rehearsal else "CUDA"
    (environment,) = (each for each in environments.ENVIRONMENTS if each.name == name)
    model = _weights(place)
    path = _exported(place, model)
    expected, seconds = _run(place, model, "fp32")
    case = providers.Case(model.spec.name, path, _picture(place), lambda batch: expected)
    try:
        with providers.conversation(environment) as child:
            proof = child.ask({"provider": environment.provider, "as_plugin": False, "on_cpu": False})
            if not proof["ran"]:
                raise Skipped(f"onnxruntime's {name} does not run: {proof['reason']}")
            row = providers.run_case(child, case, place.folder)
            findings = _limited(child, case, place, row)
    except Unavailable as error:
        raise Skipped(f"onnxruntime for {name} {error}") from error
    findings.rows["onnxruntime"] = f"{row['seconds'] * 1e3:.1f} ms; torch {seconds * 1e3:.1f} ms"
    difference = round(row["difference_255"], 4)
    findings.bars.append(at_most("onnxruntime, fp32, difference of 255", difference, ALLOWED["fp32"]))
    return findings


def _limited(child: providers.Conversation, case: providers.Case, place: Place, free: dict[str, Any]) -> Findings:
    """Runs under limits that are too small: a refusal, or less than the limit beside what no arena serves."""
    findings = Findings()
    given, made = place.folder / "input.npy", place.folder / "limited.npy"
    np.save(given, case.picture.numpy())
    findings.rows["onnxruntime without a limit"] = f"{free['peak_mib']:.0f} MiB"
    beyond = []
    for share in SHARES:
        limit = int(free["peak_mib"] * share) * MIB
        message = {"model": str(case.onnx), "input": str(given), "output": str(made), "budget": limit}
        try:
            taken = child.ask(message)["peak_mib"]
            beyond.append(taken - limit / MIB)
            findings.rows[f"onnxruntime limited to {limit // MIB} MiB"] = f"{taken:.0f} MiB"
        except Unavailable as refusal:
            beyond.append(0.0)
            findings.rows[f"onnxruntime limited to {limit // MIB} MiB"] = f"refused: {str(refusal)[:90]}"
    findings.bars.append(
        at_most("onnxruntime, most MiB beyond its arena's limit", round(max(beyond), 1), OUTSIDE_ARENA_MIB)
    )
    return findings


def measure_tensorrt(place: Place) -> Findings:
    """The proof of TensorRT's room: an engine is built, gives the same picture, and takes what it said."""
    from ...models.tensorrt_model import tensorrt_model

    findings, model = Findings(), _weights(place)
    host = StandaloneHost(place.device, state_folder=place.folder)
    expected, _ = _run(place, model, "fp32")
    _, torch_seconds = _run(place, model, "fp16" if "fp16" in model.spec.precisions else "fp32")
    try:
        engine = tensorrt_model(model, "auto", host)
    except DependencyError as error:
        raise Skipped(str(error)) from error
    except SlimFusionError as error:
        if place.is_rehearsal:  # there is no card to build for
            raise Skipped(str(error)) from error
        raise
    (precision,) = engine.spec.precisions
    activations = engine.activations(precision, place.device.type)
    told = engine.weight_bytes(precision, place.device) + activations.bytes_for(place.side() ** 2)
    with card_rise(place.device) as card:
        result, seconds = _run(place, engine, precision)
    difference = round(float((result - expected).abs().max()) * 255, 4)
    findings.rows["TensorRT"] = f"{seconds * 1e3:.1f} ms in {precision}; torch {torch_seconds * 1e3:.1f} ms"
    findings.rows["TensorRT's memory"] = f"said {told / MIB:.0f} MiB, the card lost {card.peak / MIB:.0f} MiB"
    findings.bars += [
        at_most(f"TensorRT, {precision}, difference of 255", difference, ALLOWED[precision]),
        at_most("TensorRT, time against torch in the same precision", round(seconds / torch_seconds, 3), 1.0),
        at_least("TensorRT, engines that were built and ran", 1, 1),
    ]
    return findings
