"""What a run shows of itself: figures on held-out pictures and a sheet of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..engines.torch.architectures.slim_unet import Decoder, SlimUnet, decoder_between
from ..errors import OutputError
from ..opencv import cv2
from .perceptual import Lpips

SHOWN = 3  # held-out pictures on the sheet
FIDELITIES = (0.0, 0.5, 1.0)

Pairs = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Figures:
    """Means over the held-out pictures of one severity: PSNR in dB and, where it can be had, LPIPS."""

    psnr_before: float
    psnr_after: float
    lpips_before: float | None = None
    lpips_after: float | None = None

    def __str__(self) -> str:
        shown = f"{self.psnr_before:.2f} -> {self.psnr_after:.2f} dB"
        if self.lpips_before is None:
            return shown
        return f"{shown}, LPIPS {self.lpips_before:.3f} -> {self.lpips_after:.3f}"


def psnr(pictures: Tensor, originals: Tensor) -> float:
    """Mean PSNR in dB of (B, 3, H, W)."""
    return float((-10 * (pictures - originals).square().mean((1, 2, 3)).log10()).mean())


@torch.no_grad()
def restored(network: SlimUnet, decoder: Decoder | None, damaged: Tensor) -> Tensor:
    return torch.cat([network(one[None], decoder).clamp(0, 1) for one in damaged])


@torch.no_grad()
def held_out_figures(network: SlimUnet, sharp: Decoder | None, pairs: Pairs, judge: Lpips | None) -> dict[str, Figures]:
    """For each severity PSNR of the faithful decoder and LPIPS of the sharp one, before and after restoration."""
    result = {}
    for name, (damaged, original) in pairs.items():
        faithful = psnr(damaged, original), psnr(restored(network, None, damaged), original)
        if judge is None or sharp is None:
            result[name] = Figures(*faithful)
            continue
        pictures = restored(network, sharp, damaged)
        before, after = (float(judge.distances(given, original).mean()) for given in (damaged, pictures))
        result[name] = Figures(*faithful, before, after)
    return result


def sample_sheet(network: SlimUnet, sharp: Decoder | None, pairs: Pairs) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a row for each severity and picture; damaged, restored at `FIDELITIES`, original."""
    rows = []
    for damaged, original in pairs.values():
        shown = min(SHOWN, len(damaged))
        decoders = [None] if sharp is None else [decoder_between(network, sharp, f) for f in FIDELITIES]
        columns = [damaged[:shown], *(restored(network, d, damaged[:shown]) for d in decoders), original[:shown]]
        rows += [torch.cat([column[index] for column in columns], -1) for index in range(shown)]
    sheet = torch.cat(rows, -2).permute(1, 2, 0).clamp(0, 1)
    return np.asarray((sheet * 255).round().byte().numpy())


def write_sheet(sheet: np.ndarray, path: Path) -> None:
    """Raises `OutputError` when the disk is full."""
    _, code = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code.tobytes())
    except OSError as error:
        raise OutputError(f"The sample sheet {path} cannot be written ({error.strerror}).") from error
