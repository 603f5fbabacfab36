"""The process's variables, and OpenCV where it is absent, broken or doubled."""

import importlib
import os
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest
from archive import ROOT
from slimfusion import environment, opencv
from slimfusion.errors import DependencyError

PIP = f"{sys.executable} -m pip "


@pytest.mark.parametrize("chosen", ["", "a/relative/one", None])
def test_only_an_absolute_cache_folder_counts(monkeypatch, chosen):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if chosen is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    assert environment.cache_folder() == Path.home() / ".cache" / "slimfusion"


def test_a_cache_folder_that_is_chosen_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.cache_folder() == tmp_path / "slimfusion"


@pytest.mark.parametrize(("before", "after"), [(None, b"1"), ("0", b"0")])
def test_telemetry_is_forbidden_unless_the_user_has_spoken(monkeypatch, before, after):
    """What the system has is what native code reads; the test asks a program that inherits it."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if before is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", before)
    environment.forbid_telemetry()
    code = "import os; print(os.getenv('ORT_DISABLE_TELEMETRY'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout.strip() == after
    os.unsetenv("ORT_DISABLE_TELEMETRY")


def opencv_with(monkeypatch, module):
    """The door as it is where `module` stands for cv2; None where there is none."""
    monkeypatch.setitem(sys.modules, "cv2", module)
    monkeypatch.delitem(sys.modules, "slimfusion.opencv")
    monkeypatch.setattr(metadata, "version", installed(numpy="2.4.0"))
    return importlib.import_module("slimfusion.opencv").cv2


def installed(**wheels):
    """importlib.metadata.version where only these are installed."""
    known = {name.replace("_", "-"): version for name, version in wheels.items()}

    def version(name):
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version


@pytest.mark.parametrize(
    ("stand_in", "words"),
    [(None, "OpenCV is not installed. Type: "), (types.ModuleType("cv2"), "installed only in part")],
    ids=["absent", "an empty folder"],
)
def test_what_only_opencv_has_says_what_to_install_on_its_first_use(monkeypatch, stand_in, words):
    cv2 = opencv_with(monkeypatch, stand_in)
    assert not sys.modules["slimfusion.opencv"].is_whole()
    with pytest.raises(DependencyError, match=words) as caught:
        cv2.imdecode(None, 1)
    assert str(caught.value).endswith(f"{PIP}install opencv-python-headless")


def test_the_whole_pack_loads_without_opencv():
    """What runs then is in test_opencv_stand_in.py."""
    names = [
        ".".join(("slimfusion", *path.relative_to(ROOT).with_suffix("").parts))
        for room in ("catalog", "commands", "distill", "doctor", "engines", "faces", "models", "video")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name not in ("__init__.py", "bootstrap.py")
    ]
    code = f"import sys, importlib; sys.modules['cv2'] = None; [importlib.import_module(name) for name in {names}]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


@pytest.mark.parametrize(
    ("wheels", "command"),
    [
        ({"numpy": "1.26.4"}, 'install "opencv-python-headless<4.12"'),
        ({"numpy": "2.4.0"}, "install opencv-python-headless"),
        (
            {"numpy": "2.4.0", "opencv_python": "4.13", "opencv_contrib_python": "4.13"},
            f"uninstall -y opencv-python opencv-contrib-python\n{PIP}install opencv-contrib-python-headless",
        ),
        (
            {"numpy": "1.26.4", "opencv_python": "4.11"},
            f'uninstall -y opencv-python\n{PIP}install "opencv-python-headless<4.12"',
        ),
    ],
)
def test_the_command_leaves_numpy_and_keeps_what_contrib_has(monkeypatch, wheels, command):
    monkeypatch.setattr(metadata, "version", installed(**wheels))
    assert opencv.mend(list(opencv.owners())) == PIP + command
