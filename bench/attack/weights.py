"""Spoilt files of weights and identities, for attacks: each is opened and loaded as a user's file would be.

A case's only good ends are success and an error of ours.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ...engines.session import Session
from ...faces.identity.identity import DIMENSION, Identity, load_identity, save_identity
from ...models.torch_model import torch_model

FORMS = ("zip.pth", "legacy.pth", "net.safetensors", "somebody.safetensors")
MUTATIONS = 300

# What a header is changed to: numbers at the edges of their types, and types that are none.
_ODD = ("0", "-1", "1", "281474976710656", "18446744073709551616", "1e999", "null", '"F64"', "[]", "{}", "true", '""')


@dataclass(frozen=True)
class Case:
    """name: what was done to which file. open: uses the file; it returns or raises SlimFusionError."""

    name: str
    path: Path
    open: Callable[[], object]


def cases(folder: Path, mutations: int = MUTATIONS, seed: int = 0) -> Iterator[Case]:
    """So many spoilt copies of each of FORMS, written one after the other into a folder and removed again."""
    rng = random.Random(seed)
    for form in FORMS:
        whole = _whole(form, folder / form)
        for number in range(mutations):
            kind, content = _spoilt(rng, whole, form.endswith("safetensors"))
            path = folder / f"{number:03}-{form}"
            path.write_bytes(content)
            yield Case(f"{form}, {number}: {kind}", path, _opener(form, path))
            path.unlink()


def _whole(form: str, path: Path) -> bytes:
    """The content of a good file in one of FORMS."""
    from spandrel.architectures.ESRGAN import ESRGAN

    if form == "somebody.safetensors":
        save_identity(Identity("somebody", np.linspace(-1, 1, DIMENSION, dtype=np.float32)), path)
        return path.read_bytes()
    torch.manual_seed(0)
    weights = ESRGAN(in_nc=3, out_nc=3, num_filters=4, num_blocks=1, scale=2).state_dict()
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"params_ema": weights}, path, _use_new_zipfile_serialization=form.startswith("zip"))
    return path.read_bytes()


def _opener(form: str, path: Path) -> Callable[[], object]:
    if form == "somebody.safetensors":
        return lambda: load_identity(path).unit
    return lambda: _run(path)


def _run(path: Path) -> torch.Tensor:
    session = Session(torch_model(path), torch.device("cpu"), "fp32")
    try:
        return session.run(torch.zeros(1, 3, 16, 16), 0.5)
    finally:
        session.close()


def _spoilt(rng: random.Random, whole: bytes, has_header: bool) -> tuple[str, bytes]:
    """One change, by its name: most in the part that describes tensors, which readers believe."""
    content = bytearray(whole)
    ways = ["bits", "bits at the ends", "bytes", "cut", "grown", "moved"] + ["header"] * (4 if has_header else 0)
    way = rng.choice(ways)
    if way == "bits":
        for _ in range(rng.choice((1, 1, 8, 200))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "bits at the ends":
        for _ in range(rng.choice((1, 4))):
            place = rng.randrange(min(4000, len(content)))
            content[rng.choice((place, -1 - place))] ^= 1 << rng.randrange(8)
    elif way == "bytes":
        start = rng.randrange(len(content))
        content[start : start + 8] = rng.choice((b"\0" * 8, b"\xff" * 8, struct.pack("<Q", 1 << 40), rng.randbytes(8)))
    elif way == "cut":
        del content[rng.randrange(len(content)) :]
    elif way == "grown":
        content += rng.randbytes(rng.choice((1, 30, 5000)))
    elif way == "moved":
        start = rng.randrange(len(content))
        del content[start : start + rng.randrange(1, 64)]
    else:
        content = bytearray(_edited(rng, whole))
    return way, bytes(content)


def _edited(rng: random.Random, whole: bytes) -> bytes:
    """A safetensors file with one value of its header replaced, its length put right."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    name = rng.choice(list(header))
    if rng.random() < 0.2:
        header[rng.choice((name + "x", "__metadata__"))] = json.loads(rng.choice(_ODD).replace("1e999", "1"))
    key = rng.choice([*header[name], "dtype"]) if isinstance(header[name], dict) else None
    marked = json.dumps(header | {name: (header[name] | {key: "@"}) if key else "@"})
    value = rng.choice((*_ODD, "[4, 4, -1, 3]", "[0, 4294967296]", "[[[[[]]]]]", '"F8_E8M0"', "[1, 0]", "[" * 3000))
    text = marked.replace('"@"', value).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]
