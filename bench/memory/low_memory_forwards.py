"""Our forwards beside spandrel's and onnxruntime's: the same picture, in which memory and time.

`python -m slimfusion.bench.memory.low_memory_forwards` prints last one line of JSON; the memory bench includes it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...engines.live_peak import live_peak
from ...engines.memory import meter
from ...engines.memory.budget import MIB
from ...engines.torch.architectures import FORWARDS
from .. import twins
from ..result import at_least, at_most, print_result

PARITY = {"GFPGAN": 1e-5, "RestoreFormer": 5e-5, "CodeFormer": 5e-5}
LIVE_MIB = {"GFPGAN": 260, "RestoreFormer": 500, "CodeFormer": 370}
WEIGHT_SCALES = (1e-3, 1.0, 30.0)
ROUNDS = 5
CPU = torch.device("cpu")


def low_memory(name: str, module: torch.nn.Module, batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What our forward makes of (n, 3, s, s) float32 0..1, with the module's weights in its own type."""
    return forward_of(name, module, dtype)(batch)


def forward_of(
    name: str, module: torch.nn.Module, dtype: torch.dtype, device: torch.device = CPU
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Our forward of a module that is on the device in that type; takes (n, 3, s, s) float32 0..1 there."""
    entry = FORWARDS[name]
    with torch.inference_mode():
        prepared = entry.prepare(module, device, dtype)

    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return entry.forward(prepared, batch.to(dtype), 0.5).float()

    return run


def parity_bars() -> list[dict[str, Any]]:
    """Largest differences to spandrel's forward in fp32, and live bytes in fp32."""
    bars = []
    for name in twins.NAMES:
        torch.manual_seed(1)
        batch, module = torch.rand(1, 3, 512, 512), twins.network(name)
        error = float(
            (low_memory(name, module, batch, torch.float32) - twins.reference(name, module, batch)).abs().max()
        )
        bars.append(at_most(f"{name}, largest difference to spandrel's fp32", error, PARITY[name]))
        live = live_peak(twins.blueprint(name), "fp32", 1, 512, 512) / MIB
        bars.append(at_most(f"{name}, live MiB in fp32", round(live, 1), LIVE_MIB[name]))
    return bars


def half_bars() -> list[dict[str, Any]]:
    """GFPGAN's largest fp16 error on twins with ordinary and extreme weights."""
    bars = []
    for scale in WEIGHT_SCALES:
        module = twins.scaled_gfpgan(scale)
        torch.manual_seed(2)
        batch = torch.rand(2, 3, 128, 128)
        full = low_memory("GFPGAN", module, batch, torch.float32)
        half = low_memory("GFPGAN", module.half(), batch, torch.float16)
        error = float((half - full).abs().nan_to_num(torch.inf).max())
        bars.append(at_most(f"GFPGAN in fp16, largest error at weights x{scale:g}", error, 2 / 255))
    return bars


def onnxruntime_session(module: torch.nn.Module, folder: Path) -> Callable[[torch.Tensor], Any]:
    """The same weights in onnxruntime's CPU session with torch's number of threads."""
    import onnxruntime

    class Bare(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return module(batch, return_rgb=False, randomize_noise=False)[0]

    path = folder / "gfpgan.onnx"
    # torch's older exporter needs no packages beyond onnx.
    torch.onnx.export(Bare(), (torch.rand(1, 3, 512, 512),), str(path), opset_version=17, dynamo=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch.numpy()})


def speed_bars() -> list[dict[str, Any]]:
    """One GFPGAN face in the fastest precision of this machine against onnxruntime, in turn in one process."""
    fast = torch.bfloat16 if "bf16" in meter.half_precisions(CPU)[0] else torch.float32
    batch = torch.rand(1, 3, 512, 512)
    with tempfile.TemporaryDirectory() as folder:
        theirs = onnxruntime_session(twins.gfpgan(), Path(folder))
    ours = forward_of("GFPGAN", twins.gfpgan().to(fast), fast)
    ratios = []
    for _ in range(ROUNDS + 1):
        seconds = []
        for work in (ours, theirs):
            with meter.keeping_freed():  # as in a run of the product, and for both
                work(batch)  # each has its own memory's pages, as in a run over many faces
                start = time.perf_counter()
                work(batch)
                seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
        print(f"GFPGAN face: ours ({fast}) {seconds[0]:.2f} s, onnxruntime {seconds[1]:.2f} s", flush=True)
    ratio = round(statistics.median(ratios[1:]), 3)  # the first round warms both up
    if fast is torch.float32:
        return [at_least("this machine has no bf16 instructions; fp32 against onnxruntime, speed ratio", 1 / ratio, 0)]
    return [at_most("GFPGAN face, time against onnxruntime's CPU session", ratio, 0.5)]


def bars() -> list[dict[str, Any]]:
    return parity_bars() + half_bars() + speed_bars()


if __name__ == "__main__":
    print_result("low_memory_forwards", bars())
