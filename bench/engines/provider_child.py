"""One provider in an environment of its own, as the product runs it: probed, then at work in a worker process.

Takes requests and gives answers as lines of JSON; torch is not here. First {"provider", "as_plugin", "on_cpu"}, which
is answered with what the probe found; then {"model", "input", "output", "budget" in bytes or null} for each network,
answered with its load and first run; then {"again": true} for each further run. A failure is {"failure": sentence}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ...engines.ort.probe import probe
from ...engines.ort.providers import PROVIDERS, Request
from ...engines.ort.runtime import installed
from ...engines.ort.task import OnnxTask
from ...engines.worker.parent import Worker
from ...engines.worker.process import Patience
from ...errors import SlimFusionError

MIB = 1 << 20
PATIENCE = Patience(start=300.0, run=400.0, silent=120.0)  # a driver on the processor compiles for a minute


class Child:
    """The provider, and the network that it runs now."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._provider = PROVIDERS[setup["provider"]]
        self._request = Request(as_plugin=setup["as_plugin"], on_cpu=setup["on_cpu"])
        self._worker: Worker | None = None
        self._inputs: list[np.ndarray] = []

    def probe(self) -> dict[str, Any]:
        found, start = installed(), time.perf_counter()
        result = probe(self._provider, self._request, seconds=120.0)
        wheels = [str(wheel) for wheel in found.wheels] or [found.sentence]
        return {"wheels": wheels, "seconds": time.perf_counter() - start, **asdict(result)}

    def load(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.close()
        self._inputs = [np.load(message["input"])]
        request = replace(self._request, budget=message["budget"])
        settings = {"model": message["model"], "provider": self._provider.key, "request": asdict(request)}
        watched = None if self._provider.enforced else message["budget"]  # one that refuses is left to do so
        self._worker = Worker(OnnxTask, settings, watched, patience=PATIENCE)
        start = time.perf_counter()
        self._worker.start()
        loaded, held = time.perf_counter(), self._worker.held_bytes
        (result,) = self._worker.run(self._inputs)
        first = time.perf_counter()
        np.save(message["output"], result)
        return {
            "load_seconds": loaded - start,
            "first_seconds": first - loaded,
            "held_mib": held / MIB,
            "peak_mib": self._worker.peak_bytes / MIB,
            "watched": self._worker.is_watched,
            "providers": self._worker.about["providers"],
        }

    def again(self) -> dict[str, Any]:
        assert self._worker is not None
        start = time.perf_counter()
        self._worker.run(self._inputs)
        return {"seconds": time.perf_counter() - start}

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def serve() -> None:
    child: Child | None = None
    try:
        for line in sys.stdin:
            message = json.loads(line)
            try:
                if child is None:
                    child = Child(message)
                    answer = child.probe()
                else:
                    answer = child.again() if "again" in message else child.load(message)
            except SlimFusionError as error:
                answer = {"failure": str(error)}
            print(json.dumps(answer), flush=True)
    finally:
        if child is not None:
            child.close()
