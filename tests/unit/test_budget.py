"""What a budget means in bytes, and which ones are refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.engines.memory.budget import (
    GIB,
    MIB,
    MemoryBudget,
    allowed_bytes,
    budget_from_gib,
    format_bytes,
    parse_bytes,
)
from slimfusion.errors import SettingError

sizes = st.integers(0, 64 * GIB)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("1GiB", GIB), ("1.5 g", 3 * GIB // 2), ("700MB", 700 * 10**6), ("4096", 4096), ("2mib", 2 * MIB)],
)
def test_amounts_of_memory_are_read(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "1 parsec", "nan"])
def test_other_texts_are_refused_with_an_example(text):
    with pytest.raises(SettingError, match="Write it like 1GiB"):
        parse_bytes(text)


def test_bytes_are_written_for_people():
    assert (format_bytes(512 * MIB), format_bytes(3 * GIB // 2)) == ("512 MiB", "1.50 GiB")


@pytest.mark.parametrize("gib", [-1.0, math.nan, math.inf])
def test_budgets_that_are_no_amount_are_refused(gib):
    with pytest.raises(SettingError, match="0 \\(automatic\\) or more"):
        budget_from_gib(gib, "auto", "degrade", True)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": -5}, {"limit": math.nan}, {"mode": "fast"}, {"on_low_memory": "pray"}]
)
def test_a_budget_checks_its_fields(wrong):
    with pytest.raises(SettingError):
        MemoryBudget(**wrong)


def test_zero_gib_is_automatic():
    assert budget_from_gib(0, "auto", "degrade", True).limit is None


def test_automatic_is_85_percent_less_what_others_hold():
    assert allowed_bytes(MemoryBudget(), total=1000, free=600, ours=100) == 850 - 300


@given(sizes, sizes, sizes, st.one_of(st.none(), st.integers(1, 64 * GIB)))
def test_nothing_is_allowed_beyond_what_is_there(total, free, ours, limit):
    free = min(free, total)
    ours = min(ours, total - free)
    allowed = allowed_bytes(MemoryBudget(limit), total, free, ours)
    assert 0 <= allowed <= free + ours
    assert limit is None or allowed <= limit
