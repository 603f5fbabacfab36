"""Which pictures a command line means, and where the result of each goes: checked before any work is done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ImageError, OutputError, SlimFusionError


@dataclass(frozen=True)
class Source:
    """path: of a picture. below: its place under the folder that was named, as the result's under the output."""

    path: Path
    below: Path


@dataclass(frozen=True)
class Chosen:
    """sources: the pictures, in order. from_folder: whether any came out of a folder. notes: what was passed over."""

    sources: tuple[Source, ...]
    from_folder: bool = False
    notes: tuple[str, ...] = field(default=())


def expanded(path: str | Path) -> Path:
    """A path of the command line with ~ for somebody's home. Raises OutputError where there is no such home."""
    from ..faces.pictures.files import user_path

    try:
        return user_path(path)
    except SlimFusionError as error:
        raise OutputError(str(error)) from error


def chosen_pictures(named: list[str], out: Path, recursive: bool = False) -> Chosen:
    """The pictures in what was named. Files that are no pictures are passed over where several were named, as a shell
    does that puts a folder's files instead of *. Raises ImageError when none is there.
    """
    from ..faces.pictures.files import picture_paths, user_path
    from ..faces.pictures.kinds import read_suffixes

    sources: dict[Path, Source] = {}
    others = subfolders = 0
    from_folder = False
    for name in named:
        path = user_path(name)
        if path.is_dir():
            from_folder = True
            listed, passed_over = _in_folder(path, out, recursive)
            subfolders += passed_over
            if not listed and len(named) == 1 and not passed_over:
                picture_paths(name)  # says that none is there, or why not
        elif path.is_file() and len(named) > 1 and path.suffix.lower() not in read_suffixes():
            others += 1
            continue
        else:
            listed = [Source(path, Path(path.name)) for path in picture_paths(name)]
        for source in listed:
            sources.setdefault(source.path, source)
    notes = []
    if others:
        notes.append(f"{counted(others, 'file')} passed over that {'is' if others == 1 else 'are'} no picture")
    if subfolders:
        notes.append(f"{counted(subfolders, 'subfolder')} passed over; --recursive takes them too")
    if not sources:
        raise ImageError(f"No picture was found at {', '.join(named)}{''.join(f'; {note}' for note in notes)}.")
    return Chosen(tuple(sources.values()), from_folder, tuple(notes))


def _in_folder(folder: Path, out: Path, recursive: bool) -> tuple[list[Source], int]:
    """The pictures in a folder, and how many of its subfolders were passed over. What lies in `out` is no source."""
    from ..faces.pictures.kinds import read_suffixes

    suffixes, sources, passed_over = read_suffixes(), [], 0
    out = out.resolve()

    def refuse(error: OSError) -> None:
        raise ImageError(f"{error.filename} cannot be searched for pictures: {error.strerror}.") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
        folders[:] = sorted(name for name in folders if (here / name).resolve() != out)
        for name in sorted(files):
            path = here / name
            if path.suffix.lower() in suffixes and path.is_file():
                sources.append(Source(path, path.relative_to(folder)))
        if not recursive:
            passed_over = len(folders)
            break
    return sources, passed_over


def targets(chosen: Chosen, out: Path) -> list[Path]:
    """Where each result goes: below the folder `out`, or to the file `out` when it is one for one.

    Raises OutputError when a result could not be written or would overwrite a picture that was named.
    """
    from ..faces.pictures.kinds import kind_written, read_suffixes, written_suffixes

    sources = chosen.sources
    looks_like_file = bool(kind_written(out.suffix)) or out.suffix.lower() in read_suffixes()
    if not out.is_dir() and (len(sources) > 1 or chosen.from_folder):
        if out.exists():
            raise OutputError(f"{out} is a file, but {len(sources)} pictures need a folder. Name a folder.")
        if looks_like_file:
            what = "a folder" if chosen.from_folder else f"{len(sources)} pictures"
            raise OutputError(f"{out} looks like one picture, but the results of {what} need a folder. Name a folder.")
    elif not out.is_dir() and out.suffix:
        if not kind_written(out.suffix):
            endings = ", ".join(written_suffixes())
            raise OutputError(f"{out.name} has no ending of a picture that can be written; use one of {endings}.")
        _check_not_a_source(sources, [out])
        return [out]
    paths = _below(sources, out)
    twice = _first_twice(paths)
    if twice is not None:
        raise OutputError(f"Several pictures are called {twice.relative_to(out)}: take their folders one by one.")
    _check_not_a_source(sources, paths)
    return paths


def _below(sources: Iterable[Source], out: Path) -> list[Path]:
    from ..faces.pictures.kinds import result_suffix

    names = {source.below for source in sources}
    paths = []
    for source in sources:
        below = source.below.with_suffix(result_suffix(source.below.suffix))
        if below != source.below and below in names:  # a.gif beside a.png
            below = source.below.with_name(f"{source.below.name}{below.suffix}")
        paths.append(out / below)
    return paths


def _first_twice(paths: list[Path]) -> Path | None:
    seen = set()
    for path in sorted(paths):
        name = os.path.normcase(path)
        if name in seen:
            return path
        seen.add(name)
    return None


def _check_not_a_source(sources: Iterable[Source], paths: list[Path]) -> None:
    """Raises OutputError for a target that is one of the pictures, under whatever name or link."""
    originals = {identity for source in sources for identity in _identities(source.path)}
    for target in paths:
        if originals & set(_identities(target)):
            raise OutputError(f"{target} is the picture itself and would be overwritten. Choose another place.")


def _identities(path: Path) -> Iterator[object]:
    yield os.path.normcase(path.resolve())
    try:
        status = path.stat()
    except OSError:
        return
    if status.st_ino:  # a hard link has another name and the same number
        yield status.st_dev, status.st_ino


def check_writable(files: Iterable[Path]) -> None:
    """Tries every folder that is to be written to, and leaves nothing there. Raises OutputError."""
    tried = set()
    for file in files:
        if file.is_dir():
            raise OutputError(f"{file} is a folder, and a file is to be written there. Choose another place.")
        if file.exists() and not os.access(file, os.W_OK):
            raise OutputError(f"{file} is write-protected. Choose another place, or take the protection off.")
        folder = next((parent for parent in file.absolute().parents if parent.exists()), None)
        if folder in tried or folder is None:
            continue
        tried.add(folder)
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = "it is a file" if not folder.is_dir() else error.strerror
            raise OutputError(
                f"{file} cannot be written: {folder} takes no files ({reason}). Choose a folder that you may write to."
            ) from error


def counted(number: int, name: str) -> str:
    """ "1 file", "2 files"."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
