"""`slimfusion video`: clips of any length from file to file, restored, swapped or enlarged in one pass."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..catalog.files import BUNDLED, model_path
from ..errors import ClipError, OutputError, SettingError
from .batch import exit_status, for_each
from .models import searched_folders
from .options import askable_from, budget_from, detection_from, picture_options
from .pictures import check_writable, counted, expanded
from .progress import ProgressBar
from .swap import person_from

if TYPE_CHECKING:
    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..faces.identity.library import ModelLibrary
    from ..video.pipeline import ClipSettings
    from ..video.steps import Step

    # Takes a clip and the place of its result; gives the report for programs and for people.
    Work = Callable[[Path, Path], tuple[dict[str, Any], str]]

CLIPS = "clips, folders of clips, folders of numbered pictures, or patterns such as 'takes/*.mp4'"
ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".mxf")
MINUTE = 60


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "video",
        parents=[picture_options()],
        help="restore, swap or enlarge clips of any length",
        description="Takes clips through the steps that are named, in this order: --swap, --restore, --whole. Without "
        "any, faces are restored. Sound, subtitles and all times stay. Swap only people who agreed to it.",
    )
    parser.add_argument("sources", nargs="+", metavar="IN", help=CLIPS)
    parser.add_argument("out", type=Path, metavar="OUT", help="the clip to write, or a folder for several")
    steps = parser.add_argument_group("steps")
    steps.add_argument("--swap", action="append", default=[], metavar="WHO", help="put this person into faces: a "
                       "picture with one face, or an identity; several are A, B, C ... for --people")  # fmt: skip
    steps.add_argument("--people", default="", metavar="MAP", help="which track becomes whom, such as '0:A, 2:B'; "
                       "without, all become A. --scan shows the tracks")  # fmt: skip
    steps.add_argument("--swap-model", default="", metavar="FILE", help="a swap model; without, faces are blended")
    steps.add_argument("--restore", nargs="?", const=BUNDLED, metavar="MODEL", help="restore faces; without a file, "
                       "by the bundled network")  # fmt: skip
    steps.add_argument("--whole", metavar="MODEL", help="run an image network such as an upscaler over whole frames")
    steps.add_argument("--strength", type=float, default=1.0, help="0 to 1, how much of the new faces")
    steps.add_argument("--fidelity", type=float, default=0.5, help="0 sharp to 1 faithful, where known")
    steps.add_argument("--tracks", default="", help="which tracks are restored, such as '0, 2'; without, all")
    clip = parser.add_argument_group("clip")
    clip.add_argument("--from", dest="start", default="", metavar="T", help="begin at 12.5, 1:02.5 or frame 300f")
    clip.add_argument("--to", dest="stop", default="", metavar="T", help="end before that time or frame")
    clip.add_argument("--codec", default="source", help="source, h264, h265, av1, vp9, prores or ffv1")
    clip.add_argument("--crf", type=int, help="quality, 0 best to 63; without, the codec's usual one")
    clip.add_argument("--steadiness", type=float, default=0.5, help="0 to 1, how far faces are kept from trembling")
    clip.add_argument("--ram", default="auto", help="RAM for frames, and on the CPU for networks, such as 2GiB (a "
                      "quarter of what is free)")  # fmt: skip
    clip.add_argument(
        "--rate", type=Fraction, default=Fraction(24), help="frames a second of a folder of pictures (24)"
    )
    clip.add_argument("--scan", action="store_true", help="only look: who is in the clip, as a table, and in OUT as "
                      "JSON and one picture")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Works on every clip that was named; one that fails is named and the rest goes on."""
    from ..engines.host import StandaloneHost

    pairs, budget = pairs_from(args), budget_from(args)
    check_writable([target for _, target in pairs] + ([expanded(args.report)] if args.report else []))
    bar = RateBar(len(pairs))
    host = StandaloneHost(args.device, bar)
    work = work_from(args, budget, host, bar)
    reports: dict[str, Any] = {}

    def report_on(source: Path, target: Path) -> str:
        reports[str(source)], text = work(source, target)
        return text

    failed = for_each(pairs, bar, report_on)
    if args.report:
        write_json(expanded(args.report), reports)
    return exit_status(failed, len(pairs))


def work_from(args: argparse.Namespace, budget: MemoryBudget, host: StandaloneHost, bar: ProgressBar) -> Work:
    """What is done with each clip. Raises SettingError, ModelFileError, FacesError, ImageError."""
    from ..video.pipeline import process_video
    from ..video.scan import scan_video

    library = askable_from(args, budget, host)
    settings = settings_from(args, library, bar)

    def scan(source: Path, target: Path) -> tuple[dict[str, Any], str]:
        result = scan_video(source, budget, host, settings)
        write_json(target, result.as_dict())
        write_sheet(target.with_suffix(".png"), result.sheet())
        return result.as_dict(), result.as_text()

    if args.scan:
        return scan
    steps = steps_from(args, library)

    def process(source: Path, target: Path) -> tuple[dict[str, Any], str]:
        report = process_video(source, target, steps, budget, host, settings)
        return report.as_dict(), report.as_text()

    return process


def settings_from(args: argparse.Namespace, library: ModelLibrary, bar: ProgressBar) -> ClipSettings:
    from ..engines.memory.budget import parse_bytes
    from ..video.pipeline import ClipSettings

    start, start_frames = moment_from(args.start or "0")
    stop, stop_frames = moment_from(args.stop) if args.stop else (None, start_frames)
    if args.start and args.stop and start_frames != stop_frames:
        raise SettingError("--from and --to must both be times or both be frames.")

    def say(sentence: str) -> None:
        bar.clear()
        print(f"slimfusion: {sentence}", file=sys.stderr)

    return ClipSettings(
        args.codec, args.crf, start, stop, start_frames if args.start else stop_frames, args.steadiness, args.resume,
        None if args.ram == "auto" else parse_bytes(args.ram), args.rate, detection_from(args, library), say,
    )  # fmt: skip


def moment_from(text: str) -> tuple[float, bool]:
    """Seconds from "12.5" or "1:02:03.5", or a frame from "300f", and whether it is a frame. Raises SettingError."""
    with contextlib.suppress(ValueError):
        if text.endswith("f"):
            return float(int(text[:-1])), True
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * MINUTE + float(part)
        return seconds, False
    raise SettingError(f"{text[:40]!r} is no time. Write seconds such as 12.5 or 1:02.5, or a frame such as 300f.")


def steps_from(args: argparse.Namespace, library: ModelLibrary) -> list[Step]:
    """The steps in their order. Raises SettingError, ModelFileError, FacesError, ImageError."""
    from ..engines.job import Options
    from ..faces.restore import Restoring
    from ..faces.swap.networks import networks_for
    from ..faces.swap.task import Swapping
    from ..models.opening import Opening, open_model
    from ..video.steps import ImageStep, RestoreStep, SwapStep

    options = Options(args.precision, fidelity=args.fidelity)

    def network(name: str) -> Any:
        path = model_path(name, searched_folders(args.models))
        return open_model(path, host=library.host, opening=Opening(args.engine, args.precision, library.budget))

    steps: list[Step] = []
    if args.people and not args.swap:
        raise SettingError("--people says who becomes whom, but nobody is named: add --swap WHO.")
    if args.swap:
        people = tuple(person_from(name, index, args, library) for index, name in enumerate(args.swap))
        swapper = network(args.swap_model) if args.swap_model else None
        swapping = Swapping(options=Options(args.precision), strength=args.strength, people=args.people)
        steps.append(SwapStep(people, networks_for(swapper, library), swapping))
    restoring = Restoring(strength=args.strength, options=options)
    if args.restore or not (args.swap or args.whole):
        steps.append(RestoreStep(network(args.restore or BUNDLED), restoring, args.tracks))
    if args.whole:
        steps.append(ImageStep(network(args.whole), options))
    return steps


def pairs_from(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Each clip with the place of its result. Raises ClipError, OutputError."""
    from ..video.formats import ending_for

    out = expanded(args.out)
    result: dict[Path, bool] = {}  # whether it came out of a folder
    for name in args.sources:
        for path, from_folder in _clips_at(name, args.recursive):
            result.setdefault(path, from_folder)
    into_folder = out.is_dir() or len(result) > 1 or any(result.values()) or not out.suffix
    if into_folder and out.suffix and not out.is_dir():
        raise OutputError(
            f"{out} looks like one clip, but {counted(len(result), 'clip')} need a folder. Name a folder."
        )
    ending = ".json" if args.scan else ""
    if not into_folder:
        (source,) = result
        return [(source, out.with_suffix(ending or out.suffix))]
    out.mkdir(parents=True, exist_ok=True)
    pairs = [(source, out / f"{source.stem}{ending or ending_for(source, args.codec)}") for source in result]
    if len({target for _, target in pairs}) < len(pairs):
        raise OutputError("Several clips have the same name: take their folders one by one.")
    return pairs


def _clips_at(name: str, recursive: bool) -> list[tuple[Path, bool]]:
    """The clips that a name, a folder or a pattern means. A folder without clips is one, of numbered pictures."""
    import glob

    path = expanded(name)
    if path.is_dir():
        inside = path.rglob("*") if recursive else path.iterdir()
        clips = sorted(item for item in inside if item.suffix.lower() in ENDINGS and item.is_file())
        return [(item, True) for item in clips] or [(path, False)]
    if path.exists():
        return [(path, False)]
    matching = [Path(item) for item in sorted(glob.glob(str(path), recursive=True))]
    if not matching:
        raise ClipError(f"There is no clip at {name}. Name a file, a folder, or a pattern such as 'takes/*.mp4'.")
    return [(item, False) for item in matching]


def write_json(path: Path, content: dict[str, Any]) -> None:
    import json

    from ..faces.pictures.files import write_whole

    write_whole(path, json.dumps(content, indent=2).encode())


def write_sheet(path: Path, sheet: Any) -> None:
    import torch

    from ..faces.pictures.files import write_picture
    from ..faces.pictures.reading import UINT8

    write_picture(path, torch.from_numpy(sheet).float() / 255, UINT8)


class RateBar(ProgressBar):
    """A progress bar that says how many frames a second, and how long it will take."""

    def __init__(self, files: int) -> None:
        super().__init__(files)
        self._stage, self._first, self._begun = "", 0, 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in ("look", "work", "join"):
            return  # what the networks say of their own parts
        if stage != self._stage:
            self._stage, self._first, self._begun = stage, done, monotonic()
        rate = (done - self._first) / max(1e-3, monotonic() - self._begun)
        left = (total - done) / rate if rate > 0 else 0.0
        super().__call__(f"{stage} {rate:.1f} frames/s, {left:.0f} s left", done, total)
