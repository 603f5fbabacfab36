"""NVML's calls against a driver made here."""

import ctypes

import pytest
from slimfusion.engines.drivers import nvml
from slimfusion.engines.memory.budget import GIB, MIB


class Driver:
    """A driver with one card and its processes: pid -> bytes."""

    def __init__(self, processes, status=0):
        self.processes, self.status, self.asked = processes, status, 0
        self.drawing = {}

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 1
        return self.status

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        self.asked += 1
        handle._obj.value = 77
        return 0 if index == 0 else 2  # NVML_ERROR_INVALID_ARGUMENT

    def nvmlDeviceGetName(self, handle, text, length):
        assert handle.value == 77 and length == 96
        text.value = b"NVIDIA GeForce GTX 1650"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total, memory._obj.free, memory._obj.used = 4 * GIB, 3 * GIB, GIB
        return self.status

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle, count, infos):
        given, count._obj.value = count._obj.value, len(self.processes)
        if given < len(self.processes):
            return nvml.INSUFFICIENT_SIZE
        for info, (pid, used) in zip(infos or (), self.processes.items(), strict=False):
            info.pid, info.used = pid, used
        return self.status

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle, count, infos):
        given, count._obj.value = count._obj.value, len(self.drawing)
        if given < len(self.drawing):
            return nvml.INSUFFICIENT_SIZE
        for info, (pid, used) in zip(infos or (), self.drawing.items(), strict=False):
            info.pid, info.used = pid, used
        return self.status


@pytest.fixture
def driver(monkeypatch):
    made = Driver({10: 300 * MIB, 11: 500 * MIB, 12: nvml.NOT_AVAILABLE})
    monkeypatch.setattr(nvml, "_library", lambda: made)
    nvml._handle.cache_clear()
    nvml._indices.cache_clear()
    yield made
    nvml._handle.cache_clear()
    nvml._indices.cache_clear()


def test_a_process_is_laid_out_as_the_header_says():
    assert ctypes.sizeof(nvml.ProcessInfo) == 24 and nvml.ProcessInfo.used.offset == 8
    assert ctypes.sizeof(nvml.Memory) == 24 and nvml.Memory.used.offset == 16


def test_cards_have_a_name_and_bytes(driver):
    assert nvml.devices() == [nvml.Device(0, "NVIDIA GeForce GTX 1650", 4 * GIB)]
    assert nvml.device_bytes(0) == (4 * GIB, GIB)


def test_a_process_is_told_apart_where_the_driver_does(driver):
    assert [nvml.process_bytes(0, pid) for pid in (10, 11, 12, 13)] == [300 * MIB, 500 * MIB, None, None]
    assert driver.asked == 1


def test_a_process_that_draws_is_found_too_and_counted_once(driver):
    driver.drawing = {10: 320 * MIB, 13: 70 * MIB}  # Vulkan's stand here, some in both lists
    assert [nvml.process_bytes(0, pid) for pid in (10, 13)] == [320 * MIB, 70 * MIB]


@pytest.mark.parametrize(("pid", "expected"), [(11, 500 * MIB), (12, GIB), (99, GIB)])
def test_what_this_process_holds_or_else_what_all_hold(driver, monkeypatch, pid, expected):
    monkeypatch.setattr(nvml.os, "getpid", lambda: pid)
    assert nvml.own_bytes() == expected


def test_a_card_without_processes_knows_none(driver):
    driver.processes = {}
    assert nvml.process_bytes(0, 10) is None


def test_a_card_that_is_not_there_has_no_bytes(driver):
    assert nvml.device_bytes(1) is None and nvml.process_bytes(1, 10) is None


def test_a_driver_that_fails_says_nothing(driver):
    driver.status = 999  # NVML_ERROR_UNKNOWN
    assert nvml.devices() == [] and nvml.device_bytes(0) is None and nvml.process_bytes(0, 10) is None


def test_the_second_version_of_the_call_will_do(driver, monkeypatch):
    third = Driver.nvmlDeviceGetComputeRunningProcesses_v3
    monkeypatch.delattr(Driver, "nvmlDeviceGetComputeRunningProcesses_v3")
    assert nvml.process_bytes(0, 10) is None
    monkeypatch.setattr(Driver, "nvmlDeviceGetComputeRunningProcesses_v2", third, raising=False)
    assert nvml.process_bytes(0, 10) == 300 * MIB


@pytest.mark.parametrize("library", ["missing", "too old", "refusing"])
def test_without_a_driver_there_are_no_cards(monkeypatch, library):
    def load(name):
        if library == "missing":
            raise OSError("cannot open shared object file")
        return type("Library", (), {} if library == "too old" else {"nvmlInit_v2": lambda self: 9})()

    monkeypatch.setattr(nvml.ctypes, "CDLL", load)
    nvml._library.cache_clear()
    nvml._handle.cache_clear()
    assert nvml.devices() == [] and nvml.device_bytes(0) is None and nvml.process_bytes(0, 1) is None
    nvml._library.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not nvml.devices(), reason="needs an NVIDIA driver")
def test_the_driver_itself_answers():
    total, used = nvml.device_bytes(0)
    assert 0 <= used <= total == nvml.devices()[0].total
