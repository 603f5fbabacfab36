"""What is shipped: nothing that runs what a user supplies, nothing that calls home, one direction of imports."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slimfusion

ROOT = Path(slimfusion.__file__).parent
LARGEST_FILE = 9 * 10**6  # bytes

NEVER_CALLED = {"eval", "exec", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads"}
NEVER_IMPORTED = {"urllib", "requests", "http", "httpx", "aiohttp", "socket", "ftplib", "subprocess", "ctypes.util"}
JOBLIB = Path("faces/detect/mtcnn_weights.py")  # reads nothing whose SHA-256 it does not know
# The only files that start processes, and of this package alone.
CHILDREN = {Path("engines/worker/child_process.py"), Path("engines/worker/parent.py")}
HOSTS_MODULES = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "execution"}
HOSTS_DOOR = Path("nodes/host.py")

# What each room may see; the package's own root stands for `__version__` and the like.
FOR_ALL = {"errors", "opencv", ""}
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
    "__init__": {"nodes"},
    "__main__": set(),
    "errors": set(),
    "opencv": set(),
}


def shipped() -> list[Path]:
    """The files that are published, relative to the root: what git knows less what .comfyignore drops."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    dropped = tuple((ROOT / ".comfyignore").read_text(encoding="utf-8").split())
    names = [name for name in listed.split("\0") if name and not name.startswith(dropped)]
    return [Path(name) for name in names if (ROOT / name).exists()]


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in shipped():
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
            seen = "" if inside == ["__version__"] else inside[0]
            if above < 0 or seen not in MAY_SEE[room] | FOR_ALL:
                found.append(f"{path}:{line}: {'.' * level}{module or target}")
    return found


def test_what_is_shipped_is_the_pack_alone():
    names = {path.parts[0] for path in shipped()}
    assert {"nodes", "faces", "engines", "catalog", "weights", "LICENSE", "__init__.py", "requirements.txt"} <= names
    assert not {"tests", "bench", "dev.py", ".ci", "output"} & names


def test_no_links_and_no_large_files():
    assert not [path for path in shipped() if (ROOT / path).is_symlink()]
    assert not [path for path in shipped() if (ROOT / path).stat().st_size > LARGEST_FILE]


def test_no_data_is_run_as_code():
    assert {str(path): found for path, tree in trees() if (found := forbidden_calls(tree))} == {}


def test_pickles_are_read_only_where_their_hash_is_known():
    readers = [path for path, tree in trees() if {"joblib", "dill", "cloudpickle"} & foreign_imports(tree)]
    assert readers == [JOBLIB]
    assert "hashlib.sha256" in (ROOT / JOBLIB).read_text(encoding="utf-8")


def test_nothing_calls_home():
    found = {path: wrong for path, tree in trees() if (wrong := NEVER_IMPORTED & foreign_imports(tree))}
    assert found == {path: {"subprocess"} for path in CHILDREN}


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
        ("cli.py", "from . import __version__\nfrom .commands import restore\nfrom .errors import ImageError", False),
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
