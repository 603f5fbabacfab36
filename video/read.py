"""Reading a clip: what it is, and its frames with all their times, decoded ahead in a thread.

A clip is a file that FFmpeg reads, or a folder of numbered pictures.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import queue
import re
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import av.error
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from ..errors import ClipError, SettingError, SlimFusionError
from ..faces.pictures.files import read_picture
from ..faces.pictures.kinds import read_suffixes

MOST_THREADS = 4  # of a decoder: each holds frames
UNSPECIFIED = 2  # of FFmpeg's colour tags
DEFAULT_RATE = Fraction(24)  # frames a second of a folder of pictures
_WAIT = 0.2  # s after which a waiting thread looks whether it is still wanted
_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}  # FFmpeg's own leave alpha out

Item = TypeVar("Item")


@dataclass(frozen=True)
class Colour:
    """FFmpeg's numbers for range, primaries, transfer and matrix; UNSPECIFIED (range: 0) where a file is silent."""

    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED


@dataclass(frozen=True)
class Hdr:
    """HDR10's metadata as x265 takes it. display: mastering display. light: most and mean light level. "" for none."""

    display: str = ""
    light: str = ""


@dataclass(frozen=True)
class Clip:
    """What a clip is.

    pictures: of a folder, in order; empty for a file. width, height: as stored, before rotation. pixels: FFmpeg's
    name of the format. aspect: of a pixel, None where unsaid. rotation: degrees by which a player turns the frames
    counter-clockwise. rate: mean frames a second. frames: as the file says, 0 where it does not. decoder: FFmpeg's
    name, "" for the usual one.
    """

    path: Path
    width: int
    height: int
    pixels: str
    codec: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None = None
    rotation: int = 0
    colour: Colour = Colour()
    hdr: Hdr | None = None
    frames: int = 0
    seconds: float = 0.0
    decoder: str = ""
    pictures: tuple[Path, ...] = ()

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width as a viewer sees them."""
        turned = self.rotation % 180 == 90
        return (self.width, self.height) if turned else (self.height, self.width)


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame and its time. pts: in the clip's time base. repeated: the one before again, as its own was damaged."""

    pts: int
    frame: av.VideoFrame
    repeated: bool = False


def open_clip(source: Path, rate: Fraction = DEFAULT_RATE) -> Clip:
    """Looks at a file, or at a folder of numbered pictures shown at `rate`. Raises ClipError."""
    if source.is_dir():
        return _picture_clip(source, rate)
    if not source.exists():
        raise ClipError(f"There is no file {source}. Name a clip, or a folder of numbered pictures.")
    with opened(source) as container:
        if not container.streams.video:
            kinds = sorted({stream.type for stream in container.streams})
            raise ClipError(f"{source} holds no video, only {', '.join(kinds) or 'nothing'}. Name a file with video.")
        stream = container.streams.video[0]
        context = stream.codec_context
        first = _first_frame(container, stream, source)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        seconds = seconds or (container.duration or 0) / av.time_base
        return Clip(
            source,
            first.width,
            first.height,
            first.format.name,
            context.codec.canonical_name,
            stream.time_base or Fraction(1, 1000),
            Fraction(rate),
            stream.sample_aspect_ratio or None,
            int(first.rotation) % 360,
            _colour_of(first),
            _hdr_of(first),
            stream.frames or round(seconds * float(rate)),
            seconds,
            _decoder_for(stream),
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The file, for FFmpeg to read. Raises ClipError for one that is none of its kinds."""
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged, cut short, or of another kind"
        raise ClipError(f"{path} is not a clip that can be read ({reason}).") from error
    with container:
        yield container


def _decoder_for(stream: av.video.stream.VideoStream) -> str:
    name = _DECODERS.get(stream.codec_context.codec.canonical_name, "")
    with_alpha = any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())
    return name if with_alpha else ""


def _first_frame(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, path: Path
) -> av.VideoFrame:
    decode = _decode_with(stream, _decoder_for(stream))
    with contextlib.suppress(av.error.EOFError):
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.InvalidDataError):
                for frame in decode(packet):
                    return frame
    raise ClipError(f"{path} holds no frame that can be read: it is empty, damaged or cut short.")


def _decode_with(stream: av.video.stream.VideoStream, decoder: str) -> Callable[[av.Packet], list[av.VideoFrame]]:
    if decoder:
        context: Any = av.CodecContext.create(decoder, "r")
        return lambda packet: context.decode(packet if packet.size else None)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = min(MOST_THREADS, os.cpu_count() or 1)
    return lambda packet: packet.decode()


def _colour_of(frame: av.VideoFrame) -> Colour:
    """The frame's tags; those of RGB say nothing about what it becomes."""
    kind = frame.format
    if kind.is_rgb or kind.has_palette:
        return Colour(1, int(frame.color_primaries), int(frame.color_trc), UNSPECIFIED)
    spread = 2 if kind.name.startswith("yuvj") else int(frame.color_range)
    return Colour(spread, int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace))


def _hdr_of(frame: av.VideoFrame) -> Hdr | None:
    """Of FFmpeg's AVMasteringDisplayMetadata (ten fractions, two flags) and AVContentLightMetadata (two numbers)."""
    display = light = ""
    side_data: Any = frame.side_data
    for data in side_data:
        content = bytes(data)
        if data.type == SideDataType.MASTERING_DISPLAY_METADATA and len(content) >= 88:
            *numbers, has_primaries, has_light = struct.unpack("22i", content[:88])
            values = [n / d if d else 0 for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
            rx, ry, gx, gy, bx, by, wx, wy = (round(value * 50000) for value in values[:8])
            low, high = (round(value * 10000) for value in values[8:])
            if has_primaries and has_light:
                display = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"
        elif data.type == SideDataType.CONTENT_LIGHT_LEVEL and len(content) >= 8:
            light = "{},{}".format(*struct.unpack("2I", content[:8]))
    return Hdr(display, light) if display or light else None


def _picture_clip(folder: Path, rate: Fraction) -> Clip:
    if not 0 < rate <= 1000:
        raise SettingError(f"The rate of a folder of pictures is more than 0 and at most 1000 a second, not {rate}.")
    paths = [path for path in folder.iterdir() if path.suffix.lower() in read_suffixes() and path.is_file()]
    paths = [path for path in paths if re.search(r"\d", path.stem)]
    if not paths:
        raise ClipError(f"{folder} holds no numbered pictures. Name a clip, or a folder such as 0001.png, 0002.png ...")
    paths.sort(key=lambda path: ([int(number) for number in re.findall(r"\d+", path.stem)], path.name))
    first = _picture_frame(paths[0])
    seconds = float(len(paths) / rate)
    return Clip(
        folder, first.width, first.height, first.format.name, "pictures", 1 / rate, rate, frames=len(paths),
        seconds=seconds, pictures=tuple(paths),
    )  # fmt: skip


def _picture_frame(path: Path) -> av.VideoFrame:
    try:
        picture = read_picture(path)
    except SlimFusionError as error:
        raise ClipError(str(error)) from error
    deep = picture.depth == np.uint16
    white = 65535 if deep else 255
    pixels = np.rint(picture.pixels.numpy() * white).astype(np.uint16 if deep else np.uint8)
    name = ("rgba" if pixels.shape[2] == 4 else "rgb") + (("64le" if pixels.shape[2] == 4 else "48le") if deep else "")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), name if deep or name == "rgba" else "rgb24")


def moments(clip: Clip, start: int | None = None, seek: bool = True) -> Iterator[Moment]:
    """The frames with a time from `start` (pts) on, in order; None for all.

    seek: jump to a key frame before it; without, everything before is decoded too.
    """
    if clip.pictures:
        size = (clip.width, clip.height)
        for index in range(start or 0, len(clip.pictures)):
            frame = _picture_frame(clip.pictures[index])
            yield Moment(index, frame if (frame.width, frame.height) == size else _fitted(frame, clip))
        return
    last: Moment | None = None
    for moment in _restartable(clip, start if seek else None):
        if last is not None and moment.pts <= last.pts:  # a clock that went backwards
            moment = Moment(last.pts + 1, moment.frame, moment.repeated)
        last = moment
        if start is None or moment.pts >= start:
            yield moment


def _restartable(clip: Clip, start: int | None) -> Iterator[Moment]:
    """As `_decoded`; anew from the beginning where a jump landed behind `start`."""
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(opened(clip.path))
        stream = container.streams.video[0]
        if start is not None:
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(start, stream=stream)
        result = _decoded(clip, container)
        first = next(result, None)
        if start is None or (first is not None and first.pts <= start):
            if first is not None:
                yield first
            yield from result
            return
    yield from _restartable(clip, None)


def _decoded(clip: Clip, container: av.container.InputContainer) -> Iterator[Moment]:
    """All frames in order; where a packet gave none, the frame before it stands in its place."""
    stream = container.streams.video[0]
    decode, spoilt = _decode_with(stream, clip.decoder), False
    awaited: list[int] = []
    last: Moment | None = None
    packets = _packets(container, stream)
    for packet in packets:
        if packet.pts is not None and packet.size and not packet.is_discard:
            heapq.heappush(awaited, packet.pts)
        try:
            frames = decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError:
            spoilt, frames = True, []
        for frame in frames:
            spoilt = spoilt or bool(frame.is_corrupt)
            pts = frame.pts if frame.pts is not None else frame.dts
            pts = pts if pts is not None else (0 if last is None else last.pts + 1)
            while awaited and awaited[0] <= pts:
                missed = heapq.heappop(awaited)
                if missed < pts and last is not None and spoilt and missed > last.pts:
                    last = Moment(missed, last.frame, True)
                    yield last
            last = Moment(pts, _fitted(frame, clip), False)
            yield last
    while awaited and spoilt and last is not None:
        missed = heapq.heappop(awaited)
        if missed > last.pts:
            last = Moment(missed, last.frame, True)
            yield last


def _packets(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator[av.Packet]:
    """The stream's packets; a file that ends in the middle of one ends there."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        yield packet


def _fitted(frame: av.VideoFrame, clip: Clip) -> av.VideoFrame:
    """The frame in the clip's size and format, which may change in the middle of a stream."""
    if (frame.width, frame.height, frame.format.name) == (clip.width, clip.height, clip.pixels):
        return frame
    return frame.reformat(clip.width, clip.height, clip.pixels)


def ahead(items: Iterator[Item], size: int, check: Callable[[], None]) -> Generator[Item, None, None]:
    """The items of an iterator that runs in a thread of its own, at most `size` of them waiting.

    check: called while waiting; raises to stop.
    """
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(max(1, size))
    stop = threading.Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(entry, timeout=_WAIT)
                return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed over to whoever takes the items
            put((False, error))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            check()
            try:
                more, entry = waiting.get(timeout=_WAIT)
            except queue.Empty:
                continue
            if more:
                yield entry  # type: ignore[misc]
            elif entry is None:
                return
            else:
                raise entry  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
