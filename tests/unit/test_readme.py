"""The README in both languages: the same parts, rows and commands."""

import re

import pytest
from archive import ROOT

ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))


def parts(page: str) -> list[str]:
    return re.split(r"^## .*$", page, flags=re.M)


@pytest.mark.parametrize("pattern", [r"^## ", r"^\|", r"^- ", r"^```", r"^!\[", r"^slimfusion "])
def test_each_part_has_as_much_in_both(pattern):
    counts = [[len(re.findall(pattern, part, re.M)) for part in parts(page)] for page in (ENGLISH, CHINESE)]
    assert counts[0] == counts[1]


def test_commands_settings_and_numbers_are_the_same():
    """What stands in backticks, and the figures of tables."""
    for pattern in (r"`[^`\n]+`", r"\d+ MiB"):
        assert set(re.findall(pattern, ENGLISH)) == set(re.findall(pattern, CHINESE))


def test_lines_can_be_read():
    long = [line for line in ENGLISH.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert long == []
