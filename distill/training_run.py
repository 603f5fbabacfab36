"""The state of a training run, and how it is kept, gone on with and turned into a weights file."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..engines.torch.architectures import slim_unet
from ..engines.torch.architectures.slim_unet import Decoder, SlimUnet
from ..errors import ModelFileError, OutputError, SettingError
from .recipe import Recipe, Stage

VERSION = "2"
CHECKPOINT = "run.pt"
BIAS_PACE = 8.0  # times the learning rate
FINE_LEVELS = 2  # of an encoder that rests in a joint stage: the coarse ones know faces and cost little


@dataclass
class Run:
    """A run in progress.

    network: the faithful network. sharp: the second decoder, absolute. averages of both run behind them. rests: the
    encoder is not trained, in a joint stage its finest levels. between: in a joint stage the decoder of the step's
    fidelity.
    """

    network: SlimUnet
    average: SlimUnet
    sharp: Decoder
    sharp_average: Decoder
    optimiser: torch.optim.AdamW
    stage: Stage = "faithful"
    step: int = 0
    seconds: float = 0.0
    rests: bool = False
    between: Decoder | None = None

    def trained(self) -> list[torch.nn.Parameter]:
        return self._of(self.network, self.sharp)

    def averaged(self) -> list[torch.nn.Parameter]:
        return self._of(self.average, self.sharp_average)

    def _of(self, network: SlimUnet, sharp: Decoder) -> list[torch.nn.Parameter]:
        """The parameters that the stage trains."""
        if self.stage == "joint":
            return [*(coarse_parameters(network) if self.rests else network.parameters()), *sharp.parameters()]
        module = network if self.stage == "faithful" else sharp
        return decoder_parameters(module) if self.rests else list(module.parameters())


def adam(parameters: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """In a joint stage biases move faster: most of a weave is one pattern, which they can take away."""
    biases = [parameter for parameter in parameters if parameter.ndim == 1 and recipe.joint]
    others = [parameter for parameter in parameters if parameter.ndim > 1 or not recipe.joint]
    groups = [{"params": others, "pace": 1.0}, {"params": biases, "pace": BIAS_PACE}]
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay, fused=True)


def new_run(recipe: Recipe) -> Run:
    """A run at its beginning, from the recipe's start where it has one; raises `ModelFileError`."""
    torch.manual_seed(recipe.seed)
    network = SlimUnet(recipe.widths, recipe.depths)
    sharp = Decoder(recipe.widths, recipe.depths)
    sharp.load_state_dict(decoder_of(network))
    if recipe.start is not None:
        network, sharp = started(recipe)
    for parameter in (*network.parameters(), *sharp.parameters()):
        if parameter.ndim == 4:  # as the pictures lie, whose channels are side by side
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    average = copy.deepcopy(network).requires_grad_(False)
    sharp_average = copy.deepcopy(sharp).requires_grad_(False)
    trained = list(network.parameters())
    if recipe.rests:
        network.requires_grad_(False)
        trained = coarse_parameters(network) if recipe.joint else decoder_parameters(network)
        for parameter in trained:
            parameter.requires_grad_()
    if recipe.joint:
        trained += sharp.parameters()
    run = Run(network, average, sharp, sharp_average, adam(trained, recipe), rests=recipe.rests)
    if recipe.joint:
        run.stage, run.between = "joint", copy.deepcopy(sharp)
    return run


def started(recipe: Recipe) -> tuple[SlimUnet, Decoder]:
    """The network and the second decoder of the recipe's start; one without a second decoder gives its own."""
    assert recipe.start is not None
    if not recipe.start.is_file():
        raise ModelFileError(f"The weights {recipe.start} to start from do not exist.")
    whole = slim_unet.load(load_file(recipe.start), {})
    if (whole.widths, whole.depths) != (recipe.widths, recipe.depths):
        raise ModelFileError(f"{recipe.start.name} has widths {whole.widths}, the recipe has {recipe.widths}.")
    sharp = Decoder(whole.widths, whole.depths)
    sharp.load_state_dict(decoder_of(whole))
    if whole.delta is not None:
        slim_unet.fold(whole, 1.0, sharp)
    whole.delta = None
    return whole.train(), sharp


def decoder_of(network: SlimUnet) -> dict[str, Tensor]:
    """The tensors of the network's own decoder."""
    names = Decoder(network.widths, network.depths).state_dict()
    tensors = network.state_dict()
    return {name: tensors[name] for name in names}


def decoder_parameters(module: Decoder) -> list[torch.nn.Parameter]:
    """Those of a decoder, or of the one that a network is; its encoder's are left out."""
    return [parameter for part in (module.up, module.decoder, module.head) for parameter in part.parameters()]


def coarse_parameters(network: SlimUnet) -> list[torch.nn.Parameter]:
    """All but the stem's and the encoder's finest levels', without whose backward pass a step is a quarter shorter."""
    fine = [network.stem, *network.encoder[:FINE_LEVELS], *network.down[:FINE_LEVELS]]
    resting = {id(parameter) for part in fine for parameter in part.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in resting]


@torch.no_grad()
def fold_between(run: Run, amount: float) -> Decoder:
    """The decoder with `amount` of the sharp one and the rest of the faithful one, as a leaf of its own."""
    assert run.between is not None
    own = dict(run.network.named_parameters())
    for (name, folded), sharp in zip(run.between.named_parameters(), run.sharp.parameters(), strict=True):
        folded.copy_(torch.lerp(own[name], sharp, amount))
        folded.grad = None
    return run.between


@torch.no_grad()
def share_gradient(run: Run, amount: float) -> None:
    """Hands the folded decoder's gradient to both decoders, to each what it had in it."""
    assert run.between is not None
    own = dict(run.network.named_parameters())
    for (name, folded), sharp in zip(run.between.named_parameters(), run.sharp.parameters(), strict=True):
        assert folded.grad is not None
        own[name].grad, sharp.grad = (1 - amount) * folded.grad, amount * folded.grad


def begin_sharp(run: Run, recipe: Recipe) -> None:
    """From now on the second decoder is trained, on the average of what the first stage has learned.

    Where the run did not start from a second decoder, it begins as the first one.
    """
    run.network.load_state_dict(run.average.state_dict())
    run.network.requires_grad_(False)
    if recipe.start is None:
        for decoder in (run.sharp, run.sharp_average):
            decoder.load_state_dict(decoder_of(run.average))
    run.stage = "sharp"
    run.optimiser = adam(list(run.sharp.parameters()), recipe)


def save_checkpoint(run: Run, recipe: Recipe, folder: Path) -> None:
    """Writes the state, so that an interruption or a full disk leaves the older one whole. Raises `OutputError`."""
    parts = ("network", "average", "sharp", "sharp_average", "optimiser")
    state = {name: getattr(run, name).state_dict() for name in parts}
    facts = {"stage": run.stage, "step": run.step, "seconds": run.seconds, "recipe": recipe.facts()}
    new = folder / (CHECKPOINT + ".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state | facts, new)
        new.replace(folder / CHECKPOINT)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        new.unlink(missing_ok=True)
        raise OutputError(
            f"The state at step {run.step} cannot be written to {folder} ({str(error)[:120]}). What was written "
            "before is whole: make room and start the same command again."
        ) from error


def resumed_run(recipe: Recipe, folder: Path) -> Run:
    """The run of the checkpoint in `folder`, else a new one. Raises `SettingError` for one of another recipe."""
    if not (folder / CHECKPOINT).exists():
        return new_run(recipe)
    try:
        state = torch.load(folder / CHECKPOINT, weights_only=True)
    except Exception as error:  # torch's reader fails in many ways on bytes that are no checkpoint
        raise ModelFileError(f"{folder / CHECKPOINT} is damaged: delete it to begin anew.") from error
    if state.get("recipe") != recipe.facts():
        raise SettingError(
            f"{folder} holds a run of another recipe ({state.get('recipe')}), not of this one ({recipe.facts()}). "
            "Name another folder for checkpoints, or use the same settings."
        )
    run = new_run(recipe)
    if state["stage"] == "sharp":
        begin_sharp(run, recipe)
    for name in ("network", "average", "sharp", "sharp_average", "optimiser"):
        getattr(run, name).load_state_dict(state[name])
    run.step, run.seconds = state["step"], state["seconds"]
    return run


def weights_of(run: Run) -> dict[str, Tensor]:
    """The averaged network in fp16; with a second decoder, as its difference, once that has been trained."""
    tensors = dict(run.average.state_dict())
    if run.stage != "faithful":
        own = decoder_of(run.average)
        tensors |= {"delta." + name: value - own[name] for name, value in run.sharp_average.state_dict().items()}
    return {name: value.half().contiguous() for name, value in tensors.items()}


def save_weights(run: Run, recipe: Recipe, path: Path) -> None:
    """Writes the averaged network as safetensors with its story in the metadata. Raises `OutputError`."""
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
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights_of(run), str(new), metadata)
        new.replace(path)
    except Exception as error:  # safetensors raises an error of its own for a full disk
        new.unlink(missing_ok=True)
        raise OutputError(f"The weights cannot be written to {path} ({str(error)[:120]}).") from error
