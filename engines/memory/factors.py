"""What runs have taught about networks' memory: factors on what is predicted, with bounds, age, and a way back.

The rule, all of it:
- A factor lies within `BOUNDS`. It rises at once and falls by halves: a quiet run must not lead the next one over
  the budget.
- What it adds to or takes from the prediction without it halves every `HALF_LIFE`; after `LIFETIME` it is forgotten.
- A refusal that only a factor causes is doubted once: the work is tried as predicted without it (`Factors.doubt`).
  If that run measures clearly less, what it measured replaces the factor and doubt is possible again; if not, the
  refusal stands until the factor has aged.
- Whoever uses the program may have all of it forgotten (`Factors.forget`).

The file is shared by processes: it is read again where it has changed, and merged, newest measurement first, under a
lock before it is replaced. It keeps the moment when all was forgotten, so that no process brings back what it measured
before. A file that is damaged, too large or somebody else's is ignored and written anew.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import OutputError

# Convolutions' workspaces and layouts took 0.95 to 1.8 of what was probed; beyond that a measurement is wrong.
BOUNDS = (0.9, 2.0)

DAY = 86400.0
HALF_LIFE, LIFETIME = 7 * DAY, 60 * DAY

CLEARLY_LESS = 0.9  # of the factor that was doubted

FILE = "costs.json"
FORMAT = 3
MOST_FACTORS = 256  # the newest are kept
MOST_BYTES = 1 << 20
LONGEST_KEY = 300
LOCK_SECONDS = 1.0

# What json and our own reading raise for content that is not ours.
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Factor:
    """value: on what was probed. at: when it was measured, seconds since 1970. doubted: once tried without."""

    value: float
    at: float
    doubted: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for what is no factor."""
        numbers = all(isinstance(number, (int, float)) and math.isfinite(number) for number in (self.value, self.at))
        if not numbers or not isinstance(self.doubted, bool):
            raise ValueError(f"no factor: {self.value!r}, {self.at!r}, {self.doubted!r}")


@dataclass(frozen=True)
class Stored:
    """factors: by key. forgotten: what was measured before this moment, seconds since 1970, is not known any more."""

    factors: Mapping[str, Factor] = field(default_factory=dict)
    forgotten: float = 0.0


class Factors:
    """The factors of all networks, by key. clock: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: Mapping[str, Factor] = {}
        self._forgotten = 0.0
        self._read_state: object = None

    def value(self, key: str, without: float, folder: Path | None) -> float:
        """The factor of today. without: the one where nothing was learnt, which all return to."""
        self._read_changes(folder)
        factor = self._known.get(key)
        if factor is None:
            return without
        age = max(0.0, self._clock() - factor.at)
        if age > LIFETIME:
            return without
        result: float = without + (_bounded(factor.value) - without) * 0.5 ** (age / HALF_LIFE)
        return result

    def measured(self, key: str, ratio: float, folder: Path | None) -> None:
        """Takes in that a run took `ratio` of what was probed."""
        self._read_changes(folder)
        before, ratio = self._known.get(key), _bounded(ratio)
        if before is None:
            after = Factor(ratio, self._clock())
        elif before.doubted:
            confirmed = ratio >= CLEARLY_LESS * before.value
            after = Factor(max(ratio, before.value) if confirmed else ratio, self._clock(), doubted=confirmed)
        else:
            after = Factor(max(ratio, (_bounded(before.value) + ratio) / 2), self._clock())
        self._keep(key, replace(after, value=round(after.value, 3)), folder)

    def may_doubt(self, key: str, folder: Path | None) -> bool:
        """Whether there is a factor that was not yet tried without."""
        self._read_changes(folder)
        factor = self._known.get(key)
        return factor is not None and not factor.doubted

    def doubt(self, key: str, folder: Path | None) -> None:
        """Notes that the work is tried without the factor now; once for each."""
        if self.may_doubt(key, folder):
            self._keep(key, replace(self._known[key], doubted=True), folder)

    def forget(self, folder: Path | None) -> int:
        """Forgets every factor, for the other processes that share the folder too; returns how many there were.

        Raises OutputError where the folder cannot be written to.
        """
        self._read_changes(folder)
        count, self._known, self._forgotten = len(self._known), {}, self._clock()
        if folder is not None and (folder / FILE).exists():
            try:
                with _lock(folder):
                    _write(folder / FILE, Stored({}, self._forgotten))
            except (OSError, Timeout, NotImplementedError) as error:
                raise OutputError(f"{folder / FILE} cannot be written ({error}). Delete it instead.") from error
        return count

    def _keep(self, key: str, factor: Factor, folder: Path | None) -> None:
        self._known = {**self._known, key[:LONGEST_KEY]: factor}
        if folder is not None:
            # Measurements are a help, not a result: a full disk or a lock that is held must cost nobody a picture.
            with contextlib.suppress(OSError, Timeout, NotImplementedError), _lock(folder):
                self._merge(_read(folder / FILE))
                _write(folder / FILE, Stored(self._known, self._forgotten))

    def _read_changes(self, folder: Path | None) -> None:
        """Reads the file where it is another than when it was read last."""
        if folder is None:
            return
        state = folder, _state_of(folder / FILE)
        if state != self._read_state:
            self._read_state = state
            self._merge(_read(folder / FILE))

    def _merge(self, stored: Stored) -> None:
        now = self._clock()
        self._forgotten = max(self._forgotten, min(stored.forgotten, now))
        self._known = _merged(stored.factors, self._known, now, self._forgotten)


def _bounded(value: float) -> float:
    return min(max(value, BOUNDS[0]), BOUNDS[1])


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / f"{FILE}.lock", timeout=LOCK_SECONDS)


def _state_of(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _merged(
    stored: Mapping[str, Factor], ours: Mapping[str, Factor], now: float, forgotten: float
) -> dict[str, Factor]:
    """Of each key what was measured last, newest first, without what is too old, too much or forgotten."""
    newest = {key: replace(factor, at=min(factor.at, now)) for key, factor in stored.items()}
    for key, factor in ours.items():
        if key not in newest or factor.at >= newest[key].at:
            newest[key] = factor
    alive = [(key, factor) for key, factor in newest.items() if factor.at >= max(forgotten, now - LIFETIME)]
    return dict(sorted(alive, key=lambda pair: pair[1].at, reverse=True)[:MOST_FACTORS])


def _read(path: Path) -> Stored:
    """What a file says that is ours and whole; entries that make no sense are left out."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            return Stored()
        content = json.loads(raw)
        entries: dict[str, Any] = content["factors"] if content["format"] == FORMAT else {}
        pairs, forgotten = list(entries.items()), float(content.get("forgotten", 0.0))
    except _DAMAGED:
        return Stored()
    factors = {}
    for key, entry in pairs:
        with contextlib.suppress(*_DAMAGED):
            if len(key) <= LONGEST_KEY:
                factors[key] = Factor(**entry)
    return Stored(factors, forgotten if math.isfinite(forgotten) else 0.0)


def _write(path: Path, stored: Stored) -> None:
    """Replaces the file at once, so that nobody reads half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    factors = {key: asdict(factor) for key, factor in stored.factors.items()}
    content = {"format": FORMAT, "forgotten": stored.forgotten, "factors": factors}
    try:
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
