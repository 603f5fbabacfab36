"""The package as a user installs it: from the published archive, with its declared requirements and nothing else, in an
empty environment."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import skimage.data
from archive import unpack
from PIL import Image

SECONDS = 900
# The developers' environment may need these files for a torchvision that was built for another torch.
CURE = ("slimfusion_torchvision.py", "slimfusion_torchvision.pth")

pytestmark = pytest.mark.install


def called(command: list[str | Path], folder: Path) -> str:
    """What a command prints; it must succeed, without a word of Python's in it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=clean, capture_output=True, text=True, timeout=SECONDS
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Traceback" not in said, f"{command}: {said[-3000:]}"
    return said


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs; torch and torchvision are those of the developers' environment."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    unpack(source)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    called(wheel, folder)
    (file,) = folder.glob("slimfusion-*.whl")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    versions = [f"{name}=={importlib.metadata.version(name).split('+')[0]}\n" for name in ("torch", "torchvision")]
    (folder / "same.txt").write_text("".join(versions))
    called([programs / "pip", "install", "-q", "-c", folder / "same.txt", file], folder)
    asked = [programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site, ours = Path(called(asked, folder).strip()), Path(sysconfig.get_path("purelib"))
    for name in CURE:
        if (ours / name).exists():
            shutil.copy(ours / name, site)
    return programs


def test_everything_that_a_user_types_first_works(installed: Path, tmp_path: Path) -> None:
    person, portrait = tmp_path / "person.png", tmp_path / "portrait.png"
    Image.fromarray(skimage.data.astronaut()).save(person)
    Image.open(person).resize((256, 256)).save(portrait)
    program = installed / "slimfusion"
    assert "restore" in called([program, "--help"], tmp_path)
    said = called([program, "restore", portrait, "restored.png", "--report", "report.json"], tmp_path)
    assert "1 face" in said
    (report,) = json.loads((tmp_path / "report.json").read_text()).values()
    assert report["faces"] == 1
    assert Image.open(tmp_path / "restored.png").size == (256, 256)
    called([program, "swap", person, portrait, "swapped.png"], tmp_path)
    assert Image.open(tmp_path / "swapped.png").tobytes() != Image.open(portrait).tobytes()
    (tmp_path / "models").mkdir()
    assert "gfpgan" in called([program, "models", tmp_path / "models"], tmp_path).lower()


def test_the_doctor_finds_nothing_missing(installed: Path, tmp_path: Path) -> None:
    said = subprocess.run(
        [installed / "slimfusion", "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
    )
    assert "Traceback" not in said.stdout + said.stderr
    assert "bundled" in said.stdout
