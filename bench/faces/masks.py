"""What masks keep: a bar before half of a face stays as it was, and feathers are as wide, for the face, at every size.

`python3 dev.py bench masks` prints last one line of JSON. The occluder is one that tells the bar by its green, at
the size and with the layout of the public one (XSeg): measured is all that is done with its answer.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ...catalog.cards import CARDS
from ...catalog.files import BUNDLED_FILE
from ...distill.degrade import degrade
from ...engines.host import StandaloneHost
from ...engines.memory.budget import MemoryBudget
from ...engines.network import Tensors
from ...faces import align
from ...faces.detect.detection import detect_faces
from ...faces.detect.settings import DetectionSettings
from ...faces.face import Face, Faces
from ...faces.masks import soft as masks
from ...faces.masks.face_masks import TEMPLATE, MaskChoice, MaskNetwork, MaskNetworks, face_masks
from ...faces.paste import Canvas
from ...faces.restore import Restoring, restore_faces
from ...models.torch_model import torch_model
from ...opencv import cv2
from ..portraits import DEMO_DAMAGE, astronaut
from ..result import at_least, at_most, print_result

SIZES = (1, 2, 4)  # times the portrait's own
FACE_SIDES = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
BAR_COLOUR = (0.15, 0.8, 0.2)
BAR_NOISE = 0.14  # either way at most: a restorer takes it away, and yet every pixel of the bar is green
GREEN = 0.3  # that a pixel of the bar has more than red and blue
FEATHER = 0.05


def bar_occluder() -> MaskNetwork:
    """Says of each pixel of a crop whether it is not the bar."""
    card = CARDS["xseg"]

    def infer(items: Iterable[Tensors]) -> Iterator[Tensors]:
        for (crop,) in items:
            green = crop[..., 1:2] - torch.maximum(crop[..., :1], crop[..., 2:])
            yield ((green < GREEN).float(),)

    return MaskNetwork(card, infer)


def occluded_portrait(times: int) -> tuple[torch.Tensor, Faces, np.ndarray]:
    """A damaged portrait with a bar over the right half of its face, the face as it was before, where the bar is."""
    whole = astronaut()
    side = len(whole) * times
    picture = cv2.resize(whole, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    picture = degrade(picture, DEMO_DAMAGE, 1)
    faces = detect_faces(torch.from_numpy(picture)[None], StandaloneHost("cpu"), DetectionSettings(max_faces=1))
    x0, y0, x1, y1 = np.rint(faces.frames[0][0].box).astype(int)
    bar = np.zeros(picture.shape[:2], bool)
    reach = (y1 - y0) // 2
    bar[max(0, y0 - reach) : y1 + reach, (x0 + x1) // 2 : x1 + reach] = True
    noise = np.random.default_rng(1).uniform(-BAR_NOISE, BAR_NOISE, picture.shape)
    picture[bar] = (np.array(BAR_COLOUR) + noise)[bar].clip(0, 1)
    return torch.from_numpy(picture.astype(np.float32))[None], faces, bar


def decibels(first: np.ndarray, second: np.ndarray) -> float:
    """The peak signal to noise ratio of pixels 0..1; 99 where nothing differs."""
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return 99.0 if error < 1e-10 else round(-10 * math.log10(error), 1)


def occlusion_bars(times: int) -> list[dict[str, object]]:
    """How far the bar stays, under the bundled restorer and under one that changes every pixel, and how much of the
    free half is still restored."""
    frames, faces, bar = occluded_portrait(times)
    mask = face_masks(faces, MaskChoice(occlusion=True, feather=FEATHER), frames, MaskNetworks(bar_occluder()))
    given, limit = frames[0].numpy(), mask[0].numpy()
    blueprint, budget, host = torch_model(BUNDLED_FILE), MemoryBudget(), StandaloneHost("cpu")
    plain = restore_faces(frames, blueprint, budget, host, Restoring(faces=faces))
    masked = restore_faces(frames, blueprint, budget, host, Restoring(faces=faces, mask=mask)).frames[0].numpy()
    without = plain.frames[0].numpy()
    negative, bare = (negated(given, faces.frames[0][0], each) for each in (limit, np.ones_like(limit)))
    touched = plain.mask[0].numpy() > 0
    hidden, free = bar & touched, ~bar & touched
    box = faces.frames[0][0].box
    name = f"face of {round(float(box[2] - box[0]))} px"
    print(f"{name}: without a mask {decibels(without[hidden], given[hidden])} dB are left of the bar under the bundled")
    print(f"    restorer and {decibels(bare[hidden], given[hidden])} dB under the one that changes all", flush=True)
    share = float(np.abs(masked - given)[free].sum() / np.abs(without - given)[free].sum())
    return [
        at_least(f"{name}, bundled restorer: dB of the occluded pixels", decibels(masked[hidden], given[hidden]), 40),
        at_least(f"{name}, every pixel changed: dB of the same", decibels(negative[hidden], given[hidden]), 40),
        at_least(f"{name}: part of the free half's change that is left", round(share, 3), 0.6),
    ]


def negated(frame: np.ndarray, face: Face, mask: np.ndarray) -> np.ndarray:
    """The frame with its face turned into a negative where a mask (H, W) lets it."""
    result, size = frame.copy(), 512
    affine = align.affine_for(face.landmarks, TEMPLATE, size)
    Canvas(result, mask).paste(1 - align.crop_face(frame, affine, size), affine, masks.crop_mask(size))
    return result


def feather_part(side: int, choice: MaskChoice) -> float:
    """Width of a mask's fall at a face's bar as a part of the face's crop of `side` px in the frame."""
    margin = side // 8
    length = side + 2 * margin
    points = align.template_points(TEMPLATE, side) + margin
    box = np.array([margin, margin, margin + side, margin + side], np.float32)
    faces = Faces(((Face(0, box, points.astype(np.float32), 1.0),),), length, length)
    frame = torch.zeros(1, length, length, 3)
    frame[:, :, length // 2 :] = torch.tensor(BAR_COLOUR)
    row = face_masks(faces, choice, frame, MaskNetworks(bar_occluder()))[0, length // 2].numpy()
    falling = row[int(np.flatnonzero(row > 0.999)[-1]) :]
    low, high = np.interp([-0.875, -0.125], -falling, np.arange(len(falling)))
    return float(high - low) / side


def feather_bar() -> dict[str, object]:
    """The largest difference of that part from its mean."""
    choice = MaskChoice(occlusion=True, feather=FEATHER)
    parts = np.array([feather_part(side, choice) for side in FACE_SIDES])
    print("feather / face:", dict(zip(FACE_SIDES, parts.round(4).tolist(), strict=True)), flush=True)
    spread = round(float(np.abs(parts / parts.mean() - 1).max()), 4)
    return at_most(f"feather / face from {FACE_SIDES[0]} to {FACE_SIDES[-1]} px, largest deviation", spread, 0.05)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    bars = [bar for times in SIZES for bar in occlusion_bars(times)]
    print_result("masks", [*bars, feather_bar()])


if __name__ == "__main__":
    main()
