"""Small ONNX files with the inputs and outputs of the public ones, whose answers can be foretold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 17


def saved(path: Path, nodes: list, inputs: dict, outputs: dict, weights: dict[str, np.ndarray] | None = None) -> Path:
    """Writes a graph. inputs, outputs: shapes by name, "n" for an open batch."""

    def values(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    initializers = [
        helper.make_tensor(
            name,
            TensorProto.FLOAT if value.dtype == np.float32 else TensorProto.INT64,
            value.shape,
            value.ravel().tolist(),
        )
        for name, value in (weights or {}).items()
    ]
    graph = helper.make_graph(nodes, "graph", values(inputs), values(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def recogniser(path: Path) -> Path:
    """The shape of w600k_r50; its vector is linear in the crop's mean colour."""
    weight = np.random.default_rng(5).standard_normal((3, 512)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["output"]),
    ]
    return saved(path, nodes, {"input": ["n", 3, 112, 112]}, {"output": ["n", 512]}, {"weight": weight})


def occluder(path: Path) -> Path:
    """The shape of XSeg; a pixel is free as far as it is red (the last channel)."""
    nodes = [helper.make_node("Slice", ["input", "start", "stop", "axis"], ["output"])]
    weights = {"start": np.array([2]), "stop": np.array([3]), "axis": np.array([3])}
    return saved(path, nodes, {"input": ["n", 256, 256, 3]}, {"output": ["n", 256, 256, 1]}, weights)


def parser(path: Path) -> Path:
    """The shape of BiSeNet; red pixels are skin (class 1), all others background."""
    weight = np.zeros((19, 3, 1, 1), np.float32)
    weight[1, 0] = 1.0
    nodes = [helper.make_node("Conv", ["input", "weight"], ["output"])]
    return saved(path, nodes, {"input": ["n", 3, 512, 512]}, {"output": ["n", 19, 512, 512]}, {"weight": weight})


def genderage(path: Path) -> Path:
    """The shape of InsightFace's; red faces are male and a year old for each hundredth of their red."""
    weight = np.zeros((3, 3), np.float32)
    weight[0] = 0.0, 1 / 255, 1 / 255  # red raises the second and the third of female, male, years / 100
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["fc1"]),
    ]
    weights = {"weight": weight, "bias": np.array([0.3, 0.0, 0.0], np.float32)}
    return saved(path, nodes, {"data": ["n", 3, 96, 96]}, {"fc1": ["n", 3]}, weights)


def landmarker(path: Path) -> Path:
    """The shape of fan_68_5; all 68 points lie on a ring around the nose, in the crop's units."""
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    ring = 0.2 * np.stack([np.cos(turn), np.sin(turn)], 1)[None].astype(np.float32)
    nodes = [
        helper.make_node("Slice", ["input", "start", "stop", "axis"], ["nose"]),
        helper.make_node("Add", ["nose", "ring"], ["output"]),
    ]
    weights = {"start": np.array([2]), "stop": np.array([3]), "axis": np.array([1]), "ring": ring}
    return saved(path, nodes, {"input": ["n", 5, 2]}, {"output": ["n", 68, 2]}, weights)
