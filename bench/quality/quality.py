"""What the bundled networks are worth, on pictures that they never saw.

`python3 dev.py bench quality [--data FOLDER] [--people N] [--out FOLDER] [--second] [--weights FILE]
[--against FILE]`. FOLDER holds `pairs/` with portraits
of the Face Research Lab London Set (DeBruine & Jones, CC-BY 4.0); without it the one picture that is always there,
scikit-image's astronaut, is measured alone. The restorer is compared with its teacher, Real-ESRGAN x4plus, whole
pictures of 512 px at three severities; a sheet of them is written to `--out`. `--second` measures what the second
edition of the weights is for (`edition.py`), beside those of another file where `--against` names one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...catalog.files import BUNDLED, BUNDLED_FILE
from ...distill.data import as_float, read_picture, resized
from ...distill.degrade import SEVERITIES, Image, degrade
from ...engines.host import StandaloneHost
from ...engines.job import Options
from ...engines.memory.budget import MemoryBudget
from ...engines.network import Model, runnable
from ...errors import ImageError, SlimFusionError
from ...faces.detect.detection import detect_faces
from ...faces.face import Face
from ...faces.landmarks.bundled import landmarks68
from ...faces.restore import Restoring, restore_faces, restore_image
from ...models.torch_model import torch_model
from ...opencv import cv2
from ..faces import face_api
from ..metrics import lpips_distance, psnr, ssim
from ..portraits import DEMO_DAMAGE, astronaut, face_region_of
from ..result import at_least, at_most, print_result
from . import edition
from .teacher import taught, teacher

PEOPLE = 6  # neutral portraits, the lowest ids; the teacher takes a minute for each severity of each
LANDMARKED = 24
EVERYBODY = 50  # people, each neutral and smiling
SIDE = 512
SEED = 1
DEFAULT = 0.5  # fidelity
PSNR_GAIN = {"light": 1.0, "medium": 1.5, "heavy": 2.0}  # dB, whole picture, at fidelity 1
GAIN_KEPT = 0.95  # of the teacher's LPIPS gain, at fidelity 0
KEPT_AT = ("medium", "heavy")
DEMO_GAIN = 1.0  # dB inside the astronaut's face at the default
LEAST_CLEAN_PSNR = 40.0  # dB that a picture keeps which needed no restoration, at fidelity 1
LANDMARK_ERROR, LANDMARK_MS = 0.04, 5.0  # share of the distance between the eyes; a face on one core
SHOWN = 256  # px of a sheet's cell

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

Restore = Callable[[Image, float], Image]


@dataclass(frozen=True)
class Figures:
    """Of one picture or the mean of several: PSNR in dB, SSIM, LPIPS with AlexNet and with VGG16, distance from the
    clean identity."""

    psnr: float
    ssim: float
    lpips: float
    vgg: float
    identity: float

    def __str__(self) -> str:
        alike = f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, LPIPS {self.lpips:.3f}, with VGG {self.vgg:.3f}"
        return f"{alike}, identity {self.identity:.4f}"


def mean_figures(figures: Sequence[Figures]) -> Figures:
    rows = np.array([astuple(one) for one in figures])
    return Figures(*(float(value) for value in rows.mean(0)))


def restorer(blueprint: Model, whole: bool = True) -> Restore:
    """The product's own way: the `whole` frame, or its faces only as they are found.

    Takes and returns (H, W, 3) float32 RGB 0..1.
    """
    budget, host = MemoryBudget(), StandaloneHost()

    def restore(frame: Image, fidelity: float) -> Image:
        frames, options = torch.from_numpy(frame)[None], Options(fidelity=fidelity)
        if whole:
            restored = restore_image(frames, blueprint, budget, host, options)[0][0].numpy()
        else:
            restored = restore_faces(frames, blueprint, budget, host, Restoring(options=options)).frames[0].numpy()
        return np.asarray(restored.clip(0, 1), np.float32)

    return restore


def largest_face(picture: Image) -> Face:
    (found,) = detect_faces(torch.from_numpy(picture)[None], StandaloneHost("cpu")).frames
    return max(found, key=lambda face: float(face.box[2] - face.box[0]))


def portraits(data: Path, count: int, kind: str = "neutral") -> list[Image]:
    """The first `count` portraits under `data`, (512, 512, 3) each."""
    paths = sorted((data / "pairs").glob(f"*_{kind}.jpg"))[:count]
    return [as_float(resized(read_picture(path), SIDE)) for path in paths]


def versions(damaged: Image, restore: Restore) -> dict[str, Image]:
    """A damaged picture, restored at fidelity 0, the default and 1, and by the teacher."""
    return {
        "input": damaged,
        "sharp": restore(damaged, 0.0),
        "default": restore(damaged, DEFAULT),
        "faithful": restore(damaged, 1.0),
        "teacher": taught(damaged),
    }


def figures_of(picture: Image, clean: Image, face: Face) -> Figures:
    """The face is the clean picture's: both embeddings are of the same place."""
    one, other = face_api.embedding(picture, face), face_api.embedding(clean, face)
    far = float(np.linalg.norm(one - other))
    alex, vgg = (lpips_distance(picture, clean, name) for name in ("alex", "vgg"))
    return Figures(psnr(picture, clean), ssim(picture, clean), alex, vgg, far)


def severity_bars(name: str, means: dict[str, Figures]) -> list[dict[str, Any]]:
    """What must hold at one severity, from the mean figures of each version."""
    given, sharp, default, faithful = (means[key] for key in ("input", "sharp", "default", "faithful"))
    judged = means["teacher"]
    kept = (given.lpips - sharp.lpips) / (given.lpips - judged.lpips)
    bars = [
        at_least(f"{name}_faithful_psnr_gain_db", round(faithful.psnr - given.psnr, 3), PSNR_GAIN[name]),
        at_least(f"{name}_default_psnr_gain_db", round(default.psnr - given.psnr, 3), 0.0),
        at_least(f"{name}_default_psnr_over_teacher_db", round(default.psnr - judged.psnr, 3), 0.0),
        at_most(f"{name}_default_lpips", round(default.lpips, 4), round(given.lpips, 4)),
    ]
    if name in KEPT_AT:
        bars.append(at_least(f"{name}_sharp_lpips_gain_kept", round(kept, 3), GAIN_KEPT))
    for label, figures in (("sharp", sharp), ("default", default), ("faithful", faithful)):
        bars.append(at_most(f"{name}_{label}_identity", round(figures.identity, 4), round(given.identity, 4)))
    return bars


def restoration_bars(people: list[Image], restore: Restore, out: Path) -> list[dict[str, Any]]:
    """All severities on all people; writes the sheet."""
    bars: list[dict[str, Any]] = []
    rows: list[Image] = []
    faces = [largest_face(clean) for clean in people]
    for name, preset in SEVERITIES.items():
        each: dict[str, list[Figures]] = {}
        for index, (clean, face) in enumerate(zip(people, faces, strict=True)):
            pictures = versions(degrade(clean, preset, SEED + index), restore)
            for label, picture in pictures.items():
                each.setdefault(label, []).append(figures_of(picture, clean, face))
            rows.append(sheet_row([*pictures.values(), clean], face))
        means = {label: mean_figures(figures) for label, figures in each.items()}
        for label, figures in means.items():
            print(f"{name}, {label}: {figures}", flush=True)
        bars += severity_bars(name, means)
    kept = float(np.mean([psnr(restore(clean, 1.0), clean) for clean in people]))
    write_sheet(rows, out / "quality_sheet.jpg")
    return [*bars, at_least("clean_faithful_psnr_db", round(kept, 2), LEAST_CLEAN_PSNR)]


def sheet_row(pictures: Sequence[Image], face: Face) -> Image:
    """Each picture's `SHOWN` px around the face, side by side."""
    height, width = pictures[0].shape[:2]
    middle = (face.box[:2] + face.box[2:]) / 2
    left, top = (int(np.clip(at - SHOWN / 2, 0, n - SHOWN)) for at, n in zip(middle, (width, height), strict=True))
    return np.concatenate([picture[top : top + SHOWN, left : left + SHOWN] for picture in pictures], 1)


def write_sheet(rows: Sequence[Image], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(np.concatenate(rows, 0) * 255).astype(np.uint8)
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    print(f"{path}: input, fidelity 0, {DEFAULT}, 1, teacher, clean; a row for each person and severity", flush=True)


@torch.inference_mode()
def size_bars(blueprint: Model, rounds: int = 3) -> list[dict[str, Any]]:
    """Parameters and time beside the teacher's: the same picture of 192 px, in turns, the fastest of each."""
    network = runnable(blueprint.load(torch.device("cpu"), "fp32", 0))
    large, small = torch.rand(1, 3, 192, 192), torch.rand(1, 3, 48, 48)
    times = np.full((rounds, 2), np.inf)
    for turn in range(rounds):
        for index, call in enumerate((lambda: network.run((large,), DEFAULT), lambda: teacher()(small))):
            began = time.perf_counter()
            call()
            times[turn, index] = time.perf_counter() - began
    ours, theirs = times.min(0)
    share = blueprint.spec.parameters / sum(value.numel() for value in teacher().model.parameters())
    return [
        at_most("parameters_of_the_teachers", round(share, 3), 0.25),
        at_most("time_of_the_teachers", round(float(ours / theirs), 3), 0.125),
        at_most("file_bytes", BUNDLED_FILE.stat().st_size, 8_000_000),
    ]


def landmark_bars(pictures: list[Image]) -> list[dict[str, Any]]:
    """Distance from the teacher's points and time; on one thread, the fastest of several calls."""
    errors, threads = [], torch.get_num_threads()
    for picture in pictures:
        face = largest_face(picture)
        wanted = face_api.landmarks68(picture, face)
        eyes = np.linalg.norm(wanted[36:42].mean(0) - wanted[42:48].mean(0))
        errors.append(float(np.linalg.norm(landmarks68([(picture, face)])[0] - wanted, axis=1).mean() / eyes))
    torch.set_num_threads(1)
    times = []
    for _ in range(60):
        began = time.thread_time()  # of this thread alone, whatever else the machine does
        landmarks68([(pictures[-1], face)])
        times.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    return [
        at_most("landmarks_error_of_eye_distance", round(float(np.mean(errors)), 4), LANDMARK_ERROR),
        at_most("landmarks_ms_a_face", round(1000 * min(times), 2), LANDMARK_MS),
    ]


def demo_bars(restore: Restore) -> list[dict[str, Any]]:
    """The demo's damage on the astronaut, her face alone restored at the default."""
    clean = astronaut()
    before = degrade(clean, DEMO_DAMAGE, SEED)
    after, face = restore(before, DEFAULT), face_region_of(largest_face(clean))
    gain = psnr(after[face], clean[face]) - psnr(before[face], clean[face])
    return [at_least("astronaut_demo_face_psnr_gain_db", round(gain, 3), DEMO_GAIN)]


def edition_bars(data: Path, weights: Path, against: Path | None) -> list[dict[str, Any]]:
    """The bars of the second edition; prints each row, those without a bar too."""
    neutral, smiling = (portraits(data, EVERYBODY, kind) for kind in ("neutral", "smiling"))
    if not neutral:
        raise ImageError(f"There are no portraits in {data}/pairs: name the folder that holds them with --data.")
    found = [
        edition.rows_of(neutral, smiling, restorer(torch_model(path)), largest_face)
        for path in (weights, against)
        if path is not None
    ]
    other = found[1] if len(found) > 1 else None
    for name, value in found[0].items():
        print(f"{name}: {value:.4f}" + (f" (against {other[name]:.4f})" if other else ""), flush=True)
    return edition.bars_of(found[0], other)


def measured(data: Path, count: int, out: Path, weights: Path = BUNDLED_FILE) -> list[dict[str, Any]]:
    """The bars of this bench; prints each figure on the way."""
    blueprint = torch_model(weights, BUNDLED)
    bars = demo_bars(restorer(blueprint, whole=False))
    people = portraits(data, count)
    if not people:
        print(f"There are no portraits in {data}/pairs: the astronaut stands alone.")
        return bars
    bars += restoration_bars(people, restorer(blueprint), out)
    bars += size_bars(blueprint)
    return bars + landmark_bars([*portraits(data, LANDMARKED // 2), *portraits(data, LANDMARKED // 2, "smiling")])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench quality", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pairs/")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many portraits")
    parser.add_argument("--out", type=Path, default=Path("output") / "quality", help="folder for the sheet")
    parser.add_argument("--second", action="store_true", help="only the rows of the second edition of the weights")
    parser.add_argument("--weights", type=Path, default=BUNDLED_FILE, help="the restorer's weights to measure")
    parser.add_argument("--against", type=Path, help="weights whose figures are printed beside, with --second")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.second:
            bars = edition_bars(chosen.data, chosen.weights, chosen.against)
        else:
            bars = measured(chosen.data, chosen.people, chosen.out, chosen.weights)
        print_result("quality", bars)
    except SlimFusionError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
