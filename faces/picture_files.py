"""Picture files in and out, in the depth that they have: 8 and 16 bit, grey, RGB, with alpha."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import ImageError, OutputError
from ..opencv import cv2

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_HOLDS_16_BIT = (".png", ".tif", ".tiff")
_HOLDS_ALPHA = (".png", ".webp", ".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
_JPEG_QUALITY = 95
_JPEG_START = b"\xff\xd8"


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: (H, W, 3 or 4) float32 0..1 RGB. depth: the file's own type, to be written again."""

    pixels: torch.Tensor
    depth: np.dtype


def picture_paths(source: str) -> list[Path]:
    """The picture files that a file name, a folder or a pattern with * means, in order of name.

    Raises ImageError when there is none.
    """
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return [path]
        found = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
        paths = [each for each in found if each.suffix.lower() in SUFFIXES and each.is_file()]
    except OSError as error:
        raise ImageError(f"{source} cannot be searched for pictures: {error.strerror}.") from error
    if not paths:
        raise ImageError(f"No picture was found at {source} (looked for {', '.join(SUFFIXES)}).")
    return sorted(paths)


def read_picture(path: Path) -> Picture:
    """Reads a file, turned the way its camera was held. Raises ImageError when it is none that can be read."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)  # imread cannot open every path on Windows
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
    pixels = _decoded(path, content) if len(content) else None
    if pixels is None or pixels.dtype not in _WHITE:
        raise ImageError(f"{path} is not a picture that can be read; it may be damaged or of another kind.")
    depth = pixels.dtype
    if pixels.ndim == 2:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    else:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return Picture(torch.from_numpy(rgb.astype(np.float32) / _WHITE[depth]), depth)


def _decoded(path: Path, content: np.ndarray) -> np.ndarray | None:
    """Grey (H, W) or BGR, BGRA (H, W, 3 or 4) in the file's depth; None when it cannot be decoded."""
    # OpenCV turns a picture by its EXIF only when it may drop alpha, and what is turned are photographs.
    turned = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    is_jpeg = content[: len(_JPEG_START)].tobytes() == _JPEG_START
    try:
        return cv2.imdecode(content, turned if is_jpeg else cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{path} is larger than what can be read, or damaged ({error.err}).") from error


def write_picture(path: Path, pixels: torch.Tensor, depth: np.dtype) -> None:
    """Writes (H, W, 3 or 4) float32 0..1 RGB in the wanted depth, as far as the kind of file holds it.

    Raises OutputError when the place cannot be written to.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path.name} has no ending of a picture; use one of {', '.join(SUFFIXES)}.")
    if depth not in _WHITE or suffix not in _HOLDS_16_BIT:
        depth = np.dtype(np.uint8)
    if suffix not in _HOLDS_ALPHA:
        pixels = pixels[..., :3]
    whole = np.rint(pixels.numpy() * _WHITE[depth]).astype(depth)
    bgr = cv2.cvtColor(whole, cv2.COLOR_RGBA2BGRA if whole.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix in _JPEG else []
    fine, content = cv2.imencode(suffix, bgr, settings)
    if not fine:
        raise OutputError(f"{path.name} could not be encoded: {whole.shape[1]} x {whole.shape[0]} px may be too large.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that you may write to."
        ) from error
