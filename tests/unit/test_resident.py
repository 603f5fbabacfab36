"""A process's own memory, and a ceiling that the system keeps: read and set in a process of its own."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest
from slimfusion.engines.memory import resident

TRIES = """
import importlib.util, sys, threading
spec = importlib.util.spec_from_file_location("resident", sys.argv[1])
resident = importlib.util.module_from_spec(spec)
spec.loader.exec_module(resident)
assert resident.refused_beyond(64 << 20, 4)
threads = [threading.Thread(target=print) for _ in range(4)]
[thread.start() for thread in threads]
kept = bytearray(48 << 20)
try:
    bytearray(32 << 20)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system refuses memory to a process")
def test_the_system_refuses_what_is_beyond_and_nothing_below():
    done = subprocess.run([sys.executable, "-c", TRIES, resident.__file__], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("refused", "")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system refuses memory to a process")
def test_a_narrower_limit_of_the_administrators_stays(monkeypatch):
    monkeypatch.setattr(resident.resource, "getrlimit", lambda kind: (1 << 20, 1 << 20))
    monkeypatch.setattr(resident.resource, "setrlimit", lambda *_: pytest.fail("it was widened"))
    assert not resident.refused_beyond(64 << 20, 1)


def test_other_systems_refuse_nothing(monkeypatch):
    monkeypatch.setattr(resident.sys, "platform", "darwin")
    assert not resident.refused_beyond(64 << 20, 1)


def test_the_resident_set_grows_with_what_is_written():
    before = resident.resident_bytes()
    with mmap.mmap(-1, 32 << 20) as kept:
        kept.write(b"x" * len(kept))
        assert resident.resident_bytes() - before > 24 << 20
    assert not Path("/proc/self/status").exists() or resident.high_water() >= resident.resident_bytes()
