"""Whether a provider really runs: a network of one convolution, in a child process.

onnxruntime lists providers whose libraries do not load, and then computes on the CPU without a word. Only a session
that lists the provider, may not fall back and gives the right numbers is taken as proof. A convolution also needs
cuDNN, which a sum would not.
"""

from __future__ import annotations

import re
import struct
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from ..worker import child_process as child
from .providers import PROVIDERS, Provider, Request
from .runtime import installed, open_session

SECONDS = 60.0  # TensorRT for RTX compiles its first kernel, and drivers are slow to wake
SIDE = 8
WEIGHT = 0.5
EXPECTED = 9 * WEIGHT  # ones under a 3x3 kernel

# What onnxruntime writes to its log, on Linux and on Windows, when a provider's library does not load.
MISSING_LIBRARY = re.compile(
    r"(?:Failed to load library .+? with error: |Error loading .+? which depends on |LoadLibrary failed with )(.+)"
)
CUDA_FAILURE = re.compile(r"(CUDA failure \d+: .+?) ;")  # what follows names the source file and the machine
REQUIREMENT = re.compile(r"Require (cuDNN \d+\.\* and CUDA \d+\.\*)")

_FLOAT, _INTS = 1, 7  # of TensorProto.DataType and AttributeProto.AttributeType
_VARINT, _LENGTH = 0, 2  # protobuf's wire types
_IR_VERSION, _OPSET = 8, 13


@dataclass(frozen=True)
class Probe:
    """Whether a provider ran, and if not, why."""

    key: str
    ran: bool
    reason: str = ""


def probe(provider: Provider, request: Request, seconds: float = SECONDS) -> Probe:
    """Runs the one-node network on a provider in a child process, with the settings of `request`."""
    answer = child.ask("engines.ort.probe:probe_here", {"key": provider.key, "request": asdict(request)}, seconds)
    reason = answer.failure or answer.value["reason"]
    return Probe(provider.key, not reason, explained(reason, answer.log) if reason else "")


@cache
def probed(key: str, device_id: int = 0) -> Probe:
    """The same, once in the life of this process; drivers and wheels do not change under it."""
    as_plugin = key in installed().plugins
    return probe(PROVIDERS[key], Request(device_id=device_id, as_plugin=as_plugin))


def probe_here(argument: dict[str, Any]) -> dict[str, str]:
    """The child's part: `reason` is empty when the provider ran."""
    import numpy as np

    provider = PROVIDERS[argument["key"]]
    try:
        session = open_session(one_convolution(), provider, Request(**argument["request"]), alone=True)
        (result,) = session.run(None, {"x": np.ones((1, 1, SIDE, SIDE), np.float32)})
    except Exception as error:  # onnxruntime's errors have no common base
        return {"reason": one_line(str(error))}
    if not np.allclose(result, EXPECTED, atol=1e-2):
        return {"reason": f"a sum of {EXPECTED} came out as {float(result.ravel()[0]):g}"}
    return {"reason": ""}


def one_line(text: str, longest: int = 300) -> str:
    words = " ".join(text.split())
    return words if len(words) <= longest else words[:longest] + " ..."


def explained(reason: str, log: str) -> str:
    """Why a provider did not run: the library that is missing, where the log names one, else the error itself.

    The error is then only that the CPU would have been taken, which says nothing.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    if found := MISSING_LIBRARY.search(plain):
        reason = f"a library does not load: {one_line(found[1])}"
    elif found := CUDA_FAILURE.search(plain):
        reason = found[1]
    if found := REQUIREMENT.search(plain):
        reason = f"{reason}; it requires {found[1]}"
    return reason


def one_convolution() -> bytes:
    """An ONNX model: x (1, 1, 8, 8) float32, a 3x3 kernel without padding, y (1, 1, 6, 6).

    Written by hand after onnx.proto, so that no onnx package is needed.
    """
    kernel = struct.pack("<9f", *[WEIGHT] * 9)
    weights = b"".join(_number(1, size) for size in (1, 1, 3, 3))
    weights += _number(2, _FLOAT) + _bytes(8, b"w") + _bytes(9, kernel)
    shape = _bytes(1, b"kernel_shape") + _number(8, 3) + _number(8, 3) + _number(20, _INTS)
    node = _bytes(1, b"x") + _bytes(1, b"w") + _bytes(2, b"y") + _bytes(4, b"Conv") + _bytes(5, shape)
    graph = _bytes(1, node) + _bytes(2, b"probe") + _bytes(5, weights)
    graph += _bytes(11, _value(b"x", SIDE)) + _bytes(12, _value(b"y", SIDE - 2))
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, _OPSET))


def _value(name: bytes, side: int) -> bytes:
    """A ValueInfoProto of a (1, 1, side, side) float32 tensor."""
    shape = b"".join(_bytes(1, _number(1, size)) for size in (1, 1, side, side))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
