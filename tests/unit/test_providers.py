"""Options to the letter, the order of providers, the state of an installation, and probes that really run."""

import json
import sys
import types
from dataclasses import replace

import pytest
from slimfusion.bench.engines.misbehaving import Misbehaving
from slimfusion.engines.ort import probe as probing
from slimfusion.engines.ort import runtime
from slimfusion.engines.ort.one_convolution import one_convolution
from slimfusion.engines.ort.probe import Probe, probe
from slimfusion.engines.ort.providers import OUTSIDE_ARENA, PROVIDERS, Machine, Request, order
from slimfusion.engines.ort.runtime import Wheel, installed, runs_on, wheel_for
from slimfusion.engines.worker.parent import run_once
from slimfusion.errors import DependencyError

BUDGET = 512 << 20
GIVEN = Request(budget=BUDGET, device_id=1, stream=4096)
CPU = ("CPUExecutionProvider", {})


def test_cuda_to_the_letter():
    settings = PROVIDERS["cuda"].settings(GIVEN)
    options = {
        "device_id": "1",
        "gpu_mem_limit": "536870912",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "user_compute_stream": "4096",
    }
    assert settings.providers == (("CUDAExecutionProvider", options), CPU)
    assert settings.attributes == {"enable_mem_pattern": False} and settings.entries == {}
    assert settings.last_run == {"memory.enable_memory_arena_shrinkage": "gpu:1"}
    assert settings.cpu_arena is None


def test_without_a_budget_or_a_stream_cuda_is_not_told_of_them():
    _, options = PROVIDERS["cuda"].settings(Request()).providers[0]
    assert not {"gpu_mem_limit", "user_compute_stream"} & options.keys()


def test_directml_to_the_letter():
    settings = PROVIDERS["directml"].settings(GIVEN)
    assert settings.providers == (("DmlExecutionProvider", {"device_id": "1"}), CPU)
    assert settings.attributes == {"enable_mem_pattern": False, "execution_mode": "ORT_SEQUENTIAL"}
    assert settings.entries == {"ep.dml.disable_memory_arena": "1"} and settings.last_run == {}


@pytest.mark.parametrize(("on_cpu", "device"), [(False, "GPU"), (True, "CPU")])
def test_openvino_to_the_letter(on_cpu, device):
    name, options = PROVIDERS["openvino"].settings(Request(as_plugin=True, on_cpu=on_cpu)).providers[0]
    assert name == "OpenVINOExecutionProvider" and list(options) == ["load_config"]
    assert json.loads(options["load_config"]) == {device: {"INFERENCE_PRECISION_HINT": "f32"}}
    _, options = PROVIDERS["openvino"].settings(Request(on_cpu=on_cpu)).providers[0]
    assert options == {"device_type": device, "precision": "FP32"}


def test_webgpu_to_the_letter():
    settings = PROVIDERS["webgpu"].settings(GIVEN)
    options = {"powerPreference": "high-performance", "storageBufferCacheMode": "lazyRelease"}
    assert settings.providers == (("WebGpuExecutionProvider", options), CPU)
    assert PROVIDERS["webgpu"].settings(Request()).providers[0][1] == {"powerPreference": "high-performance"}


def test_coreml_to_the_letter():
    expected = ("CoreMLExecutionProvider", {"MLComputeUnits": "CPUAndGPU"})
    assert PROVIDERS["coreml"].settings(GIVEN).providers == (expected, CPU)


def test_the_cpu_has_an_arena_with_a_budget_and_the_heap_without():
    capped, free = PROVIDERS["cpu"].settings(GIVEN), PROVIDERS["cpu"].settings(Request())
    assert capped.cpu_arena == {"max_mem": BUDGET - OUTSIDE_ARENA, "arena_extend_strategy": 1}
    one_layout = {"enable_mem_pattern": False, "graph_optimization_level": "ORT_ENABLE_EXTENDED"}
    assert capped.attributes == one_layout | {"enable_cpu_mem_arena": True}
    assert capped.entries == {"session.use_env_allocators": "1"}
    assert capped.last_run == {"memory.enable_memory_arena_shrinkage": "cpu:0"}
    assert free.attributes == {"enable_mem_pattern": False, "enable_cpu_mem_arena": False}
    assert (free.cpu_arena, free.entries, capped.providers) == (None, {}, (CPU,))
    kept = PROVIDERS["cpu"].settings(replace(GIVEN, system_refuses=True))
    assert kept.attributes == one_layout | {"enable_cpu_mem_arena": False}
    assert (kept.cpu_arena, kept.entries, kept.last_run) == (None, {}, {})


def test_only_arenas_of_onnxruntime_itself_can_be_enforced():
    assert {key for key, provider in PROVIDERS.items() if provider.enforced} == {"cuda", "cpu"}
    assert all(provider.limit and provider.settings(GIVEN).providers[0][0] == provider.name
               for provider in PROVIDERS.values())  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "system", "intel", "keys"),
    [
        ("performance", "Linux", False, "cuda webgpu openvino cpu"),
        ("auto", "Windows", True, "cuda directml openvino webgpu cpu"),
        ("compatibility", "Windows", False, "directml webgpu openvino cuda cpu"),
        ("compatibility", "Linux", True, "openvino webgpu cuda cpu"),
        ("compatibility", "Darwin", False, "coreml webgpu openvino cuda cpu"),
    ],
)
def test_the_order_follows_mode_and_machine(mode, system, intel, keys):
    assert [provider.key for provider in order(mode, Machine(system, intel), list(PROVIDERS))] == keys.split()


def test_only_what_is_offered_is_tried_and_the_cpu_always():
    assert [provider.key for provider in order("auto", Machine("Linux", False), ["webgpu"])] == ["webgpu", "cpu"]
    assert [provider.key for provider in order("quality", Machine("Linux", False), [])] == ["cpu"]


def fake(monkeypatch, wheels=("onnxruntime",), **names):
    """An onnxruntime with nothing but `names`, owned by wheels."""
    module = types.ModuleType("onnxruntime")
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setattr(runtime, "owners", lambda: tuple(Wheel(name, "1.31.1") for name in wheels))
    return module


def whole(**more):
    names = {"InferenceSession": object, "__version__": "1.31.1", "get_available_providers": lambda: [CPU[0]]}
    return {**names, **more}


def test_a_whole_installation_has_nothing_to_mend(monkeypatch):
    fake(monkeypatch, **whole(cuda_version="13.0", get_ep_devices=list))
    found = installed()
    assert (found.state, found.usable, found.sentence, found.mend) == ("usable", True, "", "")
    assert (found.version, found.cuda, found.providers) == ("1.31.1", "13.0", (CPU[0],))


def test_a_missing_one_is_said_and_everything_else_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    error = ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    monkeypatch.setattr(runtime, "_imported", lambda: (None, error))
    monkeypatch.setattr(runtime, "owners", tuple)
    found = installed()
    assert (found.state, found.usable, found.offered) == ("missing", False, ())
    assert found.mend == f"{sys.executable} -m pip install onnxruntime"
    with pytest.raises(DependencyError, match=r"is not installed.*pip install onnxruntime"):
        runtime.loaded()


def test_one_that_does_not_load_is_broken(monkeypatch):
    monkeypatch.setattr(runtime, "owners", lambda: (Wheel("onnxruntime-gpu", "1.31.1"),))
    monkeypatch.setattr(runtime, "_imported", lambda: (None, ImportError("libx.so: cannot open.\nmore")))
    found = installed()
    assert found.state == "broken" and not found.usable
    assert "onnxruntime-gpu 1.31.1) is installed but does not load: ImportError: libx.so: cannot" in found.sentence
    take_away, put_back = found.mend.splitlines()
    assert take_away.endswith("-m pip uninstall -y onnxruntime-gpu") and "pip install --no-cache-dir onnx" in put_back


def test_on_windows_the_runtime_of_visual_c_is_what_is_missing(monkeypatch):
    monkeypatch.setattr(runtime, "owners", lambda: (Wheel("onnxruntime", "1.32.0"),))
    monkeypatch.setattr(runtime, "_imported", lambda: (None, ImportError("DLL load failed while importing x")))
    monkeypatch.setattr(sys, "platform", "win32")
    assert installed().mend.startswith("winget install --exact --id Microsoft.VCRedist")


def test_an_empty_folder_is_not_taken_for_onnxruntime(monkeypatch):
    fake(monkeypatch, ["onnxruntime-gpu"], __path__=["/site/onnxruntime"])
    found = installed()
    assert found.state == "empty" and not found.usable and "/site/onnxruntime" in found.sentence
    with pytest.raises(DependencyError, match="empty folder"):
        runtime.loaded()


def test_two_wheels_of_one_module_work_by_chance(monkeypatch):
    fake(monkeypatch, ["onnxruntime", "onnxruntime-gpu"], **whole(get_ep_devices=list))
    found = installed()
    assert found.state == "doubled" and found.usable
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 own the same module" in found.sentence
    assert found.mend.splitlines()[0].endswith("pip uninstall -y onnxruntime onnxruntime-gpu")


def test_an_old_one_works_without_plugins(monkeypatch):
    monkeypatch.setattr(runtime, "plugin_keys", lambda: ("webgpu",))
    fake(monkeypatch, **whole(__version__="1.20.1"))
    found = installed()
    assert (found.state, found.usable, found.plugins) == ("old", True, ())
    assert found.mend.endswith("pip install --upgrade onnxruntime")


def test_plugins_are_offered_beside_what_is_built_in(monkeypatch):
    monkeypatch.setattr(runtime, "plugin_keys", lambda: ("webgpu",))
    fake(monkeypatch, **whole(get_ep_devices=list))
    assert installed().offered == ("cpu", "webgpu")


def test_the_wheels_here_are_found():
    pytest.importorskip("onnxruntime")
    assert [wheel.name for wheel in runtime.owners()] == ["onnxruntime"]


@pytest.mark.parametrize(
    ("system", "cuda", "capability", "wheel"),
    [
        ("linux", "13.0", (8, 6), "onnxruntime-gpu"),
        ("linux", "12.8", (8, 6), '"onnxruntime-gpu<1.27"'),
        ("win32", "12.6", (6, 1), '"onnxruntime-gpu<1.27"'),
        ("linux", "13.0", (10, 0), '"onnxruntime-gpu[cuda,cudnn]<1.27"'),
        ("linux", "12.6", (5, 2), "onnxruntime"),
        ("win32", "", None, "onnxruntime-directml"),
        ("darwin", "", None, "onnxruntime"),
    ],
)
def test_the_wheel_that_fits(system, cuda, capability, wheel):
    assert wheel_for(system, cuda, capability) == wheel


@pytest.mark.parametrize(
    ("version", "capability", "runs"),
    [
        ("1.31.1", (6, 1), False),
        ("1.31.1", (7, 0), False),
        ("1.31.1", (7, 5), True),
        ("1.31.1", (8, 7), True),
        ("1.31.1", (10, 0), False),
        ("1.26.0", (6, 1), True),
        ("1.26.0", (5, 2), False),
        ("1.26.0", (12, 0), True),
    ],
)
def test_a_wheel_has_code_for_some_cards_only(version, capability, runs):
    assert runs_on(version, capability) == runs


def test_the_cpu_runs_and_what_is_not_built_in_says_so():
    pytest.importorskip("onnxruntime")
    assert probe(PROVIDERS["cpu"], Request(budget=64 << 20)) == Probe("cpu", True, is_watched=True)
    if "directml" not in installed().offered:
        failed = probe(PROVIDERS["directml"], Request())
        assert not failed.ran and failed.reason.startswith("DirectML is not part of onnxruntime")


def test_an_arena_that_is_too_small_is_refused_in_the_probe():
    pytest.importorskip("onnxruntime")
    failed = probe(PROVIDERS["cpu"], Request(budget=64))
    assert not failed.ran and "memory" in failed.reason


def test_the_one_node_network_is_a_network():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(one_convolution())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]


def test_the_library_that_is_missing_is_found_in_the_log():
    log = (
        "\x1b[1;31m2026 [E:onnxruntime:Default, x.cc:1] Failed to load library /a b/libcuda_ep.so with error: "
        "libcublasLt.so.13: cannot open\n\x1b[m[W:x] Failed to create CUDA. Require cuDNN 9.* and CUDA 13.*. Please\n"
    )
    reason = "a library does not load: libcublasLt.so.13: cannot open; it requires cuDNN 9.* and CUDA 13.*"
    assert probing.explained("fallback is disabled", log) == reason
    windows = '[E] Error loading "C:\\cuda.dll" which depends on "cublasLt64_13.dll" which is missing.\n'
    assert probing.explained("", windows) == 'a library does not load: "cublasLt64_13.dll" which is missing.'
    driver = "[E:x] CUDA failure 35: CUDA driver version is insufficient ; GPU=-1 ; hostname=mine ; file=/src/x.cc"
    assert probing.explained("", driver) == "CUDA failure 35: CUDA driver version is insufficient"
    assert probing.explained("an error", "nothing of use") == "an error"


def test_a_child_answers_whatever_is_printed(capfd):
    answer = run_once(Misbehaving, {"how": "chatter", "while_loading": True}, 30)
    assert answer.failure == "" and "torch" not in answer.value["modules"]
    assert "a line" in answer.log  # what libraries print is kept beside the answer
    assert run_once(Misbehaving, {"how": "refuse", "while_loading": True}, 30).failure == "This model is refused."
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("how", "seconds", "failure"),
    [
        ("hang", 1.0, "the child process did not finish within 1 s and was ended"),
        ("crash", 30, "the child process was ended by signal 6"),
        ("leave", 30, "the child process ended by itself with code 7"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_child_that_hangs_or_dies_is_a_sentence(how, seconds, failure):
    assert run_once(Misbehaving, {"how": how, "while_loading": True}, seconds).failure == failure
