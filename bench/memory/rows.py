"""The memory bench's other ways in: many frames, detection, fusion, legacy files, many files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.host import StandaloneHost
from ...engines.job import Options
from ...engines.memory.budget import MIB, MemoryBudget
from ...engines.memory.report import Report
from ...faces.detect.settings import DEFAULT_DETECTION, DetectionSettings
from ...faces.draw import Shown, draw_faces
from ...models.torch_model import torch_model
from ..twins import save_recogniser_twin, save_twin

UPSCALERS = 8
SIDE = 512  # px of a frame of a film


@dataclass(frozen=True)
class Done:
    """outputs: bytes of what came out, which is the caller's. report: what it said of itself."""

    outputs: int
    report: Report


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


def film(count: int) -> Prepare:
    """Restores so many frames of 512 px with the bundled network, one face in each."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.restore import restore_faces

        frames, blueprint = portrait().expand(count, -1, -1, -1).contiguous(), torch_model(BUNDLED_FILE)

        def work() -> Done:
            restored = restore_faces(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(restored.frames.nbytes + restored.mask.nbytes, restored.report)

        return work

    return prepare


def with_portrait(count: int, height: int, width: int) -> torch.Tensor:
    """(count, height, width, 3) float32: a face on grey, as high as the frame."""
    frames = torch.full((count, height, width, 3), 0.5)
    side = min(height, width)
    frames[:, :side, :side] = portrait(side)
    return frames


def detection(
    count: int,
    height: int,
    width: int,
    settings: DetectionSettings = DEFAULT_DETECTION,
    preview: bool = False,
    side: int = 0,
) -> Prepare:
    """Detects as the node does, with the pictures that it draws and sends to the page where that is asked for.

    side: px of each of many faces that fill a frame; 0 for one face as high as the frame.
    """

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.detect.detection import detect_faces

        frames = crowd(height, width, side) if side else with_portrait(count, height, width)

        def work() -> Done:
            report = Report()
            report.begin(budget)
            faces = detect_faces(frames, StandaloneHost("cpu"), settings, budget, report)
            if not preview:
                return Done(0, report)
            pictures = frames.clone()
            for picture, found in zip(pictures, faces.frames, strict=True):
                draw_faces(picture.numpy(), found)
            for index in range(len(shown := Shown(pictures))):
                shown[index]
            return Done(pictures.nbytes, report)

        return work

    return prepare


def identity(count: int) -> Prepare:
    """Makes one identity from the faces of so many frames of 512 px, with a small network in the recogniser's place."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.detect.detection import detect_faces
        from ...faces.identity.identity import identity_from_faces
        from ...faces.identity.library import ModelLibrary, add_embeddings
        from ...models.library import search

        save_recogniser_twin(folder / "recogniser.onnx")
        host, frames = StandaloneHost("cpu"), with_portrait(count, SIDE, SIDE)

        def work() -> Done:
            report = Report()
            report.begin(budget)
            faces = detect_faces(frames, host, DEFAULT_DETECTION, budget, report)
            found = [face for of_frame in faces.frames for face in of_frame]
            identity_from_faces(
                "A", add_embeddings(frames, found, ModelLibrary(lambda: search([folder]), budget, host, report=report))
            )
            return Done(0, report)

        return work

    return prepare


def fusion(height: int, width: int) -> Prepare:
    """Fuses a face into a large frame without a network, with the source's shape."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.detect.detection import detect_faces
        from ...faces.identity.library import ModelLibrary
        from ...faces.identity.people import person_from_picture
        from ...faces.swap.networks import networks_for
        from ...faces.swap.swap import swap_faces
        from ...faces.swap.task import Swapping

        host, source = StandaloneHost("cpu"), portrait()
        person = person_from_picture("A", source.numpy(), detect_faces(source[None], host).frames[0])
        networks = networks_for(None, ModelLibrary(tuple, budget, host))
        frames = with_portrait(1, height, width)

        def work() -> Done:
            swapped = swap_faces(frames, [person], networks, budget, host, Swapping(shape=1.0))
            return Done(swapped.frames.nbytes + swapped.mask.nbytes, swapped.report)

        return work

    return prepare


def legacy(name: str) -> Prepare:
    """Restores a face with weights in torch's format of before 1.6."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.restore import restore_faces

        frames, blueprint = portrait()[None], torch_model(save_twin(name, folder / f"{name}.pth", legacy=True))

        def work() -> Done:
            restored = restore_faces(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(restored.frames.nbytes + restored.mask.nbytes, restored.report)

        return work

    return prepare


def whole(height: int, width: int) -> Prepare:
    """Restores a whole picture in tiles with the bundled network."""

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.restore import restore_image

        frames, blueprint = torch.full((1, height, width, 3), 0.5), torch_model(BUNDLED_FILE)

        def work() -> Done:
            result, report = restore_image(frames, blueprint, budget, StandaloneHost("cpu"))
            return Done(result.nbytes, report)

        return work

    return prepare


def many_upscalers(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
    """Enlarges a small picture with one file of ESRGAN after the other, in half precision where that is good."""
    from ...faces.restore import restore_image

    first = save_twin("ESRGAN", folder / "0.pth")
    paths = [folder / f"{index}.pth" for index in range(UPSCALERS)]
    for path in paths[1:]:
        path.write_bytes(first.read_bytes())
    frames = torch.full((1, 64, 64, 3), 0.5)

    def work() -> Done:
        for path in paths:
            result, report = restore_image(frames, torch_model(path), budget, StandaloneHost("cpu"))
        return Done(result.nbytes, report)

    return work


def half_precision(height: int, width: int, onednn: bool = True) -> Prepare:
    """Restores a picture in bf16, asked for by name whatever the CPU.

    onednn: without it torch convolves as on a CPU for which oneDNN has no bf16.
    """

    def prepare(budget: MemoryBudget, folder: Path) -> Callable[[], Done]:
        from ...faces.restore import restore_image

        torch.backends.mkldnn.set_flags(onednn)  # of this process, which does one row
        frames, blueprint = torch.full((1, height, width, 3), 0.5), torch_model(BUNDLED_FILE)

        def work() -> Done:
            options = Options(precision="bf16")
            result, report = restore_image(frames, blueprint, budget, StandaloneHost("cpu"), options)
            return Done(result.nbytes, report)

        return work

    return prepare


def crowd(height: int, width: int, side: int) -> torch.Tensor:
    """(1, height, width, 3) float32: as many faces as there is room for, each in a square of `side` px."""
    small = portrait(side)
    tiled = small.repeat(-(-height // side), -(-width // side), 1)
    return tiled[None, :height, :width].contiguous()


TURNED, SMALL_FACES = DetectionSettings(turned="always"), DetectionSettings(min_face=12)
HD, QHD, UHD = (1080, 1920), (2160, 3840), (4320, 7680)
TURNED_SMALL = DetectionSettings(turned="always", min_face=24)

ROWS = (
    Row("1 frame", 512, film(1)),
    Row("64 frames", 512, film(64), is_long=True),
    Row("300 frames", 512, film(300), is_long=True),
    Row("detect node, 32 frames of 1080p, previews", 512, detection(32, *HD, preview=True), is_long=True),
    Row("detect node, 2 frames of 1080p, previews", 512, detection(2, *HD, preview=True)),
    Row("detect, turned, 8K", 512, detection(1, *UHD, TURNED), is_long=True),
    Row("detect, min_face 12, 8K", 512, detection(1, *UHD, SMALL_FACES), is_long=True),
    Row("detect, turned, min_face 24, 4K", 512, detection(1, *QHD, TURNED_SMALL), is_long=True),
    Row("detect, crowd of 40, 1080p", 512, detection(1, *HD, side=216)),
    Row("detect, crowd of 300, 4K", 512, detection(1, *QHD, side=160), is_long=True),
    Row("detect, 150 frames of 512 px", 512, detection(150, 512, 512), is_long=True),
    Row("identity of 8 frames", 512, identity(8)),
    Row("fusion, 8K, shape 1", 2048, fusion(*UHD), is_long=True),
    # In fp32, which is what a CPU without bf16 takes, the weights alone are 330 MiB.
    Row("legacy GFPGAN", 1024, legacy("GFPGAN"), is_long=True),
    Row("whole, 12000 x 8000", 512, whole(8000, 12000), is_long=True),
    Row("ESRGAN x4, 8 files", 512, many_upscalers),
    Row("bf16 asked for", 512, half_precision(256, 256)),
    Row("bf16 asked for, without oneDNN", 512, half_precision(256, 256, onednn=False), is_long=True),
)


def row(name: str) -> Row:
    return next(each for each in ROWS if each.name == name)


def budget_of(each: Row) -> MemoryBudget:
    return MemoryBudget(each.budget * MIB)
