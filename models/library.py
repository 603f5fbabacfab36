"""The user's model files, recognised by their content: the catalogue's search with the engines' readers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..catalog import found
from ..catalog.found import Found
from ..catalog.hashes import HashCache, nothing
from ..catalog.signatures import Signature
from ..engines.host import Host
from ..engines.onnx import file as onnx_file
from ..engines.torch import weights_file
from .onnx_description import signature as signature_of


def signature(path: Path) -> Signature | None:
    """What goes into a file's network and comes out; None for files of weights alone. Raises ModelFileError."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        weights_file.shapes(path)  # only the header is read: enough to tell that the file is whole
    if suffix != ".onnx":
        return None
    return signature_of(onnx_file.read_ports(path))


def search(folders: Iterable[Path], state_folder: Path | None = None, host: Host | None = None) -> tuple[Found, ...]:
    """Every model file in the folders, best known first; hashes are kept in the state folder, or the host's."""
    return found.search(folders, _hashes(state_folder, host), signature)


def identified(path: Path, state_folder: Path | None = None, host: Host | None = None) -> Found:
    """What one file is. Raises ModelFileError when it cannot be read."""
    return found.identified(path, _hashes(state_folder, host), signature)


def _hashes(state_folder: Path | None, host: Host | None) -> HashCache:
    if host is None:
        return HashCache(state_folder, nothing)
    return HashCache(state_folder or host.state_folder(), host.check_interrupt)
