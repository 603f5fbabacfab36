"""The doctor's look at model files: what each of them is, and whether it can be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..catalog.files import BUNDLED, BUNDLED_FILE, SUFFIXES
from ..errors import SlimFusionError
from .backends.torch_backend import blueprint_from_file
from .doctor import Finding

BLOCK = 1 << 20


def model_findings(folders: Sequence[Path], hashes: bool, say: Callable[[str], None]) -> list[Finding]:
    """The bundled network and every model file under `folders`, by name."""
    findings = [model_finding(BUNDLED_FILE, BUNDLED, hashes)]
    for path in model_files(folders):
        say(path.name)
        findings.append(model_finding(path, path.name, hashes))
    return findings


def model_files(folders: Sequence[Path]) -> Iterator[Path]:
    found = {path.resolve() for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    yield from sorted(path for path in found if path.is_file())


def model_finding(path: Path, name: str, hashes: bool) -> Finding:
    """A file that is no network of ours is no problem: folders are shared with other programs."""
    try:
        spec = blueprint_from_file(path, name).spec
    except SlimFusionError as error:
        bundled = path == BUNDLED_FILE
        return Finding(name, "problem" if bundled else "advice", str(error))
    contract = spec.contract
    takes = f"{contract.size} px faces" if spec.is_face_network else "whole images"
    detail = (
        f"{contract.architecture} for {takes}, {spec.parameters / 1e6:.1f} M parameters, "
        f"{path.stat().st_size / 1e6:.1f} MB; licence: {contract.licence}\n{path}"
    )
    return Finding(name, "ok", f"{detail}\nSHA-256 {sha256_of(path)}" if hashes else detail)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
