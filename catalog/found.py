"""Which model files lie in the folders that users have already, recognised by their content.

A file whose length is known is hashed. One of unknown content still works when its inputs and outputs are those
of a known model; it is then said to be unverified. Names decide nothing; they only help to say what a broken
file was meant to be.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ModelFileError
from .card import Kind, ModelCard
from .hashes import HashCache
from .known import BY_HASH, KNOWN, SIZES, SUFFIXES_OF_ANY_SIZE, KnownFile
from .licences import UNSTATED
from .opening import Stamp, kind_of, reason
from .signatures import Signature, recognised

MODEL_SUFFIXES = (".onnx", ".pth", ".pt", ".ckpt", ".safetensors")
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".download", ".crdownload", ".incomplete", ".aria2")

# verified: the hash is known. unverified: the shapes are, the hash is not. unknown: neither. damaged: cannot be
# used, such as half a download. refused: must not be opened.
State = Literal["verified", "unverified", "unknown", "damaged", "refused"]
_ORDER: tuple[State, ...] = ("verified", "unverified", "unknown", "damaged", "refused")

# Reads a file's inputs and outputs; None for a kind of file that states none. Raises ModelFileError.
ReadSignature = Callable[[Path], Signature | None]


@dataclass(frozen=True)
class Found:
    """A file in a folder. known_file, card: None where it is another one. note: what the user should be told."""

    path: Path
    size: int
    state: State
    known_file: KnownFile | None = None
    card: ModelCard | None = None
    note: str = ""

    @property
    def licence(self) -> str:
        return UNSTATED if self.known_file is None else self.known_file.licence

    @property
    def commercial(self) -> bool | None:
        """Whether a business may use it; None where that is not known, or not proven by the hash."""
        return None if self.known_file is None or self.state != "verified" else self.known_file.commercial

    @property
    def usable(self) -> bool:
        return self.card is not None and self.state in ("verified", "unverified")

    def check_commercial(self) -> None:
        """Raises ModelFileError unless the licence is known to let a business use the file."""
        if not self.commercial:
            raise ModelFileError(
                f"{self.path.name} is not known to be free for commercial use (licence: {self.licence}), and only "
                "such files are wanted. Choose another model, or switch 'commercial use only' off."
            )


def search(folders: Iterable[Path], hashes: HashCache, read_signature: ReadSignature) -> tuple[Found, ...]:
    """Every model file in the folders and below, best known first.

    Folders that do not exist are passed over. Links are followed, as ComfyUI follows them: to files and folders,
    wherever these lie. A file is found once, by its own name where that is in the folders too.
    """
    files: dict[Path, Found] = {}
    walked: set[tuple[int, int]] = set()
    for folder in folders:
        for path in _files(folder, walked):
            real = _resolved(path)
            if real not in files or path == real:  # the file itself tells more than a link to it
                files[real] = _in_folders(path, hashes, read_signature)
    hashes.save()
    return tuple(sorted(files.values(), key=lambda file: (_ORDER.index(file.state), str(file.path).lower())))


def identified(path: Path, hashes: HashCache, read_signature: ReadSignature) -> Found:
    """What one file is. Raises ModelFileError when it does not exist or cannot be read."""
    size = Stamp.of(path).size
    try:
        file = _identified(path, size, hashes, read_signature)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {reason(error)}.") from error
    hashes.save()
    return file


def best(files: Iterable[Found], kind: Kind, cards: Iterable[str] = (), commercial_only: bool = False) -> Found:
    """The usable file of a kind that is known best. cards: names of those that will do, best first; () for all.

    Raises ModelFileError, which names the files that would do.
    """
    names = list(cards)
    fitting = [
        file
        for file in files
        if file.usable
        and file.card is not None
        and file.card.kind == kind
        and (not names or file.card.name in names)
        and (file.commercial or not commercial_only)
    ]
    if fitting:
        return min(fitting, key=lambda file: (_ORDER.index(file.state), _rank(file, names), str(file.path)))
    wanted = [
        file
        for file in KNOWN
        if file.card.kind == kind
        and (not names or file.card.name in names)
        and (file.commercial or not commercial_only)
    ]
    places = "; ".join(f"{file.name} from {file.source} into {file.folder}" for file in wanted[:3])
    what = f"{kind} that is free for commercial use" if commercial_only else kind
    if not places:
        raise ModelFileError(f"No {what} was found in the model folders, and no such file is known.")
    raise ModelFileError(f"No {what} was found in the model folders. Known files are {places}.")


def missing(files: Iterable[Found]) -> tuple[KnownFile, ...]:
    """The known files that are not there, one for each kind and name."""
    hashes = {one.known_file.sha256 for one in files if one.known_file is not None and one.state == "verified"}
    names = {(file.card.kind, file.name.lower()) for file in KNOWN if file.sha256 in hashes and file.sha256}
    absent = {(file.card.kind, file.name.lower()): file for file in reversed(KNOWN)}
    return tuple(file for key, file in reversed(absent.items()) if key not in names)


def _rank(file: Found, names: list[str]) -> int:
    return names.index(file.card.name) if names and file.card is not None else 0


def _files(root: Path, walked: set[tuple[int, int]]) -> Iterator[Path]:
    """What may be models, in a folder and below. walked: folders that were seen already; links may lead in circles."""
    root = _resolved(root)
    for place, folders, files in os.walk(root, followlinks=True):
        seen = _number(place)
        if seen in walked:
            folders.clear()
            continue
        walked.add(seen)
        folders.sort()
        yield from (Path(place) / name for name in sorted(files) if _model_name(name) is not None)


def _number(folder: str) -> tuple[int, int]:
    """Which folder of which disk; Windows has such numbers too. A folder that is gone has none of its own."""
    try:
        status = os.stat(folder)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _resolved(path: Path) -> Path:
    """The path without links; as it is where they lead in a circle."""
    return Path(os.path.realpath(path))


def _model_name(name: str) -> str | None:
    """The model's file name in lower case without the ending of an unfinished download; None for other files."""
    lower = name.lower()
    for suffix in PARTIAL_SUFFIXES:
        lower = lower.removesuffix(suffix)
    return lower if lower.endswith(MODEL_SUFFIXES) else None


def _in_folders(path: Path, hashes: HashCache, read_signature: ReadSignature) -> Found:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Found(path, 0, "refused", note=f"is {kind_of(status.st_mode)} and no file, and was not opened")
        return _identified(path, status.st_size, hashes, read_signature)
    except FileNotFoundError:
        return Found(path, 0, "damaged", note="is a link to a file that does not exist")
    except OSError as error:
        loop = error.errno == errno.ELOOP
        note = "is a link that leads back to itself" if loop else f"cannot be read: {reason(error)}"
        return Found(path, 0, "damaged", note=note)


def _identified(path: Path, size: int, hashes: HashCache, read_signature: ReadSignature) -> Found:
    suffix = path.suffix.lower()
    if suffix in PARTIAL_SUFFIXES:
        return Found(path, size, "damaged", note=_half(path, size) or f"is an unfinished download of {size} bytes")
    if size in SIZES or suffix in SUFFIXES_OF_ANY_SIZE:
        row = BY_HASH.get(hashes.sha256(path))
        if row is not None:
            return Found(path, size, "verified", row, row.card)
    try:
        signature = read_signature(path)
    except ModelFileError as error:
        return Found(path, size, "damaged", note=_half(path, size) or str(error))
    same_size = [file for file in KNOWN if file.size == size and file.suffix == suffix]
    if signature is not None:
        return _by_shapes(path, size, signature, same_size)
    if half := _half(path, size):
        return Found(path, size, "damaged", note=half)
    return Found(path, size, "unknown", note=_differs(same_size) or "its content is not known")


def _by_shapes(path: Path, size: int, signature: Signature, same_size: list[KnownFile]) -> Found:
    """A file of unknown hash, recognised by its inputs and outputs."""
    recognition = recognised(signature)
    of_no_hash = [file for file in same_size if not file.sha256 and file.card.name in recognition.candidates]
    if len(of_no_hash) == 1:
        row = of_no_hash[0]
        note = f"unverified: as long as {row.name} and of its shapes, but no hash of that file is known"
        return Found(path, size, "unverified", row, row.card, note)
    differs = _differs(same_size)
    if recognition.card is None:
        several = ", ".join(recognition.candidates)
        reason = f"may be any of {several}, which its shapes do not tell" if several else f"unknown: {signature}"
        return Found(path, size, "unknown", note="; ".join(filter(None, (differs, reason))))
    note = f"unverified: its content is not known, its shapes are those of {recognition.card.name}"
    return Found(path, size, "unverified", None, recognition.card, "; ".join(filter(None, (differs, note))))


def _half(path: Path, size: int) -> str:
    """The sentence for half a download of a file that is called like a known one; "" for others."""
    name = _model_name(path.name)
    sizes = [file.size for file in KNOWN if file.size is not None and file.name.lower() == name]
    if not sizes or size >= min(sizes):
        return ""
    return f"is half a download: {size} of {min(sizes)} bytes; delete it and download it again"


def _differs(same_size: list[KnownFile]) -> str:
    """The sentence for a file as long as a known one with another hash; "" where there is none."""
    names = sorted({file.name for file in same_size if file.sha256})
    if not names:
        return ""
    return f"is as long as {' and '.join(names)} but its hash is another: it was changed or damaged"
