"""Finding, aligning, pasting and restoring faces, against what others do.

`python3 dev.py bench faces [--data DIR] [--network bundled|GFPGAN]` prints last one line of JSON. DIR/pairs: 100
studio portraits of 1024 px, each with one face; without them the detectors meet the astronaut in many variations.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...catalog.templates import WARP_TEMPLATES
from ...engines.host import StandaloneHost
from ...engines.memory import meter
from ...engines.memory.budget import MemoryBudget
from ...engines.network import Model
from ...engines.session import Session
from ...faces import restore
from ...faces.align import inverse, similarity, template_points
from ...faces.detect import detectors
from ...faces.detect.mtcnn import Mtcnn
from ...faces.masks import soft as masks
from ...faces.paste import Canvas
from ...faces.pictures.files import picture_paths, read_picture
from ...models.torch_model import torch_model
from ...opencv import cv2
from ..portraits import astronaut
from ..quality.quality import DATA
from ..result import at_least, at_most, print_result
from ..twins import blueprint as twin_blueprint
from .peers import facenet, facenet_boxes, paste_whole_frame, restored_face_by_face

SIDE, COMPARED = 1024, 32  # px and number of the pictures that both detectors see
MIN_FACE, SCORE = SIDE // 36, 0.8  # ours by default
SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840), "8K": (4320, 7680)}
CROP, FACE = 512, 500
VIDEO_FRAMES = 32
# A head's five points in millimetres: x right, y down, z towards the camera.
HEAD = np.array([[-31, -32, 0], [31, -32, 0], [0, 0, 28], [-25, 35, 5], [25, 35, 5]], float)

Bars = list[dict[str, Any]]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quickest(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least seconds of each, over rounds in which they take turns."""
    for work in works:
        work()
    return np.min([[seconds(work) for work in works] for _ in range(rounds)], 0).tolist()


def solved(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) as a linear least-squares problem."""
    x, y = points.T
    nothing, one = np.zeros(5), np.ones(5)
    rows = np.concatenate([np.stack([x, -y, one, nothing], 1), np.stack([y, x, nothing, one], 1)])
    a, b, dx, dy = np.linalg.lstsq(rows, np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    return np.array([[a, -b, dx], [b, a, dy]])


def alignment_error() -> float:
    """The largest distance in frame px between a crop's corners and those of the solver, over all templates."""
    corners = np.array([[0, 0, 1], [CROP, 0, 1], [CROP, CROP, 1], [0, CROP, 1]], float)
    generator = np.random.default_rng(0)
    worst = 0.0
    for template in WARP_TEMPLATES:
        target = template_points(template, CROP)
        for yaw in np.radians(np.arange(0, 61, 5)):
            turned = HEAD[:, :1] * np.cos(yaw) - HEAD[:, 2:] * np.sin(yaw)
            faces = np.concatenate([turned, HEAD[:, 1:2]], 1) * 2 + [500, 400] + generator.normal(0, 1, (20, 5, 2))
            for points, affine in zip(faces, similarity(faces, target), strict=True):
                away = corners @ (inverse(affine) - inverse(solved(points, target))).T
                worst = max(worst, float(np.hypot(*away.T).max()))
    return worst


def pictures(folder: Path) -> torch.Tensor:
    """(n, 1024, 1024, 3) float32 in steps of 1/255."""
    if folder.is_dir():
        return torch.stack([read_picture(path).pixels for path in picture_paths(str(folder))])
    portrait = (astronaut() * 255).round().astype(np.uint8)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(COMPARED):
        scale, angle = generator.uniform(1.2, 3.0), generator.uniform(-15, 15)
        turn = cv2.getRotationMatrix2D((225, 115), angle, scale)
        turn[:, 2] = turn[:, 2] + generator.uniform(0.4, 0.6, 2) * SIDE - [225, 115]
        found.append(cv2.warpAffine(portrait, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    return torch.from_numpy(np.stack(found)).float() / 255


def detection_bars(folder: Path, rounds: int) -> Bars:
    """One face a picture, the boxes of facenet-pytorch, in at most half of its time."""
    frames, detector = pictures(folder), Mtcnn()
    bars = []
    if folder.is_dir():
        found = [detector.detect(frame[None])[0] for frame in frames]
        single = sum(len(faces) == 1 for faces in found)
        bars.append(at_least(f"pictures of {len(frames)} with exactly one face", single, 0.99 * len(frames)))
    frames = frames[:COMPARED]
    whole = (frames * 255).round().to(torch.uint8).numpy()
    peer = facenet(MIN_FACE, SCORE)
    works: list[Callable[[], object]] = [lambda: detector.detect(frames)]
    works += [partial(facenet_boxes, peer, whole, at_once) for at_once in (1, 4, COMPARED)]
    ours, *theirs = quickest(works, rounds)
    print(f"detection: {ours / len(frames):.3f} s a picture, facenet-pytorch {min(theirs) / len(frames):.3f} s")
    bars.append(at_most("detection, time against facenet-pytorch's best", round(ours / min(theirs), 3), 0.5))
    mine = [np.array([face.box for face in faces]).reshape(-1, 4) for faces in detector.detect(frames)]
    bars.append(at_most("detection, px between the boxes", box_distance(mine, facenet_boxes(peer, whole, 4)), 2.0))
    return bars


def box_distance(mine: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest distance between an edge of a box and the same of its nearest; infinite for another number."""
    worst = 0.0
    for some, others in zip(mine, theirs, strict=True):
        if len(some) != len(others):
            return float("inf")
        others = others.clip(0, SIDE)
        worst = max([worst, *(float(np.abs(others - box).max(1).min()) for box in some)])
    return round(worst, 3)


def pasting(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random frame (H, W, 3) float32, a crop, and the affine of a face of `FACE` px, slightly turned."""
    generator = np.random.default_rng(0)
    frame = generator.random((height, width, 3), np.float32)
    crop = generator.random((CROP, CROP, 3), np.float32)
    scale = CROP / (FACE * 1.6)
    affine = np.array([[scale, 0.02 * scale, 0], [-0.02 * scale, scale, 0]])
    affine[:, 2] = CROP / 2 - affine[:, :2] @ [width / 2, height / 2]
    return frame, crop, affine


def paste_bars(rounds: int) -> Bars:
    soft = masks.crop_mask(CROP)
    scenes = {name: pasting(*size) for name, size in SIZES.items()}
    works: list[Callable[[], object]] = [
        partial(Canvas(frame).paste, crop, affine, soft) for frame, crop, affine in scenes.values()
    ]
    frame, crop, affine = scenes["4K"]
    bytes_frame, bytes_crop = (np.round(each * 255).astype(np.uint8) for each in (frame, crop))
    works.append(lambda: paste_whole_frame(bytes_frame, bytes_crop, affine))
    small, middle, large, whole = quickest(works, rounds)
    print(f"pasting: 1080p {small:.4f} s, 4K {middle:.4f} s, 8K {large:.4f} s, over the whole 4K frame {whole:.3f} s")
    return [
        at_most("paste, 8K against 1080p", round(large / small, 3), 1.2),
        at_least("paste at 4K, times faster than over the whole frame", round(whole / middle, 1), 10),
        *paste_memory(*scenes["1080p"], soft),
    ]


def paste_memory(frame: np.ndarray, crop: np.ndarray, affine: np.ndarray, soft: np.ndarray) -> Bars:
    """What a paste takes beside frame and crop, by Python's account and the system's; and that nothing else changes."""
    before = frame.copy()
    tracemalloc.start()
    rows, columns = Canvas(frame).paste(crop, affine, soft)
    _, traced = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with meter.peak(torch.device("cpu")) as measured:
        for _ in range(50):
            Canvas(frame).paste(crop, affine, soft)
    region = (rows.stop - rows.start) * (columns.stop - columns.start) * 3 * frame.itemsize
    inside = np.zeros(frame.shape[:2], bool)
    inside[rows, columns] = True
    changed = int((frame[~inside].view(np.uint32) != before[~inside].view(np.uint32)).sum())
    return [
        at_most("paste, extra memory in regions", round(max(traced, measured.peak) / region, 3), 3.0),
        at_most("paste, values changed outside the region", changed, 0),
    ]


def video(frames: int) -> torch.Tensor:
    """(n, 1080, 1920, 3): a portrait twice, moved a little from frame to frame, in front of noise."""
    portrait = torch.from_numpy(astronaut()).permute(2, 0, 1)[None]
    portrait = torch.nn.functional.interpolate(portrait, scale_factor=1.5, mode="bilinear")[0].permute(1, 2, 0)
    generator = torch.Generator().manual_seed(0)
    result = (torch.rand(1, 1080, 1920, 3, generator=generator) * 0.1 + 0.3).repeat(frames, 1, 1, 1)
    for index, frame in enumerate(result):
        for left in (120, 1000):
            frame[150 + index : 918 + index, left + index : left + index + 768] = portrait
    return (result * 255).round() / 255


class Counting:
    """A detector that counts the frames it looks at, each as often as it is turned."""

    def __init__(self) -> None:
        self.detector, self.frames = Mtcnn(), 0

    def look(self, frames: torch.Tensor, turns: Sequence[int] = (0,), *settings: Any) -> Any:
        self.frames += len(frames) * len(turns)
        return self.detector.look(frames, turns, *settings)


def restore_bars(blueprint: Model, count: int, rounds: int) -> Bars:
    """A video restored our way and face by face over whole frames, with the same session."""
    frames = video(count)
    whole = (frames * 255).round().to(torch.uint8).numpy()
    host, budget, counting = StandaloneHost("cpu"), MemoryBudget(), Counting()
    with mock.patch.object(detectors, "detector", lambda: counting):
        restored = restore.restore_faces(frames, blueprint, budget, host)
    looked_at, faces = counting.frames, restored.faces.count
    session, peer = Session(blueprint, torch.device("cpu"), "fp32"), facenet(frames.shape[1] // 36, SCORE)

    def face_by_face() -> None:
        for picture in whole:
            restored_face_by_face(picture, peer, lambda batch: session.run(batch, 0.5))

    ours, theirs = quickest([lambda: restore.restore_faces(frames, blueprint, budget, host), face_by_face], rounds)
    print(f"{count} frames of 1080p, {faces} faces: {count / ours:.2f} frames/s, face by face {count / theirs:.2f}")
    return [
        at_least("faces found in the video", faces, 2 * count),
        at_most("detector calls a frame", looked_at / count, 1.0),
        at_least(f"{blueprint.spec.name}: frames/s against face by face", round(theirs / ours, 2), 3.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pairs/")
    parser.add_argument("--network", choices=("bundled", "GFPGAN"), default="bundled")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    network = torch_model(BUNDLED_FILE) if args.network == "bundled" else twin_blueprint(args.network)
    bars = [at_most("alignment, px between corners and least squares", alignment_error(), 0.05)]
    bars += paste_bars(5 * args.rounds)
    bars += detection_bars(args.data / "pairs", args.rounds)
    bars += restore_bars(network, VIDEO_FRAMES, args.rounds)
    print_result("faces", bars)


if __name__ == "__main__":
    main()
