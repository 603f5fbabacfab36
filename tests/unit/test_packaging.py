"""What pyproject.toml promises, held against the folder itself."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import slimfusion
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from slimfusion.engines.ort.providers import PROVIDERS
from slimfusion.opencv import HEADLESS, WHEELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(slimfusion.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
REQUIREMENTS = [Requirement(line) for line in LINES if line and not line.startswith("#")]
EXTRAS = PROJECT["project"]["optional-dependencies"]
HOSTS_OWN = {"comfy", "comfy_api", "folder_paths", "server"}
# Used where they are there: an engine that few have, more architectures, what training and a bench bring themselves.
OPTIONAL = {"cv2", "tensorrt", "spandrel_extra_arches", "onnxruntime", "onnx", "onnxscript", "pillow_heif"}
OUTSIDE_THE_PACKAGE = {"bench", "tests", "build", "output", "js"}
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]


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
    assert set(PACKAGES) == packages and sorted(PACKAGES) == PACKAGES


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
    packages = [ROOT / name.removeprefix("slimfusion").replace(".", "/").lstrip("/") for name in PACKAGES]
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


def test_what_overwrites_others_is_no_requirement_and_is_explained():
    """Two wheels of OpenCV, or of onnxruntime, take one another's files away; pip knows them as different packages."""
    assert not [each.name for each in REQUIREMENTS if each.name.startswith(("opencv", "onnxruntime"))]
    told = "\n".join(line for line in LINES if line.startswith("#"))
    assert all(wheel in told for wheel in (*WHEELS, "onnxruntime-gpu", "onnxruntime-directml"))


def test_the_library_needs_what_the_pack_needs_and_opencv():
    """The registry shows these; who installs the library with pip gets an OpenCV with it."""
    listed = [str(Requirement(line)) for line in PROJECT["project"]["dependencies"]]
    assert sorted(listed) == sorted([*map(str, REQUIREMENTS), HEADLESS])
    assert "dynamic" not in PROJECT["project"]


def test_the_developers_have_what_users_have():
    groups = PROJECT["dependency-groups"]["dev"]
    names = {canonicalize_name(Requirement(line).name) for line in groups}
    assert {canonicalize_name(each.name) for each in REQUIREMENTS} <= names


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ("codeformer", {"spandrel-extra-arches"}),
        ("export", {"onnx", "onnxscript", "slimfusion"}),
        ("openvino", {"onnxruntime", PROVIDERS["openvino"].plugin_wheel}),
        ("webgpu", {"onnxruntime", PROVIDERS["webgpu"].plugin_wheel}),
        ("distill", {HEADLESS}),
    ],
)
def test_an_extra_brings_what_its_command_or_engine_needs(extra, wanted):
    listed = {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]}
    assert listed == wanted


def test_the_registry_gets_pictures_that_are_there():
    """Its icon is a square of at most 400 px, its banner is 21:9; both are named by their address in the repository."""
    repository = PROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    pictures = {}
    for name in ("Icon", "Banner"):
        place, _, path = PROJECT["tool"]["comfy"][name].partition(f"/{repository}/main/")
        assert place.startswith("https://") and (ROOT / path).stat().st_size < 60_000
        pictures[name] = Image.open(ROOT / path).size
    width, height = pictures["Banner"]
    assert pictures["Icon"][0] == pictures["Icon"][1] <= 400 and width * 9 == height * 21


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
    parsed = [Requirement(line) for line in EXTRAS["onnxruntime"]]
    platform = {"platform_system": system, "platform_machine": machine}
    assert [each.name for each in parsed if each.marker.evaluate(platform)] == [wanted]
