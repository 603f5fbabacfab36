"""Whether a provider really runs: a network of one convolution, in a child process.

onnxruntime lists providers whose libraries do not load, and then computes on the CPU without a word. Only a session
that lists the provider, may not fall back and gives the right numbers is taken as proof.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cache

from ..worker.parent import run_once
from .providers import PROVIDERS, Provider, Request
from .runtime import installed
from .task import ProbeTask

SECONDS = 60.0  # drivers are slow to wake, and some compile their first kernel

# What onnxruntime writes to its log, on Linux and on Windows, when a provider's library does not load.
MISSING_LIBRARY = re.compile(
    r"(?:Failed to load library .+? with error: |Error loading .+? which depends on |LoadLibrary failed with )(.+)"
)
CUDA_FAILURE = re.compile(r"(CUDA failure \d+: .+?) ;")  # what follows names the source file and the machine
REQUIREMENT = re.compile(r"Require (cuDNN \d+\.\* and CUDA \d+\.\*)")


@dataclass(frozen=True)
class Probe:
    """Whether a provider ran, and if not, why. is_watched: whether its memory can be read while it runs."""

    key: str
    ran: bool
    reason: str = ""
    is_watched: bool = False


def probe(provider: Provider, request: Request, seconds: float = SECONDS) -> Probe:
    """Runs the one-node network on a provider in a child process, with the settings of `request`."""
    answer = run_once(ProbeTask, {"provider": provider.key, "request": asdict(request)}, seconds)
    if answer.failure:
        return Probe(provider.key, False, explained(one_line(answer.failure), answer.log))
    return Probe(provider.key, True, is_watched=answer.value["watched"])


@cache
def probed(key: str, device_id: int = 0) -> Probe:
    """The same, once in the life of this process; drivers and wheels do not change under it."""
    as_plugin = key in installed().plugins
    return probe(PROVIDERS[key], Request(device_id=device_id, as_plugin=as_plugin))


def one_line(text: str, longest: int = 300) -> str:
    words = " ".join(text.split())
    return words if len(words) <= longest else words[:longest] + " ..."


def explained(reason: str, log: str) -> str:
    """Why a provider did not run: the library that is missing, where the log names one, else the error itself.

    The error is then only that the CPU would have been taken, which says nothing.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    if match := MISSING_LIBRARY.search(plain):
        reason = f"a library does not load: {one_line(match[1])}"
    elif match := CUDA_FAILURE.search(plain):
        reason = match[1]
    if match := REQUIREMENT.search(plain):
        reason = f"{reason}; it requires {match[1]}"
    return reason
