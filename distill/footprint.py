"""How many bytes a training step takes, measured on one patch before the run begins."""

from __future__ import annotations

import torch
from torch import Tensor

from .identity import SIDE
from .perceptual import Lpips
from .recipe import Recipe
from .train import Judges, Lesson, loss_of
from .training_run import Run, begin_sharp, new_run

COPIES = 8  # of the weights: network, average, gradient, two moments of Adam, and the second decoder's share
RECOGNISER_BYTES = 32 << 20  # its weights and what is kept of two faces; 28 MiB were measured
SPARE = 1.5  # buffers of convolutions and of the backward pass beside what is kept for it


def training_bytes(recipe: Recipe, alex: Lpips | None) -> tuple[int, int]:
    """Bytes that a run holds whatever its batch, and bytes for each patch of a step.

    Counted from the tensors that autograd keeps for one patch, in the stage that keeps more.
    """
    run = new_run(recipe)
    fixed = COPIES * sum(parameter.nbytes for parameter in run.network.parameters())
    lesson = Lesson(*torch.rand(2, 1, 3, recipe.patch, recipe.patch))
    kept = [kept_bytes(run, recipe, Judges(), lesson, 0.0)]
    if alex is not None:
        if not recipe.joint:
            begin_sharp(run, recipe)
        kept.append(kept_bytes(run, recipe, Judges(alex), lesson, 1.0))
    if recipe.identity:  # a whole face beside the patches
        fixed += int(SPARE * kept[0] * (SIDE / recipe.patch) ** 2) + RECOGNISER_BYTES
    return fixed, int(SPARE * max(kept))


def kept_bytes(run: Run, recipe: Recipe, judges: Judges, lesson: Lesson, amount: float) -> int:
    """Bytes of the different tensors that autograd keeps for one backward pass, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in run.network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss_of(run, recipe, judges, lesson, amount)
    return sum(kept.values())
