"""Frames a second: beside the same steps on frames that lie in RAM, and beside the usual recipe.

The recipe is what scripts around other programs do: all frames as PNG files, then for each pass (swap, restore) every
picture read, faces detected, one face at a time through the network in full precision, pasted over the whole frame,
and written as PNG again; at the end all are encoded. Weights and detector are the same in all three.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...distill.data import read_picture
from ...engines.host import StandaloneHost
from ...engines.job import Options
from ...engines.memory.budget import GIB, MemoryBudget
from ...faces.detect.detection import detect_faces
from ...faces.face import Faces
from ...faces.identity.identity import Identity
from ...faces.identity.people import Person
from ...faces.restore import Restoring, restore_faces
from ...faces.swap.swap import swap_faces
from ...faces.swap.task import Networks, Swapping
from ...models.opening import open_model
from ...opencv import cv2
from ...video.pipeline import ClipSettings, process_video
from ...video.steps import RestoreStep, Step, SwapStep
from ..faces.peers import paste_whole_frame
from ..faces.swap_reading import VECTOR
from ..faces.swap_twins import save_deep_swapper
from ..result import at_least
from ..twins import save_twin
from . import clips
from .steady import frames_of

HOST = StandaloneHost("cpu")
FRAMES, WIDTH, HEIGHT, SIDE = 12, 1280, 720, 320
LEAST_OF_RAM, LEAST_OF_RECIPE = 0.9, 2.0
FULL = Options("fp32")


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
    settings = ClipSettings(ram=2 * GIB)
    warm = ClipSettings(ram=2 * GIB, stop=1, in_frames=True)
    process_video(source, folder / "warm.mp4", steps, budget, HOST, warm)

    begun = time.perf_counter()
    process_video(source, folder / "speed_out.mp4", steps, budget, HOST, settings)
    ours = time.perf_counter() - begun

    batch = torch.from_numpy(np.stack(frames_of(source)).astype(np.float32) / 255)
    begun = time.perf_counter()
    faces = detect_faces(batch, HOST, budget=budget)
    swapped = swap_faces(batch, [person], networks, budget, HOST, Swapping(faces=faces))
    restore_faces(swapped.frames, restorer, budget, HOST, Restoring(faces=faces))
    in_ram = time.perf_counter() - begun

    begun = time.perf_counter()
    _recipe(source, folder, person, networks, restorer)
    recipe = time.perf_counter() - begun
    print(f"{count} frames: clip {ours:.1f} s, in RAM {in_ram:.1f} s, recipe {recipe:.1f} s", flush=True)
    return [
        at_least("frames/s of a clip / of frames in RAM", round(in_ram / ours, 3), LEAST_OF_RAM),
        at_least("frames/s of a clip / of the usual recipe", round(recipe / ours, 3), LEAST_OF_RECIPE),
    ]


def _recipe(source: Path, folder: Path, person: Person, networks: Networks, restorer: Any) -> None:
    place = folder / "recipe"
    place.mkdir()
    paths = []
    for index, picture in enumerate(frames_of(source)):
        paths.append(place / f"{index:05}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    for swap in (True, False):
        for path in paths:
            frame = torch.from_numpy(read_picture(path).astype(np.float32)[None] / 255)
            found = detect_faces(frame, HOST)
            for face in found.frames[0]:
                alone = Faces(((face,),), found.height, found.width)
                if swap:
                    frame = swap_faces(frame, [person], networks, host=HOST,
                                       swapping=Swapping(faces=alone, options=FULL)).frames  # fmt: skip
                else:
                    frame = restore_faces(frame, restorer, host=HOST,
                                          restoring=Restoring(faces=alone, options=FULL)).frames  # fmt: skip
                whole = np.rint(frame[0].numpy() * 255).astype(np.uint8)
                paste_whole_frame(whole, whole[:512, :512], np.eye(2, 3))
            cv2.imwrite(str(path), np.rint(frame[0].numpy() * 255).astype(np.uint8)[..., ::-1])
    pictures = (read_picture(path) for path in paths)
    clips.write_clip(folder / "recipe.mp4", pictures, (WIDTH, HEIGHT))
