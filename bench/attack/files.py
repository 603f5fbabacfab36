"""Spoilt pictures, and cost stores that were damaged or come from somebody else."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.host import StandaloneHost
from ...engines.memory.costs import CostStore, Place
from ...engines.memory.factors import BOUNDS, FORMAT
from ...engines.memory.factors import FILE as COST_FILE
from ...faces.pictures.files import read_picture
from ...models.opening import open_model
from .case import Case

PICTURE_MUTATIONS, COST_MUTATIONS = 100, 40
ENDINGS = (".png", ".jpg", ".webp", ".tiff", ".bmp")


def pictures(folder: Path, mutations: int = PICTURE_MUTATIONS, seed: int = 0) -> Iterator[Case]:
    rng = random.Random(seed)
    for name, content in _odd_pictures().items():
        path = folder / name
        path.write_bytes(content)
        yield Case(name, partial(read_picture, path))
    (folder / "folder.png").mkdir()
    yield Case("a folder", partial(read_picture, folder / "folder.png"))
    yield Case("nothing", partial(read_picture, folder / "nothing.png"))
    yield Case("a name without an end", partial(read_picture, folder / ("n" * 300 + ".png")))
    (folder / "circle.png").symlink_to(folder / "circle.png")
    yield Case("a link to itself", partial(read_picture, folder / "circle.png"))
    frame = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    for number in range(mutations):
        ending = ENDINGS[number % len(ENDINGS)]
        spoilt = bytearray(cv2.imencode(ending, frame)[1].tobytes())
        for _ in range(rng.choice((1, 4, 40))):
            spoilt[rng.randrange(min(len(spoilt), rng.choice((60, len(spoilt)))))] = rng.randrange(256)
        if rng.random() < 0.3:
            del spoilt[rng.randrange(len(spoilt)) :]
        path = folder / f"{number}{ending}"
        path.write_bytes(spoilt)
        yield Case(f"mutation {path.name}", partial(read_picture, path), is_mutation=True)


def _png(width: int, height: int, depth: int = 8, colour: int = 2, content: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _odd_pictures() -> dict[str, bytes]:
    bomb = 20000
    return {
        "bomb.png": _png(bomb, bomb, 8, 2, bytes(bomb)),
        "whole bomb.png": _png(bomb, bomb, 1, 0, bytes(bomb * (bomb // 8 + 1))),
        "no size.png": _png(0, 0),
        "largest.png": _png((1 << 31) - 1, (1 << 31) - 1),
        "one row.png": _png(60000, 1, 8, 2, bytes(60000 * 3 + 1)),
        "odd depth.png": _png(4, 4, 3, 2),
        "empty.png": b"",
        "page.jpg": b"<html><body>404</body></html>",
        "zeros.webp": bytes(4096),
        "text.tiff": "絵".encode() * 1000,
        "cut.gif": b"GIF89a\xff\xff\xff\xff",
    }


def cost_stores(folder: Path, mutations: int = COST_MUTATIONS, seed: int = 0) -> Iterator[Case]:
    path = folder / COST_FILE
    _use(folder)
    good = path.read_bytes()
    head, key = good[: good.index(b"{", 1) + 1], good.split(b'"')[5]
    odd = {
        "overflow": head + b'"%s": {"value": 1e999, "at": 0}, "b": {"value": ' % key + b"9" * 400 + b', "at": 0}}}',
        "long number": head + b'"%s": {"value": ' % key + b"9" * 6000 + b', "at": 0}}}',
        "nested": b"[" * 200_000,
        "nested objects": b'{"a":' * 100_000,
        "a list": b"[]",
        "a word": b'"format"',
        "no numbers": head + b'"a": null, "b": [], "c": "x", "d": {"value": NaN, "at": 0}, "e": {}}}',
        "factors are a list": b'{"format": %d, "factors": [1, 2]}' % FORMAT,
        "not text": b"\xff\xfe\x00\xd8" * 100,
        "surrogate": head + b'"\\ud800": {"value": 1.0, "at": 0}}}',
        "empty": b"",
        "large": head + b",".join(b'"%d": {"value": 1.0, "at": 9e9}' % k for k in range(25_000)) + b"}}",
        "beyond the bounds": head + b'"%s": {"value": 1e300, "at": 9e9}}}' % key,
    }
    for name, content in odd.items():
        path.write_bytes(content)
        yield Case(name, partial(_use, folder))
    rng = random.Random(seed)
    for number in range(mutations):
        spoilt = bytearray(good)
        for _ in range(rng.choice((1, 3, 20))):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        path.write_bytes(spoilt)
        yield Case(f"mutation {number}", partial(_use, folder), is_mutation=True)


def _use(folder: Path) -> None:
    network = open_model(BUNDLED_FILE, BUNDLED_FILE.name, StandaloneHost("cpu"))
    store = CostStore()
    place = Place(network, "fp32", torch.device("cpu"), folder)
    before = CostStore().cost(replace(place, folder=None))
    cost = store.cost(place)
    if cost.per_pixel > BOUNDS[1] * before.per_pixel:
        raise AssertionError(f"{cost} is out of bounds")
    store.learn(place, 1 << 20, 1 << 29)
