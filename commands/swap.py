"""`slimfusion swap`: put a person's face into pictures, through a swap model or without any."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog.files import model_path
from . import batch
from .models import searched_folders
from .options import (
    PICTURES,
    add_keep_identity,
    askable_from,
    detection_from,
    keeping_from,
    most_pixels_from,
    picture_options,
)
from .pictures import expanded

if TYPE_CHECKING:
    import torch

    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..engines.memory.report import Report
    from ..faces.identity.library import ModelLibrary
    from ..faces.identity.people import Person

# Options that are handed on only where they are given: their defaults are those of `Swapping`.
WEIGHTS = {
    "strength": "0 to 1, how much of the new face",
    "colour": "0 to 1, how far the new face takes the colours of the picture",
    "shape": "without a model: 0 keeps the shape of the picture's face, 1 takes the source's",
    "texture": "without a model: 0 keeps the picture's skin and features, 1 takes the source's",
}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "swap",
        parents=[picture_options()],
        help="put a person's face into pictures",
        description="Puts the face of SOURCE into every face of the pictures, or into those that --people names. "
        "Without --model the two faces are blended. For people who agreed to it.",
    )
    parser.add_argument("source", metavar="SOURCE", help="person A: a picture with one face, or an identity "
                        "(.safetensors)")  # fmt: skip
    parser.add_argument("sources", nargs="+", metavar="IN", help=PICTURES)
    parser.add_argument("out", type=Path, metavar="OUT", help="the picture to write, or a folder for several")
    parser.add_argument("--and", dest="others", action="append", default=[], metavar="SOURCE",
                        help="person B, C ... for --people; may be given several times")  # fmt: skip
    parser.add_argument("--model", default="", help="a swap model file, or its name in --models")
    parser.add_argument("--people", help="which face becomes whom, such as '0:A, 1:B'; without, all become A")
    parser.add_argument("--boost", type=int, default=None, metavar="PX", help="swap at this resolution; 0 for the "
                        "model's own")  # fmt: skip
    parser.add_argument("--no-provenance", action="store_true", help="do not note in the result that faces were "
                        "swapped, how and when")  # fmt: skip
    add_keep_identity(parser)
    for name, text in WEIGHTS.items():
        parser.add_argument(f"--{name}", type=float, help=text)


def run(args: argparse.Namespace) -> int:
    """Swaps the faces of every picture of the sources."""
    from ..faces.swap.provenance import provenance_note

    return batch.run(args, partial(work_from, args), *([] if args.no_provenance else [provenance_note]))


def work_from(args: argparse.Namespace, budget: MemoryBudget, host: StandaloneHost) -> batch.Work:
    """What is done with each picture. Raises SettingError, ModelFileError, FacesError, ImageError."""
    from ..engines.job import Options
    from ..faces.swap.networks import networks_for
    from ..faces.swap.swap import swap_faces
    from ..faces.swap.task import Swapping
    from ..models.opening import Opening, open_model

    chosen = {name: getattr(args, name) for name in (*WEIGHTS, "boost", "people")}
    library = askable_from(args, budget, host)
    settings: dict[str, Any] = {"options": Options(args.precision), "detection": detection_from(args, library)}
    settings["keeping"] = keeping_from(args)
    swapping = Swapping(**settings, **{name: value for name, value in chosen.items() if value is not None})
    swapper = None
    if args.model:
        path = model_path(args.model, searched_folders(args.models))
        swapper = open_model(path, host=host, opening=Opening(args.engine, args.precision, budget))
    people = [person_from(name, index, args, library) for index, name in enumerate([args.source, *args.others])]
    networks = networks_for(swapper, library)

    def work(frames: torch.Tensor) -> tuple[torch.Tensor, Report]:
        done = swap_faces(frames, people, networks, budget, host, swapping)
        return done.frames, done.report

    return work


def person_from(name: str, index: int, args: argparse.Namespace, library: ModelLibrary) -> Person:
    """Somebody from an identity's file, or from a picture with one face; the first is A, then B, C ..."""
    from ..faces.detect.detection import detect_faces
    from ..faces.identity.identity import SUFFIX, load_identity
    from ..faces.identity.people import LETTERS, Person, person_from_picture
    from ..faces.pictures.files import read_picture

    path = expanded(name)
    if path.suffix.lower() == SUFFIX:
        identity = load_identity(path)
        return Person(identity.name, identity)
    frames = read_picture(path, most_pixels_from(args)).pixels[None]
    faces = detect_faces(frames, library.host, detection_from(args, library), library.budget, library.report)
    return person_from_picture(LETTERS[index % len(LETTERS)], frames[0].numpy(), faces.frames[0])
