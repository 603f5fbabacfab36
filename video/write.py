"""Writing frames into segments: closed files, each put in its place whole, encoded in a thread of its own.

A segment counts its frames; their times are given when the segments are joined.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.error

from ..errors import OutputError
from .formats import Encoding, add_stream
from .read import Clip

SEGMENT_FORMAT = "matroska"  # holds every codec, and alpha beside VP9
BITEXACT: Any = av.container.Flags.bitexact.value  # no random numbers in a file's header
# Of encoders whose bits, or memory, depend on how many there are.
THREADS = {"h264": 4, "ffv1": 4, "prores": 4}
_WAIT = 0.2
_MOST_RATE = 500  # frames a second that Matroska's milliseconds tell apart
_END = object()


@dataclass(frozen=True)
class Written:
    """A finished segment. reorder: by how many frames packets precede their place in time, at most."""

    frames: int
    reorder: int
    size: int


def write_error(path: Path, error: Exception) -> OutputError:
    """What is said of a file that could not be written."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return OutputError(
            f"The disk of {path.parent} is full. What is done so far stays: make room and run the same again to go on."
        )
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{path} cannot be written ({reason}). Choose another place, or free the one that is named.")


class SegmentWriter:
    """One segment, from its first frame to the closed file."""

    def __init__(self, path: Path, encoding: Encoding, clip: Clip) -> None:
        self._path, self._part = path, path.with_suffix(".part")
        self._orders: list[int] = []  # the frame that each packet holds
        rate = min(clip.rate, Fraction(_MOST_RATE)).limit_denominator(1 << 16)
        self._time_base = 1 / rate
        try:
            self._container = av.open(str(self._part), "w", format=SEGMENT_FORMAT)
            self._container.flags = BITEXACT
            self._stream = add_stream(self._container, encoding, rate)
            self._tag(clip)
            if encoding.codec in THREADS:
                self._stream.codec_context.thread_count = THREADS[encoding.codec]
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise write_error(path, error) from error
        self._frames = 0

    def _tag(self, clip: Clip) -> None:
        """Says what the clip says of its colours and the shape of its pixels."""
        context, colour = self._stream.codec_context, clip.colour
        context.color_range, context.color_primaries = colour.range, colour.primaries
        context.color_trc, context.colorspace = colour.transfer, colour.matrix
        if clip.aspect is not None:
            context.sample_aspect_ratio = clip.aspect

    def add(self, frame: av.VideoFrame) -> None:
        """Raises OutputError."""
        frame.pts, frame.time_base = self._frames, self._time_base
        frame.pict_type = 0  # the encoder's choice, not the source's
        self._frames += 1
        self._encode(frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                if packet.pts is not None:
                    self._orders.append(round(packet.pts * packet.time_base / self._time_base))
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise write_error(self._path, error) from error

    def close(self) -> Written:
        """Raises OutputError."""
        self._encode(None)
        try:
            self._container.close()
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self._path)
            size = self._path.stat().st_size
        except (av.error.FFmpegError, OSError) as error:
            raise write_error(self._path, error) from error
        places = {order: place for place, order in enumerate(sorted(self._orders))}
        reorder = max((index - places[order] for index, order in enumerate(self._orders)), default=0)
        return Written(self._frames, max(0, reorder), size)

    def abandon(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        self._part.unlink(missing_ok=True)


class Behind:
    """Does work in a thread of its own, one item after the other, at most `size` of them waiting.

    check: called while waiting; raises to stop. What the work raises is raised by the next `put` or by `finish`.
    """

    def __init__(self, work: Callable[[Any], None], size: int, check: Callable[[], None]) -> None:
        self._work, self._check = work, check
        self._waiting: queue.Queue[Any] = queue.Queue(max(1, size))
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._waiting.get(timeout=_WAIT)
            except queue.Empty:
                continue
            if item is _END:
                return
            try:
                self._work(item)
            except BaseException as error:  # raised where the items come from
                self._error = error
                self._stop.set()

    def put(self, item: Any) -> None:
        while True:
            if self._error is not None:
                raise self._error
            self._check()
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=_WAIT)
                return

    def finish(self) -> None:
        """Waits until all is done."""
        self.put(_END)
        while self._thread.is_alive():
            self._check()
            self._thread.join(_WAIT)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends after the item that is in work; the rest is dropped."""
        self._stop.set()
        self._thread.join()
