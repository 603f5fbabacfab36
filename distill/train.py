"""Trains a restorer: the bundled one, or one of the user's own under a teacher.

The length is a wall-clock budget or a number of steps, which makes a run repeatable. A run that was interrupted
goes on from its checkpoint, along the same curve.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import losses
from .data import Pictures, batch, cut_patches, held_out_pairs
from .identity import FaceLesson, FacePicture, distance, face_lesson
from .perceptual import Lpips
from .recipe import Recipe
from .report import Pairs, held_out_figures, sample_sheet, write_sheet
from .teachers import Teacher
from .training_run import Run, begin_sharp, fold_between, resumed_run, save_checkpoint, share_gradient

LOG_EVERY = 50  # steps
SHIFT = 8  # px by which the perceptual crop moves: a network's strides must not always meet the same pixels
CLIP = {"faithful": 0.1, "sharp": 1.0, "joint": 1.0}  # norm of the gradient

FAITHFUL_WEIGHT = 4.0  # beside the perceptual loss in a joint stage, whose numbers are larger
ENDS = 0.37  # share of a joint stage's steps at each end of the fidelities
SHARP_WEAVE = 4.0  # times more weight for a sharp decoder's weave: its own loss has steeper slopes, and likes lines
DEFAULT = 0.25  # amount of the sharp decoder at the default fidelity

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judges:
    """What compares pictures: LPIPS with AlexNet and VGG16, and the teacher; None for what a recipe goes without.

    faces: of the training pictures, for whom the recogniser takes the restored ones.
    """

    alex: Lpips | None = None
    vgg: Lpips | None = None
    teacher: Teacher | None = None
    faces: tuple[FacePicture, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """(B, 3, H, W) damaged and original patches, the teacher's answer to the damaged ones, and a whole face."""

    damaged: Tensor
    original: Tensor
    taught: Tensor | None = None
    face: FaceLesson | None = None


def lesson_at(recipe: Recipe, pictures: Pictures, judges: Judges, step: int) -> Lesson:
    """The patches of a step and, where its identity counts, a face; the same whenever it is asked for."""
    lesson = patches_at(recipe, pictures, judges, step)
    if not (recipe.identity and judges.faces):
        return lesson
    return replace(lesson, face=face_lesson(judges.faces, (recipe.seed, step)))


def patches_at(recipe: Recipe, pictures: Pictures, judges: Judges, step: int) -> Lesson:
    """The patches of a step.

    A teacher that is fixed to a size sees whole crops of it, of which as many patches are cut as a batch needs.
    """
    teacher, seed = judges.teacher, (recipe.seed, step)
    if teacher is None or not recipe.teacher:
        return Lesson(*batch(pictures, recipe.patch, recipe.batch, seed))
    side = teacher.side or recipe.patch
    crops = max(1, -(-recipe.batch // (side // recipe.patch) ** 2))
    damaged, original = batch(pictures, side, crops, seed)
    taught = teacher.taught(damaged)
    if side == recipe.patch:
        return Lesson(damaged, original, taught)
    return Lesson(*cut_patches((damaged, original, taught), recipe.patch, recipe.batch, seed))


def perceptual(output: Tensor, original: Tensor, recipe: Recipe, judges: Judges, step: int) -> Tensor:
    """Mean LPIPS, on a crop whose place changes from step to step; VGG16 judges a share of the batch."""
    assert judges.alex is not None
    rng = np.random.default_rng((recipe.seed, step, 1))
    top, left = rng.integers(0, SHIFT, 2)
    side = output.shape[-1] - SHIFT
    seen, wanted = (x[..., top : top + side, left : left + side] for x in (output, original))
    total = judges.alex.distances(seen, wanted).mean()
    if judges.vgg is not None and recipe.vgg:
        share = max(1, round(recipe.vgg * len(seen)))
        total = total + judges.vgg.distances(seen[:share], wanted[:share]).mean()
    return total


def amount_at(run: Run, recipe: Recipe) -> float:
    """How much of the sharp decoder a step trains: in a joint stage mostly one end or what the default has."""
    if run.stage != "joint":
        return float(run.stage == "sharp")
    drawn = np.random.default_rng((recipe.seed, run.step, 4)).random()
    return float(np.select([drawn < ENDS, drawn < 2 * ENDS], [0.0, 1.0], DEFAULT))


def restored(run: Run, recipe: Recipe, damaged: Tensor) -> Tensor:
    """What the decoder of the stage makes of damaged pictures."""
    decoder = {"faithful": None, "sharp": run.sharp, "joint": run.between}[run.stage]
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
        output: Tensor = run.network(damaged, decoder)
    return output.float()


def picture_loss(output: Tensor, lesson: Lesson, recipe: Recipe, judges: Judges, step: int, amount: float) -> Tensor:
    """Of the patches: the faithful loss and the perceptual one in the shares that the decoder has of both."""
    loss, original = output.new_zeros(()), lesson.original
    if amount < 1:
        weight = FAITHFUL_WEIGHT if recipe.joint else 1.0
        loss = loss + (1 - amount) * weight * losses.restoration(output, original)
    if amount > 0:
        sharp = perceptual(output, original, recipe, judges, step)
        sharp = sharp + recipe.pixels * losses.charbonnier(output, original)
        loss = loss + amount * (sharp + losses.FREQUENCY_WEIGHT * losses.frequency(output, original))
    if recipe.weave:
        loss = loss + recipe.weave * (1 + SHARP_WEAVE * amount) * losses.weave(output, original)
    return loss


def loss_of(run: Run, recipe: Recipe, judges: Judges, lesson: Lesson, amount: float) -> Tensor:
    """amount: of the sharp decoder in the one that restores."""
    output = restored(run, recipe, lesson.damaged)
    loss = picture_loss(output, lesson, recipe, judges, run.step, amount)
    if lesson.taught is not None:
        loss = loss + recipe.teacher * losses.soft(output, lesson.taught, lesson.original, recipe.temperature)
    if lesson.face is not None:
        face = restored(run, recipe, lesson.face.damaged)
        loss = loss + recipe.identity * distance(face, lesson.face)
        if recipe.joint:
            whole = Lesson(lesson.face.damaged, lesson.face.original)
            loss = loss + picture_loss(face, whole, recipe, judges, run.step, amount) / recipe.batch
    return loss


def train_step(run: Run, recipe: Recipe, judges: Judges, lesson: Lesson) -> float:
    """One update; returns the loss."""
    stage, done = recipe.stage_at(recipe.progress(run.step, run.seconds))
    if stage != run.stage:
        begin_sharp(run, recipe)
    for group in run.optimiser.param_groups:
        group["lr"] = group["pace"] * recipe.rate_at(done)
    run.optimiser.zero_grad()
    amount = amount_at(run, recipe)
    if run.stage == "joint":
        fold_between(run, amount)
    loss = loss_of(run, recipe, judges, lesson, amount)
    loss.backward()
    if run.stage == "joint":
        share_gradient(run, amount)
    torch.nn.utils.clip_grad_norm_(run.trained(), CLIP[run.stage])
    run.optimiser.step()
    run.step += 1
    kept = min(recipe.average, run.step / (run.step + 10))  # a young average must not remember the random start
    with torch.no_grad():
        for behind, parameter in zip(run.averaged(), run.trained(), strict=True):
            behind.lerp_(parameter, 1 - kept)
    return float(loss.detach())


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C was pressed; a step is finished first, so that the run goes on along the same curve.

    A second Ctrl-C stops at once. Off the main thread, where signals do not arrive, it is never said.
    """
    pressed: list[int] = []

    def note(number: int, frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def train(
    recipe: Recipe, pictures: Pictures, checkpoints: Path, judges: Judges, say: Say = print, every: float = 240.0
) -> Run:
    """Runs `recipe` to its end, keeping its state every `every` seconds, at the end and when it is interrupted.

    Raises OutputError when the state cannot be written, KeyboardInterrupt after an interruption.
    """
    run, pairs = resumed_run(recipe, checkpoints), held_out_pairs(pictures)
    values: list[float] = []
    saved, first, began = run.seconds, run.seconds, time.monotonic()
    with asked_to_stop() as stopped:
        while recipe.progress(run.step, run.seconds) < 1 and not stopped():
            values.append(train_step(run, recipe, judges, lesson_at(recipe, pictures, judges, run.step)))
            run.seconds = first + time.monotonic() - began
            if run.step % LOG_EVERY == 0:
                say(progress_line(run, recipe, values))
                values.clear()
            if run.seconds - saved > every:
                show_and_save(run, recipe, pairs, judges, checkpoints, say)
                saved = first + time.monotonic() - began  # showing may take longer than `every` on a busy machine
        interrupted = recipe.progress(run.step, run.seconds) < 1
        if interrupted:
            save_checkpoint(run, recipe, checkpoints)
    if interrupted:
        raise KeyboardInterrupt
    show_and_save(run, recipe, pairs, judges, checkpoints, say)
    return run


def progress_line(run: Run, recipe: Recipe, values: list[float]) -> str:
    done = recipe.progress(run.step, run.seconds)
    left = run.seconds * (1 - done) / max(done, 1e-6)
    mean = sum(values) / max(1, len(values))
    return f"{done:4.0%} {run.stage}, step {run.step}, loss {mean:.4f}, {left / 60:.0f} min left"


def show_and_save(run: Run, recipe: Recipe, pairs: Pairs, judges: Judges, folder: Path, say: Say) -> None:
    """Keeps the state first, then says how the held-out pictures do and draws them into samples.png."""
    save_checkpoint(run, recipe, folder)
    sharp = run.sharp_average if run.stage != "faithful" else None
    for name, figures in held_out_figures(run.average, sharp, pairs, judges.alex).items():
        say(f"step {run.step}, held out, {name}: {figures}")
    write_sheet(sample_sheet(run.average, sharp, pairs), folder / "samples.png")
