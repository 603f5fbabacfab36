"""What onnxruntime does in a worker process: a session at work, and the proof that a provider runs.

Torch is not imported, nor by what is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ...errors import DeviceError, ModelFileError, SlimFusionError
from ..drivers import own
from ..memory import resident
from ..worker.child import RAM, Meter, reason_of
from .one_convolution import EXPECTED, SIDE, one_convolution
from .providers import OUTSIDE_ARENA, PROVIDERS, Provider, Request
from .runtime import loaded, open_session


class OnnxTask:
    """An onnxruntime session.

    settings: {"model": path, "provider": key of PROVIDERS, "request": fields of its Request}.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._model = Path(settings["model"])
        self._provider = PROVIDERS[settings["provider"]]
        self._request = Request(**settings.get("request", {}))
        loaded()
        self.meter: Meter | None = RAM
        if self._provider.uses_gpu(self._request):
            before = own.levels()
            self._awake = awake(self._provider, self._request)  # kept: the device's context goes with its last session
            self.meter = own.meter_since(before)

    def load(self) -> dict[str, Any]:
        request = kept_by_system(self._request, self._provider.key)
        try:
            self._session = open_session(str(self._model), self._provider, request)
        except SlimFusionError:
            raise
        except Exception as error:  # onnxruntime's errors have no common base
            reason = reason_of(error)
            raise ModelFileError(
                f"{self._model.name} cannot be loaded by onnxruntime ({reason}). The file is damaged, or made for a "
                "newer onnxruntime or another provider."
            ) from error
        return {"providers": self._session.get_providers()}

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        names = [port.name for port in self._session.get_inputs()]
        if len(names) != len(inputs):
            raise ModelFileError(
                f"{self._model.name} takes {len(names)} arrays and was given {len(inputs)}: it is a model of another "
                "kind."
            )
        try:
            return [np.asarray(value) for value in self._session.run(None, dict(zip(names, inputs, strict=True)))]
        except Exception as error:  # as above
            if type(error).__name__ == "InvalidArgument":
                raise ModelFileError(
                    f"{self._model.name} does not take what it was given ({reason_of(error)}): it is a model of "
                    "another kind."
                ) from error
            raise


class ProbeTask:
    """The proof that a provider runs.

    settings: {"provider": key of PROVIDERS, "request": fields of its Request}. Loading it returns {"watched": whether
    the memory that it takes can be read}.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    @property
    def meter(self) -> Meter:
        return RAM

    def load(self) -> dict[str, bool]:
        provider, request = PROVIDERS[self._settings["provider"]], Request(**self._settings["request"])
        before = own.levels()
        _session = awake(provider, request)  # held while its memory is looked for
        return {"watched": not provider.uses_gpu(request) or own.meter_since(before) is not None}

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs


def awake(provider: Provider, request: Request) -> Any:
    """A session that has computed one convolution on a provider: the device's context is there.

    Raises DeviceError where the numbers are wrong, what `open_session` raises, and onnxruntime's own errors.
    """
    session = open_session(one_convolution(), provider, request, alone=True)
    (result,) = session.run(None, {"x": np.ones((1, 1, SIDE, SIDE), np.float32)})
    if not np.allclose(result, EXPECTED, atol=1e-2):
        raise DeviceError(f"a sum of {EXPECTED} came out as {float(result.ravel()[0]):g}")
    return session


def kept_by_system(request: Request, provider: str) -> Request:
    """The request, its budget kept by the system where that is possible: on the processor, where all memory counts."""
    if provider != "cpu" or request.budget is None:
        return request
    threads = psutil.cpu_count(logical=False) or os.cpu_count() or 1  # as many as onnxruntime starts
    return replace(request, system_refuses=resident.refused_beyond(max(0, request.budget - OUTSIDE_ARENA), threads))
