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
_MILLISECONDS = (".mkv", ".webm")  # count them
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
    if ending in _MILLISECONDS and clip.time_base % _MILLISECOND:
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


@dataclass(frozen=True, eq=False)
class _Job:
    """What the parts of a join need to know. ending: of the target. time_base: of the frames in it."""

    clip: Clip
    times: Times
    encoding: Encoding
    ending: str
    time_base: Fraction

    @property
    def counts_milliseconds(self) -> bool:
        return self.ending in _MILLISECONDS


def join(clip: Clip, segments: Sequence[tuple[Path, int]], times: Times, target: Path, encoding: Encoding) -> None:
    """Writes the segments, each with its reorder, to a file at `target`. Raises OutputError, ClipError."""
    ending, options = target.suffix.lower(), {}
    job = _Job(clip, times, encoding, ending, _MILLISECOND if ending in _MILLISECONDS else times.time_base)
    if not job.counts_milliseconds:
        options = _OF_MP4 | {"movie_timescale": str(min(times.time_base.denominator, 1 << 30))}
    try:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(av.open(str(target), "w", format=_FORMATS[ending], options=options))
            out.flags = BITEXACT
            first = stack.enter_context(av.open(str(segments[0][0])))
            video = _video_stream(out, first.streams.video[0], job)
            sources = [_frames(segments, video, job)]
            if not clip.pictures:
                source = stack.enter_context(opened(clip.path))
                _copy_about(source, out, job)
                if indices := copyable(clip, ending)[0]:
                    sources.append(_others(source, out, indices, times))
            for packet in heapq.merge(*sources, key=_decoded_at):
                out.mux(packet)
    except (av.error.FFmpegError, OSError) as error:
        raise write_error(target, error) from error


def _decoded_at(packet: av.Packet) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _video_stream(out: av.container.OutputContainer, template: Any, job: _Job) -> Any:
    video: Any = out.add_stream_from_template(template, opaque=True)
    video.time_base = job.time_base
    if job.clip.aspect is not None:
        video.sample_aspect_ratio = job.clip.aspect
    if not job.counts_milliseconds and job.encoding.codec in _TAGS:
        video.codec_context.codec_tag = _TAGS[job.encoding.codec]
    if job.clip.rotation:
        video.set_display_rotation(job.clip.rotation)
    return video


def _frames(segments: Sequence[tuple[Path, int]], stream: Any, job: _Job) -> Iterator[av.Packet]:
    """The segments' packets in the order of decoding, each with the time of its frame.

    The times of decoding are those of the frames, later by as many as any packet precedes its place.
    """
    times = job.times
    factor = times.time_base / job.time_base
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
                packet.stream, packet.time_base = stream, job.time_base
                packet.pts = shown[index]
                packet.dts = shown[place - delay] if place >= delay else shown[0] - (delay - place) * step
                packet.duration = shown[index + 1] - shown[index] if index + 1 < len(shown) else step
                yield packet
                place += 1
        base += len(orders)
    if base != len(shown):
        raise ClipError(f"The finished segments hold {base} frames instead of {len(shown)}. Begin anew.")


def _copy_about(source: av.container.InputContainer, out: av.container.OutputContainer, job: _Job) -> None:
    """What the source says about itself and its picture, its chapters, and the files attached to it."""
    old, new = source.streams.video[0], out.streams.video[0]
    _copy_words(source.metadata, out.metadata)
    _copy_words(old.metadata, new.metadata, leave="" if "a" in job.encoding.pixels else "alpha_mode")
    new.disposition = old.disposition
    chapters = source.chapters()
    if chapters and job.times.from_start and job.times.to_end:
        out.set_chapters(chapters)
    for stream in source.streams:
        if isinstance(stream, av.stream.AttachmentStream) and job.ending == ".mkv":
            out.add_attachment(stream.name or "attachment", stream.mimetype or "", bytes(stream.data))


def _others(
    source: av.container.InputContainer, out: av.container.OutputContainer, indices: Sequence[int], times: Times
) -> Iterator[av.Packet]:
    """Adds streams of the source to the file; returns their packets."""
    streams = {}
    for index in indices:
        old = source.streams[index]
        new: Any = out.add_stream_from_template(old, opaque=True)
        new.time_base = old.time_base
        _copy_words(old.metadata, new.metadata)
        new.disposition = old.disposition
        streams[index] = new
    begin, end = (int(pts) * times.time_base for pts in times.pts[[0, -1]])

    def packets() -> Iterator[av.Packet]:
        for packet in source.demux([source.streams[index] for index in indices]):
            if packet.dts is None or packet.pts is None:
                continue
            at, length = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
            if (not times.from_start and at + length <= begin) or (not times.to_end and at > end):
                continue
            shift = round(times.shift * times.time_base / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream.index]
            yield packet

    return packets()


def _copy_words(old: dict[str, str], new: dict[str, str], leave: str = "") -> None:
    for name, value in old.items():
        if name not in _BY_FFMPEG and name.lower() != leave:
            new[name] = value
