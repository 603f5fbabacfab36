"""What the bundled restorer gains: PSNR inside the face and LPIPS, on pictures that it never saw.

`python -m slimfusion.bench.quality [--data FOLDER] [--severity medium] [--whole]`. FOLDER holds
`pairs/` with neutral portraits of the Face Research Lab London Set (DeBruine & Jones, CC-BY 4.0); without it the
one picture that is always there, scikit-image's astronaut, is measured alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..catalog.files import BUNDLED, BUNDLED_FILE
from ..distill.data import as_float, read_picture, resized
from ..distill.degrade import SEVERITIES, Image, Severity, degrade, severity
from ..engines.backends.torch_backend import blueprint_from_file
from ..engines.host import StandaloneHost
from ..engines.memory.budget import MemoryBudget
from ..errors import SlimFusionError
from ..faces.detect.mtcnn import Mtcnn
from ..faces.restore import restore_faces, restore_image
from .metrics import lpips, psnr
from .portraits import DEMO_DAMAGE, astronaut, face_region
from .result import at_least, at_most, print_result

PAIRS = 30  # neutral portraits, the lowest ids
SIDE = 512
SEED = 1
LEAST_GAIN = {"medium": 1.0, "demo": 1.0}  # dB inside the face; 0 for what has no bar of its own
LEAST_CLEAN_PSNR = 36.0  # dB that a picture keeps which needed no restoration

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Restore = Callable[[Image], Image]


@dataclass(frozen=True)
class Figures:
    """Of one picture or the mean of several: face PSNR in dB and LPIPS, before and after, and seconds."""

    psnr_before: float
    psnr_after: float
    lpips_before: float
    lpips_after: float
    seconds: float

    @property
    def gain(self) -> float:
        return self.psnr_after - self.psnr_before

    def __str__(self) -> str:
        return (
            f"face PSNR {self.psnr_before:.2f} -> {self.psnr_after:.2f} dB ({self.gain:+.2f}), "
            f"LPIPS {self.lpips_before:.3f} -> {self.lpips_after:.3f}, {self.seconds:.2f} s a picture"
        )


def restorer(whole: bool) -> Restore:
    """The product's own way, with its defaults: faces only as they are found, or the `whole` frame.

    Takes and returns (H, W, 3) float32 RGB 0..1.
    """
    blueprint = blueprint_from_file(BUNDLED_FILE, BUNDLED)
    budget, host = MemoryBudget(), StandaloneHost()

    def restore(frame: Image) -> Image:
        frames = torch.from_numpy(frame)[None]
        if whole:
            return restore_image(frames, blueprint, budget, host)[0][0].numpy()
        return restore_faces(frames, blueprint, budget, host).frames[0].numpy()

    return restore


def neutral_portraits(data: Path) -> list[Image]:
    """The first `PAIRS` neutral portraits under `data`, (512, 512, 3) each."""
    paths = sorted((data / "pairs").glob("*_neutral.jpg"))[:PAIRS]
    return [as_float(resized(read_picture(path), SIDE)) for path in paths]


def figures_of(clean: Image, preset: Severity, seed: int, detector: Mtcnn, restore: Restore) -> Figures:
    """The figures of one picture; the face is looked for in the clean picture, LPIPS is of the whole one."""
    before = degrade(clean, preset, seed)
    began = time.perf_counter()
    after = restore(before)
    seconds = time.perf_counter() - began
    face = face_region(clean, detector)
    return Figures(
        psnr_before=psnr(before[face], clean[face]),
        psnr_after=psnr(after[face], clean[face]),
        lpips_before=lpips().distance(before, clean),
        lpips_after=lpips().distance(after, clean),
        seconds=seconds,
    )


def mean_figures(figures: Sequence[Figures]) -> Figures:
    names = [field.name for field in fields(Figures)]
    return Figures(**{name: float(np.mean([getattr(one, name) for one in figures])) for name in names})


def bars_of(where: str, name: str, figures: Figures) -> list[dict[str, Any]]:
    return [
        at_least(f"{where}_{name}_face_psnr_gain_db", round(figures.gain, 3), LEAST_GAIN.get(name, 0.0)),
        at_most(f"{where}_{name}_lpips", round(figures.lpips_after, 4), round(figures.lpips_before, 4)),
    ]


def measured(data: Path, names: Sequence[str], restore: Restore) -> list[dict[str, Any]]:
    """The bars of this bench; prints each figure on the way."""
    detector, bars = Mtcnn(), []
    portraits = neutral_portraits(data)
    if not portraits:
        print(f"There are no portraits in {data}: the astronaut stands alone.")
    sets = {"astronaut": [astronaut()]} | ({"pairs": portraits} if portraits else {})
    for where, pictures in sets.items():
        # The astronaut stands for the demo; her small face gains less at the severities made for portraits.
        damages = {"demo": DEMO_DAMAGE} if where == "astronaut" else {name: severity(name) for name in names}
        for name, damage in damages.items():
            each = [figures_of(p, damage, SEED + i, detector, restore) for i, p in enumerate(pictures)]
            print(f"{where} ({len(pictures)}), {name}: {mean_figures(each)}", flush=True)
            bars += bars_of(where, name, mean_figures(each))
        kept = float(np.mean([psnr(restore(picture), picture) for picture in pictures]))
        print(f"{where} ({len(pictures)}), clean: kept at {kept:.2f} dB", flush=True)
        bars.append(at_least(f"{where}_clean_psnr_db", round(kept, 2), LEAST_CLEAN_PSNR))
    return bars


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m slimfusion.bench.quality", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pairs/")
    parser.add_argument("--severity", choices=[*SEVERITIES, "all"], default="medium")
    parser.add_argument("--whole", action="store_true", help="restore whole pictures instead of their faces")
    chosen = parser.parse_args(arguments)
    names = list(SEVERITIES) if chosen.severity == "all" else [chosen.severity]
    try:
        print_result("quality", measured(chosen.data, names, restorer(chosen.whole)))
    except SlimFusionError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
