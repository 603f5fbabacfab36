"""The memory that a Linux control group leaves to this process: what a container has, whatever its host has.

Both versions are read, and systems that mount both. The kernel applies the limit of every group on the way from the
process's own to the root, so the smallest one counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")

# A limit at or above this is version 1's way of saying that there is none.
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class _Files:
    """The names of a version's files. limits: the smallest of them counts. cache: the key in memory.stat."""

    limits: tuple[str, ...]
    usage: str
    cache: str


_V1 = _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
# Above memory.high the kernel slows a process down until it is below again, so it is a limit for planning.
_V2 = _Files(("memory.max", "memory.high"), "memory.current", "inactive_file")


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy. top: the group that is seen at `point`, "/" for all. version: "v1" or "v2"."""

    top: str
    point: str
    version: str


def container_memory(root: Path = ROOT) -> tuple[int, int] | None:
    """(total, free) bytes of the control groups that this process is in; None where no group has a limit.

    root: where /proc and /sys are found. What the page cache can drop counts as free. Files that are missing,
    unreadable or make no sense are passed over.
    """
    mounts = list(_mounts(_text(root / "proc/self/mountinfo")))
    allowances: list[tuple[int, int]] = []
    for version, path in _groups(_text(root / "proc/self/cgroup")):
        files = _V2 if version == "v2" else _V1
        for mount in mounts:
            if mount.version == version:
                folder = root / mount.point.lstrip("/")
                groups = _ancestry(folder, mount.top, path)
                allowances += [allowance for group in groups if (allowance := _allowance(group, files))]
    if not allowances:
        return None
    return min(total for total, _ in allowances), min(free for _, free in allowances)


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """(version, path) of the groups that can limit memory, from /proc/self/cgroup."""
    for line in text.splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            yield "v2", path
        elif "memory" in controllers.split(","):
            yield "v1", path


def _mounts(text: str) -> Iterator[_Mount]:
    """The hierarchies that can limit memory, from /proc/self/mountinfo."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) < 5 or not kind:
            continue
        if kind[0] == "cgroup2":
            yield _Mount(place[3], place[4], "v2")
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            yield _Mount(place[3], place[4], "v1")


def _ancestry(folder: Path, top: str, path: str) -> Iterator[Path]:
    """The folders of a process's group and of all above it that the mount at `folder` shows."""
    group = PurePosixPath(path)
    below = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
    if ".." in below.parts:  # outside of what this namespace shows
        below = PurePosixPath()
    for part in (below, *below.parents):
        yield folder / part


def _allowance(group: Path, files: _Files) -> tuple[int, int] | None:
    """(limit, free) of one group, or None without a limit."""
    limits = [value for name in files.limits if (value := _number(_text(group / name))) is not None]
    limit = min((value for value in limits if 0 < value < NO_LIMIT), default=None)
    if limit is None:
        return None
    usage = _number(_text(group / files.usage)) or 0
    stat = dict(line.partition(" ")[::2] for line in _text(group / "memory.stat").splitlines())
    cache = _number(stat.get(files.cache, "")) or 0
    return limit, min(limit, max(0, limit - max(0, usage - cache)))


def _number(text: str) -> int | None:
    """A count of bytes, or None: "max", nothing, or nonsense."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):  # ValueError: a path with a zero byte
        return ""
