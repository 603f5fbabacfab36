"""Segments become one file: their packets are copied with the source's times, and with them sound, subtitles,
chapters and what the source says about itself.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.stream
import numpy as np

from ..errors import ClipError
from .formats import Encoding
from .read import Clip, opened
from .write import BITEXACT, write_error

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_OF_MP4 = {"movflags": "use_metadata_tags+faststart"}
_TAGS = {"h265": "hvc1"}  # in MP4 and MOV, where players of Apple's look for it
_BY_FFMPEG = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "DURATION"}
_MILLISECOND = Fraction(1, 1000)
_COPIED = ("audio", "subtitle")


@dataclass(frozen=True, eq=False)
class Times:
    """When the frames are shown. pts: (n,) in time_base. from_start: whether the first one is shown when the source's
    first is; else the clip was cut, begins at 0, and sound is cut with it.
    """

    pts: np.ndarray
    time_base: Fraction
    from_start: bool
    to_end: bool

    @property
    def shift(self) -> int:
        """What is taken off every time."""
        return 0 if self.from_start else int(self.pts[0])


def copyable(clip: Clip, ending: str) -> tuple[list[int], list[str]]:
    """The source's streams besides its picture that a file with an ending holds, and what it does not, in sentences."""
    if clip.pictures:
        return [], []
    indices, notes = [], []
    with opened(clip.path) as source:
        for stream in source.streams:
            if stream.type == "video" and stream.index != source.streams.video[0].index:
                notes.append(f"the further picture of stream {stream.index} is left out")
            elif stream.type in _COPIED and _holds(ending, stream):
                indices.append(stream.index)
            elif stream.type == "attachment" and ending == ".mkv":
                continue
            elif stream.type != "video":
                name = stream.codec_context.name if stream.type in _COPIED else stream.type
                notes.append(
                    f"a {ending} file does not hold the {stream.type} of stream {stream.index} ({name}): it is left "
                    "out; .mkv holds most kinds"
                )
    if ending in (".mkv", ".webm") and _MILLISECOND % clip.time_base != 0 and clip.time_base != _MILLISECOND:
        notes.append(f"{ending} files count milliseconds: times are rounded to them, from {clip.time_base} s")
    return indices, notes


def _holds(ending: str, stream: Any) -> bool:
    """Whether a header with the stream can be written."""
    try:
        with av.open(BytesIO(), "w", format=_FORMATS[ending]) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError, OSError):
        return False
    return True


def join(clip: Clip, segments: Sequence[tuple[Path, int]], times: Times, target: Path, encoding: Encoding) -> None:
    """Writes the segments, each with its reorder, to a file at `target`. Raises OutputError, ClipError."""
    ending = target.suffix.lower()
    options = {"fflags": "+bitexact"}
    time_base = times.time_base
    if ending in (".mkv", ".webm"):
        time_base = _MILLISECOND
    else:
        options |= _OF_MP4 | {"movie_timescale": str(min(time_base.denominator, 1 << 30))}
    try:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(av.open(str(target), "w", format=_FORMATS[ending], options=options))
            out.flags = BITEXACT
            first = stack.enter_context(av.open(str(segments[0][0])))
            video = _video_stream(out, first.streams.video[0], clip, encoding, ending, time_base)
            sources = [_frames(segments, times, video, time_base)]
            if not clip.pictures:
                source = stack.enter_context(opened(clip.path))
                sources += _others(source, out, clip, times, ending, copyable(clip, ending)[0])
            for packet in heapq.merge(*sources, key=_decoded_at):
                out.mux(packet)
    except (av.error.FFmpegError, OSError) as error:
        raise write_error(target, error) from error


def _decoded_at(packet: av.Packet) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _video_stream(
    out: av.container.OutputContainer, template: Any, clip: Clip, encoding: Encoding, ending: str, time_base: Fraction
) -> Any:
    video: Any = out.add_stream_from_template(template, opaque=True)
    video.time_base = time_base
    if clip.aspect is not None:
        video.sample_aspect_ratio = clip.aspect
    if ending in (".mp4", ".m4v", ".mov") and encoding.codec in _TAGS:
        video.codec_context.codec_tag = _TAGS[encoding.codec]
    if clip.rotation:
        video.set_display_rotation(clip.rotation)
    return video


def _frames(
    segments: Sequence[tuple[Path, int]], times: Times, stream: Any, time_base: Fraction
) -> Iterator[av.Packet]:
    """The segments' packets in the order of decoding, each with the time of its frame.

    The times of decoding are those of the frames, later by as many as any packet precedes its place.
    """
    factor = times.time_base / time_base
    shown = [round((int(pts) - times.shift) * factor) for pts in times.pts]
    delay = max(reorder for _, reorder in segments)
    step = max(1, (shown[-1] - shown[0]) // max(1, len(shown) - 1))
    base = place = 0
    for path, _ in segments:
        with av.open(str(path)) as container:
            orders = [packet.pts or 0 for packet in container.demux(video=0) if packet.size]
        ranks = {pts: rank for rank, pts in enumerate(sorted(orders))}
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if not packet.size:
                    continue
                index = base + ranks[packet.pts or 0]
                packet.stream, packet.time_base = stream, time_base
                packet.pts = shown[index]
                packet.dts = shown[place - delay] if place >= delay else shown[0] - (delay - place) * step
                packet.duration = shown[index + 1] - shown[index] if index + 1 < len(shown) else step
                yield packet
                place += 1
        base += len(orders)
    if base != len(shown):
        raise ClipError(f"The finished segments hold {base} frames instead of {len(shown)}. Begin anew.")


def _others(
    source: av.container.InputContainer,
    out: av.container.OutputContainer,
    clip: Clip,
    times: Times,
    ending: str,
    indices: Sequence[int],
) -> list[Iterator[av.Packet]]:
    """Adds what is copied from the source to the file; returns its packets."""
    streams = {}
    for index in indices:
        old = source.streams[index]
        new: Any = out.add_stream_from_template(old, opaque=True)
        new.time_base = old.time_base
        _copy_words(old.metadata, new.metadata)
        new.disposition = old.disposition
        streams[index] = new
    picture = source.streams.video[0]
    _copy_words(source.metadata, out.metadata)
    _copy_words(picture.metadata, out.streams.video[0].metadata, leave={"alpha_mode"} if not clip.decoder else set())
    out.streams.video[0].disposition = picture.disposition
    begin = times.pts[0] * times.time_base
    end = times.pts[-1] * times.time_base
    chapters = source.chapters()
    if chapters and times.from_start and times.to_end:
        out.set_chapters(chapters)
    for stream in source.streams:
        if isinstance(stream, av.stream.AttachmentStream) and ending == ".mkv":
            out.add_attachment(stream.name or "attachment", stream.mimetype or "", bytes(stream.data))

    def packets() -> Iterator[av.Packet]:
        kept = [source.streams[index] for index in indices]
        for packet in source.demux(kept):
            if packet.dts is None or packet.pts is None:
                continue
            at = packet.pts * packet.time_base
            length = (packet.duration or 0) * packet.time_base
            if (not times.from_start and at + length <= begin) or (not times.to_end and at > end):
                continue
            shift = round(times.shift * times.time_base / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream.index]
            yield packet

    return [packets()] if indices else []


def _copy_words(old: dict[str, str], new: dict[str, str], leave: set[str] | frozenset[str] = frozenset()) -> None:
    for name, value in old.items():
        if name not in _BY_FFMPEG and name not in leave:
            new[name] = value
