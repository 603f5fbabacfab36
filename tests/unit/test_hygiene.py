"""What is published: nothing that runs what a user supplies, nothing that calls home, one direction of imports.

The registry hides versions in which its scanner finds certain words, whatever they do there: none of them stands in the
archive, but in one file."""

import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import ROOT, published

HELP = Path("js/docs")
LARGEST_FILE, LARGEST_ARCHIVE = 9 * 10**6, 12 * 10**6  # bytes

# What the registry's scanner finds in Python files; comments and strings count for it.
TRIGGERS = {
    "starts processes": r"\bsubprocess\b|\bos\.(system|popen|spawn\w*|exec\w*)\b",
    "imports what a text names": r"\bimport_module\b|\b__import__\b",
    "reaches into the environment": r"\bos\.environ\b",
    "reads pickles": r"\b(pickle|joblib|dill|marshal|shelve)\s*(\.|import\b)|\bimport\s+(pickle|joblib|marshal)",
    "runs text": r"(?<![\w.])(eval|exec|compile)\(|\.eval\(",
    "uses the network": r"\b(urllib|requests|httpx|aiohttp|ftplib|socket)\.\w|\bimport\s+(urllib|requests|socket)\b",
    "opens a database": r"\b(sqlite3|psycopg2|pymysql|sqlalchemy)\b",
    "hides what it does": r"\b(b64decode|a85decode|fromhex|unhexlify)\b|__pycache__",
    "removes trees": r"\brm -rf\b|\brmtree\b",
}
TRIGGERS_IN_JS = {"runs text": r"(?<![\w.])eval\(|new Function\b", "calls others": r"https?://"}

# Networks that may hang a driver, or take memory that nothing caps, run in a process of their own, which can be ended.
# This file alone starts it, from a script of this package, and hands it the variables that it would inherit anyway.
# multiprocessing's spawn would run the parent's main module again in it: ComfyUI's, with its whole start.
LAUNCHER = Path("engines/worker/process.py")
IN_LAUNCHER = {"starts processes", "reaches into the environment"}

NEVER_CALLED = {"eval", "exec", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads"}
NEVER_IMPORTED = {"urllib", "requests", "http", "httpx", "aiohttp", "socket", "ftplib", "subprocess", "ctypes.util"}
HOSTS_MODULES = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "execution"}
HOSTS_DOOR = Path("nodes/host.py")

# What each room may see.
FOR_ALL = {"environment", "errors", "opencv", "version"}
MAY_SEE = {
    "catalog": {"catalog"},
    "engines": {"engines", "catalog"},
    "models": {"models", "engines", "catalog"},
    "faces": {"faces", "models", "engines", "catalog"},
    "video": {"video", "faces", "models", "engines", "catalog"},
    "doctor": {"doctor", "models", "engines", "catalog"},
    "nodes": {"nodes", "doctor", "video", "faces", "models", "engines", "catalog"},
    "distill": {"distill", "faces", "models", "engines", "catalog"},
    "commands": {"commands", "distill", "doctor", "video", "faces", "models", "engines", "catalog"},
    "cli": {"commands"},
    "api": {"faces", "models", "engines", "catalog"},
    "__init__": {"nodes", "api"},
    "version": set(),
    "__main__": set(),
    "environment": set(),
    "errors": set(),
    "opencv": {"opencv"},
}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in published():
        if path.suffix == ".py":
            yield path, ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def forbidden_calls(tree: ast.Module) -> list[str]:
    """Calls that run code out of data, network modules' `.eval()` and unsafe `torch.load`s, with their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
            if name in NEVER_CALLED or name.endswith(".eval") or (name == "torch.load" and not safe):
                found.append(f"{node.lineno}: {name}")
    return found


def imports(tree: ast.Module) -> Iterator[tuple[int, str, list[str], int]]:
    """level (0 for absolute), module, names, line of each import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names], node.lineno


def foreign_imports(tree: ast.Module) -> set[str]:
    """The modules that are imported absolutely, with what is taken from them and their parents."""
    found = set()
    for level, module, names, _ in imports(tree):
        for full in [f"{module}.{name}" for name in names] or [module]:
            parts = full.split(".")
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} if level == 0 else set()
    return found


def wrong_ways(path: Path, tree: ast.Module) -> list[str]:
    """Relative imports that lead where this file's room may not look, or out of the package."""
    found = []
    room = path.parts[0] if len(path.parts) > 1 else path.stem
    for level, module, names, line in imports(tree):
        above = len(path.parts) - level  # parts of the package that the dots stand for
        targets = [module] if module else names
        for target in targets if level else []:
            inside = [*path.parts[: max(0, above)], *target.split(".")]
            if above < 0 or inside[0] not in MAY_SEE[room] | FOR_ALL:
                found.append(f"{path}:{line}: {'.' * level}{module or target}")
    return found


def test_what_is_published_is_the_pack_alone():
    names = {path.parts[0] for path in published()}
    assert {"nodes", "faces", "engines", "catalog", "weights", "LICENSE", "__init__.py", "requirements.txt"} <= names
    assert {"README.md", "README.zh-CN.md", "pyproject.toml"} <= names
    assert not {"tests", "bench", "dev.py", "output", "CONTRIBUTING.md", "ARCHITECTURE.md"} & names
    assert not [path for path in published() if path.name.startswith(".") or path.suffix in (".pyc", ".so", ".dll")]


def test_no_links_and_no_large_files():
    sizes = {path: (ROOT / path).stat().st_size for path in published()}
    assert not [path for path in sizes if (ROOT / path).is_symlink()]
    assert not [path for path, size in sizes.items() if size > LARGEST_FILE]


def test_the_archive_is_small(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in published():
            archive.write(ROOT / path, path.as_posix())
    assert (tmp_path / "archive.zip").stat().st_size <= LARGEST_ARCHIVE


def lost_links(page: Path, text: str, files: set[Path]) -> list[str]:
    """Links of a page that lead nowhere. ComfyUI shows the help pages of all languages as if they lay in their root."""
    folder = HELP if HELP in page.parents else page.parent
    return [
        f"{page}: {link}"
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in link
        and (ROOT / folder / link).resolve().relative_to(ROOT.resolve()) not in files
        and not (ROOT / folder / link).is_dir()
    ]


def test_the_links_of_its_pages_lead_somewhere():
    pages, files = [path for path in published() if path.suffix == ".md"], set(published())
    assert [lost for page in pages for lost in lost_links(page, _text(page), files)] == []


@pytest.mark.parametrize("page", ["js/docs/SlimFusionDoctor.md", "js/docs/SlimFusionDoctor/zh.md"])
def test_the_check_of_links_knows_where_help_pages_are_shown(page):
    files = {HELP / "pictures" / "a.webp"}
    assert lost_links(Path(page), "![A](pictures/a.webp)", files) == []
    assert lost_links(Path(page), "![A](../pictures/a.webp)", files) == [f"{page}: ../pictures/a.webp"]


def triggers(path: Path, text: str) -> list[str]:
    """What the scanner would say of a file, with the lines."""
    known = {".py": TRIGGERS, ".js": TRIGGERS_IN_JS}.get(path.suffix, {})
    return [
        f"{path}:{text.count(chr(10), 0, hit.start()) + 1}: {name} ({hit[0]})"
        for name, words in known.items()
        if not (path == LAUNCHER and name in IN_LAUNCHER)
        for hit in re.finditer(words, text)
    ]


def test_the_scanner_finds_nothing():
    assert [hit for path in published() for hit in triggers(path, _text(path))] == []


def test_the_exception_is_needed():
    """Where it is none any more, it is not listed."""
    text = _text(LAUNCHER)
    assert all(re.search(TRIGGERS[name], text) for name in IN_LAUNCHER)


def _text(path: Path) -> str:
    return (ROOT / path).read_text("utf-8") if path.suffix in (".py", ".js", ".md") else ""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("import subprocess", True),
        ("importlib.import_module(name)", True),
        ("os.environ['A']", True),
        ("from pickle import loads", True),
        ("pickle.loads(x)", True),
        ("import joblib", True),
        ("model.eval()", True),
        ("exec(text)", True),
        ("requests.get(url)", True),
        ("os.getenv('A')\nspec.loader.exec_module(m)\nre.compile(x)\npickled = 1\nevaluate(x)\nimport a_pickle", False),
    ],
)
def test_the_check_of_triggers_sees_what_it_should(text, wrong):
    assert bool(triggers(Path("engines/run.py"), text)) == wrong


def test_no_data_is_run_as_code():
    assert {str(path): found for path, tree in trees() if (found := forbidden_calls(tree))} == {}


def test_pickles_are_read_by_nobody_but_torch():
    readers = [path for path, tree in trees() if {"pickle", "joblib", "dill", "cloudpickle"} & foreign_imports(tree)]
    assert readers == []


def test_nothing_calls_home():
    found = {path: wrong for path, tree in trees() if (wrong := NEVER_IMPORTED & foreign_imports(tree))}
    assert found == {LAUNCHER: {"subprocess"}}


def test_only_one_file_knows_the_host():
    """Its name may be mentioned anywhere; imported it is in one place."""
    users = [path for path, tree in trees() if HOSTS_MODULES & foreign_imports(tree)]
    assert users == [HOSTS_DOOR]


def test_nothing_imports_the_package_by_a_fixed_name():
    ours = {"slimfusion", *MAY_SEE} - {"__init__", "__main__"}
    assert {str(path): found for path, tree in trees() if (found := ours & foreign_imports(tree))} == {}


def test_imports_go_one_way():
    assert [wrong for path, tree in trees() for wrong in wrong_ways(path, tree)] == []


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("engines/run.py", "from ..faces import face", True),
        ("engines/memory/meter.py", "from ...faces.face import Face", True),
        ("engines/memory/meter.py", "def f():\n    from ....outside import thing", True),
        ("catalog/spec.py", "from ..engines.session import Session", True),
        ("faces/face.py", "from .. import nodes", True),
        ("cli.py", "from .nodes.host import io", True),
        ("engines/memory/meter.py", "from ...catalog.spec import ModelSpec\nfrom ..tiles import grid", False),
        (
            "cli.py",
            "from .version import __version__\nfrom .commands import restore\nfrom .errors import ImageError",
            False,
        ),
    ],
)
def test_the_check_of_directions_sees_what_it_should(path, source, wrong):
    assert bool(wrong_ways(Path(path), ast.parse(source))) == wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("model.eval()", True),
        ("eval(text)", True),
        ("import pickle\npickle.loads(data)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)\nmodel.train(False)\nevaluate(model)", False),
    ],
)
def test_the_check_of_calls_sees_what_it_should(source, wrong):
    assert bool(forbidden_calls(ast.parse(source))) == wrong


def test_the_check_of_imports_sees_parents_and_what_is_taken():
    tree = ast.parse("from urllib import request\nimport a.b\nfrom . import c")
    assert foreign_imports(tree) == {"urllib", "urllib.request", "a", "a.b"}
