"""What Python says in English is there in Chinese for the page: reports, Doctor's findings, errors."""

import ast
import re

import pytest
from sentences import CHINESE, ROOT, chinese, is_sentence, sentences, template

SCRIPT = re.compile(r"[\u4e00-\u9fff]")
NAMES = {"CUDA", "OpenCV", "cuDNN", "onnxruntime", "torch", "the CPU", "torch {1}, onnxruntime {2}"}


def values(text: str) -> list[str]:
    return sorted(re.findall(r"\{\d\}", text))


def test_every_sentence_is_there_and_none_is_left_over():
    wanted, table = sentences(), chinese()
    assert len(wanted) > 500
    assert {"missing": sorted(wanted - table.keys()), "stale": sorted(table.keys() - wanted)} == {
        "missing": [],
        "stale": [],
    }


def test_no_sentence_stands_in_two_tables():
    lines = [line for path in CHINESE.glob("*.js") for line in path.read_text("utf-8").splitlines() if '": "' in line]
    assert len(lines) == len(chinese())


@pytest.mark.parametrize("english", sorted(chinese()))
def test_a_translation_is_chinese_and_keeps_every_value(english):
    text = chinese()[english]
    assert SCRIPT.search(text) or english in NAMES
    assert values(text) == values(english)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("'plain words'", "plain words"),
        ("f'batch {one} of {two:.1f}'", "batch {1} of {2}"),
        ("'tile {}x{} here'", "tile {1}x{2} here"),
        ("other", ""),
    ],
)
def test_values_are_numbered_in_their_order(code, text):
    assert template(ast.parse(code, mode="eval").body) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("no face was found", True), ("{1} {2}", False), ("name", False), (r"Error \d+ here", False), ("a\nb c", False)],
)
def test_what_a_sentence_is(text, wanted):
    assert is_sentence(text) == wanted


def test_the_page_knows_all_tables():
    script = (ROOT / "js" / "sentences.js").read_text(encoding="utf-8")
    assert {f"./chinese/{path.name}" for path in CHINESE.glob("*.js")} == set(re.findall(r"\./chinese/\w+\.js", script))
