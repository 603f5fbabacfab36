"""The archive that the registry publishes: git's files less what .comfyignore names, which is written as .gitignore."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import slimfusion

ROOT = Path(slimfusion.__file__).parent


def published() -> list[Path]:
    """The archive's files, relative to the root. The test is skipped where there is no git."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    left_out = _listed("--cached", "--ignored", "--exclude-from=.comfyignore")
    return [Path(name) for name in sorted(_listed() - left_out) if (ROOT / name).exists()]


def unpack(folder: Path) -> None:
    """The archive as it would lie in `folder`."""
    for path in published():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)


def _listed(*options: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, check=True).stdout
    return {name for name in listed.decode().split("\0") if name}
