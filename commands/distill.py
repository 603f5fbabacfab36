"""`slimfusion distill`: a small restorer of the user's own, from a teacher and a folder of pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BudgetError, OutputError, SettingError

if TYPE_CHECKING:
    from ..distill.recipe import Recipe

MINUTES = 60.0


def add(commands: Any) -> None:
    parser = commands.add_parser("distill", help="train a small restorer on your pictures, under a teacher of yours")
    parser.add_argument("--data", type=Path, required=True, help="folder of clean pictures; folders in it count too")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--teacher", type=Path, help="a restorer or upscaler: .pth, .safetensors or .onnx")
    parser.add_argument("--start", type=Path, help="weights of an earlier training to go on from")
    parser.add_argument("--checkpoints", type=Path, help="folder for the state of the run and its sample sheet")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help=f"length of the training ({MINUTES:.0f})")
    length.add_argument("--steps", type=int, help="length in steps, which makes a run repeatable")
    parser.add_argument("--sharp-share", type=float, default=0.5, help="share of the length for the sharp decoder")
    parser.add_argument("--teacher-weight", type=float, default=0.5, help="of the teacher's pictures in the loss")
    parser.add_argument("--temperature", type=float, default=0.1, help="how far from the truth it is believed")
    parser.add_argument("--vgg", type=float, default=0.0, help="share of each batch that VGG16 judges as well")
    parser.add_argument("--identity", type=float, default=0.0, help="weight of who a face is to dlib's recogniser")
    parser.add_argument(
        "--rest", action="store_true", help="keep the encoder of --start; with --joint only its finest levels"
    )
    parser.add_argument(
        "--joint", action="store_true", help="train the network at all fidelities at once, from --start"
    )
    parser.add_argument(
        "--weave", type=float, default=0.0, help="weight of lines at the grid of the network, 0.1 removes them"
    )
    parser.add_argument(
        "--even", action="store_true", help="train nothing: take lines at the grid out of --start in closed form"
    )
    parser.add_argument("--patch", type=int, default=128, help="side of the training patches in px")
    parser.add_argument("--batch", type=int, default=16, help="patches of a step, fewer where the budget is small")
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="0 as torch chooses")
    parser.add_argument("--budget", default="4GiB", help="memory that the training may take")


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on where an earlier call was interrupted, and writes the weights."""
    import torch

    from ..distill.data import read_pictures
    from ..distill.identity import face_pictures, with_points
    from ..distill.perceptual import lpips
    from ..distill.teachers import read_teacher
    from ..distill.train import Judges, train
    from ..distill.training_run import save_weights
    from ..engines.memory.budget import parse_bytes

    checked_out(args.out)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.even:
        return even(args)
    recipe = recipe_of(args)
    teacher = read_teacher(args.teacher, recipe.patch) if args.teacher else None
    alex = lpips("alex") if recipe.sharp_share or recipe.joint else None
    vgg = lpips("vgg") if alex and recipe.vgg else None
    recipe = within(recipe, parse_bytes(args.budget), alex)
    side = max(recipe.patch, teacher.side or 0) if teacher else recipe.patch
    pictures = read_pictures(args.data, side)
    for sentence in pictures.skipped:
        print(f"slimfusion: {sentence}", file=sys.stderr)
    pictures = with_points(pictures) if recipe.joint else pictures
    checkpoints = args.checkpoints or args.out.with_suffix(".run")
    say(f"{recipe.batch} patches a step; state and samples.png in {checkpoints}")
    faces = face_pictures(pictures) if recipe.identity else ()
    finished = train(recipe, pictures, checkpoints, Judges(alex, vgg, teacher, faces), say)
    save_weights(finished, recipe, args.out)
    say(f"written: {args.out}")
    return 0


def even(args: argparse.Namespace) -> int:
    """Writes the weights of --start without their weave."""
    from ..distill.data import read_pictures
    from ..distill.even import SIDE, write_evened

    if args.start is None:
        raise SettingError("--even takes lines out of weights that there are: name them with --start.")
    pictures = read_pictures(args.data, SIDE)
    for sentence in pictures.skipped:
        print(f"slimfusion: {sentence}", file=sys.stderr)
    write_evened(args.start, pictures, args.out, args.seed)
    say(f"written: {args.out}")
    return 0


def say(sentence: str) -> None:
    print(sentence, flush=True)


def checked_out(out: Path) -> None:
    """Raises `OutputError` before hours of work when the result could not be written."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise OutputError(f"{out} must be a file that ends in .safetensors.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.with_name(out.name + ".new")
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out.parent} cannot be written to ({error.strerror}). Choose another place.") from error


def recipe_of(args: argparse.Namespace) -> Recipe:
    import torch

    from ..distill.recipe import Recipe
    from ..engines.memory.meter import half_precisions

    minutes = MINUTES if args.minutes is None and args.steps is None else args.minutes
    weights = (args.teacher_weight, args.identity, args.weave)
    if args.batch < 1 or not args.rate > 0 or min(weights) < 0 or not 0 <= args.vgg <= 1:
        raise SettingError("The batch is at least 1, the rate above 0, weights are at least 0, --vgg 0 to 1.")
    return Recipe(
        minutes=minutes,
        steps=args.steps,
        patch=args.patch,
        batch=args.batch,
        rate=args.rate,
        seed=args.seed,
        start=args.start,
        sharp_share=args.sharp_share,
        vgg=args.vgg,
        half="bf16" in half_precisions(torch.device("cpu"))[0],
        teacher=args.teacher_weight if args.teacher else 0.0,
        temperature=args.temperature,
        identity=args.identity,
        rests=args.rest,
        joint=args.joint,
        weave=args.weave,
    )


def within(recipe: Recipe, limit: int, alex: Any) -> Recipe:
    """The recipe with as many patches a step as `limit` bytes hold; raises `BudgetError` when not even one."""
    from dataclasses import replace

    from ..distill.footprint import training_bytes

    fixed, per_patch = training_bytes(recipe, alex)
    most = (limit - fixed) // per_patch
    if most < 1:
        raise BudgetError(
            f"Training on patches of {recipe.patch} px takes {(fixed + per_patch) >> 20} MiB at least, the budget is "
            f"{limit >> 20} MiB: give more or a smaller --patch.",
            fixed + per_patch,
            limit,
        )
    return replace(recipe, batch=min(recipe.batch, int(most)))
