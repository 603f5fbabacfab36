"""The same networks on every provider of onnxruntime that can be had here, each in its own environment.

`python3 dev.py bench providers [--only TEXT]` makes the environments in the cache folder, proves each
provider as the product does, runs the bundled network and a small GFPGAN on it in a worker process, and prints how far
the result is from torch's on the processor, its time against torch's in turn, and its memory. What cannot be had is
skipped and said. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.session import Session
from ...models.export import export
from ...models.torch_model import torch_model
from .. import twins
from ..result import at_least, at_most, print_result
from .environments import ENVIRONMENTS, Environment, Unavailable, command, python_of, variables
from .worker import exported

BUNDLED_SIDE, TWIN_SIDE = 64, 64  # px
ROUNDS = 3
ALLOWED = 1.0  # of 255, from torch in fp32
CHILD = "bench.engines.provider_child"


@dataclass(frozen=True)
class Case:
    """A network as torch runs it and as a file. picture: what it is given, (1, 3, s, s) float32."""

    name: str
    onnx: Path
    picture: torch.Tensor
    run: Callable[[torch.Tensor], torch.Tensor]


def cases(folder: Path) -> list[Case]:
    """The bundled network, and a GFPGAN of few channels with random weights."""
    draw = torch.Generator().manual_seed(1)
    model = torch_model(BUNDLED_FILE)
    session = Session(model, torch.device("cpu"), "fp32")
    export(model, "fp32", folder / "bundled.onnx", batch=1)
    picture = torch.rand(1, 3, BUNDLED_SIDE, BUNDLED_SIDE, generator=draw)
    bundled = Case("bundled", folder / "bundled.onnx", picture, lambda batch: session.run(batch, 0.5))
    network: Any = twins.gfpgan(out_size=TWIN_SIDE, narrow=1 / 16, num_style_feat=32)
    options = {"return_rgb": False, "randomize_noise": False}
    picture = torch.rand(1, 3, TWIN_SIDE, TWIN_SIDE, generator=draw)
    path = exported(network, picture, folder / "gfpgan.onnx", **options)
    return [bundled, Case("small GFPGAN", path, picture, lambda batch: network(batch, **options)[0])]


class Conversation:
    """With the process that has the provider."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer. Raises Unavailable when it is a failure or there is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failure": f"the process ended with {self._process.wait()}"}
        if "failure" in answer:
            raise Unavailable(answer["failure"])
        return answer


@contextmanager
def conversation(environment: Environment) -> Iterator[Conversation]:
    """Raises Unavailable where the environment cannot be made."""
    python = python_of(environment, platform.system())
    given = variables(environment, os.environ)
    with subprocess.Popen(
        command(python, CHILD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=given, text=True
    ) as process:
        try:
            yield Conversation(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def measured(environment: Environment, networks: list[Case], folder: Path) -> list[dict[str, Any]]:
    """A row for each network. Raises Unavailable where the provider does not run."""
    rows = []
    with conversation(environment) as child:
        setup = {name: getattr(environment, name) for name in ("provider", "as_plugin", "on_cpu")}
        proof = child.ask(setup)
        if not proof["ran"]:
            raise Unavailable(proof["reason"])
        print(f"{environment.name}: {' and '.join(proof['wheels'])}, proven in {proof['seconds']:.1f} s", flush=True)
        for case in networks:
            row = {"provider": environment.name, "network": case.name, **run_case(child, case, folder)}
            print(said(row), flush=True)
            rows.append(row)
    return rows


def run_case(child: Conversation, case: Case, folder: Path) -> dict[str, Any]:
    """One network on the provider and in torch, in turn."""
    given, made = folder / "input.npy", folder / "output.npy"
    np.save(given, case.picture.numpy())
    row = child.ask({"model": str(case.onnx), "input": str(given), "output": str(made), "budget": None})
    with torch.inference_mode():
        expected = case.run(case.picture).clamp(0.0, 1.0)
        theirs, ours = [], []
        for _ in range(ROUNDS):
            theirs.append(child.ask({"again": True})["seconds"])
            start = time.perf_counter()
            case.run(case.picture)
            ours.append(time.perf_counter() - start)
    result = torch.from_numpy(np.load(made)).clamp(0.0, 1.0)
    difference = float((result - expected).abs().max()) * 255
    return {**row, "difference_255": difference, "seconds": min(theirs), "times_torch": min(theirs) / min(ours)}


def said(row: Mapping[str, Any]) -> str:
    memory = f"{row['peak_mib']:.0f} MiB at most, {row['held_mib']:.0f} loaded" if row["watched"] else "memory not told"
    return (
        f"  {row['network']}: {row['difference_255']:.5f}/255 from torch fp32, {row['seconds']:.3f} s, "
        f"{row['times_torch']:.2f} of torch's time, first run {row['first_seconds']:.1f} s; {memory}"
    )


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every provider that runs must be right, and the processor's always runs."""
    found = [
        at_most(f"{row['provider']}, {row['network']}, difference of 255", round(row["difference_255"], 5), ALLOWED)
        for row in rows
    ]
    return [at_least("providers that ran", len({row["provider"] for row in rows}), 1), *found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="providers whose row's name contains this")
    only = parser.parse_args().only.lower()
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        networks = cases(Path(name))
        for environment in ENVIRONMENTS:
            if only in environment.name.lower():
                try:
                    rows += measured(environment, networks, Path(name))
                except Unavailable as error:
                    skipped[environment.name] = str(error)
                    print(f"{environment.name}: skipped, {error}", flush=True)
    print_result("providers", bars(rows), rows=rows, skipped=skipped)


if __name__ == "__main__":
    main()
