"""The one owner of all sessions of a process.

A handle in a graph is a name and some settings; what has weights lives here. One heavy session a device is
kept by default, since two of them are what small cards have no room for. Light ones, such as detectors, stay
beside it and are counted, up to a number of bytes together.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator

import torch

from .host import Host
from .memory import meter
from .network import Model
from .session import Session

# Bytes of weights from which a network counts as heavy: detectors and landmarkers have less, restorers more.
HEAVY = 48 << 20

# Bytes of weights that light networks may keep together on a device: a detector, a landmarker and a parser have
# less. Upscalers count as light in half precision, and one of each would fill a small card.
LIGHT_TOTAL = 96 << 20


class SessionCache:
    """Leases sessions and lets them go, least recently used first.

    opened: how often a network was loaded since the process started.
    """

    def __init__(self, sessions_per_device: int = 1, heavy: int = HEAVY, light_total: int = LIGHT_TOTAL) -> None:
        self.sessions_per_device = sessions_per_device
        self.heavy = heavy
        self.light_total = light_total
        self._sessions: OrderedDict[tuple[object, ...], Session] = OrderedDict()
        self._lock = threading.RLock()
        self._opened_by_gone = 0

    @property
    def opened(self) -> int:
        return self._opened_by_gone + sum(session.times_opened for session in self._sessions.values())

    def held_bytes(self, device: torch.device) -> int:
        """Bytes of weights that our sessions hold on a device."""
        return sum(s.resident_bytes for s in self._sessions.values() if s.device == device)

    def staying_bytes(self, model: Model, device: torch.device, precision: str) -> int:
        """Bytes that others of our sessions will go on holding while this one works."""
        wanted = (model.key, device, precision)
        leaving = {wanted, *self._leaving(model, device, precision)}
        staying = [s for key, s in self._sessions.items() if s.device == device and key not in leaving]
        return sum(session.resident_bytes for session in staying)

    def is_open(self, model: Model, device: torch.device, precision: str) -> bool:
        session = self._sessions.get((model.key, device, precision))
        return session is not None and session.is_open

    @contextlib.contextmanager
    def lease(
        self,
        model: Model,
        device: torch.device,
        precision: str,
        working_bytes: int,
        host: Host,
        limit: int = 0,
    ) -> Iterator[Session]:
        """An open session for the duration of the block, within `limit` bytes where its engine can be told.

        When the block is left by an exception, an interrupt included, a session that it had to open is
        closed again: a failed run leaves nothing behind.
        """
        key = (model.key, device, precision)
        with self._lock:
            self.make_way(model, device, precision)
            session = self._sessions.setdefault(key, Session(model, device, precision))
            self._sessions.move_to_end(key)
            session.stay_within(limit)
            was_open = session.is_open
            try:
                session.leases += 1
                host.open(session, working_bytes)
                session.interrupt_with(host.check_interrupt)
                yield session
            except BaseException:
                if not was_open:
                    self._drop(key)
                    with contextlib.suppress(RuntimeError):  # a device that was lost cannot be tidied up
                        meter.release_unused(device)
                raise
            finally:
                session.leases -= 1
            if not model.traits.stays_loaded:
                self._drop(key)

    def release(self, device: torch.device | None = None) -> int:
        """Closes all sessions (of one device); returns the bytes of weights that they held."""
        with self._lock:
            keys = [key for key, s in self._sessions.items() if device is None or s.device == device]
            freed = sum(self._sessions[key].resident_bytes for key in keys)
            devices = {self._sessions[key].device for key in keys}
            for key in keys:
                self._drop(key)
        for freed_device in devices:
            meter.release_unused(freed_device)
        return freed

    def release_others(self, model: Model, device: torch.device) -> int:
        """Closes every session of the device that nobody uses but this network's, light ones too: memory is short.

        Returns the bytes of weights that they held.
        """
        with self._lock:
            others = [
                key for key, s in self._sessions.items() if s.device == device and key[0] != model.key and not s.leases
            ]
            freed = sum(self._sessions[key].resident_bytes for key in others)
            for key in others:
                self._drop(key)
        if others:
            meter.release_unused(device)
        return freed

    def make_way(self, model: Model, device: torch.device, precision: str) -> None:
        """Lets other sessions of the device go, so that this one will be within `sessions_per_device`."""
        with self._lock:
            surplus = self._leaving(model, device, precision)
            for key in surplus:
                self._drop(key)
        if surplus:
            meter.release_unused(device)

    def _leaving(self, model: Model, device: torch.device, precision: str) -> list[tuple[object, ...]]:
        """The sessions that must go before this one works, least recently used first: of its own weight's kind."""
        wanted = (model.key, device, precision)
        weights = model.weight_bytes(precision, device)
        is_heavy = weights >= self.heavy
        others = [
            key
            for key, s in self._sessions.items()
            if s.device == device and key != wanted and not s.leases and (s.weight_bytes >= self.heavy) == is_heavy
        ]
        if is_heavy:
            return others[: max(0, len(others) - self.sessions_per_device + 1)]
        surplus = weights + sum(self._sessions[key].resident_bytes for key in others) - self.light_total
        leaving = []
        for key in others:
            if surplus <= 0:
                break
            leaving.append(key)
            surplus -= self._sessions[key].resident_bytes
        return leaving

    def _drop(self, key: tuple[object, ...]) -> None:
        session = self._sessions.pop(key)
        session.close()
        self._opened_by_gone += session.times_opened


# The process's own: the graph's nodes, the library and the command line share it.
SESSIONS = SessionCache()
