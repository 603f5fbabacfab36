"""Faces around any sampler: what Crop Faces and Paste Faces change, take and cost.

`python3 dev.py bench samplers` prints last one line of JSON. Eight faces at 8K, turned by up to 30 degrees, four of
them over the frame's border: the portrait that is always there, placed in known ways, so that no detector has a say.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...engines.host import StandaloneHost
from ...engines.memory import meter
from ...faces.align import corner_bounds, inverse
from ...faces.crops.cut import Cropped, crop_faces
from ...faces.crops.geometry import Cropping, Crops
from ...faces.crops.paste import Pasted, paste_faces
from ...faces.detect.detection import detect_faces
from ...faces.face import Face, Faces
from ...faces.identity.library import ModelLibrary, add_landmarks68
from ...opencv import cv2
from ..portraits import astronaut
from ..result import at_least, at_most, print_result

HEIGHT, WIDTH, FACES = 4320, 7680, 8
DEGREES = (30, -30, 20, 0, -20, 10, -10, 30)
EYES = (330, 240, 150, 290, 200, 120, 290, 330)  # px between the eyes
# Where the faces' middles lie: four in the frame, one over each border.
PLACES = ((1300, 1200), (3000, 1300), (4300, 1000), (6000, 1500), (40, 3300), (2600, 4290), (4700, 60), (7600, 3300))
CHANGE = 10 / 255
INNER = 0.999
NEAR = 0.5 / 255  # of the change that arrives
SETTINGS = {
    "upright, loose": Cropping(),
    "as it lies, loose": Cropping(upright=False),
    "upright, ffhq": Cropping(square="ffhq", size=1024, mask="face and hair"),
    "upright, arcface, square mask": Cropping(square="arcface", size=256, mask="square"),
    "upright, context 2": Cropping(context=2.0, size=768),
}
CPU = torch.device("cpu")

Bars = list[dict[str, Any]]


def scene() -> tuple[torch.Tensor, Faces]:
    """The frame (1, H, W, 3) with its faces, their 68 points included."""
    portrait, host = astronaut(), StandaloneHost("cpu")
    (face,) = detect_faces(torch.from_numpy(portrait)[None], host).frames[0]
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH, 1), np.float32)
    frame = np.repeat(0.4 + 0.1 * noise, 3, 2)
    faces = []
    for degrees, eyes, place in zip(DEGREES, EYES, PLACES, strict=True):
        scale = eyes / float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))
        cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
        linear = np.array([[cosine, -sine], [sine, cosine]])
        shift = np.array(place) - linear @ face.landmarks.mean(0)
        affine = np.column_stack([linear, shift])
        cv2.warpAffine(
            portrait, affine, (WIDTH, HEIGHT), dst=frame, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_TRANSPARENT
        )
        middle, half = linear @ face.box.reshape(2, 2).mean(0) + shift, scale * face.side / 2
        box = np.concatenate([middle - half, middle + half]).astype(np.float32)
        faces.append(Face(0, box, (face.landmarks @ linear.T + shift).astype(np.float32), 1.0))
    # Away from black and white, so that a change of 10 has room everywhere.
    frames = torch.from_numpy(frame.clip(0, 1) * np.float32(0.8) + np.float32(0.1))[None]
    complete = add_landmarks68(frames, faces, ModelLibrary(host=host))
    return frames, Faces((tuple(complete),), HEIGHT, WIDTH)


def bits(frames: torch.Tensor) -> torch.Tensor:
    return frames.view(torch.int32)


def exactness_bars(frames: torch.Tensor, faces: Faces) -> Bars:
    """Crop, nothing, paste; and a change of the whole crop."""
    bars: Bars = []
    host = StandaloneHost("cpu")
    for name, settings in SETTINGS.items():
        cropped = crop_faces(frames, replace(settings, faces=faces), host=host)
        same = paste_faces(frames, cropped.images, cropped.crops, host=host)
        outside = same.mask == 0
        differs = bits(same.frames) != bits(frames)
        inside = float((same.frames - frames).abs().max()) * 255
        changed = paste_faces(frames, cropped.images + CHANGE, cropped.crops, host=host)
        strayed = int((bits(changed.frames) != bits(frames))[changed.mask == 0].sum())
        arrived = (changed.frames - frames)[changed.mask > INNER]
        share = float(((arrived - CHANGE).abs() <= NEAR).all(1).float().mean())
        print(f"{name}: {cropped.crops}, {len(arrived)} inner px, {100 * share:.3f} % take the change", flush=True)
        bars += [
            at_most(f"{name}: values changed outside, nothing between", int(differs[outside].sum()), 0),
            at_most(f"{name}: largest change inside in 1/255, nothing between", round(inside, 4), 0),
            at_least(f"{name}: faces pasted", changed.report.faces, FACES),
            at_least(f"{name}: share of inner pixels that take +10/255", round(share, 5), 0.99),
            at_most(f"{name}: values changed outside by +10/255", strayed, 0),
        ]
    return bars


def region_bytes(crops: Crops) -> int:
    """Bytes of the largest face's region: as it lies in the frame or as its crop, whichever is larger."""
    boxes = [crops.size**2]
    for crop in crops.crops:
        low, high = corner_bounds(inverse(crop.affine), 0, 0, crops.size, crops.size)
        boxes.append(int(np.prod(np.minimum(high, (crops.width, crops.height)) - np.maximum(low, 0))))
    return max(boxes) * 3 * 4


def memory_bars(frames: torch.Tensor, faces: Faces) -> Bars:
    """The peak of both nodes as their reports have it, frames and pictures that come out not counted."""
    bars: Bars = []
    host, sizes = StandaloneHost("cpu"), (512, 1024)
    for size in sizes:
        meter.release_unused(CPU)
        cropped = crop_faces(frames, Cropping(faces, size=size), host=host)
        region = region_bytes(cropped.crops)
        meter.release_unused(CPU)
        changed = cropped.images + CHANGE
        works: dict[str, Pasted | Cropped] = {"crop": cropped}
        works["paste"] = paste_faces(frames, changed, cropped.crops, host=host)
        enlarged = torch.nn.functional.interpolate(changed.permute(0, 3, 1, 2), scale_factor=2).permute(0, 2, 3, 1)
        works["paste, twice as large"] = paste_faces(frames, enlarged.contiguous(), cropped.crops, host=host)
        for name, done in works.items():
            held = max(region, 12 * (2 * size) ** 2) if "large" in name else region
            report = done.report
            print(f"{name} at {size} px: predicted {report.predicted_peak >> 20} MiB", end=", ")
            print(f"measured {report.measured_peak >> 20} MiB, region {held >> 20} MiB", flush=True)
            bars.append(at_most(f"{name} at {size} px: memory in regions", round(report.measured_peak / held, 3), 3.0))
    return bars


def best(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The least seconds of the clock and of the processors over some rounds."""
    measured = []
    for _ in range(rounds):
        begin = time.perf_counter(), time.process_time()
        work()
        measured.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    clock, processors = np.min(measured, 0).tolist()
    return clock, processors


def time_bars(frames: torch.Tensor, faces: Faces, rounds: int) -> Bars:
    """Both nodes on faces that were found, beside the frame's own copy, which any node that changes pixels makes."""
    host = StandaloneHost("cpu")
    cropping = Cropping(faces)
    cropped = crop_faces(frames, cropping, host=host)
    changed = cropped.images + CHANGE
    works: dict[str, Callable[[], object]] = {
        "crop": lambda: crop_faces(frames, cropping, host=host),
        "paste": lambda: paste_faces(frames, changed, cropped.crops, host=host),
        "copy": lambda: (frames.clone(), torch.zeros(frames.shape[:3])),
    }
    spent = {name: best(work, rounds) for name, work in works.items()}
    for name, (clock, processors) in spent.items():
        print(f"{name}: {clock:.3f} s, {processors:.3f} s of the processors", flush=True)
    own = [spent["crop"][kind] + spent["paste"][kind] - spent["copy"][kind] for kind in (0, 1)]
    return [
        at_most("8 faces at 8K, seconds of two processors beside the frame's copy", round(own[1] / 2, 3), 0.3),
        at_most("8 faces at 8K, seconds of the clock beside the frame's copy", round(own[0], 3), 0.3),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    cv2.setNumThreads(2)
    frames, faces = scene()
    bars = memory_bars(frames, faces) + time_bars(frames, faces, args.rounds)
    # What else runs slows both clocks down: on a busy machine only the copy of the frame tells what a second is worth.
    print_result("samplers", bars + exactness_bars(frames, faces), load=round(os.getloadavg()[0], 1))


if __name__ == "__main__":
    main()
