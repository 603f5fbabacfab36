"""Exported twins of public networks under torch beside onnxruntime: the same picture, in which memory and time.

`python -m slimfusion.bench.engines.onnx_parity [NAME...]` prints last one line of JSON. Exports are kept in a folder of
the system's temporary one, because they take a minute each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...engines.live_peak import LivePeak
from ...engines.memory.budget import MIB
from ...engines.onnx import file as onnx_file
from ...engines.onnx import module as onnx_as_torch
from .. import twins
from ..result import at_least, at_most, print_result

NAMES = ("GFPGAN", "RestoreFormer", "CodeFormer", "ESRGAN")
SIDES = {"ESRGAN": 128}
OPSET = 17
ROUNDS = 3
CPU = torch.device("cpu")


class Exported(torch.nn.Module):
    """A twin with the inputs and the output that public exports of it have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.network: Any = twins.network(name)
        if name == "CodeFormer":
            network: Any = self.network
            network.fuse_convs_dict = _BySize(network.fuse_convs_dict)

    def forward(self, picture: torch.Tensor, weight: torch.Tensor | None = None) -> Any:
        if self.name == "GFPGAN":
            return self.network(picture, return_rgb=False, randomize_noise=False)[0]
        if self.name == "CodeFormer":
            return self.network(picture, weight=0.5 if weight is None else weight.float())[0]
        return self.network(picture)[0] if self.name == "RestoreFormer" else self.network(picture)


class _BySize(torch.nn.ModuleDict):
    """CodeFormer looks modules up by the width of a picture as text, which reads 'tensor(32)' while it is traced."""

    def __getitem__(self, key: str) -> torch.nn.Module:
        return super().__getitem__("".join(letter for letter in key if letter.isdigit()))


def picture_of(name: str) -> torch.Tensor:
    torch.manual_seed(1)
    side = SIDES.get(name, 512)
    return torch.rand(1, 3, side, side) * 2.0 - 1.0


def inputs_of(name: str) -> tuple[torch.Tensor, ...]:
    weight = (torch.tensor([0.5], dtype=torch.float64),) if name == "CodeFormer" else ()
    return picture_of(name), *weight


def exported(name: str) -> Path:
    """The twin's file, written unless it is there."""
    folder = Path(tempfile.gettempdir()) / "slimfusion_onnx_twins"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}_{OPSET}.onnx"
    if not path.exists():
        partial = path.with_suffix(".partial")
        # torch's older exporter needs no packages beyond onnx.
        torch.onnx.export(Exported(name), inputs_of(name), str(partial), opset_version=OPSET, dynamo=False)
        partial.replace(path)
    return path


def live_bytes(name: str, dtype: torch.dtype, forward: Callable[..., Any], mode: Any) -> int:
    """Bytes of activations at the worst moment, input included."""
    with mode, torch.no_grad():
        fakes = tuple(torch.empty(x.shape, dtype=x.dtype) for x in inputs_of(name))
        with LivePeak(fakes) as live:
            forward(*fakes)
    return live.peak + fakes[0].numel() * 4


def makers_live_bytes(name: str) -> int:
    """The same for the network's own forward in fp32."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        module = Exported(name)
    return live_bytes(name, torch.float32, lambda picture, *rest: module(picture), mode)


def onnxruntime_session(path: Path) -> Callable[..., Any]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    # Waiting threads would count as work in the processor's time.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))[0]


def cpu_seconds(work: Callable[[], Any]) -> float:
    """The processor's time: on a machine that others use too, the clock's says little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speed_ratio(ours: Callable[..., Any], theirs: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> float:
    """Our processor's time by theirs, in turn, the best of each."""
    pairs = [(cpu_seconds(lambda: ours(*inputs)), cpu_seconds(lambda: theirs(*inputs))) for _ in range(ROUNDS)]
    return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)


def run_bars(name: str, graph: onnx_file.OnnxGraph) -> list[dict[str, Any]]:
    """Largest difference to onnxruntime, time, and what half precision changes; pictures in 0..1."""
    inputs = inputs_of(name)
    with torch.inference_mode():
        full, session = onnx_as_torch.build(graph, CPU, torch.float32), onnxruntime_session(graph.path)
        ours = full(*inputs)[0]
        error = float((ours - torch.from_numpy(session(*inputs))).abs().max()) / 2
        ratio = speed_ratio(full, session, inputs)
        half = onnx_as_torch.build(graph, CPU, torch.bfloat16)(*inputs)[0].float()
        change = float((half - ours).abs().mean()) / 2
    return [
        at_most(f"{name}, largest difference to onnxruntime in fp32", round(error, 7), 1 / 255),
        at_most(f"{name}, processor's time against onnxruntime's in fp32", round(ratio, 2), 2.0),
        at_most(f"{name}, mean difference of bf16 to fp32", round(change, 5), 4 / 255),
    ]


def memory_bar(name: str, graph: onnx_file.OnnxGraph) -> dict[str, Any]:
    live = live_bytes(name, torch.float32, *onnx_as_torch.meta_model(graph, torch.float32))
    makers = makers_live_bytes(name)
    print(f"{name}: {live / MIB:.0f} MiB live under torch, {makers / MIB:.0f} in the network's own forward", flush=True)
    return at_least(f"{name}, live bytes of the network's own forward by ours, fp32", round(makers / live, 3), 1.0)


def bars(names: tuple[str, ...] = NAMES) -> list[dict[str, Any]]:
    found = []
    for name in names:
        graph = onnx_file.read(exported(name))
        found += [memory_bar(name, graph), *run_bars(name, graph)]
    return found


if __name__ == "__main__":
    print_result("onnx_parity", bars(tuple(sys.argv[1:]) or NAMES))
