"""Wrong values for everything that a workflow or a program can set: numbers, words, pictures, masks and faces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.host import StandaloneHost
from ...engines.job import Options
from ...engines.memory.budget import MemoryBudget, budget_from_gib, parse_bytes
from ...engines.network import Model
from ...faces.detect.settings import DetectionSettings
from ...faces.face import Face, Faces
from ...faces.identity.identity import DIMENSION, Identity, combined, identity_path, saved_identity
from ...faces.identity.people import person_from_picture
from ...faces.identity.select import Choice, parse_indices, select
from ...faces.masks.face_masks import MaskChoice, face_masks
from ...faces.restore import Restoring, restore_faces, restore_image
from ...faces.swap.swap import swap_faces
from ...faces.swap.task import Networks, Swapping
from ...models.opening import Opening, open_model
from .case import Case

NUMBERS: tuple[Any, ...] = (math.nan, math.inf, -math.inf, -1, -0.5, 1e300, 1 << 70)
OTHERS: tuple[Any, ...] = ("x", None, [], {}, b"\0")
WORDS: tuple[Any, ...] = ("", "x", "\ud800", "../" * 50, 7, None, [], ["auto"], {})
SIDE = 64


def cases(folder: Path) -> Iterator[Case]:
    yield from _settings()
    yield from _texts(folder)
    host = StandaloneHost("cpu")
    network = open_model(BUNDLED_FILE, BUNDLED_FILE.name, host)
    yield from _pictures(network, host)
    yield from _faces(network, host)


def _settings() -> Iterator[Case]:
    kinds: dict[Callable[..., Any], tuple[tuple[str, ...], tuple[str, ...]]] = {
        Options: (("tile", "overlap", "fidelity"), ("precision",)),
        MemoryBudget: (("limit",), ("mode", "on_low_memory")),
        DetectionSettings: (("score", "max_faces", "min_face", "max_face"), ("detector", "turned")),
        Swapping: (("strength", "colour", "boost", "shape", "texture"), ("people",)),
        Choice: (("score", "count", "likeness", "youngest", "oldest"), ("order", "gender")),
        _masked: (("feather", "top"), ("areas", "regions")),
    }
    for kind, (numbers, words) in kinds.items():
        wrong = [(name, value) for name in numbers for value in (*NUMBERS, *OTHERS)]
        wrong += [(name, value) for name in words for value in WORDS]
        for name, value in wrong:
            yield Case(f"{kind.__name__}({name}={value!r})", partial(kind, **{name: value}))
    for value in (*NUMBERS, *OTHERS):
        yield Case(f"budget of {value!r} GiB", partial(budget_from_gib, value, "auto", "degrade", True))


def _masked(**wrong: Any) -> torch.Tensor:
    if "top" in wrong:
        wrong["padding"] = (wrong.pop("top"), 0.0, 0.0, 0.0)
    return face_masks(faces_of(), MaskChoice(**wrong))


def _texts(folder: Path) -> Iterator[Case]:
    texts = ("", "x", "0-", "-1", "0-99999999999", "9" * 5000, "\ud800", "1:2:3", ":", "0:", ",,,", "0:A,0:B")
    for text in texts:
        yield Case(f"numbers {text[:20]!r}", partial(parse_indices, text))
        yield Case(f"people {text[:20]!r}", partial(Swapping, people=text))
        yield Case(f"bytes {text[:20]!r}", partial(parse_bytes, text))
        yield Case(f"identity {text[:20]!r}", partial(saved_identity, text, [folder]))
        yield Case(f"a path for {text[:20]!r}", partial(identity_path, text, folder))
    for text in ("..", "/etc/passwd", "a/b", "CON", "n" * 300, "面" * 100):
        yield Case(f"identity {text[:20]!r}", partial(saved_identity, text, [folder]))
        yield Case(f"a path for {text[:20]!r}", partial(identity_path, text, folder))
    for value in (0.0, math.nan, math.inf, 1e-30, 1e30):
        yield Case(f"a vector of {value}", partial(Identity, "a", np.full(DIMENSION, value, np.float32)))
    parts = [Identity(name, np.linspace(-1, 1, DIMENSION, dtype=np.float32)) for name in "ab"]
    for weights in ([0, 0], [math.nan, 1], [math.inf, 1], [1e300, 1e300], [-1, 1], [1], []):
        yield Case(f"blended {weights}", partial(combined, "c", parts, "mean", weights))
    yield Case("blended of nobody", partial(combined, "c", []))
    yield Case("blended in no way", partial(combined, "c", parts, "x"))  # type: ignore[arg-type]


def _frames() -> dict[str, torch.Tensor]:
    shapes: list[tuple[int, ...]] = [(0, 8, 8, 3), (1, 0, 8, 3), (1, 8, 0, 3), (1, 1, 1, 3), (1, 1, 300, 3)]
    shapes += [(2, 8, 8, 1), (1, 8, 8, 2)]
    shapes += [(1, 8, 8, 5), (1, 8, 8, 4), (8, 8, 3), (8, 8), (8,), (), (1, 1, 8, 8, 3)]
    found = {str(shape): torch.full(shape, 0.5) for shape in shapes}
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.float64, torch.float16, torch.uint8, torch.uint16):
        found[str(dtype)] = torch.ones(1, 16, 16, 3).to(dtype)
    for value in (math.nan, math.inf, -1e30, 1e30):
        found[f"all {value}"] = torch.full((1, 16, 16, 3), value)
    found["strided"] = torch.rand(1, 3, 32, 32).permute(0, 2, 3, 1)[:, ::2, ::2]
    found["wanting gradients"] = torch.rand(1, 16, 16, 3, requires_grad=True)
    return found


def _pictures(network: Model, host: StandaloneHost) -> Iterator[Case]:
    budget = MemoryBudget()
    for name, frames in _frames().items():
        yield Case(f"faces in {name}", partial(restore_faces, frames, network, budget, host))
        yield Case(f"image {name}", partial(restore_image, frames, network, budget, host))
        yield Case(f"swap in {name}", partial(swap_faces, frames, [], Networks(), budget, host))
    good = torch.rand(1, SIDE, SIDE, 3)
    for tile, overlap in ((1, 0), (1 << 40, 0), (32, 1 << 40), (33, 31)):
        options = Options(tile=tile, overlap=overlap)
        yield Case(f"tile {tile}, overlap {overlap}", partial(restore_image, good, network, budget, host, options))
    yield Case("a budget of a byte", partial(restore_image, good, network, MemoryBudget(1), host))


def face(box: tuple[float, ...] = (8, 8, 56, 56), shift: float = 0.0, points: int = 5, frame: int = 0) -> Face:
    eyes = [[24, 28], [40, 28], [32, 36], [26, 44], [38, 44]]
    landmarks = np.array(eyes[:points], np.float32) + np.float32(shift)
    return Face(frame, np.array(box, np.float32), landmarks, 0.9)


def faces_of(*found: Face, side: int = SIDE) -> Faces:
    return Faces((found or (face(),),), side, side)


def _faces(network: Model, host: StandaloneHost) -> Iterator[Case]:
    still = face()
    still.landmarks[:] = 30
    wrong = {
        "good": faces_of(),
        "another size": faces_of(side=32),
        "another length": Faces(((face(),), (face(),)), SIDE, SIDE),
        "none": Faces(((),), SIDE, SIDE),
        "no frames": Faces((), SIDE, SIDE),
        "no numbers": faces_of(face(shift=math.nan)),
        "endless": faces_of(face(shift=math.inf)),
        "far away": faces_of(face(shift=1e6)),
        "one point": faces_of(still),
        "four points": faces_of(face(points=4)),
        "a box inside out": faces_of(face((56, 56, 8, 8))),
        "a box of no numbers": faces_of(face((math.nan,) * 4)),
        "a box of nothing": faces_of(face((8, 8, 8, 8))),
        "another frame's": faces_of(face(frame=7)),
    }
    frames = torch.rand(1, SIDE, SIDE, 3)
    for name, faces in wrong.items():
        yield Case(f"restored, {name}", _restored(frames, network, host, faces=faces))
        yield Case(f"selected, {name}", partial(select, faces, Choice(order="large", count=1)))
        yield Case(f"masked, {name}", partial(face_masks, faces, MaskChoice()))
        yield Case(f"a person, {name}", partial(_person, faces))
        yield Case(f"swapped, {name}", partial(_swapped, frames, faces, host))
    masks = [torch.ones(shape) for shape in ((SIDE, SIDE), (5, SIDE, SIDE), (1, 64, 32), (1, 0, 0), (0, SIDE, SIDE))]
    masks += [torch.ones(1, 1, SIDE, SIDE), torch.full((1, SIDE, SIDE), math.nan), torch.ones(()), torch.ones(3)]
    for mask in masks:
        name = f"{tuple(mask.shape)}, {mask.sum():g}"
        yield Case(f"masked by {name}", _restored(frames, network, host, faces=faces_of(), mask=mask))
        yield Case(f"laid by {name}", partial(face_masks, faces_of(), MaskChoice(), user=mask))
    for value in (*NUMBERS, *OTHERS):
        yield Case(f"strength {value!r}", _restored(frames, network, host, faces=faces_of(), strength=value))
    for word in WORDS:
        yield Case(f"engine {word!r}", partial(Opening, word))


def _restored(frames: torch.Tensor, network: Model, host: StandaloneHost, **wrong: Any) -> Callable[[], object]:
    return lambda: restore_faces(frames, network, MemoryBudget(), host, Restoring(**wrong))


def _person(faces: Faces) -> object:
    picture = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    return person_from_picture("a", picture, [each for of_frame in faces.frames for each in of_frame])


def _swapped(frames: torch.Tensor, faces: Faces, host: StandaloneHost) -> object:
    person = _person(faces_of())
    return swap_faces(frames, [person], Networks(), MemoryBudget(), host, Swapping(faces=faces))  # type: ignore[list-item]
