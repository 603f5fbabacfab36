"""The way in: sessions built once and given back, memory that runs out, interrupts, the report."""

import pytest
import torch
from networks import Around, WrappedModel, face_model, measuring_model, save_upscaler
from slimfusion.engines import plan as planning
from slimfusion.engines.cache import SessionCache
from slimfusion.engines.failures import is_out_of_memory
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Job, Options
from slimfusion.engines.memory import meter, planner
from slimfusion.engines.memory.budget import MIB, MemoryBudget
from slimfusion.engines.memory.cost import Cost
from slimfusion.engines.memory.costs import CostStore, Place
from slimfusion.engines.memory.planner import Work
from slimfusion.engines.memory.report import Report
from slimfusion.engines.plan import plan
from slimfusion.engines.session import Session
from slimfusion.errors import BudgetError, DeviceError, ModelFileError
from slimfusion.models.borrowed_model import borrowed_model
from slimfusion.models.torch_model import torch_model
from stopping_host import Stopped, StoppingHost

CPU = torch.device("cpu")
FACES = Work(64, 64, 5, False)


# Full precision, whatever half precision this machine is good at.
FULL = MemoryBudget(mode="quality")


def opened(model, work, sessions, budget=FULL, host=None, report=None, **options):
    job = Job(model, work, budget, host or StandaloneHost("cpu"), Options(**options))
    return plan(job, sessions).open(report or Report())


def test_crops_come_back_in_order_and_brighter():
    crops = [torch.full((3, 64, 64), value / 10) for value in range(5)]
    with opened(face_model(), FACES, SessionCache()) as run:
        results = list(run.crops(iter(crops)))
    assert [round(float(result[0, 9, 9]), 4) for result in results] == [0.1, 0.2, 0.3, 0.4, 0.5]


class Noting(Around):
    """A network that notes the size of each batch."""

    def __init__(self, network, sizes):
        super().__init__(network)
        self.sizes = sizes

    def run(self, inputs, fidelity):
        self.sizes.append((len(inputs[0]), inputs[0].shape[-1]))
        return super().run(inputs, fidelity)


def test_pictures_of_one_size_go_together_and_large_ones_in_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "CPU_ACTIVATIONS", planner.UNLIMITED)
    model = torch_model(save_upscaler(tmp_path / "net.pth"))
    sizes = []
    noting = WrappedModel(model, lambda network: Noting(network, sizes))
    pictures = [torch.rand(3, side, side) for side in (32, 32, 32, 64, 64, 64, 64, 64, 200)]
    with opened(noting, Work(200, 200, 9, True), SessionCache(), tile=128) as run:
        assert (run.plan.tile, run.plan.batch) == ((128, 128), 8)
        results = list(run.crops(iter(pictures)))
    assert sizes == [(3, 32), (5, 64), (8, 128), (1, 128)]
    whole = Session(model, CPU, "fp32")
    for picture, result in zip(pictures, results, strict=True):
        assert (whole.run(picture[None], 0.5)[0] - result).abs().max() <= 1e-5


def test_pixels_that_are_no_numbers_count_as_black():
    crop = torch.full((3, 64, 64), 0.5)
    crop[:, 3, 3] = torch.nan
    with opened(face_model(), Work(64, 64, 1, False), SessionCache()) as run:
        (result,) = run.crops([crop])
    assert torch.isfinite(result).all() and float(result[0, 3, 3]) == pytest.approx(0.1)


def test_a_second_run_builds_nothing():
    sessions, model = SessionCache(), face_model()
    reports = Report(), Report()
    for report in reports:
        with opened(model, FACES, sessions, report=report) as run:
            list(run.crops([torch.rand(3, 64, 64)]))
    assert [report.sessions_built for report in reports] == [1, 0]


def test_one_heavy_session_a_device_is_kept():
    sessions, first, second = SessionCache(heavy=0), face_model("one"), face_model("two")
    for model in (first, second):
        with opened(model, FACES, sessions):
            pass
    assert not sessions.is_open(first, CPU, "fp32") and sessions.is_open(second, CPU, "fp32")


def test_a_light_session_stays_beside_and_counts():
    sessions, light, other = SessionCache(), face_model("one"), face_model("two")
    for model in (light, other):
        with opened(model, FACES, sessions):
            pass
    assert sessions.is_open(light, CPU, "fp32") and sessions.is_open(other, CPU, "fp32")
    assert sessions.staying_bytes(other, CPU, "fp32") == 84 * 4


def test_light_sessions_are_kept_up_to_a_number_of_bytes():
    sessions = SessionCache(light_total=200 * 4)  # of 84 parameters each
    networks = [face_model(name) for name in ("one", "two", "three", "four")]
    for model in (*networks[:2], networks[0], *networks[2:]):
        with opened(model, FACES, sessions):
            pass
    assert [sessions.is_open(each, CPU, "fp32") for each in networks] == [False, False, True, True]
    assert sessions.held_bytes(CPU) <= 200 * 4


def test_the_least_recently_used_light_session_goes_first():
    sessions = SessionCache(light_total=200 * 4)
    one, two, three = (face_model(name) for name in ("one", "two", "three"))
    for model in (one, two, one, three):
        with opened(model, FACES, sessions):
            pass
    assert sessions.is_open(one, CPU, "fp32") and not sessions.is_open(two, CPU, "fp32")


class Learnt(CostStore):
    """A store whose network takes a mebibyte a pixel."""

    def _count(self, place):
        return Cost(0, MIB)


def test_a_refusal_that_one_measurement_causes_is_tried_once_without_it():
    costs, model, work = Learnt(), face_model(size=16), Work(16, 16, 1, False)
    costs.learn(Place(model, "fp32", CPU), 256, 200 * 256 * MIB)  # far above its bound
    budget = MemoryBudget(420 * MIB, mode="quality")
    report = Report()

    def run(report):
        job = Job(model, work, budget, StandaloneHost("cpu"))
        with plan(job, SessionCache(), costs).open(report) as run:
            list(run.crops([torch.rand(3, 16, 16)]))

    plan(Job(model, work, budget, StandaloneHost("cpu")), SessionCache(), costs)
    run(report)  # planning beforehand does not use the trial up
    assert any("tried once" in note for note in report.notes)
    # What it took was next to nothing, so it fits from now on without doubt.
    after = Report()
    run(after)
    assert not any("tried once" in note for note in after.notes)


def test_a_refusal_stands_when_the_trial_took_as_much_again():
    costs, model, work = Learnt(), face_model(size=16), Work(16, 16, 1, False)
    for _ in range(2):
        costs.learn(Place(model, "fp32", CPU), 256, 200 * 256 * MIB)
        costs.doubt(Place(model, "fp32", CPU))
    job = Job(model, work, MemoryBudget(420 * MIB, mode="quality"), StandaloneHost("cpu"))
    with pytest.raises(BudgetError), plan(job, SessionCache(), costs).open(Report()):
        pass


def test_what_planning_takes_is_in_both_peaks():
    report = Report(planning_bytes=40 * MIB)
    with opened(face_model(), FACES, SessionCache(), MemoryBudget(512 * MIB, mode="quality"), report=report) as run:
        list(run.crops([torch.rand(3, 64, 64)] * 5))
    assert report.predicted_peak == run.plan.predicted_peak + report.planning_bytes
    assert report.measured_peak >= report.planning_bytes >= 40 * MIB
    assert run.plan.allowed + report.planning_bytes == report.allowed <= 512 * MIB


def test_light_sessions_go_when_memory_is_short():
    sessions, light, other = SessionCache(), face_model("one"), face_model("two", 512)
    with opened(light, FACES, sessions):
        pass
    work = Work(512, 512, 1, False)
    with plan(Job(other, work, FULL, StandaloneHost("cpu")), SessionCache()).open(Report()) as run:
        least = run._plans[-1].predicted_peak
    budget, report = MemoryBudget(least, mode="quality"), Report()
    with opened(other, work, sessions, budget, report=report):
        assert not sessions.is_open(light, CPU, "fp32")
    assert report.degradations[0] == "closed other models of SlimFusion, 0 MiB"
    assert report.degradations[1].startswith("asked the host to free memory, ")


@pytest.mark.parametrize(("count", "largest", "batches"), [(5, None, [4, 1]), (3, 1, [1, 1, 1])])
def test_items_of_tensors_come_back_in_order(monkeypatch, count, largest, batches):
    monkeypatch.setattr(planner, "CPU_PIXELS", 4 * 8 * 8)
    model = measuring_model(largest_batch=largest)
    built = []
    watched = WrappedModel(model, lambda network: built.append(network) or network)
    items = [(torch.full((3, 8, 8), float(i - 1)), torch.tensor([1.0, 2.0, 3.0])) for i in range(count)]
    with opened(watched, Work(8, 8, count, False), SessionCache()) as run:
        results = list(run.infer(iter(items)))
    assert [result[0].tolist() for result in results] == [[i - 1.0, 2 * (i - 1.0), 3 * (i - 1.0)] for i in range(count)]
    assert [bool(result[1]) for result in results] == [i > 1 for i in range(count)]
    assert built[0].module.batches == batches


def test_release_gives_everything_back():
    sessions, model = SessionCache(), face_model()
    with opened(model, FACES, sessions):
        pass
    assert sessions.held_bytes(CPU) == 84 * 4
    assert sessions.release() == 84 * 4
    assert sessions.held_bytes(CPU) == 0 and not sessions.is_open(model, CPU, "fp32")


def test_keep_loaded_off_leaves_nothing():
    sessions = SessionCache()
    with opened(face_model(), FACES, sessions, MemoryBudget(mode="quality", keep_loaded=False)):
        pass
    assert sessions.held_bytes(CPU) == 0


def test_an_interrupt_leaves_loaded_only_what_was_before():
    sessions, model = SessionCache(), face_model()

    def interrupted():
        with pytest.raises(Stopped), opened(model, FACES, sessions, host=StoppingHost("cpu")) as run:
            list(run.crops([torch.rand(3, 64, 64)] * 5))

    interrupted()
    assert not sessions.is_open(model, CPU, "fp32")
    with opened(model, FACES, sessions):
        pass
    interrupted()
    assert sessions.is_open(model, CPU, "fp32")


def test_too_small_a_budget_says_both_numbers_before_anything_is_loaded():
    sessions, model = SessionCache(), face_model()
    with (
        pytest.raises(BudgetError, match=r"needs .*\d+ bytes.* gives .*1000 bytes"),
        opened(model, FACES, sessions, MemoryBudget(1000)),
    ):
        pass
    assert sessions.opened == 0


def test_a_frame_in_tiles_equals_the_whole_frame(tmp_path):
    model = torch_model(save_upscaler(tmp_path / "net.pth"))
    frame = torch.rand(150, 210, 3)
    canvases = torch.empty(2, 600, 840, 3)
    for canvas, tile in zip(canvases, (512, 128), strict=True):
        with opened(model, Work(150, 210, 1, True), SessionCache(), tile=tile) as run:
            assert run.plan.tile == (min(150, tile), min(210, tile))
            run.frame(frame, canvas)
    assert (canvases[0] - canvases[1]).abs().max() <= 1e-5


class Tight(Around):
    """A network that runs out of memory above so many pixels, as the allocator would."""

    limit = 128 * 128

    def run(self, inputs, fidelity):
        count, _, height, width = inputs[0].shape
        if count * height * width > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().run(inputs, fidelity)


def test_memory_that_runs_out_costs_a_step_and_no_picture(tmp_path, monkeypatch):
    model = torch_model(save_upscaler(tmp_path / "net.pth"))
    tight = WrappedModel(model, Tight)
    frame, report = torch.rand(200, 200, 3), Report()
    canvas, reference = torch.empty(800, 800, 3), torch.empty(800, 800, 3)
    with opened(model, Work(200, 200, 1, True), SessionCache()) as run:
        run.frame(frame, reference)
    with opened(tight, Work(200, 200, 1, True), SessionCache(), report=report) as run:
        run.frame(frame, canvas)
    assert report.tile == (128, 128)
    assert "ran out of memory once and went one step down" in report.degradations
    assert (canvas - reference).abs().max() <= 1e-5


def test_when_no_step_is_left_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Tight, "limit", 0)
    tight = WrappedModel(face_model(), Tight)
    with (
        pytest.raises(BudgetError, match="ran out of memory on cpu although"),
        opened(tight, FACES, SessionCache()) as run,
    ):
        list(run.crops([torch.rand(3, 64, 64)]))


def test_other_errors_are_not_taken_for_memory():
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"))
    assert not is_out_of_memory(RuntimeError("expected scalar type Float but found Half"))


class Overflowing(Around):
    """A network that half precision is too small for, or that is broken altogether."""

    def run(self, inputs, fidelity):
        (result,) = super().run(inputs, fidelity)
        return (result * torch.nan if result.dtype in self.too_small else result,)


@pytest.mark.parametrize("broken", [False, True])
def test_half_precision_that_gives_no_numbers_is_left(monkeypatch, broken):
    monkeypatch.setattr(meter, "half_precisions", lambda device: (("bf16",), ("bf16",)))
    monkeypatch.setattr(Overflowing, "too_small", (torch.bfloat16, torch.float32)[: 1 + broken], raising=False)
    model = face_model()
    fragile = WrappedModel(model, Overflowing)
    report, crop = Report(), torch.full((3, 64, 64), 0.5)
    if broken:
        with (
            pytest.raises(ModelFileError, match=r"not numbers .* in fp32"),
            opened(fragile, FACES, SessionCache(), MemoryBudget()) as run,
        ):
            list(run.crops([crop]))
        return
    with opened(fragile, FACES, SessionCache(), MemoryBudget(), report=report) as run:
        (result,) = run.crops([crop])
    assert float(result[0, 9, 9]) == pytest.approx(0.6)
    assert report.precision == "fp32"
    assert report.degradations[-1] == "fp32 instead of bf16, which produced values that are not numbers (NaN)"


class Lost(Around):
    def run(self, inputs, fidelity):
        raise RuntimeError("CUDA error: unspecified launch failure")


def test_a_lost_device_is_one_sentence_and_leaves_nothing_open():
    sessions = SessionCache()
    lost = WrappedModel(face_model(), Lost)
    sentence = "cpu stopped working in the middle of bright face"
    with pytest.raises(DeviceError, match=sentence), opened(lost, FACES, sessions) as run:
        list(run.crops([torch.rand(3, 64, 64)]))
    assert not sessions.is_open(lost, CPU, "fp32")


def test_what_does_not_fit_on_the_card_goes_to_the_cpu(monkeypatch):
    """A card with 1 MiB, which this machine need not have."""
    on_device = planning._on_device

    def tiny_card(job, device, costs):
        if device.type == "cuda":
            raise BudgetError("too small", 2, 1)
        return on_device(job, device, costs)

    class CardHost(StandaloneHost):
        def device(self):
            return torch.device("cuda", 0)

    monkeypatch.setattr(planning, "_on_device", tiny_card)
    report = Report()
    with opened(face_model(), FACES, SessionCache(), host=CardHost("cpu"), report=report) as run:
        assert run.device == CPU
    assert report.degradations == ["cpu instead of cuda:0"]
    with pytest.raises(BudgetError, match="too small"):
        plan(Job(face_model(), FACES, MemoryBudget(on_low_memory="fail"), CardHost("cpu")))


def test_a_network_of_the_hosts_is_used_and_left_to_it(tmp_path):
    import spandrel

    descriptor = spandrel.ModelLoader().load_from_file(save_upscaler(tmp_path / "net.pth"))
    sessions = SessionCache()
    canvas = torch.empty(80, 80, 3)
    with opened(borrowed_model(descriptor, "theirs"), Work(20, 20, 1, True), sessions) as run:
        run.frame(torch.rand(20, 20, 3), canvas)
    assert sessions.held_bytes(CPU) == 0
    assert descriptor.device == CPU and torch.isfinite(canvas).all()


def test_the_report_knows_what_happened():
    report = Report()
    report.begin(MemoryBudget(512 * MIB))
    with opened(face_model(), FACES, SessionCache(), MemoryBudget(512 * MIB), report=report) as run:
        list(run.crops([torch.rand(3, 64, 64)] * 5))
    content = report.as_dict()
    assert (content["model"], content["device"], content["budget"]) == ("bright face", "cpu", 512 * MIB)
    assert content["allowed"] <= 512 * MIB and set(content["seconds"]) == {"plan", "load", "restore"}
    assert "watched" in report.as_text()
