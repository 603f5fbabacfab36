"""Learnt factors: bounds, age, the way back, and a file that others write too or that is broken."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from slimfusion.engines.memory.factors import (
    BOUNDS,
    DAY,
    FILE,
    FORMAT,
    HALF_LIFE,
    LIFETIME,
    MOST_BYTES,
    MOST_FACTORS,
    Factors,
)
from slimfusion.errors import OutputError

WITHOUT = 1.15


class Clock:
    now = 1000 * DAY

    def __call__(self):
        return self.now


def written(folder, factors, **other):
    (folder / FILE).write_text(json.dumps({"format": FORMAT, "factors": factors, **other}))


def entry(value, at=Clock.now, doubted=False):
    return {"value": value, "at": at, "doubted": doubted}


def test_a_factor_rises_at_once_and_falls_by_halves(tmp_path):
    factors = Factors(Clock())
    for measured, expected in ((1.2, 1.2), (1.8, 1.8), (1.2, 1.5)):
        factors.measured("net", measured, tmp_path)
        assert factors.value("net", WITHOUT, tmp_path) == pytest.approx(expected)
    assert Factors(Clock()).value("net", WITHOUT, tmp_path) == pytest.approx(1.5)


@pytest.mark.parametrize("measured", [3.0, 1e300, 0.01, -5.0])
def test_no_measurement_leaves_the_bounds(tmp_path, measured):
    factors = Factors(Clock())
    factors.measured("net", measured, tmp_path)
    assert BOUNDS[0] <= factors.value("net", WITHOUT, tmp_path) <= BOUNDS[1]
    written(tmp_path, {"net": entry(measured)})
    assert BOUNDS[0] <= Factors(Clock()).value("net", WITHOUT, tmp_path) <= BOUNDS[1]


def test_a_factor_ages_and_is_forgotten():
    clock = Clock()
    factors = Factors(clock)
    factors.measured("net", 1.95, None)
    clock.now += HALF_LIFE
    assert factors.value("net", WITHOUT, None) == pytest.approx(1.55)
    clock.now += LIFETIME
    assert factors.value("net", WITHOUT, None) == WITHOUT


def test_a_clock_that_was_ahead_makes_no_factor_eternal(tmp_path):
    clock = Clock()
    written(tmp_path, {"net": entry(2.0, at=Clock.now + 1e9)})
    factors = Factors(clock)
    assert factors.value("net", WITHOUT, tmp_path) == 2.0
    clock.now += HALF_LIFE
    assert factors.value("net", WITHOUT, tmp_path) < 2.0


def test_doubt_is_possible_once_and_less_replaces_the_factor(tmp_path):
    factors = Factors(Clock())
    assert not factors.may_doubt("net", tmp_path)
    factors.measured("net", 2.0, tmp_path)
    assert factors.may_doubt("net", tmp_path)
    factors.doubt("net", tmp_path)
    assert not factors.may_doubt("net", tmp_path) and not Factors(Clock()).may_doubt("net", tmp_path)
    factors.measured("net", 1.2, tmp_path)
    assert factors.value("net", WITHOUT, tmp_path) == pytest.approx(1.2) and factors.may_doubt("net", tmp_path)


def test_what_is_measured_again_stands():
    factors = Factors(Clock())
    factors.measured("net", 1.9, None)
    factors.doubt("net", None)
    factors.measured("net", 1.8, None)
    assert factors.value("net", WITHOUT, None) == 1.9 and not factors.may_doubt("net", None)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "3", "\x00\xff", '{"format": 99, "factors": {}}', '{"format": 3}',
        '{"format": 3, "factors": 3}', '{"format": 3, "factors": ["a"]}',
        '{"format": 3, "factors": {"net": 1.5}}', '{"format": 3, "factors": {"net": {"value": "b", "at": 1}}}',
        '{"format": 3, "factors": {"net": {"value": NaN, "at": 1}}}',
        '{"format": 3, "factors": {"net": {"value": 1e999, "at": 1}}}',
        '{"format": 3, "factors": {"net": {"value": 1.5, "at": -Infinity}}}',
        '{"format": 3, "factors": {"net": {"value": 1%s, "at": 1}}}' % ("0" * 400),
        '{"format": 3, "factors": {"net": {"value": 1%s, "at": 1}}}' % ("0" * 5000),
        '{"format": 3, "factors": {"net": {"value": 1.5, "at": 1, "doubted": "yes"}}}',
        '{"format": 3, "factors": {"net": {"value": 1.5, "at": 1, "other": 1}}}',
        "[" * 200000, '{"a":' * 50000, '{"format": 2, "factors": {"net": 3.0}}', " " * (MOST_BYTES + 1),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_ignored_and_written_anew(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    factors = Factors(Clock())
    assert factors.value("net", WITHOUT, tmp_path) == WITHOUT
    factors.measured("net", 1.3, tmp_path)
    assert Factors(Clock()).value("net", WITHOUT, tmp_path) == pytest.approx(1.3)


def test_entries_that_are_whole_survive_their_neighbours(tmp_path):
    written(tmp_path, {"bad": entry(float("nan")), "net": entry(1.5), "worse": []})
    assert Factors(Clock()).value("net", WITHOUT, tmp_path) == 1.5


def test_a_folder_in_place_of_the_file_costs_nothing(tmp_path):
    (tmp_path / FILE).mkdir()
    factors = Factors(Clock())
    factors.measured("net", 1.5, tmp_path)
    assert factors.value("net", WITHOUT, tmp_path) == 1.5
    assert not list(tmp_path.glob(f"{FILE}.[0-9]*"))


def test_two_who_write_in_turns_lose_nothing(tmp_path):
    one, two = Factors(Clock()), Factors(Clock())
    one.value("a", WITHOUT, tmp_path), two.value("a", WITHOUT, tmp_path)  # both have read
    one.measured("a", 1.2, tmp_path)
    two.measured("b", 1.4, tmp_path)
    one.measured("c", 1.6, tmp_path)
    stored = json.loads((tmp_path / FILE).read_text())["factors"]
    assert {key: each["value"] for key, each in stored.items()} == {"a": 1.2, "b": 1.4, "c": 1.6}


def test_many_at_once_lose_nothing(tmp_path):
    """Each with a store and a lock of its own, as processes have."""

    def learn(name):
        factors = Factors()
        for index in range(10):
            factors.measured(f"{name}{index}", 1.2, tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(learn, "wxyz"))
    stored = json.loads((tmp_path / FILE).read_text())["factors"]
    assert set(stored) == {f"{name}{index}" for name in "wxyz" for index in range(10)}


def test_the_file_does_not_grow_without_end(tmp_path):
    clock = Clock()
    written(tmp_path, {f"old {i}": entry(1.2, clock.now - LIFETIME - 1) for i in range(10)}
            | {f"new {i}": entry(1.2, clock.now - i) for i in range(2 * MOST_FACTORS)})  # fmt: skip
    factors = Factors(clock)
    factors.measured("net", 1.5, tmp_path)
    stored = json.loads((tmp_path / FILE).read_text())["factors"]
    assert len(stored) == MOST_FACTORS and "net" in stored and "new 0" in stored


def test_what_is_forgotten_does_not_come_back_from_another_process(tmp_path):
    clock = Clock()
    one, two = Factors(clock), Factors(clock)
    one.measured("a", 1.8, tmp_path), two.measured("b", 1.6, tmp_path)
    assert one.value("b", WITHOUT, tmp_path) == 1.6  # the file has changed and was read again
    clock.now += 1
    assert Factors(clock).forget(tmp_path) == 2
    assert [each.value("a", WITHOUT, tmp_path) for each in (one, two)] == [WITHOUT, WITHOUT]
    clock.now += 1
    two.measured("c", 1.4, tmp_path)
    assert set(json.loads((tmp_path / FILE).read_text())["factors"]) == {"c"}
    assert one.value("c", WITHOUT, tmp_path) == 1.4 and one.value("a", WITHOUT, tmp_path) == WITHOUT


def test_without_a_folder_the_process_alone_forgets(tmp_path):
    factors = Factors(Clock())
    factors.measured("net", 1.8, None)
    assert factors.forget(None) == 1 and factors.value("net", WITHOUT, None) == WITHOUT
    assert factors.forget(tmp_path) == 0 and not list(tmp_path.iterdir())


def test_a_clock_that_was_ahead_does_not_forget_for_ever(tmp_path):
    written(tmp_path, {}, forgotten=Clock.now + 1e9)
    factors = Factors(Clock())
    factors.measured("net", 1.5, tmp_path)
    assert Factors(Clock()).value("net", WITHOUT, tmp_path) == 1.5


@pytest.mark.parametrize("forgotten", ["x", None, [], float("nan"), float("inf"), -1e300])
def test_a_moment_that_makes_no_sense_forgets_nothing(tmp_path, forgotten):
    written(tmp_path, {"net": entry(1.5)}, forgotten=forgotten)
    factors = Factors(Clock())
    factors.value("net", WITHOUT, tmp_path)
    factors.measured("other", 1.4, tmp_path)
    assert Factors(Clock()).value("other", WITHOUT, tmp_path) == 1.4


def test_a_file_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    factors = Factors(Clock())
    factors.measured("net", 1.5, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match="cannot be written"):
        factors.forget(tmp_path)
