"""ONNX files as networks: recognised, planned, run under torch and by onnxruntime with the same result."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from slimfusion.engines.cache import SessionCache
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Job, Options
from slimfusion.engines.memory.budget import GIB, MIB, MemoryBudget
from slimfusion.engines.memory.costs import CostStore
from slimfusion.engines.memory.planner import Work
from slimfusion.engines.memory.report import Report
from slimfusion.engines.onnx import file as onnx_file
from slimfusion.engines.ort.probe import Probe
from slimfusion.engines.ort.providers import PROVIDERS
from slimfusion.engines.ort.task import OnnxTask
from slimfusion.engines.plan import plan
from slimfusion.engines.worker import process as worker_module
from slimfusion.engines.worker.parent import Worker
from slimfusion.errors import BudgetError, ModelFileError, SettingError
from slimfusion.faces.restore import restore_faces, restore_image
from slimfusion.models import onnx_networks as onnx_sessions
from slimfusion.models import onnx_runtime_model
from slimfusion.models.opening import Opening, open_model

HOST = StandaloneHost("cpu")
ENGINES = ["torch", "onnxruntime"]
FLOAT = TensorProto.FLOAT


def save(path, nodes, inputs, outputs, weights=()):
    values = [[helper.make_tensor_value_info(n, t, s) for n, t, s in each] for each in (inputs, outputs)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights]
    graph = helper.make_graph(nodes, "network", *values, initializer=tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def restorer(path, size=512, weight=False):
    """Takes -1..1 and makes it a quarter brighter; with a weight, by so much of that."""
    nodes = [helper.make_node("Identity", ["more"], ["by"])]
    inputs = [("x", FLOAT, [1, 3, size, size])]
    if weight:
        inputs.append(("w", TensorProto.DOUBLE, [1]))
        nodes = [
            helper.make_node("Cast", ["w"], ["w32"], to=FLOAT),
            helper.make_node("Mul", ["w32", "more"], ["by"]),
        ]
    nodes.append(helper.make_node("Add", ["x", "by"], ["y"]))
    return save(path, nodes, inputs, [("y", FLOAT, [1, 3, size, size])], [("more", np.float32([0.25]))])


def upscaler(path):
    """Twice as large, dynamic in all sides."""
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    shape = ["n", 3, "h", "w"]
    scales = [("scales", np.float32([1, 1, 2, 2]))]
    return save(path, nodes, [("x", FLOAT, shape)], [("y", FLOAT, ["n", 3, "h2", "w2"])], scales)


def recogniser(path):
    """512 times the mean, times 1 to 512."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"], axis=1),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    matrix = np.arange(1, 513, dtype=np.float32)[None].repeat(3, 0) / 3
    return save(path, nodes, [("x", FLOAT, ["n", 3, 112, 112])], [("y", FLOAT, ["n", 512])], [("m", matrix)])


def network(path, engine="auto", **budget):
    return open_model(path, host=HOST, opening=Opening(engine, budget=MemoryBudget(**budget)))


def job(made, work, budget=None, **options):
    return Job(made, work, budget or MemoryBudget(mode="quality"), HOST, Options(**options))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("weight", "fidelity", "more"), [(False, 0.5, 0.125), (True, 0.5, 0.0625), (True, 0.0, 0.0)])
def test_a_restorer_takes_and_gives_pictures(tmp_path, engine, weight, fidelity, more):
    made = network(restorer(tmp_path / "模型 1.onnx", weight=weight), engine)
    assert made.spec.card.is_face_restorer and made.spec.card.template == "ffhq_512"
    crops = [torch.full((3, 512, 512), value) for value in (0.25, 0.5)]
    report, sessions = Report(), SessionCache()
    with plan(job(made, Work(512, 512, 2, False), fidelity=fidelity), sessions, CostStore()).open(report) as run:
        results = list(run.crops(crops))
    sessions.release()
    assert [round(float(result[0, 9, 9]), 4) for result in results] == [0.25 + more, 0.5 + more]
    assert report.engine == {"torch": "torch (from ONNX)", "onnxruntime": "onnxruntime CPU"}[engine]
    assert report.enforcement == {"torch": "watched", "onnxruntime": "enforced"}[engine]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_upscaler_runs_in_tiles(tmp_path, engine):
    made = network(upscaler(tmp_path / "x2.onnx"), engine)
    assert (made.spec.scale, made.spec.card.is_face_restorer) == (2, False)
    frame, canvas, sessions = torch.rand(90, 130, 3), torch.zeros(180, 260, 3), SessionCache()
    with plan(job(made, Work(90, 130, 1, True), tile=96), sessions, CostStore()).open(Report()) as run:
        run.frame(frame, canvas)
    sessions.release()
    torch.testing.assert_close(canvas, frame.repeat_interleave(2, 0).repeat_interleave(2, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_recogniser_gives_vectors(tmp_path, engine):
    made, sessions = network(recogniser(tmp_path / "w.onnx"), engine), SessionCache()
    assert made.spec.card.takes_tensors and made.spec.size == (112, 112)
    items = [(torch.full((3, 112, 112), float(value)),) for value in (1, 2, 3)]
    with plan(job(made, Work(112, 112, 3, False)), sessions, CostStore()).open(Report()) as run:
        results = [vector for (vector,) in run.infer(items)]
    sessions.release()
    assert [(vector.shape, round(float(vector[9]))) for vector in results] == [((512,), 10 * n) for n in (1, 2, 3)]


def test_compatibility_means_onnxruntime_and_auto_means_torch(tmp_path):
    path = restorer(tmp_path / "net.onnx")
    assert network(path).traits.engine == "torch (from ONNX)"
    assert network(path, mode="compatibility").traits.engine.startswith("onnxruntime ")


def test_a_network_that_restores_nothing_is_refused(tmp_path):
    made = network(recogniser(tmp_path / "w.onnx"))
    with pytest.raises(SettingError, match="family arcface and restores nothing"):
        restore_faces(torch.rand(1, 64, 64, 3), made, MemoryBudget(), HOST)


def test_what_does_not_fit_is_said_before_anything_is_loaded(tmp_path):
    made, sessions = network(restorer(tmp_path / "net.onnx"), "onnxruntime"), SessionCache()
    tight = MemoryBudget(2 * MIB, mode="quality")
    with (
        pytest.raises(BudgetError, match="needs"),
        plan(job(made, Work(512, 512, 1, False), tight), sessions, CostStore()).open(Report()),
    ):
        pass
    assert sessions.opened == 0


def test_an_operator_that_nobody_knows(tmp_path):
    path = tmp_path / "net.onnx"
    shape = [1, 3, 512, 512]
    node = helper.make_node("Dream", ["x"], ["y"], domain="some.where")
    save(path, [node], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    with pytest.raises(ModelFileError, match=r"not supported in torch \(some\.where\.Dream\)"):
        network(path, "torch")


def test_an_operator_that_only_onnxruntime_knows_is_run_by_it_on_a_guess(tmp_path):
    path, shape = tmp_path / "net.onnx", [1, 3, 512, 512]
    save(path, [helper.make_node("Celu", ["x"], ["y"])], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    made, sessions, report, crop = network(path), SessionCache(), Report(), torch.rand(3, 512, 512)
    try:
        with plan(job(made, Work(512, 512, 1, False), MemoryBudget()), sessions, CostStore()).open(report) as run:
            (result,) = run.crops([crop])
    finally:
        sessions.release()
    assert (result - F.celu(crop * 2 - 1).add(1).div(2).clamp(0, 1)).abs().max() <= 1e-6
    assert report.engine == "onnxruntime CPU" and any("not supported in torch (Celu)" in n for n in report.notes)


@pytest.mark.parametrize(("is_watched", "how"), [(True, "watched"), (False, "predicted")])
def test_without_a_limit_of_its_own_a_run_is_watched_where_its_card_is_read(tmp_path, monkeypatch, is_watched, how):
    provider, opened = PROVIDERS["webgpu"], onnx_runtime_model.opened
    monkeypatch.setattr(onnx_runtime_model, "provider_for", lambda mode: (provider, ()))
    monkeypatch.setattr(onnx_runtime_model, "probed", lambda key: Probe(key, True, is_watched=is_watched))
    monkeypatch.setattr(onnx_runtime_model, "opened", lambda graph, _, limit: opened(graph, PROVIDERS["cpu"], limit))
    made, sessions, report = network(restorer(tmp_path / "net.onnx"), "onnxruntime"), SessionCache(), Report()
    try:
        with plan(job(made, Work(512, 512, 1, False)), sessions, CostStore()).open(report) as run:
            assert len(list(run.crops([torch.rand(3, 512, 512)]))) == 1
    finally:
        sessions.release()
    assert report.enforcement == how and f"({how})" in report.as_text()
    assert ("not measured" in report.as_text()) != is_watched


def test_a_worker_on_the_processor_stays_within_its_budget_or_says_that_it_cannot(tmp_path):
    """64 MiB of features: the system or the arena refuses them, before anything is over the budget."""
    weights = {"wide": np.ones((16, 1, 1, 1), np.float32), "narrow": np.ones((1, 16, 1, 1), np.float32)}
    nodes = [helper.make_node("Conv", ["x", "wide"], ["c"]), helper.make_node("Conv", ["c", "narrow"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1024, 1024]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    path = tmp_path / "wide.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    picture = np.ones((1, 1, 1024, 1024), np.float32)
    for budget, fits in ((64 * MIB, False), (256 * MIB, True)):
        settings = {"model": str(path), "provider": "cpu", "request": {"budget": budget}}
        with Worker(OnnxTask, settings, budget) as worker:
            if fits:
                assert worker.run([picture])[0].mean() == 16
            else:
                with pytest.raises(BudgetError, match=r"wide\.onnx ran out of memory in its worker process"):
                    worker.run([picture])
            assert 0 < worker.peak_bytes <= budget


@pytest.mark.parametrize(("limit", "frugal"), [(0, False), (512 * MIB, True), (2 * GIB, False)])
def test_a_worker_keeps_what_it_frees_only_where_there_is_room(tmp_path, monkeypatch, limit, frugal):
    given = []
    monkeypatch.setattr(onnx_sessions, "WorkerSession", lambda *arguments: given.append(arguments[-1]))
    graph = onnx_file.read(restorer(tmp_path / "net.onnx"))
    onnx_sessions.opened(graph, PROVIDERS["cpu"], limit)
    assert given == [frugal]


class Stop(BaseException):
    pass


def test_an_interrupt_ends_a_run_that_a_worker_is_at(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "TICK_SECONDS", 0.0)  # asked before the first answer can be there

    class Stopping(StandaloneHost):
        def check_interrupt(self):
            raise Stop

    made, sessions = network(restorer(tmp_path / "net.onnx"), "onnxruntime"), SessionCache()
    work, crop = Work(512, 512, 1, False), torch.rand(3, 512, 512)
    try:
        with plan(job(made, work, MemoryBudget()), sessions, CostStore()).open(Report()) as run:
            list(run.crops([crop]))
            worker = run._session._network._session._worker
        assert worker.pid is not None
        stopping = Job(made, work, MemoryBudget(), Stopping("cpu"))
        with pytest.raises(Stop), plan(stopping, sessions, CostStore()).open(Report()) as run:
            list(run.crops([crop]))
        assert worker.pid is None  # it was ended, not waited for
    finally:
        sessions.release()


def test_settings_that_do_not_fit_the_file(tmp_path):
    path = restorer(tmp_path / "net.onnx")
    with pytest.raises(SettingError, match="no engine 'directml'"):
        network(path, "directml")
    with pytest.raises(SettingError, match="built from torch's weights"):
        network(path, "tensorrt")
    with pytest.raises(ModelFileError, match="not an ONNX model that is supported"):
        network(restorer(tmp_path / "odd.onnx", size=300))


def test_the_first_provider_that_runs_is_taken_and_the_others_are_explained(monkeypatch):
    from types import SimpleNamespace

    onnx_runtime_model.provider_for.cache_clear()
    monkeypatch.setattr(onnx_runtime_model.runtime, "installed", lambda: SimpleNamespace(offered=("cuda", "webgpu")))
    probes = {"cuda": "no driver", "webgpu": "no device", "cpu": ""}
    monkeypatch.setattr(
        "slimfusion.models.onnx_runtime_model.probed",
        lambda key: SimpleNamespace(ran=not probes[key], reason=probes[key]),
    )
    provider, refused = onnx_runtime_model.provider_for("performance")
    onnx_runtime_model.provider_for.cache_clear()
    assert provider.key == "cpu"
    assert refused == ("CUDA was not used: no driver", "WebGPU was not used: no device")


def image_network(path, node, factor, weights=(), opsets=(("", 20),), first=()):
    """Takes any picture and makes it `factor` times as large by a node that is given."""
    shapes = ["n", 3, "h", "w"], ["n", 3, "h2", "w2"]
    values = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in zip("xy", shapes, strict=True)]
    resize = helper.make_node("Resize", ["t", "", "scales"], ["y"], mode="nearest")
    scales = numpy_helper.from_array(np.float32([1, 1, factor, factor]), "scales")
    tensors = [scales, *(numpy_helper.from_array(value, name) for name, value in weights)]
    graph = helper.make_graph([*first, node, resize], "network", values[:1], values[1:], initializer=tensors)
    imports = [helper.make_opsetid(*each) for each in opsets]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def celu(path):
    return image_network(path, helper.make_node("Celu", ["x"], ["t"], alpha=0.5), 2)


def quick(path):
    node = helper.make_node("QuickGelu", ["x"], ["t"], domain="com.microsoft", alpha=1.5)
    return image_network(path, node, 1, opsets=(("", 20), ("com.microsoft", 1)))


def directly(path, picture):
    """What onnxruntime makes of (H, W, 3)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": picture.permute(2, 0, 1)[None].numpy()})
    return torch.from_numpy(result)[0].permute(1, 2, 0).clamp(0, 1)


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
@pytest.mark.parametrize(("write", "scale"), [(celu, 2), (quick, 1)])
def test_an_image_network_that_torch_does_not_know_runs_on_onnxruntime(tmp_path, engine, write, scale):
    made = network(write(tmp_path / "net.onnx"), engine)
    assert (made.spec.scale, made.traits.engine) == (scale, "onnxruntime CPU")
    frames = torch.rand(1, 80, 112, 3)
    result, report = restore_image(frames, made, MemoryBudget(), HOST)
    torch.testing.assert_close(result[0], directly(made.spec.path, frames[0]), atol=1e-5, rtol=0)
    assert any("not supported in torch" in note for note in report.notes)


def test_what_must_be_tried_out_stays_within_the_budget_or_says_that_it_cannot(tmp_path):
    """Less than a worker takes, less than a first guess, more than that."""
    path = celu(tmp_path / "net.onnx")
    with pytest.raises(
        BudgetError, match=r"net\.onnx must be tried out.*4 MiB are not enough.*Raise the budget"
    ) as told:
        network(path, limit=4 * MIB)
    assert told.value.given == 4 * MIB < told.value.needed
    for limit in (64 * MIB, 4 * GIB):
        assert network(path, limit=limit).spec.scale == 2


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_faces_are_restored_by_it_too(tmp_path, engine):
    from skimage.data import astronaut

    frames = torch.from_numpy(astronaut()[:256, 100:356] / np.float32(255))[None]
    made = network(quick(tmp_path / "net.onnx"), engine)
    done = restore_faces(frames, made, MemoryBudget(), HOST)
    result, mask = done.frames[0], done.mask[0]
    inside = mask > 0.999
    assert inside.sum() > 1000 and done.report.engine == "onnxruntime CPU"
    torch.testing.assert_close(result[inside], directly(made.spec.path, frames[0])[inside], atol=0.02, rtol=0)
    assert torch.equal(result[mask == 0], frames[0][mask == 0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_an_upscaler_by_no_whole_factor_is_refused(tmp_path, engine, factor):
    path = image_network(tmp_path / "net.onnx", helper.make_node("Identity", ["x"], ["t"]), factor)
    with pytest.raises(ModelFileError, match="only networks that keep a picture's size"):
        network(path, engine)


def test_what_torch_cannot_do_is_not_advised_to_go_where_it_is(tmp_path):
    """A condition that hangs on the picture: operators that are known, in a graph that is not."""
    path = tmp_path / "net.onnx"
    value = helper.make_tensor_value_info("b", FLOAT, None)
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["b"])], "g", [], [value]) for op in ("Neg", "Abs")]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "half"], ["c"]),
    ]
    node = helper.make_node("If", ["c"], ["t"], then_branch=branches[0], else_branch=branches[1])
    made = network(image_network(path, node, 1, [("half", np.float32(2.0))], first=nodes), "onnxruntime")
    frames = torch.rand(1, 64, 64, 3)
    assert torch.equal(restore_image(frames, made, MemoryBudget(), HOST)[0], frames)
    assert not any("choose" in note for note in made.traits.notes)


def unreadable(nodes, domain, tmp_path):
    """A face network or a recogniser whose last shape hangs on the picture's brightest pixel, which is below 1.5."""
    side = 512 if domain == "face" else 112
    nodes = [
        *nodes,
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["i"], to=TensorProto.INT64),
        helper.make_node("Mul", ["i", "zero"], ["z"]),
        helper.make_node("Add", ["shape", "z"], ["s"]),
        helper.make_node("Reshape", ["v", "s"], ["y"]),
    ]
    shape = [1, 3, side, side] if domain == "face" else [1, 512]
    weights = [("zero", np.int64(0)), ("shape", np.int64(shape))]
    weights.append(("matrix", np.arange(1, 513, dtype=np.float32)[None].repeat(3, 0) / 3))
    return save(tmp_path / "net.onnx", nodes, [("x", FLOAT, [1, 3, side, side])], [("y", FLOAT, shape)], weights)


VALUES = {
    "face": [helper.make_node("Identity", ["x"], ["v"])],
    "tensors": [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"], axis=1),
        helper.make_node("MatMul", ["f", "matrix"], ["v"]),
    ],
}


@pytest.mark.parametrize("domain", VALUES)
def test_what_shows_only_while_running_sends_faces_and_vectors_to_onnxruntime_too(tmp_path, domain):
    path = unreadable(VALUES[domain], domain, tmp_path)
    with pytest.raises(ModelFileError, match=r"cannot be run by torch \(.*depends on the picture.*engine onnxruntime"):
        network(path, "torch")
    for engine in ("auto", "onnxruntime"):
        made, sessions, report = network(path, engine), SessionCache(), Report()
        side, crop = made.spec.size[0], torch.rand(3, *made.spec.size)
        with plan(job(made, Work(side, side, 1, False), MemoryBudget()), sessions, CostStore()).open(report) as run:
            result = next(run.crops([crop])) if domain == "face" else next(run.infer([(crop,)]))[0]
        sessions.release()
        expected = crop if domain == "face" else crop.mean() * torch.arange(1, 513)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
        assert report.engine == "onnxruntime CPU" and any("depends on the picture" in note for note in report.notes)
        assert not any("choose" in note for note in report.notes)
