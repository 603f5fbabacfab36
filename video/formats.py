"""How a clip is written: codec, pixels, container; and what of the source they cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.codec
import av.container
import av.error

from ..errors import OutputError, SettingError
from .read import Clip

AS_SOURCE = "source"


@dataclass(frozen=True)
class Codec:
    """A way of compressing frames.

    encoder: FFmpeg's name. pixels: formats that it holds, the usual one first. crf: of a result that looks like its
    source, None for a codec without such a setting. options: of the encoder. even: frames with halved colours must
    have even sides.
    """

    encoder: str
    pixels: tuple[str, ...]
    crf: int | None
    options: tuple[tuple[str, str], ...] = ()
    even: bool = False


_H264 = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
_H265 = (*_H264, "yuv420p12le", "yuv422p12le", "yuv444p12le")
_FFV1 = tuple(
    f"yuv{alpha}{chroma}p{depth}" for alpha in ("", "a") for chroma in (420, 422, 444)
    for depth in ("", "10le", "12le", "16le") if (alpha, chroma, depth) != ("a", 420, "12le")
)  # fmt: skip

# x264's macroblock tree and its assembler together give other bits in every run; a clip that goes on must be the same
# as one that was never stopped.
CODECS = {
    "h264": Codec("libx264", _H264, 18, (("preset", "medium"), ("x264-params", "mbtree=0:rc-lookahead=10")), True),
    "h265": Codec("libx265", _H265, 20, (("preset", "fast"), ("x265-params", "log-level=none:open-gop=0")), True),
    "av1": Codec("libsvtav1", ("yuv420p", "yuv420p10le"), 26, (("preset", "8"),)),
    "vp9": Codec(
        "libvpx-vp9", ("yuv420p", "yuva420p", "yuv422p", "yuv444p"), 24,
        (("b", "0"), ("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"), ("auto-alt-ref", "0")),
    ),
    "prores": Codec("prores_ks", ("yuv422p10le", "yuv444p10le", "yuva444p10le"), None),
    "ffv1": Codec("ffv1", (*_FFV1, "gray", "gray16le", "bgra", "gbrp10le", "gbrp12le"), None, (("level", "3"),)),
}  # fmt: skip

# What FFmpeg calls the codecs of sources.
_SOURCES = {"h264": "h264", "hevc": "h265", "av1": "av1", "vp9": "vp9", "prores": "prores", "ffv1": "ffv1"}

# The codecs that each kind of file holds, the usual one first.
CONTAINERS = {
    ".mp4": ("h264", "h265", "av1", "vp9"),
    ".m4v": ("h264", "h265"),
    ".mov": ("h264", "h265", "prores"),
    ".mkv": ("h264", "h265", "av1", "vp9", "prores", "ffv1"),
    ".webm": ("vp9", "av1"),
}
MOST_CRF = 63


@dataclass(frozen=True)
class Encoding:
    """A codec with its settings for one clip.

    codec: one of CODECS. pixels: FFmpeg's name of the format. options: of the encoder. size: width, height.
    """

    codec: str
    pixels: str
    options: tuple[tuple[str, str], ...]
    size: tuple[int, int]

    @property
    def encoder(self) -> str:
        return CODECS[self.codec].encoder


def choose_encoding(clip: Clip, ending: str, codec: str, crf: int | None, scale: int) -> tuple[Encoding, list[str]]:
    """How a clip becomes a file with an ending such as ".mp4", and what of it will be lost, in sentences.

    codec: one of CODECS or AS_SOURCE. crf: 0 (best) to MOST_CRF, None for the codec's own. scale: of the frames.
    Raises SettingError, OutputError for a file that cannot be written.
    """
    ending, notes = ending.lower(), []
    if ending not in CONTAINERS:
        raise OutputError(f"A clip cannot be written as {ending or 'a file without an ending'}; use one of "
                          f"{', '.join(CONTAINERS)}.")  # fmt: skip
    if crf is not None and not 0 <= crf <= MOST_CRF:
        raise SettingError(f"The quality (crf) goes from 0 (best) to {MOST_CRF}, not {crf}.")
    if codec == AS_SOURCE:
        name = _SOURCES.get(clip.codec, "")
        if name not in CONTAINERS[ending]:
            name = CONTAINERS[ending][0]
            notes.append(f"the source's codec {clip.codec} cannot be written to {ending}: {name} takes its place")
    elif codec not in CODECS:
        raise SettingError(f"There is no codec {codec!r}; there are {AS_SOURCE}, {', '.join(CODECS)}.")
    elif codec not in CONTAINERS[ending]:
        fitting = ", ".join(item for item, names in CONTAINERS.items() if codec in names)
        raise SettingError(f"A file {ending} holds no {codec}. Use an ending that does: {fitting}.")
    else:
        name = codec
    chosen, size = CODECS[name], (clip.width * scale, clip.height * scale)
    pixels = _pixels_for(clip.pixels, chosen, odd=chosen.even and any(side % 2 for side in size))
    notes += _lost(clip.pixels, pixels, name)
    options = dict(chosen.options)
    if chosen.crf is not None:
        options["crf"] = str(chosen.crf if crf is None else crf)
    elif crf is not None:
        notes.append(f"{name} has no crf: its quality is fixed")
    if name == "prores":
        options["profile"] = "4" if "444" in pixels else "3"
    notes += _with_hdr(clip, name, options)
    encoding = Encoding(name, pixels, tuple(options.items()), size)
    check_encoder(encoding)
    return encoding, notes


def ending_for(source: Path, codec: str) -> str:
    """The kind of file for a result: the source's, where it can be written and holds the codec."""
    ending = source.suffix.lower() if source.suffix.lower() in CONTAINERS else ".mp4"
    if codec == AS_SOURCE or codec in CONTAINERS[ending]:
        return ending
    return next((item for item, codecs in CONTAINERS.items() if codec in codecs), ending)


def _with_hdr(clip: Clip, codec: str, options: dict[str, str]) -> list[str]:
    """Adds the mastering display and light levels of an HDR10 clip to an encoder's options."""
    if clip.hdr is None:
        return []
    display, light = clip.hdr.display, clip.hdr.light
    if codec == "h265":
        options["x265-params"] += ":hdr10=1" + f":master-display={display}" * bool(display)
        options["x265-params"] += f":max-cll={light}" * bool(light)
    elif codec == "h264":
        options["x264-params"] += f":mastering-display={display}" * bool(display) + f":cll={light}" * bool(light)
    else:
        return [f"{codec} is written without the mastering display and light levels of HDR10; h265 holds them"]
    return []


@dataclass(frozen=True)
class _Traits:
    """What a format of pixels holds. colours: samples of each for four pixels, 1, 2 or 4."""

    alpha: bool
    bits: int
    colours: int
    rgb: bool
    grey: bool


def _traits(pixels: str) -> _Traits:
    kind = av.VideoFormat(pixels)
    parts = kind.components
    alpha = any(part.is_alpha for part in parts) or kind.has_palette
    grey = len(parts) - any(part.is_alpha for part in parts) == 1 and not kind.has_palette
    colours = 1 if grey else kind.chroma_width(4) * kind.chroma_height(4) // 4
    return _Traits(alpha, max(part.bits for part in parts), colours, kind.is_rgb or kind.has_palette, grey)


def _pixels_for(source: str, codec: Codec, odd: bool) -> str:
    """The format of a codec that loses least of the source's; of equal ones the first.

    RGB becomes the codec's usual format, which every player knows. odd: a side is odd, and the codec cannot halve its
    colours then.
    """
    old = _traits(source)
    wanted = old.colours
    if old.rgb and source not in codec.pixels:
        wanted = 4 if odd else _traits(codec.pixels[0]).colours

    def loss(pixels: str) -> tuple[int, ...]:
        new = _traits(pixels)
        halved = odd and new.colours < 4
        lost = (old.alpha and not new.alpha, max(0, min(old.bits, 16) - new.bits), max(0, wanted - new.colours))
        more = (new.alpha != old.alpha, abs(new.bits - old.bits), new.grey != old.grey, abs(new.colours - wanted))
        return (int(halved), *map(int, lost), *map(int, more))

    return min(codec.pixels, key=lambda pixels: (loss(pixels), pixels != source))


def _lost(source: str, pixels: str, codec: str) -> list[str]:
    old, new, notes = _traits(source), _traits(pixels), []
    if old.alpha and not new.alpha:
        notes.append(f"{codec} holds no alpha here: it is left out; vp9 (.webm, .mkv), prores (.mov) and ffv1 hold it")
    if old.bits > new.bits:
        notes.append(f"{codec} holds {new.bits} bits a colour here, the source has {old.bits}")
    if old.colours > new.colours:
        notes.append(f"{codec} holds colours at a coarser grid than the source ({pixels}, {source})")
    return notes


def check_encoder(encoding: Encoding) -> None:
    """Encodes one frame into nothing. Raises OutputError where this FFmpeg cannot."""
    width, height = encoding.size
    try:
        with av.open(BytesIO(), "w", format="matroska") as container:
            stream = add_stream(container, encoding, Fraction(25))
            frame = av.VideoFrame(width, height, encoding.pixels)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"This FFmpeg has no encoder {encoding.encoder} for {encoding.codec}. Choose another codec, or install "
            "PyAV's own wheel (pip install av)."
        ) from error
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"{encoding.codec} cannot be written at {width} x {height} px in {encoding.pixels} ({error}). Choose "
            "another codec."
        ) from error


def add_stream(container: av.container.OutputContainer, encoding: Encoding, rate: Fraction) -> Any:
    """A new stream with its encoder, which is opened by the first frame."""
    stream: Any = container.add_stream(encoding.encoder, rate=rate, options=dict(encoding.options))
    stream.width, stream.height = encoding.size
    stream.pix_fmt = encoding.pixels
    stream.codec_context.time_base = 1 / rate
    return stream
