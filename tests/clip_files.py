"""Small clips of every kind that people have, made by PyAV, and what is read back from a result."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT, RATE = 160, 120, 30
FAST = {
    "libx264": {"crf": "10", "preset": "ultrafast"},
    "libx265": {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"crf": "10", "b": "0", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"},
}
HDR10 = "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8, different in every frame."""
    y, x = np.mgrid[:height, :width]
    return np.stack([60 + (x + 2 * index) % 100, 60 + (y + index) % 90, 80 + (x + y) % 70], -1).astype(np.uint8)


def make_clip(
    path: Path,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 15360),
    frames: int = 12,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: int = 1,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    alpha: bool = False,
    subtitles: bool = False,
    pictures: list[np.ndarray] | None = None,
    **tags: Any,
) -> Path:
    """pts: of each frame in time_base; a constant rate without. tags: attributes of the encoder."""
    pictures = pictures or [picture(index, *size) for index in range(frames)]
    step = round(1 / (RATE * time_base))
    pts = pts or [index * step for index in range(len(pictures))]
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a title"
        video = container.add_stream(codec, rate=RATE, options={**FAST.get(codec, {}), **(options or {})})
        video.width, video.height, video.pix_fmt = *size, pixels
        video.codec_context.time_base = video.time_base = time_base
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        if rotation is not None:
            video.set_display_rotation(rotation)
        sounds = [_sound_stream(container, path) for _ in range(sound)]
        words = container.add_mux_stream("subrip") if subtitles else None
        for index, (array, time) in enumerate(zip(pictures, pts, strict=True)):
            if alpha:
                shade = np.full((*array.shape[:2], 1), 40 + 15 * (index % 10), np.uint8)
                frame = av.VideoFrame.from_ndarray(np.dstack([array, shade]), "rgba")
            else:
                frame = av.VideoFrame.from_ndarray(array, "rgb24")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = time, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        seconds = float((pts[-1] + step) * time_base)
        for number, stream in enumerate(sounds):
            _add_sound(container, stream, seconds, 200 + 100 * number)
        if words is not None:
            packet = av.Packet(b"a line of text")
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = 100
            packet.duration = 200
            container.mux(packet)
    return path


def _sound_stream(container: Any, path: Path) -> Any:
    stream = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000)
    stream.layout = "mono"
    return stream


def _add_sound(container: Any, stream: Any, seconds: float, pitch: int) -> None:
    kind = "s16" if stream.codec_context.name == "libopus" else "fltp"
    wave = np.sin(np.arange(int(48000 * seconds)) * pitch * 2 * np.pi / 48000) * 0.3
    for start in range(0, len(wave) - 960, 960):
        part = wave[None, start : start + 960]
        array = (part * 32767).astype(np.int16) if kind == "s16" else part.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(array, kind, "mono")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_gif(path: Path, frames: int = 6) -> Path:
    from PIL import Image

    images = [Image.fromarray(picture(index)) for index in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[50, 100, 70, 40, 200, 60][:frames], loop=0)
    return path


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[list[tuple[Any, ...]]]:
    """Of each stream of a kind: time and content of its packets."""
    found = []
    with av.open(str(path)) as container:
        indices = [stream.index for stream in container.streams if stream.type == kind]
    for index in indices:
        with av.open(str(path)) as container:
            demuxed = [packet for packet in container.demux(container.streams[index]) if packet.size]
            found.append([(packet.pts * packet.time_base, bytes(packet)) for packet in demuxed])
    return found


def decoded(path: Path, pixels: str = "rgb24") -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=pixels) for frame in container.decode(video=0)])
