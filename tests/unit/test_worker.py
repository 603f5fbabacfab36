"""A network in a child process: right results whatever becomes of the child, and nothing left of it."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import slimfusion
from slimfusion.bench.engines.misbehaving import Misbehaving
from slimfusion.engines.memory.budget import MIB
from slimfusion.engines.worker import bootstrap as worker_start
from slimfusion.engines.worker import shared_frames
from slimfusion.engines.worker.parent import Worker
from slimfusion.engines.worker.process import Patience
from slimfusion.engines.worker.shared_frames import SharedFrames, placed
from slimfusion.errors import BudgetError, DeviceError, ModelFileError

ROOT = Path(slimfusion.__file__).parent
IMPATIENT = Patience(start=60.0, run=1.0)
UNHEARD = Patience(silent=1.0)
ONES = np.ones((2, 3), np.float32)

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's C library")


def misbehaving(how, once=None, budget=None, patience=Patience(), **settings):  # noqa: B008 (frozen)
    given = {"how": how, **settings}
    if once is not None:
        once.touch()
        given["once"] = str(once)
    return Worker(Misbehaving, given, budget, patience=patience)


def is_gone(pid, seconds=30.0):
    """Whether a process ends within so many seconds; one that nobody has collected yet has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No child, no descriptor (shared memory is one), nothing in the folder of named shared memory."""
    folder = Path("/dev/shm")
    named = set(folder.iterdir()) if folder.exists() else set()
    with misbehaving("leave"):
        pass  # what the first one imports stays
    process = psutil.Process()
    children, descriptors = set(process.children()), process.num_fds() if sys.platform != "win32" else 0
    yield
    alive = {child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE}
    assert alive <= children
    assert not folder.exists() or set(folder.iterdir()) <= named
    if sys.platform != "win32":
        end = time.monotonic() + 5.0
        while process.num_fds() > descriptors and time.monotonic() < end:
            time.sleep(0.02)  # the thread that read the child's pipe is about to close it
        assert process.num_fds() <= descriptors


def test_arrays_of_numbers_go_through_in_any_shape_and_belong_to_the_caller(tmp_path):
    inputs = [
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.array(2.5, np.float16),
        np.zeros((0, 4), np.int64),
        np.array([True, False]),
        np.random.default_rng(0).random((3, 700, 700), np.float32),
    ]
    with misbehaving("fail", tmp_path / "once") as worker:
        (tmp_path / "once").unlink()
        first = worker.run(inputs[:2])
        results = worker.run(inputs)
        worker.run([np.full((3, 700, 700), 9.0, np.float32)])
        assert worker.deaths == 0
    for given, result in zip(inputs, results, strict=True):
        assert result.dtype == given.dtype and result.shape == given.shape
        np.testing.assert_array_equal(result, given if given.dtype == bool else given * 2)
    first[0][...] = 0


def test_what_is_no_number_is_refused():
    with misbehaving("fail") as worker, pytest.raises(ModelFileError, match="only numbers"):
        worker.run([np.array(["text"])])


def test_it_works_under_another_name_and_without_torch(monkeypatch):
    name = "/the/host/custom_nodes/a_pack"  # as ComfyUI names it
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
    theirs = importlib.import_module(f"{name}.engines.worker.parent")
    task = importlib.import_module(f"{name}.bench.engines.misbehaving").Misbehaving
    with theirs.Worker(task, {"how": "chatter"}) as worker:
        modules = worker.start()["modules"]
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)
    assert not {"torch", "slimfusion", name} & set(modules)
    assert f"{worker_start.PACKAGE}.engines.worker.child" in modules


@pytest.mark.parametrize(
    ("how", "patience"),
    [
        ("crash", Patience()),
        ("leave", Patience()),
        ("hang", IMPATIENT),
        pytest.param("keep_python_from_running", UNHEARD, marks=posix),
    ],
)
def test_a_child_that_dies_once_costs_one_retry(how, patience, tmp_path):
    with misbehaving(how, tmp_path / "once", patience=patience) as worker:
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)
        assert worker.deaths == 1


def test_a_child_that_is_killed_costs_one_retry(tmp_path):
    once = tmp_path / "once"
    with misbehaving("hang", once) as worker:
        killer = threading.Thread(target=kill_once_running, args=(worker, once))
        killer.start()
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)
        killer.join()
        assert worker.deaths == 1
        psutil.Process(worker.pid).kill()  # between two runs nothing is lost
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)


def kill_once_running(worker, once):
    while once.exists():
        time.sleep(0.01)
    psutil.Process(worker.pid).kill()


@pytest.mark.parametrize(("how", "said"), [("crash", "ended"), ("leave", "code 7"), ("hang", "within 1 s")])
def test_a_child_that_dies_twice_is_a_clear_sentence(how, said):
    with misbehaving(how, patience=IMPATIENT) as worker:
        with pytest.raises(DeviceError, match=f"Misbehaving .*{said}.*second time"):
            worker.run([ONES])
        assert worker.pid is None and worker.deaths == 2


@pytest.mark.parametrize("loading", [True, False])
def test_a_child_over_its_budget_is_ended_and_the_bytes_are_said(loading):
    with misbehaving("eat", budget=100 * MIB, while_loading=loading) as worker:
        with pytest.raises(BudgetError, match="100 MiB were allowed") as caught:
            worker.run([ONES])
        assert worker.pid is None and worker.deaths == 0
    assert caught.value.given == 100 * MIB
    assert 100 * MIB < caught.value.needed == worker.peak_bytes < 200 * MIB


@posix
def test_the_parent_watches_where_the_child_cannot():
    with misbehaving("stuff_unseen", budget=100 * MIB) as worker, pytest.raises(BudgetError, match="100 MiB"):
        worker.run([ONES])


def test_where_a_card_counts_its_memory_ends_the_run(tmp_path):
    card = tmp_path / "card"
    card.write_text(str(40 * MIB))  # its context, which is no part of the budget
    with misbehaving("fill_card", budget=100 * MIB, card=str(card)) as worker:
        with pytest.raises(BudgetError, match="100 MiB were allowed") as caught:
            worker.run([ONES])
        assert worker.is_watched and worker.pid is None
    assert 100 * MIB < caught.value.needed == worker.peak_bytes == int(card.read_text()) - 40 * MIB


@pytest.mark.parametrize("card", [True, False])
def test_where_a_card_counts_the_ram_does_not(tmp_path, card):
    level = tmp_path / "card"
    level.write_text("0")
    with misbehaving("stuff", budget=100 * MIB, card=str(level) if card else "") as worker:
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)
        assert worker.is_watched == card and worker.peak_bytes == 0


def test_the_peak_of_a_run_is_measured_and_a_larger_budget_is_enough():
    large = np.ones(8 * MIB, np.float32)
    with misbehaving("chatter", budget=48 * MIB) as worker:
        worker.run([ONES])
        assert worker.peak_bytes < 16 * MIB
        with pytest.raises(BudgetError):
            worker.run([large])
        worker.budget = 300 * MIB
        worker.run([large])
        worker.run([large])  # the first let the shared memory grow, which gave the input's pages back
        # What goes in, what comes out of the task, and its copy that goes out.
        assert worker.peak_bytes == pytest.approx(3 * large.nbytes, rel=0.15)
        assert worker.held_bytes < worker.peak_bytes


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("find_no_memory", BudgetError, "ran out of memory in its worker process .Failed to allocate memory for"),
        ("fail", DeviceError, "failed in its worker process .RuntimeError: The device was removed.. Update"),
        ("refuse", ModelFileError, "^This model is refused.$"),
    ],
)
def test_errors_in_the_child_come_back_as_ours_and_it_lives_on(how, kind, said, tmp_path):
    with misbehaving(how, tmp_path / "once") as worker:
        with pytest.raises(kind, match=said):
            worker.run([ONES])
        pid = worker.pid
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)
        assert worker.pid == pid


def test_an_interrupt_ends_the_run(tmp_path):
    once = tmp_path / "once"

    def check_interrupt():
        if not once.exists():
            raise InterruptedError

    with misbehaving("hang", once) as worker:
        with pytest.raises(InterruptedError):
            worker.run([ONES], check_interrupt)
        assert worker.pid is None
        np.testing.assert_array_equal(worker.run([ONES])[0], ONES * 2)


ORPHANING = """
import sys
sys.path[:0] = {path!r}
import conftest
import numpy as np
from slimfusion.bench.engines.misbehaving import Misbehaving
from slimfusion.engines.worker.parent import Worker
from slimfusion.engines.worker.process import Patience
worker = Worker(Misbehaving, {{"how": {how!r}, "once": {once!r}}}, patience=Patience(silent=0.5))
worker.start()
print(worker.pid, flush=True)
worker.run([np.ones(3)])
"""


@posix
@pytest.mark.parametrize("how", ["hang", "keep_python_from_running"])
def test_a_parent_that_is_killed_leaves_no_orphan(how, tmp_path):
    once = tmp_path / "once"
    once.touch()
    source = ORPHANING.format(path=[str(ROOT / "tests")], how=how, once=str(once))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        while once.exists():
            time.sleep(0.01)
        parent.send_signal(signal.SIGKILL)
    assert is_gone(pid)


def test_a_worker_that_nobody_closes_leaves_no_orphan():
    worker = misbehaving("fail")
    worker.start()
    pid = worker.pid
    del worker
    assert is_gone(pid)


def test_an_onnx_model_runs_and_a_damaged_one_is_a_sentence(tmp_path, monkeypatch):
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    from slimfusion.engines.ort.one_convolution import EXPECTED, SIDE, one_convolution
    from slimfusion.engines.ort.task import OnnxTask

    home = tmp_path / "home"
    home.mkdir()
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    model = tmp_path / "a convolution 人.onnx"
    model.write_bytes(one_convolution())
    settings = {"model": str(model), "provider": "cpu"}
    with Worker(OnnxTask, settings) as worker:
        (result,) = worker.run([np.ones((1, 1, SIDE, SIDE), np.float32)])
        np.testing.assert_allclose(result, np.full((1, 1, SIDE - 2, SIDE - 2), EXPECTED))
        assert worker.about["providers"] == ["CPUExecutionProvider"]
        with pytest.raises(ModelFileError, match="does not take"):
            worker.run([np.ones((1, 2, SIDE, SIDE), np.float32)])
    assert not list(home.iterdir())  # no diary of what was run, to be sent to onnxruntime's maker
    model.write_bytes(one_convolution()[:-20])
    with (
        Worker(OnnxTask, settings) as worker,
        pytest.raises(ModelFileError, match=r"人\.onnx cannot be loaded by onnxruntime"),
    ):
        worker.start()


def test_shared_memory_without_a_memfd(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    here = SharedFrames()
    there = SharedFrames(here.address)
    large = np.random.default_rng(0).random(shared_frames.STEP)
    layouts, end = placed([ONES, large])
    here.reserve(end)
    here.put([ONES, large], layouts)
    there.follow(here.address)
    np.testing.assert_array_equal(there.view(layouts[1]), large)
    assert layouts[1]["at"] % shared_frames.ALIGNMENT == 0
    here.close()
