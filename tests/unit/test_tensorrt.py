"""TensorRT without a card: what is asked of its builder and runtime, through a module that stands for it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from networks import face_model, save_upscaler
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.costs import CostStore, Place
from slimfusion.engines.tensorrt import build as tensorrt_build
from slimfusion.engines.tensorrt.build import EngineFacts
from slimfusion.errors import DependencyError, ModelFileError, SettingError
from slimfusion.models import tensorrt_model as tensorrt_backend
from slimfusion.models.torch_model import torch_model

MIB = 1 << 20
CUDA = torch.device("cuda", 0)
FACTS = EngineFacts(memory=100 * MIB, weights=160 * MIB, streamable=150 * MIB)


class FakeEngine:
    """Keeps what it was told; its one context doubles what it is given."""

    device_memory_size_v2 = FACTS.memory
    streamable_weights_size = FACTS.streamable
    num_io_tensors = 2
    weight_streaming_budget_v2 = None

    def get_engine_stat(self, stat):
        return FACTS.weights

    def get_tensor_name(self, index):
        return ("input", "output")[index]

    def get_tensor_mode(self, name):
        return name

    def create_execution_context(self, strategy):
        assert strategy == "user managed"
        return self

    def set_device_memory(self, address, size):
        self.memory = (address, size)

    def set_tensor_address(self, name, address):
        self.addresses = {**getattr(self, "addresses", {}), name: address}

    def execute_async_v3(self, stream):
        self.ran_on = stream
        return True


class FakeBuilder:
    """Takes every file but one that is called bad.onnx, and builds every network but one that is called huge.onnx."""

    def __init__(self, trt):
        self.trt, self.flags, self.monitor = trt, [], None

    def create_network(self, flags):
        assert flags == 1 << 1
        return self

    def parse_from_file(self, path):
        self.model = path
        return not path.endswith("bad.onnx")

    num_errors = 1

    def get_error(self, index):
        return SimpleNamespace(desc=lambda: "no such operator")

    def create_builder_config(self):
        return self

    def set_memory_pool_limit(self, pool, size):
        self.workspace = size

    def set_flag(self, flag):
        self.flags.append(flag)

    def create_timing_cache(self, content):
        self.timings = content
        return content

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: b"timings")

    def build_serialized_network(self, network, config):
        self.progress_monitor.phase_start("Building", None, 4)
        self.progress_monitor.phase_start("Tactics", "Building", 9)
        self.progress_monitor.step_complete("Tactics", 5)
        assert self.progress_monitor.step_complete("Building", 0)
        return None if self.model.endswith("huge.onnx") else b"plan"


@pytest.fixture
def trt():
    module = SimpleNamespace(
        __version__="10.13.3",
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        BuilderFlag=SimpleNamespace(WEIGHT_STREAMING="streaming"),
        EngineStat=SimpleNamespace(TOTAL_WEIGHTS_SIZE="weights"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
        TensorIOMode=SimpleNamespace(INPUT="input"),
        IProgressMonitor=object,
    )
    module.engine, module.builder = FakeEngine(), FakeBuilder(module)
    module.Logger = type("Logger", (), {"WARNING": 1, "ERROR": 2, "__init__": lambda self, level: None})
    module.Builder = lambda logger: module.builder
    module.OnnxParser = lambda network, logger: module.builder
    module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: module.engine)
    return module


def settings(folder, model="net.onnx"):
    names = {"engine": "net.engine", "timing": "timings.cache", "progress": "net.progress"}
    return {"model": str(folder / model), "workspace": 64 * MIB, **{k: str(folder / v) for k, v in names.items()}}


def test_an_engine_is_written_with_what_it_takes(tmp_path, trt, monkeypatch):
    monkeypatch.setattr(tensorrt_build, "loaded", lambda: trt)
    (tmp_path / "timings.cache").write_bytes(b"of before")
    assert tensorrt_build.BuildTask(settings(tmp_path)).load() == asdict(FACTS)
    assert (tmp_path / "net.engine").read_bytes() == b"plan"
    assert json.loads((tmp_path / "net.json").read_text()) == asdict(FACTS)
    assert (trt.builder.timings, (tmp_path / "timings.cache").read_bytes()) == (b"of before", b"timings")
    assert (trt.builder.workspace, trt.builder.flags) == (64 * MIB, ["streaming"])
    assert json.loads((tmp_path / "net.progress").read_text()) == ["Building", 1, 4]


@pytest.mark.parametrize(("model", "says"), [("bad.onnx", "no such operator"), ("huge.onnx", "found no way to build")])
def test_what_cannot_be_built_is_a_sentence(tmp_path, trt, monkeypatch, model, says):
    monkeypatch.setattr(tensorrt_build, "loaded", lambda: trt)
    with pytest.raises(ModelFileError, match=says):
        tensorrt_build.BuildTask(settings(tmp_path, model)).load()
    assert not (tmp_path / "net.engine").exists()


def test_without_tensorrt_the_sentence_names_the_wheel():
    with pytest.raises(DependencyError, match="pip install tensorrt-cu12"):
        tensorrt_build.loaded()


def network(trt, monkeypatch, tmp_path, limit):
    monkeypatch.setattr(tensorrt_backend, "loaded", lambda: trt)
    (tmp_path / "net.engine").write_bytes(b"plan")
    engine = tensorrt_backend.Engine(tmp_path / "net.engine", FACTS)
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return tensorrt_backend.EngineNetwork(engine, torch.device("cpu"), 64, limit)


def test_its_activations_live_in_a_tensor_of_ours(trt, monkeypatch, tmp_path):
    monkeypatch.setattr(trt.engine, "device_memory_size_v2", 4096, raising=False)
    running = network(trt, monkeypatch, tmp_path, 0)
    picture = torch.rand(1, 3, 64, 64)
    (result,) = running.run((picture,), 0.5)
    address, size = trt.engine.memory
    assert (address, size) == (running._memory.data_ptr(), 4096) and running._memory.numel() == 4096
    assert trt.engine.addresses == {"input": picture.data_ptr(), "output": result.data_ptr()}
    assert trt.engine.ran_on == 7 and result.shape == (1, 3, 64, 64)
    running.close()
    assert running._memory.numel() == 0


@pytest.mark.parametrize(("limit", "streamed"), [(0, None), (400, None), (200, 90 - 0.09375), (50, 0)])
def test_weights_are_streamed_when_the_budget_has_no_room_for_them(trt, monkeypatch, tmp_path, limit, streamed):
    network(trt, monkeypatch, tmp_path, limit * MIB)
    expected = None if streamed is None else int(streamed * MIB)
    assert trt.engine.weight_streaming_budget_v2 == expected


class CardHost(StandaloneHost):
    """A host with a card, as far as planning asks."""

    def device(self):
        return CUDA


class FakeWorker:
    """Builds at once; the last one is kept to be looked at."""

    last = None

    def __init__(self, task, settings, **_):
        assert task is tensorrt_build.BuildTask
        FakeWorker.last = self
        self.settings = settings

    def start(self, check_interrupt):
        Path(self.settings["progress"]).write_text(json.dumps(["Building", 1, 4]))
        check_interrupt()
        engine = Path(self.settings["engine"])
        engine.write_bytes(b"plan")
        tensorrt_build.facts_file(engine).write_text(json.dumps(asdict(FACTS)))
        return asdict(FACTS)

    def close(self):
        pass


def test_an_engine_is_built_once_and_its_memory_is_known_exactly(trt, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt_backend, "loaded", lambda: trt)
    monkeypatch.setattr(tensorrt_backend, "Worker", FakeWorker)
    card = SimpleNamespace(name="Card", major=8, minor=6)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    told = []
    host = CardHost("cpu", lambda *progress: told.append(progress), tmp_path)
    model = face_model()
    built = tensorrt_backend.tensorrt_model(model, "auto", host)
    assert ("build: Building", 1, 4) in told
    assert (built.traits.engine, built.spec.precisions, built.spec.largest_batch) == ("TensorRT", ("fp16",), 1)
    assert built.weight_bytes("fp16", CUDA) == pytest.approx(10 * MIB)
    cost = CostStore().cost(Place(built, "fp16", CUDA))
    assert cost.bytes_for(64 * 64) == FACTS.memory + 2 * 3 * 64 * 64 * 4
    assert sorted(path.suffix for path in (tmp_path / "tensorrt").iterdir()) == [".engine", ".json"]

    FakeWorker.last = None
    again = tensorrt_backend.tensorrt_model(model, "auto", host)
    assert FakeWorker.last is None and again.key == built.key
    monkeypatch.setattr(card, "minor", 9)
    assert tensorrt_backend.tensorrt_model(model, "auto", host).key != built.key


def test_what_has_no_engine_is_refused(tmp_path):
    upscaler = torch_model(save_upscaler(tmp_path / "x4.pth"))
    with pytest.raises(SettingError, match="takes pictures of any size"):
        tensorrt_backend.tensorrt_model(upscaler, "auto", CardHost("cpu"))
    with pytest.raises(SettingError, match="the device here is cpu"):
        tensorrt_backend.tensorrt_model(face_model(), "auto", StandaloneHost("cpu"))
    only_bf16 = replace(face_model(), spec=replace(face_model().spec, precisions=("bf16", "fp32")))
    with pytest.raises(SettingError, match="cannot be built for TensorRT in fp16"):
        tensorrt_backend.tensorrt_model(only_bf16, "fp16", CardHost("cpu"))
    with pytest.raises(DependencyError, match="no folder to keep an engine"):
        tensorrt_backend.tensorrt_model(face_model(), "fp32", CardHost("cpu"))
