"""What pyproject.toml promises, held against the folder itself."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import slimfusion
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(slimfusion.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = [Requirement(line) for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line]
HOSTS_OWN = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}
# Used where they are there: an engine that few have, more architectures, what training and a bench bring themselves.
OPTIONAL = {"tensorrt", "spandrel_extra_arches", "onnxruntime", "onnx", "onnxscript", "pillow_heif"}
OUTSIDE_THE_PACKAGE = {"tests", "build", "output", "js"}


def shipped_packages():
    """The packages that a user runs: without benches and training."""
    listed = PROJECT["tool"]["setuptools"]["packages"]
    return [name for name in listed if name.split(".")[1:2] not in (["bench"], ["distill"])]


def certain_imports(tree):
    """The top level modules that a file imports absolutely."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_every_package_folder_is_listed():
    folders = {
        folder.parent.relative_to(ROOT)
        for folder in ROOT.rglob("__init__.py")
        if not any(part.startswith(".") for part in folder.relative_to(ROOT).parts)
    }
    inside = [folder for folder in folders if not OUTSIDE_THE_PACKAGE & set(folder.parts[:1])]
    packages = {".".join(("slimfusion", *folder.parts)) for folder in inside}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["version"] == slimfusion.__version__


def test_only_what_must_be_is_pinned():
    """ComfyUI brings torch, numpy and OpenCV in its own versions: a pin of ours would break it.

    MTCNN's weights are read from its package by their SHA-256, which is that of 1.0.0.
    """
    pinned = [str(each) for each in REQUIREMENTS if each.specifier or each.url]
    assert pinned == ["mtcnn==1.0.0"]


def test_everything_that_is_imported_is_declared():
    """Optional packages are imported where their absence is caught and said."""
    belongs = packages_distributions()
    declared = {canonicalize_name(each.name) for each in REQUIREMENTS}
    packages = [ROOT / name.removeprefix("slimfusion").replace(".", "/").lstrip("/") for name in shipped_packages()]
    lost = {
        f"{file.relative_to(ROOT)}: {name}"
        for folder in packages
        for file in folder.glob("*.py")
        if file.name != "dev.py"
        for name in certain_imports(ast.parse(file.read_text(encoding="utf-8")))
        if name not in sys.stdlib_module_names | HOSTS_OWN | OPTIONAL
        and not {canonicalize_name(each) for each in belongs.get(name, [])} & declared
    }
    assert not lost


@pytest.mark.parametrize(
    ("system", "machine", "wanted"),
    [
        ("Linux", "x86_64", "onnxruntime-gpu"),
        ("Linux", "aarch64", "onnxruntime"),
        ("Windows", "AMD64", "onnxruntime-directml"),
        ("Darwin", "arm64", "onnxruntime"),
    ],
)
def test_each_platform_gets_one_onnxruntime(system, machine, wanted):
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    parsed = [Requirement(line) for line in lines if line.startswith("onnxruntime")]
    platform = {"platform_system": system, "platform_machine": machine}
    assert [each.name for each in parsed if each.marker.evaluate(platform)] == [wanted]
