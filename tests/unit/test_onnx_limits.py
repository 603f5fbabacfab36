"""Hostile ONNX files: each a few KiB, each refused or run for a few MiB and in no time."""

import resource
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from slimfusion.engines.onnx import compile as onnx_plan
from slimfusion.engines.onnx import constants as onnx_constants
from slimfusion.engines.onnx import file as onnx_file
from slimfusion.engines.onnx import limits as onnx_limits
from slimfusion.engines.onnx import module as onnx_as_torch
from slimfusion.engines.onnx import protobuf
from slimfusion.engines.onnx.tensors import OnnxTensor
from slimfusion.errors import ModelFileError
from slimfusion.models import library as model_files

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
MIB = 1 << 20


def graph(path, nodes, weights=(), output="y"):
    """x -> y, whose graph is read."""
    values = [helper.make_tensor_value_info(name, FLOAT, [1, 3, 64, 64]) for name in ("x", output)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights]
    made = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return onnx_file.read(path)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def grown_by():
    """Bytes that the process has had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def doubling(op, count=40):
    if op == "Concat":
        return [node(op, [f"v{k}", f"v{k}"], f"v{k + 1}", axis=0) for k in range(count)]
    if op == "Tile":
        return [node(op, [f"v{k}", "two"], f"v{k + 1}") for k in range(count)]
    return [node(op, [f"v{k}", "index"], f"v{k + 1}", axis=0) for k in range(count)]


@pytest.mark.parametrize("op", ["Concat", "Tile", "Gather"])
def test_sizes_that_double_and_double_are_refused_before_they_are_made(tmp_path, op):
    weights = [("v0", np.arange(2)), ("two", np.int64([2])), ("index", np.tile(np.int64([0, 1]), 8))]
    if op == "Gather":  # of a matrix of itself: rows of rows
        weights[0] = ("v0", np.arange(2))
        weights[2] = ("index", np.zeros((64, 64), np.int64))
    before = grown_by()
    nodes = [*doubling(op), node("Reshape", ["x", "v40"], "y")]
    with pytest.raises(ModelFileError, match="makes a table of the shape"):
        onnx_as_torch.meta_model(graph(tmp_path / "m.onnx", nodes, weights), torch.float32)
    assert grown_by() - before < 256 * MIB


def test_broadcasting_is_no_way_around(tmp_path):
    weights = [("a", np.arange(1 << 13)[:, None]), ("b", np.arange(1 << 13)[None])]
    nodes = [node("Add", ["a", "b"], "c"), node("ReduceSum", ["c"], "d"), node("Reshape", ["x", "d"], "y")]
    with pytest.raises(ModelFileError, match=r"\[8192, 8192\]"):
        onnx_as_torch.meta_model(graph(tmp_path / "m.onnx", nodes, weights), torch.float32)


def test_many_tables_are_together_no_larger_than_one_model_needs(tmp_path):
    shape = [("s", np.int64([1 << 21]))]
    zero = numpy_helper.from_array(np.int64([0]))
    nodes = [node("ConstantOfShape", ["s"], f"t{k}", value=zero) for k in range(20)]
    with pytest.raises(ModelFileError, match="128 MiB of sizes and indices"):
        onnx_as_torch.meta_model(
            graph(tmp_path / "m.onnx", [*nodes, node("Identity", ["x"], "y")], shape), torch.float32
        )


def test_tables_that_hang_on_the_picture_are_counted_while_they_are_held(tmp_path):
    zero = numpy_helper.from_array(np.int64([0]))
    nodes = [node("Shape", ["x"], "s"), node("ReduceProd", ["s"], "n"), node("Mul", ["n", "many"], "m")]
    nodes += [node("ConstantOfShape", ["m"], f"t{k}", value=zero) for k in range(20)]
    nodes += [node("Concat", [f"t{k}" for k in range(20)], "all", axis=0), node("Reshape", ["x", "all"], "y")]
    module, mode = onnx_as_torch.meta_model(
        graph(tmp_path / "m.onnx", nodes, [("many", np.int64([128]))]), torch.float32
    )
    before = grown_by()
    with mode, pytest.raises(ModelFileError, match="128 MiB of sizes and indices"):
        module(torch.empty(1, 3, 64, 64))
    assert grown_by() - before < 256 * MIB


def test_constants_that_are_worked_out_are_few_or_predicted(tmp_path, monkeypatch):
    """A thousand of a MiB each, one from the other: none but the last is kept, and no two lie beside one another."""
    monkeypatch.setattr(onnx_plan, "FOLDED_BYTES", 1 << 40)
    weights = [("v0", np.zeros((1, 1, 1), np.float32) + 1), ("shape", np.int64([1, 512, 512]))]
    nodes = [node("Expand", ["v0", "shape"], "w0")]
    nodes += [node("Sqrt", [f"w{k}"], f"w{k + 1}") for k in range(2000)]
    read = graph(tmp_path / "m.onnx", [*nodes, node("MatMul", ["x", "w2000"], "y")], weights)
    planned = onnx_plan.plan(read, torch.device("cpu"), torch.float32)
    made, passing = onnx_constants.made_weights(planned, OnnxTensor.load, torch.device("cpu"), torch.float32)
    assert passing <= 3 * MIB and sum(each.nbytes for each in made.values()) <= 2 * MIB
    assert torch.equal(next(w for w in made.values() if w.numel() > 1), torch.ones(1, 512, 512))


def test_folding_stops_where_it_would_fill_the_memory(tmp_path):
    """Steps instead: what a run takes is planned."""
    weights = [("v", np.float32([[1.0]])), ("shape", np.int64([4096, 4096]))]
    nodes = [node("Expand", ["v", "shape"], "w")]
    nodes += [node("Add", ["w", "w"], f"w{k}") for k in range(8)]
    nodes += [node("Sum", [f"w{k}" for k in range(8)], "z"), node("ReduceMean", ["z"], "q")]
    read = graph(tmp_path / "m.onnx", [*nodes, node("Add", ["x", "q"], "y")], weights)
    module, _ = onnx_as_torch.meta_model(read, torch.float32)
    assert sum(each.nbytes for each in module.parameters()) <= onnx_limits.FOLDED_BYTES
    assert any(step.call.op == "Add" for step in module._plan.steps)


def test_what_opening_takes_for_the_moment_is_predicted(tmp_path, monkeypatch):
    """A wide constant becomes a number: of 64 MiB twice at a time nothing is kept."""
    monkeypatch.setattr(onnx_plan, "FOLDED_BYTES", 1 << 40)
    weights = [("v", np.float32([[1.0]])), ("a", np.int64([1, 1 << 24])), ("axis", np.int64([1]))]
    nodes = [node("Expand", ["v", "a"], "w"), node("Sqrt", ["w"], "r"), node("Sqrt", ["r"], "s")]
    nodes += [node("ReduceSum", ["s", "axis"], "q"), node("Add", ["x", "q"], "y")]
    module, _ = onnx_as_torch.meta_model(graph(tmp_path / "m.onnx", nodes, weights), torch.float32)
    assert 64 * MIB <= module.opening_bytes <= 65 * MIB


def varint(number):
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def model(graph_content):
    return b"\x08\x08" + field(8, b"\x0a\x00\x10\x11") + field(7, graph_content)


FILES = {
    "dimensions in a tensor": model(field(5, field(1, b"\x02" * MIB) + field(8, b"w"))),
    "dimensions in an input": model(field(11, field(2, field(1, field(2, field(1, b"\x08\x02") * (MIB // 4)))))),
    "fields of nothing": model(b"\x10\x01" * (MIB // 2)),
    "nested graphs": None,
}


@pytest.mark.parametrize("name", FILES)
def test_recognition_walks_a_short_way(tmp_path, name, monkeypatch):
    content = FILES[name]
    if content is None:
        inner = b""
        for _ in range(3000):
            inner = field(1, field(4, b"If") + field(5, field(1, b"g") + b"\xa0\x01\x05" + field(6, inner)))
        content = model(inner)
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    walked = []
    count = protobuf.Limits.count
    monkeypatch.setattr(protobuf.Limits, "count", lambda self, n=1: (walked.append(n), count(self, n))[1])
    found = model_files.search([tmp_path], tmp_path)
    assert [each.usable for each in found] == [False]
    assert sum(walked) <= onnx_limits.MOST_ENTRIES_TO_RECOGNISE + MIB
    if name != "fields of nothing":  # those are passed over
        with pytest.raises(ModelFileError):
            onnx_as_torch.meta_model(onnx_file.read(path), torch.float32)


def test_a_value_that_is_made_of_itself_is_refused(tmp_path):
    nodes = [node("Sqrt", ["w"], "w"), node("Add", ["x", "w"], "y")]
    with pytest.raises(ModelFileError, match="made of itself"):
        onnx_as_torch.meta_model(graph(tmp_path / "m.onnx", nodes, [("w", np.ones(64, np.float32))]), torch.float32)


def test_a_table_for_resizing_is_not_made_where_only_sizes_count(tmp_path):
    weights = [("sizes", np.int64([1, 3, 1 << 20, 64]))]
    resize = node("Resize", ["x", "", "", "sizes"], "y", mode="cubic", coordinate_transformation_mode="asymmetric")
    module, mode = onnx_as_torch.meta_model(graph(tmp_path / "m.onnx", [resize], weights), torch.float32)
    with mode:
        assert module(torch.empty(1, 3, 64, 64))[0].shape == (1, 3, 1 << 20, 64)
