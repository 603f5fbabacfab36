"""Networks in ncnn's format as the files that users have: real weights for measurements, from a package."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ...engines.torch import ncnn_file


def as_safetensors(param: Path, folder: Path) -> Path:
    """The network of a .param file and the .bin beside it, as a file in `folder`. Raises ModelFileError."""
    path = folder / f"{param.stem}.safetensors"
    file = ncnn_file.read(param)
    save_file(file.load(file.content, torch.device("cpu"), torch.float32), path)
    return path
