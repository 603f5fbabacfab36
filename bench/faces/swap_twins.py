"""Small ONNX files with the inputs and outputs of the public swappers, and what runs them: onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from ...catalog.card import ModelCard
from ...engines.network import Infer, Tensors


def emap(seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, (512, 512)).astype(np.float32)


def save_swapper(path: Path, card: ModelCard) -> Path:
    """target and source with the real names and shapes -> a picture that depends on both, in the card's range.

    Each channel is tanh or a sigmoid of (the target + what the source adds), after a 3 x 3 average.
    """
    rng, size = np.random.default_rng(3), card.size
    side = card.inputs[1].shape[-1] if card.identity == "picture" else None
    source_shape: list[Any] = ["n", 3, side, side] if side else ["n", 512]
    weights: dict[str, np.ndarray] = {
        "average": np.full((3, 1, 3, 3), 1 / 9, np.float32),
        "mix": rng.normal(0, 1.0, (512, 3)).astype(np.float32),
        "shape": np.array([-1, 3, 1, 1], np.int64),
    }
    nodes = [helper.make_node("Conv", ["target", "average"], ["smooth"], group=3, pads=[1, 1, 1, 1])]
    vector = "source"
    if side:
        pool = side // 7
        cells: dict[str, Any] = {"kernel_shape": [pool] * 2, "strides": [pool] * 2}
        nodes.append(helper.make_node("AveragePool", ["source"], ["small"], **cells))
        vector = "cells"
        weights["flat"] = np.array([0, -1], np.int64)
        weights["mix"] = rng.normal(0, 0.3, (3 * (side // pool) ** 2, 3)).astype(np.float32)
        nodes.append(helper.make_node("Reshape", ["small", "flat"], ["cells"]))
    nodes += [
        helper.make_node("MatMul", [vector, "mix"], ["added"]),
        helper.make_node("Reshape", ["added", "shape"], ["column"]),
        helper.make_node("Add", ["smooth", "column"], ["sum"]),
        helper.make_node("Tanh" if card.signed else "Sigmoid", ["sum"], ["output"]),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3, size, size])]
    if len(card.outputs) > 1:
        nodes += [
            helper.make_node("ReduceMean", ["target"], ["grey"], axes=[1], keepdims=1),
            helper.make_node("Sigmoid", ["grey"], ["mask"]),
        ]
        outputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, size, size]))
    if card.needs_matrix:
        weights["emap"] = emap()
    inputs = [
        helper.make_tensor_value_info("target", TensorProto.FLOAT, ["n", 3, size, size]),
        helper.make_tensor_value_info("source", TensorProto.FLOAT, source_shape),
    ]
    return _saved(path, nodes, inputs, outputs, weights)


def save_deep_swapper(path: Path, width: int = 256) -> Path:
    """An inswapper with convolutions of its kind at a part of their number: 128 px down to 32 px of `width` channels,
    the source added there, and up again. For timing, where the others are too light."""
    rng = np.random.default_rng(4)
    weights = {"emap": emap(), "mix": rng.normal(0, 0.05, (512, width)).astype(np.float32)}
    weights |= {"column": np.array([-1, width, 1, 1], np.int64), "twice": np.array([1, 1, 2, 2], np.float32)}
    nodes: list[Any] = []

    def convolved(x: str, channels: tuple[int, int], stride: int = 1) -> str:
        name = f"conv{len(nodes)}"
        scale = 1.4 / np.sqrt(9 * channels[0])
        weights[f"{name}_w"] = rng.normal(0, scale, (channels[1], channels[0], 3, 3)).astype(np.float32)
        settings: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        nodes.append(helper.make_node("Conv", [x, f"{name}_w"], [name], **settings))
        nodes.append(helper.make_node("Relu", [name], [f"{name}_r"]))
        return f"{name}_r"

    x = convolved("target", (3, width // 4))
    x = convolved(x, (width // 4, width // 2), 2)
    x = convolved(x, (width // 2, width), 2)
    nodes.append(helper.make_node("MatMul", ["source", "mix"], ["added"]))
    nodes.append(helper.make_node("Reshape", ["added", "column"], ["bias"]))
    nodes.append(helper.make_node("Add", [x, "bias"], ["styled"]))
    x = convolved(convolved("styled", (width, width)), (width, width))
    for channels in (width, width // 2):
        nodes.append(helper.make_node("Resize", [x, "", "twice"], [f"up{channels}"], mode="nearest"))
        x = convolved(f"up{channels}", (channels, channels // 2))
    weights["last"] = rng.normal(0, 0.05, (3, width // 4, 3, 3)).astype(np.float32)
    nodes.append(helper.make_node("Conv", [x, "last"], ["sum"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Sigmoid", ["sum"], ["output"]))
    return _saved(path, nodes, *_swapper_ports(128), weights)


def _swapper_ports(size: int) -> tuple[list[Any], list[Any]]:
    """Inputs and output of a swapper that takes a vector."""
    inputs: list[tuple[str, list[Any]]] = [("target", ["n", 3, size, size]), ("source", ["n", 512])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    return ports, [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3, size, size])]


def save_converter(path: Path) -> Path:
    """A CrossFace: input (n, 512) -> output (n, 512), not of length 1."""
    weights = {"mix": np.random.default_rng(8).normal(0, 0.1, (512, 512)).astype(np.float32)}
    nodes = [
        helper.make_node("LpNormalization", ["input"], ["unit"], axis=1, p=2),
        helper.make_node("MatMul", ["unit", "mix"], ["output"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 512])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 512])]
    return _saved(path, nodes, inputs, outputs, weights)


def save_restorer(path: Path) -> Path:
    """A face restorer of 512 px, input -> output in -1..1, that smooths a little."""
    weights = {"average": np.full((3, 1, 3, 3), 1 / 9, np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "average"], ["smooth"], group=3, pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["smooth"], ["output"]),
    ]
    shape: list[Any] = ["n", 3, 512, 512]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
    return _saved(path, nodes, inputs, outputs, weights)


def _saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, np.ndarray]) -> Path:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "twin", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def runtime(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def infer_with(session: onnxruntime.InferenceSession, batch: int = 1) -> Infer:
    """Runs items in batches of at most so many, as `Run.infer` does."""
    names = [each.name for each in session.get_inputs()]

    def infer(items: Iterable[Tensors]) -> Iterator[Tensors]:
        chunk: list[Tensors] = []

        def run() -> Iterator[Tensors]:
            stacked = {name: np.stack([item[i].numpy() for item in chunk]) for i, name in enumerate(names)}
            for row in zip(*session.run(None, stacked), strict=True):
                yield tuple(torch.from_numpy(np.array(each)) for each in row)

        for item in items:
            chunk.append(item)
            if len(chunk) == batch:
                yield from run()
                chunk = []
        if chunk:
            yield from run()

    return infer
