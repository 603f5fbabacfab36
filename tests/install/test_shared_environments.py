"""Our requirements in environments that others have filled: pip adds to them, and changes and removes nothing.

The environments are made of the wheels' descriptions alone, which is all that pip asks an environment for. What it
would fetch comes from the package index.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from archive import ROOT
from slimfusion import opencv

pytestmark = pytest.mark.install

SECONDS = 300
# What ComfyUI brings, in versions of a year that other packs still want.
COMFYUI = {
    "torch": "2.6.0", "torchvision": "0.21.0", "numpy": "1.26.4", "pillow": "10.4.0", "safetensors": "0.4.5",
    "spandrel": "0.4.0", "psutil": "6.1.0", "filelock": "3.16.1", "packaging": "24.2", "av": "14.2.0",
    "scipy": "1.14.1", "joblib": "1.4.2", "einops": "0.8.0", "typing-extensions": "4.12.2",
}  # fmt: skip
NEEDS = {
    "opencv-python": ["numpy>=1.23.5"], "opencv-contrib-python": ["numpy>=1.23.5"], "onnxruntime": ["numpy>=1.21.6"],
    "opencv-python-headless": ["numpy>=1.23.5"], "spandrel": ["torch", "torchvision", "safetensors", "numpy", "einops"],
}  # fmt: skip
ENVIRONMENTS = {
    "numpy 1.26 and no OpenCV": {},
    "contrib": {"opencv-contrib-python": "4.11.0.86"},
    "headless": {"opencv-python-headless": "4.11.0.86"},
    "onnxruntime": {"opencv-python": "4.11.0.86", "onnxruntime": "1.20.1"},
}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The Python of an empty environment."""
    venv.create(tmp_path / "env", with_pip=False)
    return tmp_path / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def fill(python: Path, wheels: dict[str, str]) -> None:
    """Lays the descriptions of wheels into an environment."""
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    for name, version in wheels.items():
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in NEEDS.get(name, []))
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        (folder / "RECORD").write_text("")
        (folder / "INSTALLER").write_text("pip\n")


def would_install(python: Path, *words: str) -> dict[str, str]:
    """What pip would put into the environment, by name."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--dry-run", "--report", "-", *words]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    metadata = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    return {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"] for each in metadata}


def wrongs(new: dict[str, str], there: dict[str, str]) -> set[str]:
    """What would be changed, or lies where a wheel of another name lies."""
    doubled = {name for name in new if name in opencv.WHEELS or name.startswith("onnxruntime")}
    return (set(new) & set(there)) | doubled


@pytest.mark.parametrize("name", list(ENVIRONMENTS))
def test_our_requirements_change_and_remove_nothing(environment: Path, name: str) -> None:
    there = COMFYUI | ENVIRONMENTS[name]
    fill(environment, there)
    new = would_install(environment, "-r", str(ROOT / "requirements.txt"))
    assert wrongs(new, there) == set()
    assert "mtcnn" in new


def test_the_command_for_a_missing_opencv_leaves_numpy(environment: Path) -> None:
    fill(environment, COMFYUI)
    assert set(would_install(environment, opencv.BEFORE_NUMPY_2.strip('"'))) == {opencv.HEADLESS}


def test_the_check_sees_what_a_listed_opencv_would_do(environment: Path) -> None:
    """Which is why it is not listed."""
    there = COMFYUI | ENVIRONMENTS["contrib"]
    fill(environment, there)
    assert wrongs(would_install(environment, "opencv-python"), there) == {"numpy", "opencv-python"}
