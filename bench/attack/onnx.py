"""ONNX files that were made to cost memory or minutes, and good ones that were spoilt."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...engines.host import StandaloneHost
from ...engines.memory.budget import GIB, MemoryBudget
from ...faces.restore import restore_image
from ...models import library as model_files
from ...models.opening import Opening, open_model
from .case import Case

MUTATIONS = 220
MIB = 1 << 20
FLOAT = TensorProto.FLOAT
FACTORS = (0, 0.5, 1.5, 2, 1e6, float("nan"), -1)
Array = np.ndarray[Any, np.dtype[Any]]


def cases(folder: Path, mutations: int = MUTATIONS, seed: int = 0) -> Iterator[Case]:
    path = folder / "net.onnx"
    for name, content in {**_graphs(), **_raw()}.items():
        path.write_bytes(content)
        yield Case(f"searched: {name}", partial(model_files.search, [folder], folder))
        yield Case(f"run: {name}", partial(_run, path))
    rng = random.Random(seed)
    good = [_model([_resize(2)]), _model(_window()), _model([_node("Conv", ["x", "k"], "y", pads=[1] * 4)])]
    for number in range(mutations):
        path.write_bytes(_spoilt(rng, good[number % len(good)]))
        yield Case(f"mutation {number}", partial(_run, path), is_mutation=True)


def _run(path: Path) -> None:
    host = StandaloneHost("cpu")
    network = open_model(path, host=host, opening=Opening("torch"))
    restore_image(torch.rand(1, 64, 72, 3), network, MemoryBudget(GIB), host)


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, [output], **attributes)


def _resize(factor: float, source: str = "x") -> NodeProto:
    return _node("Resize", [source, "", f"by{factor}"], "y", mode="nearest")


def _window() -> list[NodeProto]:
    """Sizes that are worked out from the picture's, as exporters of attention write them."""
    return [
        _node("Shape", ["x"], "s"),
        _node("Gather", ["s", "index"], "g", axis=0),
        _node("Concat", ["g", "g"], "c", axis=0),
        _node("ConstantOfShape", ["c"], "z"),
        _node("ReduceMean", ["z"], "m", keepdims=0),
        _node("Add", ["x", "m"], "y"),
    ]


def _model(nodes: list[NodeProto], scale: float = 1) -> bytes:
    weights: dict[str, Array] = {
        **{f"by{factor}": np.array([1, 1, factor, factor], np.float32) for factor in FACTORS},
        "index": np.array([2], np.int64),
        "pair": np.array([2, 2], np.int64),
        "grid": np.zeros((64, 64), np.int64),
        "huge": np.array([1 << 40], np.int64),
        "negative": np.array([-5], np.int64),
        "wide": np.array([4096, 4096], np.int64),
        "row": np.arange(1 << 13)[None],
        "column": np.arange(1 << 13)[:, None],
        "one": np.array([[1.0]], np.float32),
        "few": np.ones(64, np.float32),
        "zero": np.array(0, np.int64),
        "k": np.full((3, 3, 3, 3), 0.03, np.float32),
    }
    used = {name for node in nodes for name in node.input}
    shape: list[str | int | None] = ["n", 3, "h", "w"]
    values = [helper.make_tensor_value_info("x", FLOAT, shape)]
    values.append(helper.make_tensor_value_info("y", FLOAT, ["n", 3, "h2", "w2"]))
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items() if name in used]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _graphs() -> dict[str, bytes]:
    """Small graphs that ask for a lot."""
    chain = range(40)
    many = range(40)
    zero = numpy_helper.from_array(np.array([0], np.int64))
    end = [_node("Reshape", ["x", "last"], "y")]

    def doubled(op: str, **attributes: Any) -> list[NodeProto]:
        names = ["pair", *(f"v{k}" for k in chain[1:]), "last"]
        second = {"Concat": None, "Tile": "index", "Gather": "grid"}[op]
        return [_node(op, [names[k], second or names[k]], names[k + 1], **attributes) for k in chain] + end

    found = {
        "concat": doubled("Concat", axis=0),
        "tile": doubled("Tile"),
        "gather": doubled("Gather", axis=0),
        "broadcast": [_node("Add", ["row", "column"], "c"), _node("ReduceSum", ["c"], "last"), *end],
        "range": [_node("Squeeze", ["huge"], "h"), _node("Range", ["zero", "h", "zero"], "last"), *end],
        "constant of shape": [_node("ConstantOfShape", ["huge"], "last", value=zero), *end],
        "many tables": [_node("ConstantOfShape", ["wide"], f"t{k}", value=zero) for k in many] + [_resize(1.5)],
        "expanded": [_node("Expand", ["one", "wide"], "w0")]
        + [_node("Add", [f"w{k}", f"w{k}"], f"w{k + 1}") for k in many]
        + [_node("ReduceMean", ["w40"], "m", keepdims=0), _node("Add", ["x", "m"], "y")],
        "folded side by side": [_node("Expand", ["one", "wide"], "w")]
        + [_node("Sqrt", ["w"], f"w{k}") for k in many]
        + [_node("Sum", [f"w{k}" for k in many], "s"), _node("ReduceMean", ["s"], "m", keepdims=0)]
        + [_node("Add", ["x", "m"], "y")],
        "a long chain": [_node("Sqrt", [f"c{k}" if k else "few"], f"c{k + 1}") for k in range(5000)]
        + [_node("ReduceMean", ["c5000"], "m", keepdims=0), _node("Add", ["x", "m"], "y")],
        "made of itself": [_node("Sqrt", ["few"], "few"), _node("Add", ["x", "few"], "y")],
        "noise without end": [_node("RandomNormal", [], "r", shape=[1 << 20, 1 << 20]), _node("Add", ["x", "r"], "y")],
        "a negative size": [_node("ConstantOfShape", ["negative"], "c"), _node("Add", ["x", "c"], "y")],
        "window": _window(),
        "nothing": [],
        "an unknown operator": [helper.make_node("Dream", ["x"], ["y"], domain="some.where")],
    }
    for factor in (0, 0.5, 1.5, 1e6, float("nan"), -1):
        found[f"enlarged {factor} times"] = [_resize(factor)]
    return {name: _model(nodes) for name, nodes in found.items()}


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _raw() -> dict[str, bytes]:
    """Messages that no library writes."""

    def whole(graph: bytes) -> bytes:
        return b"\x08\x08" + _field(8, b"\x0a\x00\x10\x11") + _field(7, graph)

    nested, types = b"", b""
    for _ in range(3000):
        nested = _field(1, _field(4, b"If") + _field(5, _field(1, b"g") + b"\xa0\x01\x05" + _field(6, nested)))
        types = _field(4, _field(1, types))  # a sequence of sequences
    return {
        "dimensions": whole(_field(5, _field(1, b"\x02" * MIB) + _field(8, b"w"))),
        "dimensions of an input": whole(_field(11, _field(2, _field(1, _field(2, _field(1, b"\x08\x02") * 200_000))))),
        "empty fields": whole(b"\x10\x01" * (MIB // 2)),
        "nodes": whole(_field(1, _field(4, b"Add")) * 100_000),
        "weights of nothing": whole(_field(5, b"\x10\x01") * 100_000),
        "names": whole(_field(1, _field(4, b"Add") + _field(1, b"n" * MIB) * 8)),
        "nested graphs": whole(nested),
        "nested types": whole(_field(11, _field(1, b"x") + _field(2, types))),
        "groups": whole(b"\x0b" * MIB),
        "opsets": _field(8, b"\x0a\x00\x10\x11") * 200_000,
        "zeros": bytes(MIB),
        "empty": b"",
    }


def _spoilt(rng: random.Random, whole: bytes) -> bytes:
    content = bytearray(whole)
    way = rng.randrange(4)
    if way == 0:
        for _ in range(rng.choice((1, 2, 8, 60))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == 1:
        del content[rng.randrange(len(content)) :]
    elif way == 2:
        start = rng.randrange(len(content))
        content[start : start + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
    else:
        start, length = rng.randrange(len(content)), rng.randrange(1, 80)
        content[start:start] = content[start : start + length] * rng.randrange(1, 5)
    return bytes(content)
