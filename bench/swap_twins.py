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

from ..catalog.families import Family
from ..engines.session import Infer, Tensors

SOURCE_SIDE = {"uniface": 256, "blendswap": 112}


def emap(seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, (512, 512)).astype(np.float32)


def save_swapper(path: Path, family: Family) -> Path:
    """target and source with the real names and shapes -> a picture that depends on both, in the family's range.

    Each channel is tanh or a sigmoid of (the target + what the source adds), after a 3 x 3 average.
    """
    rng, size = np.random.default_rng(3), family.size
    side = SOURCE_SIDE.get(family.name)
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
        helper.make_node("Tanh" if family.signed else "Sigmoid", ["sum"], ["output"]),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3, size, size])]
    if len(family.outputs) > 1:
        nodes += [
            helper.make_node("ReduceMean", ["target"], ["grey"], axes=[1], keepdims=1),
            helper.make_node("Sigmoid", ["grey"], ["mask"]),
        ]
        outputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, size, size]))
    if family.identity == "projected":
        weights["emap"] = emap()
    inputs = [
        helper.make_tensor_value_info("target", TensorProto.FLOAT, ["n", 3, size, size]),
        helper.make_tensor_value_info("source", TensorProto.FLOAT, source_shape),
    ]
    return _saved(path, nodes, inputs, outputs, weights)


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


def _saved(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, np.ndarray]
) -> Path:
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
