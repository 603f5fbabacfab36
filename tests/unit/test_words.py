"""Names say what a thing is: the words that were dropped do not come back."""

import ast
import re
from pathlib import Path

import slimfusion

ROOT = Path(slimfusion.__file__).parent
ROOMS = ("catalog", "commands", "doctor", "engines", "faces", "models", "nodes", "opencv", "video")
# Names that fit everything, or that the field has another word for: nms, iou, to_square, apply_deltas, meta model, ...
DROPPED = {
    "ask", "askable", "asked", "borrowed", "each", "elsewhere", "enforcer", "found", "given", "kept", "known", "lean",
    "moved", "overlaps", "rung", "rungs", "squared", "there", "twin", "twins",
}  # fmt: skip
PHRASES = r"in place of|told by|\brungs?\b|[Ll]ean forward|\bAskable\b|give_up\("
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/MODELS.md")


def stored_names(tree):
    """Functions, arguments and variables with their lines; attributes of errors and of other libraries are not ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def test_names_say_what_a_thing_is():
    wrong = []
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        names = stored_names(ast.parse(path.read_text(encoding="utf-8")))
        wrong += [f"{path.relative_to(ROOT)}:{line} {name}" for name, line in names if name in DROPPED]
    assert wrong == []


def test_texts_use_the_fields_words():
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    files += [ROOT / page for page in PAGES] + sorted((ROOT / "js").rglob("*.md"))
    wrong = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in re.finditer(PHRASES, path.read_text(encoding="utf-8"))
    ]
    assert wrong == []
