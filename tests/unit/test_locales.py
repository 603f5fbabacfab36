"""The page's texts in every language: complete, readable by the page, with a help page for each node."""

import re
from pathlib import Path

import pytest
from slimfusion.bench.texts import LOCALES, flat, languages, read

LARGEST_PICTURE = 25_000  # bytes
DOCS = LOCALES.parent / "js" / "docs"
OTHERS = [language for language in languages() if language != "en"]
# vue-i18n takes these for placeholders, linked texts and plural forms, and shows something else.
NOT_PLAIN = re.compile(r"[{}@|]")
# The pages of these languages are written in characters of this kind.
SCRIPT = {"zh": re.compile(r"[\u4e00-\u9fff]")}
# Options that are names, not words.
NAMES = {"torch", "onnxruntime", "TensorRT", "fp32", "fp16", "bf16", "scrfd", "yoloface", "yunet"}
NAMES |= {"h264", "h265", "av1", "vp9", "prores", "ffv1"}


def help_page(node: str, language: str) -> Path:
    """Where ComfyUI's page looks: English stands under the node's own name, which is the fallback as well."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def nodes() -> dict:
    return read("en", "nodeDefs.json")


def files(language: str) -> set[str]:
    return {file.name for file in (LOCALES / language).glob("*.json")}


def test_chinese_is_there():
    assert languages() == ["en", "zh"]


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_same_texts(language):
    assert files(language) == files("en")
    for name in files("en"):
        english, other = dict(flat(read("en", name))), dict(flat(read(language, name)))
        assert {"missing": english.keys() - other.keys(), "stale": other.keys() - english.keys()} == {
            "missing": set(),
            "stale": set(),
        }


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language):
    texts = {path: text for name in files(language) for path, text in flat(read(language, name))}
    untranslated = {path: text for path, text in texts.items() if not SCRIPT[language].search(text)}
    assert {path: text for path, text in untranslated.items() if text not in NAMES} == {}


@pytest.mark.parametrize("language", languages())
def test_the_page_shows_texts_as_they_are_written(language):
    texts = [(path, text) for name in sorted(files(language)) for path, text in flat(read(language, name))]
    assert [path for path, text in texts if NOT_PLAIN.search(text) or not text.strip()] == []


@pytest.mark.parametrize("language", languages())
def test_every_node_has_a_help_page_under_its_name(language):
    titles = {node: texts["display_name"] for node, texts in read(language, "nodeDefs.json").items()}
    pages = {node: help_page(node, language).read_text(encoding="utf-8") for node in titles}
    assert {node: page.splitlines()[0] for node, page in pages.items()} == {
        node: f"# {title}" for node, title in titles.items()
    }


@pytest.mark.parametrize("language", languages())
def test_help_pages_call_inputs_as_the_node_does(language):
    """The first cells of their tables: one label, or several with commas of which parts may be left out."""
    for node, texts in read(language, "nodeDefs.json").items():
        labels = [each["name"] for each in texts["inputs"].values()]
        rows = re.findall(r"^\| ([^|]+) \|", help_page(node, language).read_text(encoding="utf-8"), re.M)
        named = [part for row in rows[1:] for part in re.split(r", |、", row)]
        assert [part for part in named if not any(part in label for label in labels)] == []


@pytest.mark.parametrize("language", languages())
def test_every_help_page_shows_its_node(language):
    """Below its title, small, taken in its own language by tests/browser/make_help_pictures.py."""
    for node in nodes():
        name = f"pictures/{node}.{language}.webp"
        (title, _, picture, *_) = help_page(node, language).read_text(encoding="utf-8").splitlines()
        assert picture == f"![{title.removeprefix('# ')}]({name})"
        assert (DOCS / name).stat().st_size <= LARGEST_PICTURE
    assert len(list((DOCS / "pictures").iterdir())) == len(nodes()) * len(languages())


def test_no_help_page_is_left_of_a_node_that_is_gone():
    wanted = {help_page(node, language) for node in nodes() for language in languages()}
    assert {page for page in DOCS.rglob("*.md")} == wanted


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("node", nodes())
def test_a_help_page_explains_as_much_in_every_language(node, language):
    """As many rows of tables, items of lists and paragraphs."""
    kinds = {"rows": r"^\|", "items": r"^- ", "paragraphs": r"\n\n"}
    english, other = (help_page(node, each).read_text(encoding="utf-8") for each in ("en", language))
    for kind, pattern in kinds.items():
        assert len(re.findall(pattern, other, re.M)) == len(re.findall(pattern, english, re.M)), kind


def test_every_setting_of_the_page_is_in_the_locales():
    """ComfyUI looks them up by their ids, with _ for the dots."""
    setting = re.compile(r'id: SETTING,\s+name: "([^"]+)",\s+tooltip: "([^"]+)"')
    ids = re.compile(r'const SETTING = "([^"]+)"')
    scripts = [path.read_text(encoding="utf-8") for path in DOCS.parent.glob("*.js")]
    shown = {
        ids.search(script)[1].replace(".", "_"): {"name": name, "tooltip": tooltip}
        for script in scripts
        for name, tooltip in setting.findall(script)
    }
    assert sum(script.count("settings: [") for script in scripts) == len(shown)
    assert read("en", "settings.json") == shown
