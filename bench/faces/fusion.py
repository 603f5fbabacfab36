"""Fusing faces: contracts of all swappers, pixel boost, speed and memory of swap and restore, fusion without a model.

`python3 dev.py bench fusion [--data FOLDER] [--pictures FOLDER]`. The swappers are small ONNX files with the real
tensors. FOLDER holds `pairs/`, portraits of the Face Research Lab London Set (DeBruine & Jones, CC-BY 4.0): the neutral
face of one person goes into the smiling face of the next. With --pictures, sheets to look at are written.

What swap and restore are timed against is what other programs do, face by face: faces are detected once for the swap
and once more for the restorer, by facenet-pytorch, whose weights are those of our detector; the restorer is loaded
anew for each face; both paste over the whole frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import torch

from ...catalog.cards import CARDS
from ...distill.data import as_float, read_picture, resized
from ...engines.cache import SESSIONS
from ...engines.host import StandaloneHost
from ...engines.job import Job
from ...engines.memory import planner
from ...engines.memory.budget import GIB, MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.plan import plan
from ...errors import SlimFusionError
from ...faces import align, warp
from ...faces.detect.detection import detect_faces
from ...faces.detect.mtcnn import Mtcnn
from ...faces.face import Face, Faces
from ...faces.fuse import classic
from ...faces.identity.identity import Identity
from ...faces.identity.people import Person
from ...faces.landmarks.bundled import landmarks68
from ...faces.masks.covers import OUTER_FEATHER
from ...faces.paste import Canvas
from ...faces.restore import Restoring, restore_faces
from ...faces.swap.swap import swap_faces, swapped_crops
from ...faces.swap.swapper import Swapper, identity_input, result_of, target_input
from ...faces.swap.task import Networks, Swapping
from ...models.onnx_description import describe
from ...models.onnx_torch_model import onnx_torch_model
from ...opencv import cv2
from ..portraits import astronaut
from ..quality.quality import DATA
from ..result import at_least, at_most, print_result
from . import face_api
from .peers import facenet, paste_whole_frame
from .swap_reading import LIMIT, READING, VECTOR, difference, our_swapper, save_twins
from .swap_twins import infer_with, runtime, save_deep_swapper, save_restorer

Image = np.ndarray
HOST = StandaloneHost("cpu")

PAIRS, SIDE = 20, 512
SEAM_PORTRAITS, SEAM_SHIFTS = 40, 5
TEXTURES = (0.0, 0.5, 1.0)
FRAMES, CHUNK, HEIGHT, WIDTH = 32, 8, 1080, 1920
SCORE = 0.8  # least confidence of a face, for both
RECIPE_FRAMES = 2  # of them, in each round
ROUNDS = 4
BOOSTS = (2, 4, 8)
TIMED_BOOST = 4  # 128 px to 512, the most used


def contract_bars(twins: dict[str, Path]) -> list[dict[str, Any]]:
    """Each swapper against a second reading of its card."""
    return [at_most(f"contract_{name}", difference(name, twins), LIMIT) for name in READING]


def boost_bars(twins: dict[str, Path]) -> list[dict[str, Any]]:
    """k x k samples as one batch against one by one: the largest difference, and the time."""
    swapper, session = our_swapper(twins["inswapper"], "inswapper"), runtime(twins["inswapper"])
    source = identity_input(swapper, VECTOR)
    frame = torch.from_numpy(astronaut())[None]
    face = max(Mtcnn().detect(frame)[0], key=lambda each: each.score)
    bars = []

    def run(factor: int, batch: int) -> Image:
        infer = infer_with(session, batch)
        ((_, _, picture, _, _),) = swapped_crops(frame, [(face, 0)], [source], swapper, infer, factor)
        return picture

    for factor in BOOSTS:
        single, together = (partial(run, factor, batch) for batch in (1, factor**2))
        error = float(np.abs(single() - together()).max())
        bars.append(at_most(f"boost_{factor}x{factor}_difference", error, 1e-5))
    return bars


def boost_time_bars(folder: Path) -> list[dict[str, Any]]:
    """k x k samples as the product runs them, against one by one, through a network with layers of usual weight."""
    deep = onnx_torch_model(describe(save_deep_swapper(folder / "deep.onnx"), "deep", CARDS["inswapper"], "none"))
    count, side = TIMED_BOOST**2, deep.spec.card.size or 0
    samples = [(torch.rand(3, side, side), torch.from_numpy(VECTOR).float())] * count
    job = Job(deep, Work(side, side, count, tiled=False), MemoryBudget(GIB), HOST)

    def run(pixels: int) -> None:
        with mock.patch.object(planner, "CPU_PIXELS", pixels), plan(job).open(Report()) as running:
            list(running.infer(samples))

    time_ratio = ratio(partial(run, planner.CPU_PIXELS), partial(run, side**2), ROUNDS)
    SESSIONS.release()
    return [at_most(f"boost_{TIMED_BOOST}x{TIMED_BOOST}_time", time_ratio, 0.9)]


def ratio(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> float:
    """Time of one against the other's: the least of several rounds in which they take turns."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for index, work in enumerate((one, other)):
            start = time.perf_counter()
            work()
            best[index] = min(best[index], time.perf_counter() - start)
    return round(best[0] / best[1], 3)


def two_faces() -> torch.Tensor:
    """CHUNK frames of 1080p with the astronaut twice."""
    picture = astronaut()
    frame = np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    frame[200:712, 200:712] = frame[260:772, 1100:1612] = picture
    return torch.from_numpy(frame)[None].repeat(CHUNK, 1, 1, 1)


def speed_bars(twins: dict[str, Path], folder: Path) -> list[dict[str, Any]]:
    """32 frames with two faces each through swapper and restorer: frames a second against the recipe's, and memory."""
    restorer_file = save_restorer(folder / "restorer.onnx")
    blueprints = [
        onnx_torch_model(describe(path, path.name, CARDS[name], "none"))
        for name, path in (("inswapper", twins["inswapper"]), ("gfpgan", restorer_file))
    ]
    frames, budget = two_faces(), MemoryBudget(GIB, "quality")
    somebody = Person("A", Identity("A", VECTOR))
    swapper, session = our_swapper(twins["inswapper"], "inswapper"), runtime(twins["inswapper"])
    finder = facenet(HEIGHT // 36, SCORE)
    peaks, ours, theirs = [], [], []
    for _ in range(FRAMES // CHUNK):
        start = time.perf_counter()
        faces = detect_faces(frames, HOST)
        swapped = swap_faces(frames, [somebody], Networks(blueprints[0]), budget, HOST, Swapping(faces=faces))
        restored = restore_faces(swapped.frames, blueprints[1], budget, HOST, Restoring(faces=swapped.faces))
        ours.append((time.perf_counter() - start) / CHUNK)
        assert restored.faces.count == 2 * CHUNK
        peaks += [swapped.report.measured_peak, restored.report.measured_peak]
        start = time.perf_counter()
        for frame in frames[:RECIPE_FRAMES]:
            face_by_face((frame.numpy() * 255).astype(np.uint8), finder, swapper, session, restorer_file)
        theirs.append((time.perf_counter() - start) / RECIPE_FRAMES)
        print(f"swap and restore: {ours[-1]:.2f} s a frame, face by face {theirs[-1]:.2f} s", flush=True)
    SESSIONS.release()
    return [
        at_least("swap_restore_speed_against_face_by_face", round(min(theirs) / min(ours), 2), 3.0),
        at_most("swap_restore_peak_bytes", max(peaks), GIB),
    ]


def face_by_face(
    frame: Image, finder: Any, swapper: Swapper, session: onnxruntime.InferenceSession, restorer_file: Path
) -> Image:
    """The recipe: one face at a time, detection twice, the restorer loaded for each face, pastes over whole frames.

    frame: (H, W, 3) uint8. finder: facenet-pytorch's detector.
    """
    source = identity_input(swapper, VECTOR).numpy()[None]
    for points in points_in(frame, finder):
        affine = align.affine_for(points, "arcface_128", 128)
        target = target_input(swapper, align.crop_face(frame, affine, 128) / np.float32(255)).numpy()[None]
        (picture,) = session.run(None, {"target": target, "source": source})
        crop = result_of(swapper, (torch.from_numpy(picture[0]),))[..., :3]
        frame = paste_whole_frame(frame, (crop * 255).astype(np.uint8), affine)
    for points in points_in(frame, finder):
        restorer = runtime(restorer_file)
        affine = align.affine_for(points, "ffhq_512", 512)
        planes = align.crop_face(frame, affine, 512).transpose(2, 0, 1) / np.float32(127.5) - 1
        (picture,) = restorer.run(None, {"input": planes[None]})
        crop = picture[0].transpose(1, 2, 0) * 127.5 + 127.5
        frame = paste_whole_frame(frame, crop.clip(0, 255).astype(np.uint8), affine)
    return frame


def points_in(frame: Image, finder: Any) -> list[Image]:
    """The five points (5, 2) of each face."""
    _, _, landmarks = finder.detect(frame, landmarks=True)
    return [] if landmarks is None else [np.asarray(points, np.float64) for points in landmarks]


def portrait(path: Path) -> tuple[Image, Face]:
    """A portrait (512, 512, 3) and its largest face."""
    picture = as_float(resized(read_picture(path), SIDE))
    found = Mtcnn().detect(torch.from_numpy(picture)[None])[0]
    return picture, max(found, key=lambda face: float(face.box[2] - face.box[0]))


def classic_bars(data: Path, pictures: Path | None) -> list[dict[str, Any]]:
    """Fusion without a model: what stays, where the landmarks are, whom the result is like."""
    neutral = sorted((data / "pairs").glob("*_neutral.jpg"))[:PAIRS]
    smiling = sorted((data / "pairs").glob("*_smiling.jpg"))[1 : PAIRS + 1]
    if len(neutral) < PAIRS or len(smiling) < PAIRS:
        print(f"There are no {PAIRS} pairs in {data}: fusion without a model is not measured.")
        return []
    outside, moved, far = [], [], []
    for number, (source_path, target_path) in enumerate(zip(neutral, smiling, strict=True)):
        (source, source_face), (target, face) = portrait(source_path), portrait(target_path)
        points = face_api.landmarks68(target, face)
        looks = face_api.embedding(source, source_face)
        results, distances = [], []
        for texture in TEXTURES:
            done = fused(source, source_face, target, face, Swapping(shape=0.0, texture=texture))
            result = done.frames[0].numpy()
            outside.append(bool((result == target)[done.mask[0].numpy() == 0].all()))
            distances.append(float(np.linalg.norm(face_api.embedding(result, face) - looks)))
            results.append(result)
        errors = np.linalg.norm(face_api.landmarks68(results[-1], face) - points, axis=1)
        moved.append(float(errors.mean()) / warp.eye_distance(points))
        far.append(distances)
        print(f"{source_path.stem} into {target_path.stem}: distance {np.round(distances, 3)}, moved {moved[-1]:.4f}")
        if pictures is not None:
            shaped = fused(source, source_face, target, face, Swapping(shape=1.0)).frames[0].numpy()
            write_sheet(pictures / f"fusion_{number:02}.png", [source, target, *results[1:], shaped])
    rises = np.diff(np.array(far), axis=1).max(1) < 0
    return [
        at_least("classic_outside_identical", sum(outside), len(outside)),
        at_most("classic_landmarks_moved_of_eye_distance", round(max(moved), 4), 0.03),
        at_least("classic_likeness_rises_with_texture", int(rises.sum()), PAIRS),
    ]


def seam_bars(data: Path) -> list[dict[str, Any]]:
    """The steepest step of the mask from pixel to pixel, over portraits at shifts of parts of a pixel.

    A Hann rise over so many pixels as the feather has is the least step there is: on small faces it is above 0.1.
    """
    paths = sorted((data / "portraits").glob("*.jpg"))[:: max(1, 170 // SEAM_PORTRAITS)][:SEAM_PORTRAITS]
    if len(paths) < SEAM_PORTRAITS:
        print(f"There are no {SEAM_PORTRAITS} portraits in {data}: seams are not measured.")
        return []
    rng, steps = np.random.default_rng(0), []
    for path in paths:
        picture, face = portrait(path)
        (points,) = landmarks68([(picture, face)])
        steepest = max(0.1, 1.02 * np.pi / 2 / (OUTER_FEATHER * warp.eye_distance(points)))
        for shift in rng.uniform(-0.5, 0.5, (SEAM_SHIFTS, 2)):
            painted = np.zeros(picture.shape[:2], np.float32)
            source = classic.Source(picture, points)
            classic.fuse(Canvas(picture.copy(), painted=painted), points + shift, source, classic.Weights())
            steps.append(max(float(np.abs(np.diff(painted, axis=axis)).max()) for axis in (0, 1)) / steepest)
    print(f"seams: {len(steps)} faces, steepest step {max(steps):.3f} of the allowed one")
    return [at_most("classic_faces_with_a_step_in_the_mask", sum(step > 1 for step in steps), 0)]


def fused(source: Image, source_face: Face, target: Image, face: Face, swapping: Swapping) -> Any:
    """The product's own way."""
    faces = Faces(((face,),), SIDE, SIDE)
    networks = Networks(landmarks=lambda faces, report: landmarks68(faces, report=report))
    frames, person = torch.from_numpy(target)[None], Person("A", None, source, source_face)
    return swap_faces(frames, [person], networks, MemoryBudget(), HOST, replace(swapping, faces=faces))


def write_sheet(path: Path, row: Sequence[Image]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.hstack(row).clip(0, 1) * 255 + 0.5
    cv2.imwrite(str(path), cv2.cvtColor(sheet.astype(np.uint8), cv2.COLOR_RGB2BGR))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench fusion", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pairs/")
    parser.add_argument("--pictures", type=Path, help="folder for sheets of what was fused without a model")
    chosen = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as name:
            twins = save_twins(Path(name))
            bars = contract_bars(twins) + boost_bars(twins) + boost_time_bars(Path(name))
            bars += speed_bars(twins, Path(name))
        bars += classic_bars(chosen.data, chosen.pictures) + seam_bars(chosen.data)
    except SlimFusionError as error:
        sys.exit(str(error))
    print_result("fusion", bars)
    return 0


if __name__ == "__main__":
    sys.exit(main())
