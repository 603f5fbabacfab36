"""The bundled recogniser from dlib's: packed into few bits, its last layer fitted to see through damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ...engines.torch.architectures.slim_embedder import ARCHITECTURE, SlimEmbedder, load
from ...errors import ImageError, SettingError
from ..data import HELD_OUT, as_batch, read_folder
from .lessons import Pool, crop_of, lesson
from .morphs import SIDE, Card, card_of, five
from .packing import packed
from .start import fit_last, teacher

BATCH = 16  # faces that are made at once
FEW_BITS_FROM = 7  # the blocks from here on, which hold nearly all weights, are packed into 4 bits, those before into 8


@dataclass(frozen=True)
class Recipe:
    """lessons: damaged faces that the last layer is fitted on. Raises SettingError."""

    lessons: int = 1024
    seed: int = 16

    def __post_init__(self) -> None:
        if self.lessons < BATCH:
            raise SettingError(f"The last layer is fitted on {BATCH} lessons or more, not on {self.lessons}.")


def cards_of(data: Path, say: Callable[[str], None]) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
    """The faces to mix, and those held out: the last portraits by name. Raises ImageError when there are too few."""
    skipped: list[str] = []
    portraits = read_folder(data / "portraits", SIDE, skipped)
    people = read_folder(data / "one_person", SIDE, skipped)
    seen = [card for card in map(card_of, [*portraits[:-HELD_OUT], *people]) if card is not None]
    held_out = [card for card in map(card_of, portraits[-HELD_OUT:]) if card is not None]
    if len(seen) < 3 or len(held_out) < 2:
        raise ImageError(f"{data} has {len(seen)} faces to learn from and {len(held_out)} to hold out: add portraits.")
    for sentence in skipped:
        say(sentence)
    say(f"{len(seen)} faces are mixed, {len(held_out)} are held out.")
    return tuple(seen), tuple(held_out)


def packed_weights(network: SlimEmbedder) -> dict[str, Tensor]:
    """The weights as they are stored: convolutions of blocks in codes of 4 or 8 bits, the rest in float16."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        if value.ndim != 4 or not name.startswith("blocks."):
            tensors[name] = value.half().contiguous()
            continue
        codes, scales = packed(value, 4 if int(name.split(".")[1]) >= FEW_BITS_FROM else 8)
        tensors |= {f"{name}.codes": codes.contiguous(), f"{name}.scales": scales.contiguous()}
    return tensors


@torch.inference_mode()
def held_out_distances(network: SlimEmbedder, large: SlimEmbedder, cards: tuple[Card, ...]) -> tuple[float, float]:
    """The mean distance from the teacher's answers for held-out faces: undamaged, and damaged in four ways each."""
    rng = np.random.default_rng(5)
    clean = as_batch([crop_of(card.picture, five(card)) for card in cards])
    told = large(clean)
    harmed = as_batch([lesson(card, rng) for card in cards for _ in range(4)])
    apart = torch.linalg.vector_norm(network(clean) - told, dim=1).mean()
    worse = torch.linalg.vector_norm(network(harmed) - told.repeat_interleave(4, 0), dim=1).mean()
    return float(apart), float(worse)


def make(data: Path, out: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Makes the recogniser from the pictures under `data` and writes `out` (safetensors)."""
    rng = np.random.default_rng(recipe.seed)
    large = teacher()
    cards, held_out = cards_of(data, say)
    pool = Pool(cards, read_folder(data / "photos", SIDE, []), large)
    say("teacher: held out {:.4f}, damaged {:.4f}".format(*held_out_distances(large, large, held_out)))
    small = load(packed_weights(large))
    say("packed: held out {:.4f}, damaged {:.4f}".format(*held_out_distances(small, large, held_out)))
    means, told = [], []
    for _ in range(-(-recipe.lessons // BATCH)):
        pool.add(BATCH // 2, rng)
        crops, answers = pool.lessons(BATCH, rng)
        with torch.inference_mode():
            means.append(small.means(crops).clone())
        told.append(answers)
    fit_last(small, torch.cat(means), torch.cat(told))
    say("fitted: held out {:.4f}, damaged {:.4f}".format(*held_out_distances(small, large, held_out)))
    notes = {"architecture": ARCHITECTURE, "licence": "Apache-2.0; made from dlib's recogniser, CC0", "version": "1"}
    training = f"dlib's weights in 4 and 8 bits, the last layer fitted on {recipe.lessons} damaged morphs"
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(packed_weights(small), out, {**notes, "training": training, "seed": str(recipe.seed)})
    say(f"written: {out}, {out.stat().st_size} bytes")
