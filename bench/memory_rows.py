"""The memory bench's other ways in: many frames, detection, fusion, legacy files, many files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..catalog.files import BUNDLED_FILE
from ..engines.backends.torch_backend import blueprint_from_file
from ..engines.host import StandaloneHost
from ..engines.memory.budget import MIB, MemoryBudget
from ..engines.memory.report import Report
from ..faces.draw import draw_faces
from ..faces.face import Faces
from .twins import network, save_twin

UPSCALERS = 8
SIDE = 512  # px of a frame of a film


@dataclass(frozen=True)
class Done:
    """outputs: bytes of what came out, which is the caller's. report: None where the way in fills none."""

    outputs: int
    report: Report | None


# Sets up, not counted, and returns the work to measure. folder: for files that are made.
Prepare = Callable[[MemoryBudget, Path], Callable[[], Done]]


@dataclass(frozen=True)
class Row:
    """budget: MiB. is_long: takes minutes, so it is left to the full bench."""

    name: str
    budget: int
    prepare: Prepare
    is_long: bool = False


def portrait(side: int = SIDE) -> torch.Tensor:
    """(side, side, 3) float32: the astronaut."""
    import cv2
    from skimage import data

    picture = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(picture.astype(np.float32) / 255)


def found_faces(frames: torch.Tensor, turned: bool = False) -> Faces:
    """The one place through which the bench detects."""
    from ..faces.detect.settings import DetectionSettings
    from ..faces.detection import detect_faces

    return detect_faces(frames, StandaloneHost("cpu"), DetectionSettings(turned="always" if turned else "auto"))


def film(count: int) -> Prepare:
    """Restores so many frames of 512 px with the bundled network."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ..faces.restore import restore_faces

        frames, blueprint = portrait().expand(count, -1, -1, -1).contiguous(), blueprint_from_file(BUNDLED_FILE)

        def work() -> Done:
            restored = restore_faces(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(restored.frames.nbytes + restored.mask.nbytes, restored.report)

        return work

    return prepare


def detection(count: int, height: int, width: int, turned: bool = False, preview: bool = False) -> Prepare:
    """Detects, with the pictures that the node draws where that is asked for."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        frames = torch.full((count, height, width, 3), 0.5)
        side = min(height, width)
        frames[:, :side, :side] = portrait(side)

        def work() -> Done:
            faces = found_faces(frames, turned)
            if not preview:
                return Done(0, None)
            pictures = frames.clone()
            for frame, found in zip(pictures, faces.frames, strict=True):
                draw_faces(frame.numpy(), found)
            return Done(pictures.nbytes, None)

        return work

    return prepare


def fusion(height: int, width: int) -> Prepare:
    """Fuses a face into a large frame without a network, with the source's shape."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ..faces.ask import Askable
        from ..faces.people import person_from_picture
        from ..faces.swap import Swapping, swap_faces
        from ..faces.swap_networks import networks_for

        host, source = StandaloneHost("cpu"), portrait()
        person = person_from_picture("A", source.numpy(), found_faces(source[None]).frames[0])
        networks = networks_for(None, Askable(tuple, budget, host))
        frames = torch.full((1, height, width, 3), 0.5)
        side = min(height, width)
        frames[0, :side, :side] = portrait(side)

        def work() -> Done:
            swapped = swap_faces(frames, [person], networks, budget, host, swapping=Swapping(shape=1.0))
            return Done(swapped.frames.nbytes + swapped.mask.nbytes, swapped.report)

        return work

    return prepare


def legacy(name: str) -> Prepare:
    """Restores a face with weights in torch's format of before 1.6."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ..faces.restore import restore_faces

        path, frames = folder / f"{name}.pth", portrait()[None]
        torch.save({"params_ema": network(name).state_dict()}, path, _use_new_zipfile_serialization=False)
        blueprint = blueprint_from_file(path)

        def work() -> Done:
            restored = restore_faces(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(restored.frames.nbytes + restored.mask.nbytes, restored.report)

        return work

    return prepare


def whole(height: int, width: int) -> Prepare:
    """Restores a whole picture in tiles with the bundled network."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ..faces.restore import restore_image

        frames, blueprint = torch.full((1, height, width, 3), 0.5), blueprint_from_file(BUNDLED_FILE)

        def work() -> Done:
            result, report = restore_image(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(result.nbytes, report)

        return work

    return prepare


def many_upscalers(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
    """Enlarges a small picture with one file of ESRGAN after the other, in half precision where that is good."""
    from ..faces.restore import restore_image

    first = save_twin("ESRGAN", folder / "0.pth")
    paths = [folder / f"{index}.pth" for index in range(UPSCALERS)]
    for path in paths[1:]:
        path.write_bytes(first.read_bytes())
    frames = torch.full((1, 64, 64, 3), 0.5)

    def work() -> Done:
        for path in paths:
            result, report = restore_image(frames, blueprint_from_file(path), budget, StandaloneHost("cpu"))
        return Done(result.nbytes, report)

    return work


ROWS = (
    Row("1 frame", 512, film(1)),
    Row("64 frames", 512, film(64)),
    Row("300 frames", 512, film(300), is_long=True),
    Row("detect node, 32 frames of 1080p", 512, detection(32, 1080, 1920, preview=True), is_long=True),
    Row("detect node, 2 frames of 1080p", 512, detection(2, 1080, 1920, preview=True)),
    Row("turned, 8K", 512, detection(1, 4320, 7680, turned=True), is_long=True),
    Row("fusion, 8K, shape 1", 2048, fusion(4320, 7680), is_long=True),
    Row("legacy GFPGAN", 512, legacy("GFPGAN"), is_long=True),
    Row("whole, 12000 x 8000", 1024, whole(8000, 12000), is_long=True),
    Row("ESRGAN x4, 8 files", 512, many_upscalers),
)


def row(name: str) -> Row:
    return next(each for each in ROWS if each.name == name)


def budget_of(each: Row) -> MemoryBudget:
    return MemoryBudget(each.budget * MIB)
