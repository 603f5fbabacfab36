"""Trains the bundled restorer: `python -m slimfusion.distill.train --data FOLDER --out FILE --minutes 80`.

The length is a wall-clock budget, so that the same command suits any machine; `--steps` counts steps instead,
which makes a run repeatable. A run that was interrupted goes on from the checkpoint in `--checkpoints`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..engines.backends.architectures.slim_unet import SlimUnet
from .data import Pictures, batch, held_out_pairs, read_pictures
from .losses import restoration

WARM_UP = 0.02  # share of the run
LOG_EVERY = 50  # steps
VERSION = "1"


@dataclass(frozen=True)
class Recipe:
    """What defines a run. Exactly one of `minutes` and `steps` is its length. start: weights to go on from."""

    minutes: float | None = None
    steps: int | None = None
    widths: tuple[int, ...] = (48, 96, 160, 256)
    depths: tuple[int, ...] = (1, 1, 1, 1)
    patch: int = 128
    batch: int = 16
    rate: float = 5e-4
    last_rate: float = 2e-6
    decay: float = 1e-4
    average: float = 0.999
    seed: int = 20
    half: bool = True
    start: Path | None = None


@dataclass
class Run:
    """A training run in progress: the network, its running average, the optimiser, steps and seconds done."""

    network: SlimUnet
    average: SlimUnet
    optimiser: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


def new_run(recipe: Recipe) -> Run:
    torch.manual_seed(recipe.seed)
    network = SlimUnet(recipe.widths, recipe.depths)
    average = SlimUnet(recipe.widths, recipe.depths).requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=recipe.decay, fused=True)
    return Run(network, average, optimiser)


def progress(run: Run, recipe: Recipe) -> float:
    """Share of the run that is done, 0..1."""
    if recipe.steps is not None:
        return min(1.0, run.step / recipe.steps)
    assert recipe.minutes is not None
    return min(1.0, run.seconds / (60 * recipe.minutes))


def rate_at(done: float, recipe: Recipe) -> float:
    """Learning rate: linear warm-up, then half a cosine (Loshchilov & Hutter 2017, "SGDR")."""
    if done < WARM_UP:
        return recipe.rate * max(0.02, done / WARM_UP)
    phase = (done - WARM_UP) / (1 - WARM_UP)
    return recipe.last_rate + (recipe.rate - recipe.last_rate) * 0.5 * (1 + math.cos(math.pi * phase))


def train_step(run: Run, recipe: Recipe, damaged: Tensor, original: Tensor) -> float:
    """One update on (B, 3, H, W) pairs; returns the loss."""
    for group in run.optimiser.param_groups:
        group["lr"] = rate_at(progress(run, recipe), recipe)
    run.optimiser.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
        output = run.network(damaged)
    loss = restoration(output.float(), original)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 0.5)
    run.optimiser.step()
    run.step += 1
    kept = min(
        recipe.average, run.step / (run.step + 10)
    )  # a young average must not remember the random start
    torch._foreach_lerp_(list(run.average.parameters()), list(run.network.parameters()), 1 - kept)
    return float(loss.detach())


@torch.inference_mode()
def held_out_psnr(
    network: SlimUnet, pairs: dict[str, tuple[Tensor, Tensor]]
) -> dict[str, tuple[float, float]]:
    """Mean PSNR in dB over whole held-out portraits, before and after restoration, for each severity."""
    result = {}
    for name, (damaged, original) in pairs.items():
        restored = torch.cat([network(one[None]).clamp(0, 1) for one in damaged])
        before, after = (
            float((-10 * (picture - original).square().mean((1, 2, 3)).log10()).mean())
            for picture in (damaged, restored)
        )
        result[name] = (before, after)
    return result


def save_checkpoint(run: Run, folder: Path) -> None:
    """Writes the state of the run, so that an interruption while writing leaves the older one whole."""
    state = {
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "run.new")
    (folder / "run.new").replace(folder / "run.pt")


def resumed_run(recipe: Recipe, folder: Path) -> Run:
    """The run of the checkpoint in `folder`; where there is none a new one, from the recipe's start if it has one."""
    run = new_run(recipe)
    if not (folder / "run.pt").exists():
        if recipe.start is not None:
            for network in (run.network, run.average):
                network.load_state_dict({key: value.float() for key, value in load_file(recipe.start).items()})
        return run
    state = torch.load(folder / "run.pt", weights_only=True)
    run.network.load_state_dict(state["network"])
    run.average.load_state_dict(state["average"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.seconds = state["step"], state["seconds"]
    return run


def save_weights(run: Run, recipe: Recipe, path: Path) -> None:
    """Writes the averaged network as fp16 safetensors with its story in the metadata."""
    patches = f"{recipe.batch} patches of {recipe.patch} px"
    training = f"{run.step} steps of {patches} in {run.seconds / 60:.0f} minutes on a CPU"
    if recipe.start is not None:
        with safe_open(recipe.start, framework="pt") as file:
            training = f"{(file.metadata() or {}).get('training', 'unknown weights')}, then {training}"
    metadata = {
        "architecture": "SlimUnet",
        "version": VERSION,
        "licence": "Apache-2.0",
        "seed": str(recipe.seed),
        "training": training,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in run.average.state_dict().items()}, str(path), metadata)


def train(recipe: Recipe, pictures: Pictures, checkpoints: Path, every: float = 240.0) -> Run:
    """Runs `recipe` to its end, checkpointing every `every` seconds and at the end; prints its course."""
    run = resumed_run(recipe, checkpoints)
    pairs = held_out_pairs(pictures)
    losses: list[float] = []
    saved = run.seconds
    while progress(run, recipe) < 1:
        began = time.monotonic()
        damaged, original = batch(pictures, recipe.patch, recipe.batch, (recipe.seed, run.step))
        losses.append(train_step(run, recipe, damaged, original) / float(restoration(damaged, original)))
        run.seconds += time.monotonic() - began
        if run.step % LOG_EVERY == 0:
            print(
                f"step {run.step} {run.seconds:.0f} s loss {sum(losses) / len(losses):.4f} of the untouched",
                flush=True,
            )
            losses.clear()
        if run.seconds - saved > every:
            report_and_save(run, pairs, checkpoints)
            saved = run.seconds
    report_and_save(run, pairs, checkpoints)
    return run


def report_and_save(run: Run, pairs: dict[str, tuple[Tensor, Tensor]], checkpoints: Path) -> None:
    figures = held_out_psnr(run.average, pairs)
    shown = ", ".join(f"{name} {before:.2f} -> {after:.2f} dB" for name, (before, after) in figures.items())
    print(f"step {run.step} held out: {shown}", flush=True)
    save_checkpoint(run, checkpoints)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m slimfusion.distill.train", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with portraits/, one_person/ and photos/"
    )
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for the state of the run")
    parser.add_argument("--start", type=Path, help="weights to go on from, with a learning rate for the purpose")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    recipe = Recipe(minutes=options.minutes, steps=options.steps, rate=options.rate, start=options.start)
    run = train(recipe, read_pictures(options.data), options.checkpoints)
    save_weights(run, recipe, options.out)


if __name__ == "__main__":
    main()
