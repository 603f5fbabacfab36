"""Whether people stay who they are: the bundled recogniser, the guard of identity, and what masks and pasting lose.

`python3 dev.py bench identity` prints last one line of JSON. The people are those of the Face Research Lab London Set,
neutral against smiling, who were never trained on; dlib's recogniser, the teacher, judges, which no run uses.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...distill.data import as_float, read_picture, resized
from ...distill.degrade import Image, enlarged, shrunk
from ...distill.face_api import CHIP_SIZE, embeddings
from ...engines.host import StandaloneHost
from ...faces.detect.detection import detect_faces
from ...faces.face import Face
from ...faces.identity.bundled import WEIGHTS, Look, chip, load_recogniser, vector_of
from ...faces.identity.select import SAME_PERSON
from ...models.opening import open_model
from ...opencv import cv2
from ..result import at_least, at_most, print_result
from .face_api import fetch
from .staying_alike import cases, guard_bars, paste_bars, x4plus

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LONGEST = 512  # px of the portraits
SMALL = 40  # px of a crop's side
TEACHERS_LIMIT = 0.48  # distance at which dlib's vectors tell people apart
UPSCALED_LONGEST = 128  # px of the portraits that an upscaler restores, so that it ends
LARGEST_FILE, MOST_MS = 3_000_000, 4.0

Bars = list[dict[str, Any]]
Vectors = NDArray[np.float32]
Recognise = Callable[[Image], Vectors]


@dataclass(frozen=True, eq=False)
class Portrait:
    """picture: (H, W, 3) float32 RGB 0..1, its largest face, and the crop (150, 150, 3) that recognisers look at."""

    picture: Image
    face: Face

    @property
    def crop(self) -> Image:
        return chip(self.picture, self.face.landmarks)


def portraits(data: Path, kind: str) -> list[Portrait]:
    """The people under `data`, by name."""
    found = []
    for path in sorted((data / "pairs").glob(f"*_{kind}.jpg")):
        picture = as_float(resized(read_picture(path), LONGEST))
        faces = detect_faces(torch.from_numpy(picture)[None], StandaloneHost("cpu")).frames[0]
        found.append(Portrait(picture, max(faces, key=lambda face: face.side)))
    return found


def small(crop: Image, side: int = SMALL) -> Image:
    """A crop as it comes from a face of so few pixels."""
    return np.clip(enlarged(shrunk(crop, CHIP_SIZE / side, cv2.INTER_AREA), crop.shape, cv2.INTER_LINEAR), 0, 1)


@dataclass(frozen=True)
class Told:
    """Shares 0..1: of people found among all, and of pairs told rightly; the limit at which they are told best."""

    rank1: float
    balanced: float
    best: float
    best_limit: float


def told_apart(first: Vectors, second: Vectors, limit: float) -> Told:
    """How well people (n, D) are known again (n, D), in the same order."""
    apart = np.linalg.norm(first[:, None] - second[None], axis=2)
    same = np.eye(len(apart), dtype=bool)
    rank1 = ((apart.argmin(0) == np.arange(len(apart))).mean() + (apart.argmin(1) == np.arange(len(apart))).mean()) / 2

    def balanced(limit: float) -> float:
        return float(((apart[same] <= limit).mean() + (apart[~same] > limit).mean()) / 2)

    limits = np.linspace(0.2, 1.0, 161)
    scores = [balanced(one) for one in limits]
    return Told(float(rank1), balanced(limit), max(scores), float(limits[int(np.argmax(scores))]))


def teachers_vector(crop: Image) -> Vectors:
    with torch.inference_mode():
        return embeddings(torch.from_numpy(crop).permute(2, 0, 1)[None])[0].numpy().copy()


def embedder_bars(neutral: Sequence[Portrait], smiling: Sequence[Portrait]) -> tuple[Bars, dict[str, Any]]:
    """The recogniser's bars, with the teacher's figures beside."""
    recogniser = load_recogniser()
    recognisers: dict[str, tuple[Recognise, float]] = {
        "bundled": (lambda crop: vector_of(recogniser.quick, crop), SAME_PERSON),
        "bundled, exact": (lambda crop: vector_of(recogniser.exact, crop), SAME_PERSON),
        "dlib": (teachers_vector, TEACHERS_LIMIT),
    }
    figures: dict[str, Any] = {}
    for name, (recognise, limit) in recognisers.items():
        ones = np.array([recognise(one.crop) for one in neutral])
        others = np.array([recognise(one.crop) for one in smiling])
        few = np.array([recognise(small(one.crop)) for one in smiling])
        few_ones = np.array([recognise(small(one.crop)) for one in neutral])
        figures[name] = told_apart(ones, others, limit)
        figures[f"{name}, {SMALL} px"] = told_apart(ones, few, limit)
        figures[f"{name}, both {SMALL} px"] = told_apart(few_ones, few, limit)
    for name, told in figures.items():
        print(
            f"{name}: rank-1 {told.rank1:.4f}, balanced accuracy {told.balanced:.4f} "
            f"(at best {told.best:.4f} at {told.best_limit:.2f})"
        )
    whole, few_px = figures["bundled"], figures[f"bundled, {SMALL} px"]
    spent, exactly = (milliseconds(look, neutral[0].crop) for look in (recogniser.quick, recogniser.exact))
    print(f"ms a face on one thread: {spent:.1f}, exact {exactly:.1f}")
    bars = [
        at_least("rank-1", whole.rank1, 0.97),
        at_least("balanced accuracy", whole.balanced, 0.99),
        at_least(f"rank-1 on crops of {SMALL} px", few_px.rank1, 0.97),
        at_least(f"balanced accuracy on crops of {SMALL} px", few_px.balanced, 0.97),
        at_most("ms a face on one thread", spent, MOST_MS),
        at_most("bytes of the file", WEIGHTS.stat().st_size, LARGEST_FILE),
    ]
    return bars, {name: vars(told) for name, told in figures.items()}


def milliseconds(network: Look, crop: Image, rounds: int = 60) -> float:
    """The median time of one look on one thread, of that thread alone, whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        vector_of(network, crop)
        spent.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    return float(np.median(spent) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pairs/ in it")
    parser.add_argument("--only", choices=("embedder", "guard", "paste"), help="one part of it")
    parser.add_argument("--faces", type=int, default=6, help="people that are restored, at three severities")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    parser.add_argument("--whole", action="store_true", help="everybody, neutral and smiling: hours")
    parser.add_argument("--upscaled", type=int, default=2, help="of them, by Real-ESRGAN x4plus too, which is slow")
    given = parser.parse_args()
    fetch()
    neutral, smiling = portraits(given.data, "neutral"), portraits(given.data, "smiling")
    print(f"{len(neutral)} people, neutral and smiling")
    bars: Bars = []
    more: dict[str, Any] = {"people": len(neutral)}
    if given.only in (None, "embedder"):
        told, more["embedder"] = embedder_bars(neutral, smiling)
        bars += told
    people = [(one.picture, one.face) for one in neutral]
    others = [(one.picture, one.face) for one in smiling]
    restored = [*people, *others] if given.whole else people[given.first :][: given.faces]
    if given.only in (None, "guard"):
        results = []
        for fidelity in (0.0, 0.5, 1.0):
            results += cases(restored, open_model(), f"bundled at {fidelity}", fidelity)
        if given.upscaled:
            with tempfile.TemporaryDirectory() as folder:
                results += cases(restored[: given.upscaled], x4plus(Path(folder)), "x4plus", 0.5, UPSCALED_LONGEST)
        told, more["guard"] = guard_bars(results)
        bars += told
    if given.only in (None, "paste"):
        bars += paste_bars(people, others)
    print_result("identity", bars, **more)


if __name__ == "__main__":
    main()
