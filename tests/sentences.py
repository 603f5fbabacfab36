"""The sentences that the pack can say: every text in its rooms that has a word and a space, and the names of stages.

A value in a sentence is `{1}`, `{2}` ... in their order, as js/chinese/ writes them.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from typing import get_args

from archive import ROOT
from slimfusion.catalog.card import Kind
from slimfusion.catalog.found import State

ROOMS = ("catalog", "doctor", "engines", "faces", "models", "nodes", "opencv", "video")
# What the page never shows: pages and commands of the command line, words that are looked for in other programs' texts,
# a network's own nodes (their errors stand inside a sentence, for whoever exported the file), the chart's letters.
NOT_ON_THE_PAGE = (
    "catalog/page.py", "catalog/known.py", "engines/failures.py", "engines/memory/factors.py",
    "engines/memory/picture.py", "engines/memory/report.py", "engines/onnx/operators/", "engines/onnx/constants.py",
    "engines/worker/child.py", "faces/pictures/", "faces/upscale.py", "faces/swap/provenance.py",
    "models/export.py", "video/scan.py",
)  # fmt: skip
COMMANDS = re.compile(r"\s*(-|install |uninstall |sudo |winget |pip install |onnxruntime onnxruntime-ep)")
# Names of formats, licences and versions, and what is compared with another program's words.
NOT_SAID = {
    ", then", "0 alone", "CUDA {1}", "Python {1}", "ROCm {1}", "SHA-256 {1}", "onnxruntime {1}", "torch {1}", "{1} GiB",
    "{1} MiB", "{1} {2} {3} threads",
    "Apache-2.0 (parts from StyleGAN2, see its LICENSE)", "DLL load failed", "FaceFusion ResearchRAIL",
    "InsightFace, non-commercial", "S-Lab 1.0, non-commercial", "SlimFusion restorer (bundled)", "already registered",
    "below the minimum required version", "driver version is insufficient", "slimfusion identity 1",
    "unsupported operand",
}  # fmt: skip
# Which arguments of a call are shown as they are.
PLACES = {
    "stage": (0,),
    "progress": (0,),
    "Task": (0,),
    "infer": (2,),
    "Finding": (0, 2),
    "tell": (0,),
    "step": (1,),
}
# Words that stand inside other sentences; kinds of models are stages too.
SAID = {"enforced", "watched", "predicted", *get_args(Kind), *get_args(State)}
CHINESE = ROOT / "js" / "chinese"


def sentences() -> set[str]:
    """All of them."""
    found: set[str] = set()
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(NOT_ON_THE_PAGE):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                found |= set(_raised(tree) if room == "nodes" else _said(tree)) | set(_named(tree))
    return {text for text in found | SAID if text and text not in NOT_SAID and not COMMANDS.match(text)}


def chinese() -> dict[str, str]:
    """The table of the page: what each of its files exports, written as JSON."""
    table: dict[str, str] = {}
    for path in sorted(CHINESE.glob("*.js")):
        text = path.read_text(encoding="utf-8")
        table |= json.loads(text[text.index("= {") + 2 : text.rindex("}") + 1])
    return table


def template(node: ast.AST) -> str:
    """The text of a constant or an f-string, its values as {1}, {2} ...; "" for anything else."""
    if isinstance(node, ast.Constant):
        numbers = itertools.count(1)
        return re.sub(r"\{\}", lambda _: f"{{{next(numbers)}}}", node.value) if isinstance(node.value, str) else ""
    count, text = 0, ""
    for part in node.values if isinstance(node, ast.JoinedStr) else []:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            count += 1
            text += f"{{{count}}}"
    return text


def is_sentence(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]{3,}", text)) and " " in text and not re.search(r"\n|\\d|\(\?:", text)


def _said(tree: ast.AST) -> Iterator[str]:
    """Every sentence below a node, without docstrings and what a value shows to developers."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef) and child.name in ("__repr__", "__str__"):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if is_sentence(text := template(child).strip()):
            yield text
        inside = child.values if isinstance(child, ast.JoinedStr) else [child]
        for part in inside:
            yield from _said(part)


def _raised(tree: ast.AST) -> Iterator[str]:
    """The sentences of errors alone: a node's other texts are in locales/."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from _said(ast.Expression(node.exc))


def _named(tree: ast.AST) -> Iterator[str]:
    """Stages, what is counted, and what Doctor looks at, which may be one word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "stage" and node.value is not None:
            yield template(node.value)
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = [word.value for word in node.keywords if word.arg == "stage"]
        if function == "counted" and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
            yield f"{{1}} {node.args[1].value}"
            yield f"{{1}} {node.args[1].value}s"
        places = PLACES.get(function, ())
        named += [node.args[place] for place in places if place < len(node.args)]
        for each in named:
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.value
