"""The planner: never above the budget, never worse with more of it, always the same."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.catalog.cards import card_for_architecture
from slimfusion.catalog.spec import ModelSpec
from slimfusion.engines.memory import planner
from slimfusion.engines.memory.budget import MIB, MemoryBudget
from slimfusion.engines.memory.cost import Cost
from slimfusion.engines.memory.costs import LEFT_BEHIND, SCRATCH
from slimfusion.engines.memory.planner import Available, Question, Requirement, Work
from slimfusion.errors import BudgetError, SettingError


def spec(name, architecture, parameters, scale, halos, precisions):
    card = card_for_architecture(architecture)
    return ModelSpec(name, Path(name), card, architecture, card.licence, parameters, scale, 1, *halos, precisions)


UPSCALER = spec("up.pth", "ESRGAN", 16_700_000, 4, (32, 48), ("fp16", "fp32"))
FACE = spec("face.pth", "GFPGAN", 87_000_000, 1, (0, 0), ("bf16", "fp32"))
NEEDS = {"fp32": Requirement(64 * MIB, Cost(2 * MIB, 8192)), "fp16": Requirement(32 * MIB, Cost(MIB, 4096))}

works = st.one_of(
    st.builds(Work, st.integers(1, 4320), st.integers(1, 7680), st.integers(1, 40), st.just(True)),
    st.builds(Work, st.just(512), st.just(512), st.integers(1, 40), st.just(False)),
)
modes = st.sampled_from(["auto", "performance", "quality", "compatibility"])
devices = st.sampled_from(["cpu", "cuda"])


def plans(work, allowed, mode="auto", device="cuda", on_low_memory="degrade", free=planner.UNLIMITED, **options):
    spec = UPSCALER if work.tiled else FACE
    room = Available(device, allowed, free)
    return planner.ladder(Question(work, spec, NEEDS, MemoryBudget(None, mode, on_low_memory), **options), room)


@given(works, st.integers(0, 8192 * MIB), modes, devices)
def test_plans_stay_within_what_is_allowed(work, allowed, mode, device):
    try:
        found = plans(work, allowed, mode, device)
    except BudgetError as error:
        assert error.needed > error.given == allowed
        assert str(error.needed) in str(error) and str(error.given) in str(error)
    else:
        assert all(plan.predicted_peak <= allowed for plan in found)
        assert found == plans(work, allowed, mode, device)


@given(works, st.integers(256 * MIB, 4096 * MIB), st.integers(0, 4096 * MIB), modes, devices)
def test_more_budget_never_gives_a_worse_plan(work, allowed, more, mode, device):
    order = [p.degradations for p in plans(work, planner.UNLIMITED, mode, device)]
    try:
        little = plans(work, allowed, mode, device)[0]
    except BudgetError:
        return
    much = plans(work, allowed + more, mode, device)[0]
    assert order.index(much.degradations) <= order.index(little.degradations)


@given(works, st.integers(0, 1024 * MIB))
def test_fail_takes_the_best_plan_or_none(work, allowed):
    best = plans(work, planner.UNLIMITED)[0]
    if best.predicted_peak <= allowed:
        assert plans(work, allowed, on_low_memory="fail")[0].tile == best.tile
    else:
        with pytest.raises(BudgetError, match="degrade instead of fail"):
            plans(work, allowed, on_low_memory="fail")


def test_the_ladder_gives_up_batch_then_tile_then_precision():
    work = Work(2160, 3840, 1, True)
    found = plans(work, planner.UNLIMITED)
    keys = [(plan.precision == "fp16", -plan.tile[0] * plan.tile[1], -plan.batch) for plan in found]
    assert keys == sorted(keys)
    assert found[0].degradations == ()
    assert found[-1].degradations == ("batch 1 instead of 8", "tile 96x96 instead of 512x512", "fp16 instead of fp32")


def test_face_networks_are_never_tiled():
    assert {plan.tile for plan in plans(Work(512, 512, 9, False), planner.UNLIMITED)} == {(512, 512)}


def test_performance_tries_the_whole_frame_first():
    assert plans(Work(720, 1280, 1, True), planner.UNLIMITED, "performance")[0].tile == (720, 1280)


def test_what_another_process_frees_is_never_kept():
    work, room = Work(512, 512, 9, False), Available("cpu", planner.UNLIMITED, planner.UNLIMITED)
    for steers_memory in (False, True):
        need = Requirement(64 * MIB, Cost(2 * MIB, 100), steers_memory)
        found = planner.ladder(Question(work, FACE, {"fp32": need}, MemoryBudget()), room)
        assert any(plan.keeps_freed for plan in found) == steers_memory
        assert found[0].batch == 1 and found[0].predicted_peak >= need.weights


def test_what_is_kept_has_more_gaps_after_many_runs():
    need, room = Requirement(0, Cost(0, 400)), Available("cpu", planner.UNLIMITED, planner.UNLIMITED)
    kept = {}
    for count in (1, planner.MANY - 1, planner.MANY, 300):
        plan = planner.ladder(Question(Work(512, 512, count, False), FACE, {"fp32": need}, MemoryBudget()), room)[0]
        assert plan.keeps_freed and plan.batch == 1
        kept[count] = plan.predicted_peak - planner.staging_bytes(Work(512, 512, count, False), FACE, plan)
    assert kept[1] == kept[planner.MANY - 1] < kept[planner.MANY] == kept[300]
    assert kept[300] <= planner.KEPT_AT_MOST * need.activations.bytes_for(512 * 512)


@pytest.mark.parametrize(
    ("weights", "counted", "faces", "measured"),
    [
        # MiB in fp32 at 512 px: bundled, GFPGAN, CodeFormer, RestoreFormer after one face and after many.
        (17, 82, 1, 111),
        (17, 82, 300, 171),
        (352, 164, 1, 176),
        (352, 164, 12, 236),
        (361, 387, 1, 419),
        (361, 387, 4, 458),
        (279, 389, 1, 429),
        (279, 389, 4, 429),
    ],
)
def test_kept_memory_is_forecast_as_measured_whatever_the_network(weights, counted, faces, measured):
    cost = Cost(0, counted * MIB / 512**2).scaled(SCRATCH["cpu"]).plus(LEFT_BEHIND["cpu"])
    need, room = Requirement(weights * MIB, cost), Available("cpu", planner.UNLIMITED, planner.UNLIMITED)
    question = Question(Work(512, 512, faces, False), FACE, {"fp32": need}, MemoryBudget())
    plan = planner.ladder(question, room)[0]
    assert plan.keeps_freed
    staging = planner.staging_bytes(question.work, FACE, plan)
    assert 0.8 <= (plan.predicted_peak - staging) / MIB / (weights + measured) <= 1.25


def test_quality_pays_for_the_exact_halo():
    halos = {mode: plans(Work(720, 1280, 1, True), planner.UNLIMITED, mode)[0].halo for mode in ("auto", "quality")}
    assert halos == {"auto": 32, "quality": 48}


def test_a_tile_that_the_user_asks_for_is_the_largest_one():
    assert plans(Work(720, 1280, 1, True), planner.UNLIMITED, tile=320)[0].tile == (304, 304)
    assert plans(Work(320, 576, 1, True), planner.UNLIMITED, tile=320)[0].tile[0] == 320


def test_a_tile_below_the_networks_least_is_refused():
    with pytest.raises(SettingError, match="at least"):
        plans(Work(720, 1280, 1, True), planner.UNLIMITED, tile=64)


@pytest.mark.parametrize(
    ("wanted", "mode", "good", "possible", "expected"),
    [
        ("auto", "auto", ("fp16", "bf16"), ("fp16", "bf16"), ("fp16", "fp32")),
        ("auto", "performance", ("fp16",), ("fp16",), ("fp16", "fp32")),
        ("auto", "auto", (), ("fp16",), ("fp32", "fp16")),
        ("auto", "auto", (), (), ("fp32",)),
        ("auto", "quality", ("fp16",), ("fp16",), ("fp32",)),
        ("auto", "compatibility", ("fp16",), ("fp16",), ("fp32",)),
        ("fp16", "quality", (), (), ("fp16",)),
    ],
)
def test_precisions_follow_the_mode_and_the_device(wanted, mode, good, possible, expected):
    assert planner.precisions(UPSCALER, wanted, mode, good, possible) == expected


def test_a_precision_that_breaks_the_network_is_refused():
    with pytest.raises(SettingError, match="does not work in fp16"):
        planner.precisions(FACE, "fp16", "auto", ("fp16",), ("fp16",))


def test_little_free_memory_means_720p_unless_quality_is_wanted():
    work, little = Work(2160, 3840, 1, True), planner.LITTLE - 1
    found = plans(work, little, free=little)
    assert {plan.working_size for plan in found} == {(720, 1280)}
    assert found[0].degradations[-1] == "worked at 720p, because less than 1.00 GiB is free"
    for other in (plans(work, little, "quality", free=little), plans(work, little), plans(work, little, tile=512)):
        assert {plan.working_size for plan in other} == {None}


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_fitted_sizes_are_within_and_keep_the_shape(height, width):
    small = planner.fitted(height, width, (720, 1280))
    assert min(small) <= 720 and max(small) <= 1280
    if max(height, width) <= 1280 and min(height, width) <= 720:
        assert small == (height, width)
    elif min(small) > 100:
        assert small[0] / small[1] == pytest.approx(height / width, rel=0.02)
