"""The meter against allocations of known size, and against devices that are not there."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from slimfusion.engines.memory import meter, resident
from slimfusion.engines.memory.budget import MIB

CPU = torch.device("cpu")
SIZE = 64 * MIB


def touched(nbytes: int) -> np.ndarray:
    return np.ones(nbytes, np.uint8)


def test_a_peak_is_seen_although_it_is_gone_at_the_end():
    meter.release_unused(CPU)
    with meter.peak(CPU) as measured:
        held = touched(SIZE)
        del held
    assert measured.peak == pytest.approx(SIZE, rel=0.15)
    assert measured.base > 0 and len(measured.samples) >= 1


def test_what_was_there_before_does_not_count():
    held = touched(SIZE)
    with meter.peak(CPU) as measured:
        pass
    assert measured.peak < SIZE // 4 and len(held) == SIZE


def test_without_the_kernels_help_samples_are_taken(monkeypatch):
    monkeypatch.setattr(resident, "reset_high_water", lambda: False)
    meter.release_unused(CPU)
    with meter.peak(CPU) as measured:
        held = touched(SIZE)
        taken = len(measured.samples)
        while len(measured.samples) < taken + 2:
            held[0] = 1
    assert measured.peak == pytest.approx(SIZE, rel=0.15)
    assert [moment for moment, _ in measured.samples] == sorted(moment for moment, _ in measured.samples)


def test_where_proc_cannot_be_written_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(resident, "_CLEAR_REFS", tmp_path)
    assert resident.reset_high_water() is False
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(resident, "_STATUS", tmp_path / "status")
    assert resident.high_water() == 0


def test_a_peak_is_filled_in_also_after_an_error():
    meter.release_unused(CPU)
    with pytest.raises(ValueError), meter.peak(CPU) as measured:
        raise ValueError(len(touched(SIZE)))
    assert measured.peak == pytest.approx(SIZE, rel=0.15)


def test_used_bytes_follow_what_is_held_and_given_back():
    meter.release_unused(CPU)
    before = meter.used_bytes(CPU)
    held = [torch.ones(MIB // 64) for _ in range(1024)]
    assert meter.used_bytes(CPU) - before > SIZE * 0.85
    last = held.pop()  # while it lives the C library keeps what is freed below it
    del held
    meter.release_unused(CPU)
    assert meter.used_bytes(CPU) - before < SIZE // 4 and len(last)


def test_a_device_has_more_than_is_free():
    total, free = meter.total_and_free(CPU)
    assert 0 < free <= total
    assert meter.device_name(CPU) == f"cpu {meter.platform.machine()} {torch.get_num_threads()} threads"


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("convolves", [True, False])
def test_a_cpu_is_good_at_bf16_where_it_has_the_instructions(monkeypatch, amx, avx512, convolves):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(meter, "cpu_convolves", lambda dtype: convolves)
    good = ("bf16",) if amx or avx512 else ()
    assert meter.half_precisions(CPU) == (good, ("bf16",) if good or convolves else ())


def test_a_cpu_that_torch_cannot_ask_is_not_good_at_bf16(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert meter.half_precisions(CPU)[0] == ()


HOW_MUCH_STAYS = """
import sys, torch
from slimfusion.engines.memory import meter
cpu, mib = torch.device("cpu"), 1 << 20
meter.release_unused(cpu)
before = meter.used_bytes(cpu)
with getattr(meter, sys.argv[1])():
    blocks = [torch.ones(6 * mib) for _ in range(4)]  # of 24 MiB
    del blocks[::2]
    print((meter.used_bytes(cpu) - before) / mib)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own ways")
@pytest.mark.parametrize(("how", "least", "most"), [("returning_freed", 44, 60), ("keeping_freed", 84, 120)])
def test_freed_blocks_go_back_at_once_where_that_is_asked_for(how, least, most):
    """Blocks that glibc would keep, between others that live on; in a process whose heap nothing else has shaped."""
    run = [sys.executable, "-c", HOW_MUCH_STAYS, how]
    stays = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert least < stays < most


STAYS_OF_A_THREAD = """
import threading, torch
from slimfusion.catalog.files import BUNDLED_FILE
from slimfusion.engines.memory import meter
from slimfusion.models.torch_model import torch_model
cpu = torch.device("cpu")

def work():
    network, batch = torch_model(BUNDLED_FILE).load(cpu, "fp32", 0), torch.rand(1, 3, 320, 320)
    with torch.inference_mode():
        with meter.returning_freed():
            network.run((batch,), 0.5)
        meter.release_unused(cpu)
        before = meter.used_bytes(cpu)
        with meter.keeping_freed():
            for _ in range(3):
                network.run((batch,), 0.5)
    print((meter.used_bytes(cpu) - before) / (1 << 20))

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own ways")
def test_what_a_thread_has_kept_goes_back_after_the_block():
    """A host works in a thread, whose arena has an end that malloc_trim leaves: 33 MiB of it stayed."""
    run = [sys.executable, "-c", STAYS_OF_A_THREAD]
    stays = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert stays < 8


@pytest.mark.parametrize(
    ("capability", "bf16", "good", "possible"),
    [
        ((6, 1), False, (), ("fp16",)),
        ((7, 5), False, ("fp16",), ("fp16",)),
        ((8, 6), True, ("fp16", "bf16"), ("fp16", "bf16")),
    ],
)
def test_a_gpu_is_judged_by_its_generation(monkeypatch, capability, bf16, good, possible):
    def supported(including_emulation):
        assert including_emulation is False
        return bf16

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert meter.half_precisions(torch.device("cuda", 0)) == (good, possible)


@pytest.mark.parametrize(("kind", "halves"), [("mps", ("fp16",)), ("xpu", ("fp16", "bf16"))])
def test_other_devices_have_halves_of_their_own(kind, halves):
    assert meter.half_precisions(torch.device(kind)) == (halves, halves)


def test_what_the_allocator_caches_counts_as_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 40)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10)
    assert meter.total_and_free(torch.device("cuda", 0)) == (100, 35)
    assert meter.used_bytes(torch.device("cuda", 0)) == 40


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_peak_is_exact_and_given_back():
    gpu = torch.device("cuda", torch.cuda.current_device())
    torch.zeros(1, device=gpu)
    meter.release_unused(gpu)
    before = meter.used_bytes(gpu)
    with meter.peak(gpu) as measured:
        held = torch.zeros(SIZE, dtype=torch.uint8, device=gpu)
        del held
    assert SIZE <= measured.peak <= SIZE * 1.05
    meter.release_unused(gpu)
    assert meter.used_bytes(gpu) == before
