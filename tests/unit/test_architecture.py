"""The house as ARCHITECTURE.md draws it: rooms, directions, sizes, and links that are true."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import slimfusion

ROOT = Path(slimfusion.__file__).parent
ROOMS = ("catalog", "commands", "doctor", "engines", "faces", "models", "nodes", "opencv", "video")
PAGES = [page for page in ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/MODELS.md") if (ROOT / page).exists()]
MOST_FILES, MOST_LINES, MOST_PARAMETERS, MOST_SCREEN = 15, 400, 6, 70


def files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports() -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """The modules of ours that each of them imports."""
    known = {name_of(path) for path in files()}
    found: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for path in files():
        name = name_of(path)
        package = name if path.name == "__init__.py" else name[:-1]
        found[name] = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = (
                    *package[: len(package) - node.level + 1],
                    *((node.module or "").split(".") if node.module else ()),
                )
                found[name] |= {each if (each := (*base, alias.name)) in known else base for alias in node.names}
        found[name] &= known
    return found


def test_no_file_imports_itself_by_a_detour():
    graph, done, path = imports(), set(), []

    def visit(module):
        if module in path:
            pytest.fail(" -> ".join("/".join(each) for each in [*path[path.index(module) :], module]))
        if module not in done:
            path.append(module)
            for other in sorted(graph[module]):
                visit(other)
            path.pop()
            done.add(module)

    for module in sorted(graph):
        visit(module)


def test_rooms_and_files_can_be_seen_at_a_glance():
    rooms = Counter(path.parent.relative_to(ROOT).as_posix() for path in files())
    assert {room: count for room, count in rooms.items() if count > MOST_FILES} == {}
    lines = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8").count("\n") for path in files()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_functions_fit_on_a_screen_and_take_few_values():
    long, wide = [], []
    for path in files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                arguments = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                taken = len(arguments) - (arguments[:1] in (["self"], ["cls"]))
                if taken > MOST_PARAMETERS and path.relative_to(ROOT).parts[0] in (
                    "catalog",
                    "engines",
                    "faces",
                    "models",
                ):
                    wide.append(where)
                if node.end_lineno - node.lineno > MOST_SCREEN:
                    long.append(where)
    assert long == [] and wide == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_what_they_name(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", text)
    assert links
    for label, target in links:
        if target.startswith("http"):
            continue
        path = (ROOT / page).parent / target
        assert path.exists(), f"{page}: {target}"
        if label.startswith("`"):
            word = re.escape(label.strip("`"))
            assert re.search(rf"^\s*(def|class|async def) {word}\b|^{word}\b.*=", path.read_text("utf-8"), re.M), label
