"""What pyproject.toml promises, held against the folder itself."""

import re
import sys
from pathlib import Path

import pytest
import slimfusion
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(slimfusion.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OUTSIDE_THE_PACKAGE = {"tests", "build", "output", "js"}


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


def test_requirements_are_free_names_that_exclude_one_another_where_they_must():
    """ComfyUI brings torch, numpy and OpenCV in its own versions: a pin of ours would break it."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    names = [line.split(";")[0].strip() for line in lines if line]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names), names


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
