"""The cap on torch's allocator: what it is set to, and that it is put back, with an allocator that only notes it."""

import threading
from types import SimpleNamespace

import pytest
import torch
from slimfusion.engines.memory import enforce, meter
from slimfusion.engines.memory.budget import GIB, MIB
from slimfusion.engines.memory.enforce import capped

GPU = torch.device("cuda", 0)
TOTAL = 8 * GIB


class Allocator:
    def __init__(self, fraction: float = 1.0) -> None:
        self.fraction = fraction
        self.set: list[float] = []

    def set_per_process_memory_fraction(self, fraction: float, device: torch.device) -> None:
        assert device == GPU and isinstance(fraction, float) and 0 <= fraction <= 1
        self.fraction = fraction
        self.set.append(fraction)

    def get_per_process_memory_fraction(self, device: torch.device) -> float:
        return self.fraction


@pytest.fixture
def device(monkeypatch):
    """A GPU of 8 GiB. reserved: bytes that the process's allocator holds; cached: those of it that are unused."""
    state = SimpleNamespace(allocator=Allocator(), reserved=2 * GIB, cached=0)

    def release(device):
        state.reserved -= state.cached
        state.cached = 0

    monkeypatch.setattr(enforce, "_allocator", lambda device: state.allocator)
    monkeypatch.setattr(meter, "used_bytes", lambda device: state.reserved)
    monkeypatch.setattr(meter, "total_and_free", lambda device: (TOTAL, TOTAL - state.reserved))
    monkeypatch.setattr(meter, "release_unused", release)
    return state


def test_the_cap_is_what_others_hold_and_what_is_allowed(device):
    with capped(GPU, 512 * MIB, ours=128 * MIB) as how:
        assert how == "enforced"
        assert device.allocator.fraction == (2 * GIB - 128 * MIB + 512 * MIB) / TOTAL
    assert device.allocator.fraction == 1.0


def test_what_is_only_cached_does_not_count_as_held(device):
    device.cached = GIB
    with capped(GPU, 512 * MIB, ours=0):
        assert device.allocator.fraction == (GIB + 512 * MIB) / TOTAL


@pytest.mark.parametrize("narrow", [0.1, 0.25])
def test_a_narrower_limit_of_the_hosts_stays(device, narrow):
    device.allocator.fraction = narrow
    with capped(GPU, 512 * MIB, ours=0):
        assert device.allocator.fraction == narrow
    assert device.allocator.fraction == narrow


def test_a_wider_limit_of_the_hosts_is_narrowed_and_put_back(device):
    device.allocator.fraction = 0.9
    with capped(GPU, 512 * MIB, ours=0):
        assert device.allocator.fraction == pytest.approx((2 * GIB + 512 * MIB) / TOTAL)
    assert device.allocator.fraction == 0.9


@pytest.mark.parametrize(("allowed", "ours", "wanted"), [(100 * GIB, 0, 1.0), (0, 3 * GIB, 0.0)])
def test_the_cap_stays_a_share(device, allowed, ours, wanted):
    with capped(GPU, allowed, ours):
        assert device.allocator.fraction == wanted


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_the_cap_is_put_back_after_an_error(device, error):
    device.allocator.fraction = 0.7
    with pytest.raises(error), capped(GPU, 512 * MIB, ours=0):
        raise error("in mid-run")
    assert device.allocator.fraction == 0.7


def test_a_run_within_a_run_is_capped_and_gives_the_outer_cap_back(device):
    with capped(GPU, GIB, ours=0):
        outer = device.allocator.fraction
        with capped(GPU, 2 * GIB, ours=0):
            assert device.allocator.fraction == outer
        with capped(GPU, 512 * MIB, ours=0):
            assert device.allocator.fraction < outer
        assert device.allocator.fraction == outer
    assert device.allocator.fraction == 1.0


def test_another_thread_waits_until_the_cap_is_put_back(device):
    seen = []

    def run():
        with capped(GPU, 512 * MIB, ours=0):
            seen.append(list(device.allocator.set))

    other = threading.Thread(target=run)
    with capped(GPU, GIB, ours=0):
        other.start()
        other.join(0.1)
        assert not seen
    other.join()
    assert seen == [[3 * GIB / TOTAL, 1.0, 2.5 * GIB / TOTAL]]
    assert device.allocator.fraction == 1.0


def test_an_allocator_that_cannot_be_asked_is_taken_as_free(device, monkeypatch):
    monkeypatch.delattr(Allocator, "get_per_process_memory_fraction")
    with capped(GPU, 512 * MIB, ours=0):
        assert device.allocator.fraction == 2.5 * GIB / TOTAL
    assert device.allocator.fraction == 1.0


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_where_there_is_no_switch_the_budget_is_watched(kind):
    with capped(torch.device(kind), MIB, ours=0) as how:
        assert how == "watched"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_capped_gpu_refuses_more_than_is_allowed_and_is_free_again_after():
    gpu = torch.device("cuda", torch.cuda.current_device())
    torch.zeros(1, device=gpu)
    before = torch.cuda.get_per_process_memory_fraction(gpu)
    with pytest.raises(torch.OutOfMemoryError), capped(gpu, 64 * MIB, ours=0) as how:
        assert how == "enforced"
        torch.zeros(32 * MIB, dtype=torch.uint8, device=gpu)
        torch.zeros(256 * MIB, dtype=torch.uint8, device=gpu)
    assert torch.cuda.get_per_process_memory_fraction(gpu) == before
    assert torch.zeros(256 * MIB, dtype=torch.uint8, device=gpu).sum() == 0
    meter.release_unused(gpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_others_hold_on_a_gpu_does_not_count_into_the_budget():
    gpu = torch.device("cuda", torch.cuda.current_device())
    theirs = torch.zeros(256 * MIB, dtype=torch.uint8, device=gpu)
    with capped(gpu, 128 * MIB, ours=0):
        torch.zeros(64 * MIB, dtype=torch.uint8, device=gpu)
    with capped(gpu, 384 * MIB, ours=theirs.nbytes), pytest.raises(torch.OutOfMemoryError):
        torch.zeros(256 * MIB, dtype=torch.uint8, device=gpu)
    del theirs
    meter.release_unused(gpu)
