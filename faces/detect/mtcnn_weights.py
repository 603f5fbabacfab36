"""The arrays of MTCNN's three networks, out of the installed `mtcnn` package.

The package itself is never imported, because it wants TensorFlow. Its files are pickles, compressed as LZ4 frames.
Pickles can run code when they are read, so none is read: the files are those of mtcnn 1.0.0 by their SHA-256, and where
the arrays stand in those is known.
"""

import hashlib
import importlib.util
import math
from pathlib import Path

import numpy as np
import torch

from ...errors import DependencyError

Shape = tuple[int, ...]

SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
INSTALL = "pip install mtcnn==1.0.0"

# First bytes and shapes of the arrays in the decompressed files, all of them little-endian float32 in C order.
ARRAYS: dict[str, tuple[tuple[int, Shape], ...]] = {
    "pnet": (
        (240, (3, 3, 3, 10)), (1376, (10,)), (1472, (1, 1, 10)),
        (1568, (3, 3, 10, 16)), (7376, (16,)), (7504, (1, 1, 16)),
        (7632, (3, 3, 16, 32)), (26112, (32,)), (26304, (1, 1, 32)),
        (26496, (1, 1, 32, 4)), (27056, (4,)), (27136, (1, 1, 32, 2)), (27440, (2,)),
    ),
    "rnet": (
        (240, (3, 3, 3, 28)), (3312, (28,)), (3488, (1, 1, 28)),
        (3664, (3, 3, 28, 48)), (52096, (48,)), (52352, (1, 1, 48)),
        (52608, (2, 2, 48, 64)), (101808, (64,)), (102128, (1, 1, 64)),
        (102448, (576, 128)), (397408, (128,)), (397968, (128,)),
        (398528, (128, 4)), (400624, (4,)), (400688, (128, 2)), (401760, (2,)),
    ),
    "onet": (
        (240, (3, 3, 3, 32)), (3744, (32,)), (3936, (1, 1, 32)),
        (4128, (3, 3, 32, 64)), (77904, (64,)), (78224, (1, 1, 64)),
        (78544, (3, 3, 64, 64)), (226048, (64,)), (226368, (1, 1, 64)),
        (226688, (2, 2, 64, 128)), (357808, (128,)), (358384, (1, 1, 128)),
        (358960, (1152, 256)), (1538656, (256,)), (1539728, (256,)),
        (1540816, (256, 4)), (1544960, (4,)), (1545040, (256, 10)), (1555328, (10,)),
        (1555424, (256, 2)), (1557520, (2,)),
    ),
}  # fmt: skip

# An LZ4 frame: a header of this many bytes as these files have it, then blocks, each after its length.
FRAME_HEADER = 7
PLAIN_BLOCK = 1 << 31  # set in the length of a block that is not compressed
MORE_FOLLOWS = 15  # a length of four bits that goes on in further bytes
SHORTEST_MATCH = 4


def weights_folder() -> Path:
    """The folder of the installed package's weight files; DependencyError when the package is missing."""
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError(f"The face detector's package `mtcnn` is not installed: run `{INSTALL}`.")
    return Path(spec.submodule_search_locations[0]) / "assets" / "weights"


def checked_bytes(folder: Path, name: str) -> bytes:
    """The bytes of one weight file, only if they are exactly those of mtcnn 1.0.0; else DependencyError."""
    path = folder / f"{name}.lz4"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DependencyError(f"{path} cannot be read ({error}): run `{INSTALL}`.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[name]:
        raise DependencyError(
            f"{path} is not the file of mtcnn 1.0.0 (SHA-256 {digest[:12]}...), so it was not opened: run `{INSTALL}`."
        )
    return content


def decompressed(frame: bytes) -> bytes:
    """The content of an LZ4 frame as these files have it: blocks that may refer to those before, without checksums."""
    content = bytearray()
    at = FRAME_HEADER
    while length := int.from_bytes(frame[at : at + 4], "little"):
        start, at = at + 4, at + 4 + length % PLAIN_BLOCK
        if length & PLAIN_BLOCK:
            content += frame[start:at]
        else:
            append_block(content, frame[start:at])
    return bytes(content)


def append_block(content: bytearray, block: bytes) -> None:
    """Decompresses a block: again and again some new bytes, then some that stood before in the content."""
    at = 0
    while True:
        token = block[at]
        count, at = _length(block, at + 1, token >> 4)
        content += block[at : at + count]
        at += count
        if at >= len(block):  # the last bytes are new ones
            return
        source = len(content) - int.from_bytes(block[at : at + 2], "little")
        count, at = _length(block, at + 2, token & MORE_FOLLOWS)
        for place in range(source, source + count + SHORTEST_MATCH):  # which may overlap what is appended
            content.append(content[place])


def _length(block: bytes, at: int, first: int) -> tuple[int, int]:
    """A length that begins with four bits, and the position behind it."""
    if first < MORE_FOLLOWS:
        return first, at
    while block[at] == 255:
        first, at = first + 255, at + 1
    return first + block[at], at + 1


def torch_layout(array: np.ndarray) -> torch.Tensor:
    """A Keras array as torch wants it: (H, W, in, out) -> (out, in, H, W), (in, out) -> (out, in), (C,)."""
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 3:
        array = array.reshape(-1)
    elif array.ndim == 2:
        array = array.T
    return torch.from_numpy(np.ascontiguousarray(array))


def load_weights(name: str, folder: Path | None = None) -> list[torch.Tensor]:
    """The arrays of `pnet`, `rnet` or `onet` in layer order, in torch's layout, float32.

    Raises DependencyError when the package is missing, or a file is not the known one.
    """
    content = decompressed(checked_bytes(folder or weights_folder(), name))
    arrays = [np.frombuffer(content, "<f4", math.prod(shape), start).reshape(shape) for start, shape in ARRAYS[name]]
    return [torch_layout(array.astype(np.float32)) for array in arrays]
