"""What the doctor says of model files: what each of them is, on which terms, and whether it can be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..catalog.files import BUNDLED, BUNDLED_FILE
from ..catalog.found import Found
from ..catalog.hashes import HashCache, nothing
from ..engines.host import Host
from ..errors import SlimFusionError, printable
from ..models.library import search
from ..models.torch_model import torch_model
from .finding import Finding

TERMS = {True: "commercial use allowed", False: "no commercial use", None: "commercial use unclear"}


def model_findings(folders: Iterable[Path], hashes: bool, host: Host | None = None) -> Iterator[Finding]:
    """The bundled network and every model file under `folders`.

    hashes: give the SHA-256 of all, where otherwise only files of a known length are read whole. Raises OSError.
    """
    bundled = network_finding(BUNDLED_FILE, BUNDLED)
    results = [(BUNDLED_FILE, bundled if bundled.state == "ok" else replace(bundled, state="problem"))]
    results += [(file.path, model_finding(file)) for file in search(folders, host=host)]
    sums = HashCache(None, nothing) if host is None else HashCache(host.state_folder(), host.check_interrupt)
    for path, finding in results:
        lines = [finding.detail, printable(str(path))]
        if hashes and finding.state == "ok":
            lines.append(f"SHA-256 {sums.sha256(path)}")
        yield replace(finding, detail="\n".join(lines))
    sums.save()


def model_finding(file: Found) -> Finding:
    """What the catalogue knows of a file, or else what its tensors say.

    A file that is of no use here is no problem: folders are shared with other programs.
    """
    name = printable(file.path.name)
    if file.card is not None:
        what = f"{file.state}, {file.card.name} ({file.card.kind}), {file.size / 1e6:.1f} MB"
        return Finding(name, "ok", f"{what}; licence: {file.licence}, {TERMS[file.commercial]}")
    if file.state == "unknown" and file.path.suffix.lower() != ".onnx":
        return network_finding(file.path, name)
    return Finding(name, "advice", printable(file.note))


def network_finding(path: Path, name: str) -> Finding:
    """What a file of weights holds, recognised by the names and shapes of its tensors."""
    try:
        spec = torch_model(path, name).spec
    except SlimFusionError as error:
        return Finding(name, "advice", str(error))
    takes = f"{spec.card.size} px faces" if spec.card.is_face_restorer else "whole images"
    size = f"{spec.parameters / 1e6:.1f} M parameters, {path.stat().st_size / 1e6:.1f} MB"
    return Finding(name, "ok", f"{spec.architecture} for {takes}, {size}; licence: {spec.licence}")
