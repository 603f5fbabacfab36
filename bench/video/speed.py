"""Frames a second: beside the same steps on frames that lie in RAM, and beside the usual recipe.

The recipe is what scripts around other programs do: all frames as PNG files, then for each pass (swap, restore) every
picture read, faces detected, one face at a time through the network in full precision, pasted over the whole frame,
and written as PNG again; at the end all are encoded. Its networks are run as such scripts run them: the swapper by
onnxruntime, GFPGAN by the forward of the class that it was published as. Weights, detector and number of threads are
the same in all three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from ...distill.data import read_picture
from ...engines.host import StandaloneHost
from ...engines.memory.budget import GIB, MemoryBudget
from ...engines.network import Model
from ...faces.align import affine_for
from ...faces.detect.detection import detect_faces
from ...faces.face import Face
from ...faces.identity.identity import Identity
from ...faces.identity.people import Person
from ...faces.restore import Restoring, restore_faces
from ...faces.swap.swap import swap_faces
from ...faces.swap.swapper import identity_input, result_of, swapper_for, target_input
from ...faces.swap.task import Networks, Swapping
from ...models.opening import open_model
from ...opencv import cv2
from ...video.pipeline import ClipSettings, process_video
from ...video.steps import RestoreStep, Step, SwapStep
from ..faces.peers import paste_whole_frame
from ..faces.swap_reading import VECTOR
from ..faces.swap_twins import save_deep_swapper
from ..result import at_least
from ..twins import network, reference, save_twin
from . import clips
from .steady import frames_of

HOST = StandaloneHost("cpu")
FRAMES, WIDTH, HEIGHT, SIDE = 12, 1280, 720, 320
ROUNDS = 2
LEAST_OF_RAM, LEAST_OF_RECIPE = 0.9, 2.0
SWAP_SIDE, RESTORE_SIDE = 128, 512  # px
# Takes a frame (H, W, 3) uint8 and the points (5, 2) of a face, and gives the frame with another face.
Pass = Callable[[np.ndarray, np.ndarray], np.ndarray]


def speed(data: Path, folder: Path, frames: int) -> list[dict[str, Any]]:
    """Swap and restore on a 720p clip with one face: a GFPGAN and an inswapper of random weights."""
    count = frames or FRAMES
    (portrait,) = clips.portraits(data / "portraits", 1, SIDE)
    motion, scene = clips.wandering(WIDTH, HEIGHT, SIDE, 5), clips.background(WIDTH, HEIGHT, 5)
    pictures = (clips.frame_of([(portrait, motion)], scene, index) for index in range(count))
    source = clips.write_clip(folder / "speed.mp4", pictures, (WIDTH, HEIGHT))
    swapper = open_model(save_deep_swapper(folder / "swapper.onnx"), host=HOST)
    restorer = open_model(save_twin("GFPGAN", folder / "GFPGANv1.4.pth"), host=HOST)
    person = Person("A", Identity("A", VECTOR.astype(np.float32)))
    networks, budget = Networks(swapper), MemoryBudget(4 * GIB)
    steps: list[Step] = [SwapStep((person,), networks), RestoreStep(restorer)]
    passes = _plain_swap(swapper), _plain_restore()
    warm = ClipSettings(ram=2 * GIB, stop=1, in_frames=True)
    process_video(source, folder / "warm.mp4", steps, budget, HOST, warm)

    def clip() -> None:
        process_video(source, folder / "speed_out.mp4", steps, budget, HOST, ClipSettings(ram=2 * GIB))

    def in_ram() -> None:
        faces = detect_faces(batch, HOST, budget=budget)
        swapped = swap_faces(batch, [person], networks, budget, HOST, Swapping(faces=faces))
        restore_faces(swapped.frames, restorer, budget, HOST, Restoring(faces=faces))

    batch = torch.from_numpy(np.stack(frames_of(source)).astype(np.float32) / 255)
    ways: dict[str, Callable[[], None]] = {
        "clip": clip,
        "in RAM": in_ram,
        "recipe": lambda: _recipe(source, folder, passes),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            spent[name].append(time.perf_counter() - begun)
        print(f"{count} frames: {', '.join(f'{name} {each[-1]:.1f} s' for name, each in spent.items())}", flush=True)
    best = {name: min(each) for name, each in spent.items()}
    return [
        at_least("frames/s of a clip / of frames in RAM", round(best["in RAM"] / best["clip"], 3), LEAST_OF_RAM),
        at_least("frames/s of a clip / of the usual recipe", round(best["recipe"] / best["clip"], 3), LEAST_OF_RECIPE),
    ]


def _plain_swap(model: Model) -> Pass:
    swapper, options = swapper_for(model), onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(model.spec.path, options, providers=["CPUExecutionProvider"])
    source = identity_input(swapper, VECTOR).numpy()[None]

    def swap(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        affine = affine_for(points, "arcface_128", SWAP_SIDE)
        crop = cv2.warpAffine(frame, affine, (SWAP_SIDE, SWAP_SIDE))
        target = target_input(swapper, crop / np.float32(255)).numpy()[None]
        (picture,) = session.run(None, {"target": target, "source": source})
        result = result_of(swapper, (torch.from_numpy(picture[0]),))[..., :3]
        return paste_whole_frame(frame, (result * 255).astype(np.uint8), affine)

    return swap


def _plain_restore() -> Pass:
    """The twin that is saved for ours, by its own class."""
    module = network("GFPGAN")

    def restore(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        affine = affine_for(points, "ffhq_512", RESTORE_SIDE)
        crop = cv2.warpAffine(frame, affine, (RESTORE_SIDE, RESTORE_SIDE))
        batch = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
        result = reference("GFPGAN", module, batch)[0].permute(1, 2, 0).clamp(0, 1).mul(255)
        return paste_whole_frame(frame, result.to(torch.uint8).numpy(), affine)

    return restore


def _recipe(source: Path, folder: Path, passes: Sequence[Pass]) -> None:
    place = folder / "recipe"
    place.mkdir(exist_ok=True)
    paths = []
    for index, picture in enumerate(frames_of(source)):
        paths.append(place / f"{index:05}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    first: dict[Path, tuple[Face, ...]] = {}
    for changed in passes:
        for path in paths:
            frame = read_picture(path)
            found = detect_faces(torch.from_numpy(frame.astype(np.float32)[None] / 255), HOST)
            # What random weights make of a face need not be found again: both passes work on the same faces.
            for face in first.setdefault(path, found.frames[0]):
                frame = changed(frame, face.landmarks.astype(np.float64))
            cv2.imwrite(str(path), frame[..., ::-1])
    if not all(first.values()):
        raise RuntimeError("the recipe found no face in a frame: its time says nothing")
    pictures = (read_picture(path) for path in paths)
    clips.write_clip(folder / "recipe.mp4", pictures, (WIDTH, HEIGHT))
