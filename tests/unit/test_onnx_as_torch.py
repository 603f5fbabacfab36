"""ONNX operators and graphs under torch, beside onnxruntime."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slimfusion.engines.live_peak import LivePeak
from slimfusion.engines.onnx import file as onnx_file
from slimfusion.engines.onnx import module as onnx_as_torch
from slimfusion.engines.onnx.precision import summed_in_float32
from slimfusion.errors import ModelFileError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)


def real(*shape, low=-2.0, high=2.0):
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def whole(*values, dtype=np.int64):
    return np.array(values, dtype)


def model(nodes, inputs, constants=None, opset=17, outputs=("y",), shapes=None):
    """inputs: arrays by name. shapes: declared shapes of inputs where they are not their own."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in inputs.items()}
    shapes = shapes or {}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, kinds[n], shapes.get(n, list(a.shape))) for n, a in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def loaded(folder: Path, made):
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return onnx_file.read(path)


def reference(made, inputs):
    inferred = onnx.shape_inference.infer_shapes(made)
    for output in made.graph.output:  # onnxruntime wants to know the outputs' types
        known = {value.name: value for value in inferred.graph.value_info}
        if output.name in known:
            output.CopyFrom(known[output.name])
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def check(folder, nodes, inputs, constants=None, opset=17, outputs=("y",), tolerance=1e-5, **more):
    """The graph gives what onnxruntime gives, and on tensors without data the same shapes."""
    made = model(nodes, inputs, constants, opset, outputs, **more)
    expected = reference(made, inputs)
    graph = loaded(folder, made)
    given = [torch.from_numpy(array.copy()) for array in inputs.values()]
    with torch.inference_mode():
        results = onnx_as_torch.build(graph, CPU, torch.float32)(*given)
    for result, wanted in zip(results, expected, strict=True):
        assert result.numpy().shape == wanted.shape
        assert np.allclose(result.numpy(), wanted, rtol=tolerance, atol=tolerance)
    for tensor, array in zip(given, inputs.values(), strict=True):
        assert np.array_equal(tensor.numpy(), array, equal_nan=array.dtype.kind == "f"), "an input was overwritten"
    if not any(node.op_type in ("NonZero", "Compress") for node in nodes):
        module, mode = onnx_as_torch.meta_model(graph, torch.float32)
        with mode:
            fakes = module(*(torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in given))
        assert [tuple(fake.shape) for fake in fakes] == [wanted.shape for wanted in expected]
    return results


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


UNARY = ["Abs", "Neg", "Exp", "Erf", "Floor", "Ceil", "Round", "Reciprocal", "Relu", "Sigmoid", "Tanh", "HardSwish",
         "Softplus", "Softsign", "Sign", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "ThresholdedRelu", "Identity",
         "Sin", "Cos", "Mish"]  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
def test_operators_on_one_tensor(tmp_path, op):
    """Once on the input, once on a value that may be overwritten."""
    nodes = [node(op, ["x"], ["a"]), node("Neg", ["x"], ["b"]), node(op, ["b"], ["c"])]
    check(tmp_path, nodes, {"x": real(2, 3, 4, 5)}, opset=18, outputs=("a", "c"))


@pytest.mark.parametrize("op", ["Sqrt", "Log"])
def test_operators_on_positive_numbers(tmp_path, op):
    check(tmp_path, [node(op, ["x"])], {"x": real(2, 3, low=0.1)})


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_gelu(tmp_path, how):
    check(tmp_path, [node("Gelu", ["x"], approximate=how)], {"x": real(3, 4)}, opset=20)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 1), (5,), ()])
def test_operators_on_two_tensors(tmp_path, op, shape):
    """A constant on either side of the input and of a value that may be overwritten, and two such values."""
    low = 0.5 if op in ("Div", "Pow") else -2.0
    nodes = [
        node(op, ["x", "c"], ["a"]), node(op, ["c", "x"], ["b"]),
        node("Abs", ["x"], ["p"]), node(op, ["p", "c"], ["d"]),
        node("Abs", ["x"], ["q"]), node(op, ["c", "q"], ["e"]),
        node("Abs", ["x"], ["r"]), node("Exp", ["x"], ["s"]), node(op, ["r", "s"], ["f"]),
    ]  # fmt: skip
    inputs, constants = {"x": real(2, 3, 4, 5, low=low)}, {"c": np.asarray(real(*shape, low=low))}
    check(tmp_path, nodes, inputs, constants, outputs=("a", "b", "d", "e", "f"))


def test_a_value_with_itself(tmp_path):
    nodes = [node("Exp", ["x"], ["e"]), node("Sub", ["e", "e"], ["s"]), node("Add", ["s", "x"], ["t"])]
    check(tmp_path, [*nodes, node("Mul", ["t", "t"])], {"x": real(2, 3)})


def test_whole_numbers_divide_towards_zero(tmp_path):
    nodes = [node("Div", ["x", "c"], ["a"]), node("Mod", ["x", "c"], ["b"])]
    check(tmp_path, nodes, {"x": whole(7, -7, 8)}, {"c": whole(2, 2, -3)}, outputs=("a", "b"))


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons_choose(tmp_path, op):
    nodes = [node(op, ["x", "c"], ["m"]), node("Not", ["m"], ["n"]), node("Where", ["n", "x", "c"])]
    check(tmp_path, nodes, {"x": np.round(real(4, 5))}, {"c": np.float32(1.0)})


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(tmp_path, op):
    check(tmp_path, [node(op, ["a", "b"])], {"a": real(9) > 0, "b": real(9) > 0})


def test_what_is_no_number(tmp_path):
    x = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    nodes = [node("IsNaN", ["x"], ["a"]), node("IsInf", ["x"], ["b"], detect_negative=0)]
    check(tmp_path, nodes, {"x": x}, opset=20, outputs=("a", "b"))


@pytest.mark.parametrize("opset", [6, 11, 13])
def test_clip(tmp_path, opset):
    if opset == 6:
        check(tmp_path, [node("Clip", ["x"], min=-0.5, max=1.0)], {"x": real(3, 4)}, opset=opset)
    else:
        check(tmp_path, [node("Clip", ["x", "", "high"])], {"x": real(3, 4)}, {"high": np.float32(1.0)}, opset)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,), (1, 3, 1, 1), (3, 4, 5)])
def test_prelu(tmp_path, shape):
    check(tmp_path, [node("PRelu", ["x", "s"])], {"x": real(2, 3, 4, 5)}, {"s": real(*shape)})


def test_silu_is_one_step(tmp_path):
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"])]
    inputs, constants = {"x": real(1, 3, 5, 5)}, {"w": real(4, 3, 1, 1)}
    check(tmp_path, nodes, inputs, constants)


@pytest.mark.parametrize("back", [(1, 6, 4, 5), (0, 6, 4, 5), (1, 6, 5, 4), (1, 3, 8, 5)])
def test_group_normalization_of_five_nodes(tmp_path, back):
    """With the picture's shape at the end it is one step; with another, what is written."""
    channels = 6 if back[1] == 6 else 3
    nodes = [
        node("Conv", ["x", "k"], ["c"]), node("Reshape", ["c", "split"], ["r"]),
        node("InstanceNormalization", ["r", "s", "t"], ["n"]), node("Reshape", ["n", "back"], ["b"]),
        node("Mul", ["b", "w"], ["m"]), node("Add", ["v", "m"]),
    ]  # fmt: skip
    constants = {
        "k": real(6, 2, 1, 1), "split": whole(0, 3, -1), "s": real(3), "t": real(3), "back": whole(*back),
        "w": real(channels, 1, 1), "v": real(channels, 1, 1),
    }  # fmt: skip
    check(tmp_path, nodes, {"x": real(1, 2, 4, 5)}, constants)
    if back == (1, 6, 4, 5):
        module = onnx_as_torch.build(
            loaded(tmp_path, model(nodes, {"x": real(1, 2, 4, 5)}, constants)), CPU, torch.float32
        )
        batch = torch.rand(2, 2, 4, 5)
        assert torch.allclose(module(batch)[0], torch.cat([module(x[None])[0] for x in batch]), atol=1e-5)


CONVOLUTIONS = [
    ({"pads": [1, 1, 1, 1]}, (6, 4, 3, 3)), ({"strides": [2, 2], "pads": [0, 1, 1, 0]}, (6, 4, 3, 3)),
    ({"dilations": [2, 1]}, (6, 4, 3, 2)), ({"group": 2}, (6, 2, 3, 3)),
    ({"group": 4, "auto_pad": "VALID"}, (4, 1, 1, 3)),
    ({"auto_pad": "SAME_UPPER", "strides": [2, 3]}, (6, 4, 3, 3)), ({"auto_pad": "SAME_LOWER"}, (6, 4, 2, 4)),
]  # fmt: skip


@pytest.mark.parametrize("attributes, shape", CONVOLUTIONS)
def test_convolutions(tmp_path, attributes, shape):
    constants = {"w": real(*shape), "b": real(shape[0])}
    check(tmp_path, [node("Conv", ["x", "w", "b"], **attributes)], {"x": real(2, 4, 9, 8)}, constants)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_convolutions_of_other_dimensions(tmp_path, dimensions):
    inputs = {"x": real(1, 2, *(6,) * dimensions)}
    check(tmp_path, [node("Conv", ["x", "w"])], inputs, {"w": real(3, 2, *(3,) * dimensions)})


def test_a_convolution_with_a_computed_kernel(tmp_path):
    """As StyleGAN2's are exported: the sample's style modulates the kernel, the sample is a group."""
    nodes = [
        node("Mul", ["w", "style"], ["m"]), node("Mul", ["m", "m"], ["q"]),
        node("ReduceSum", ["q", "axes"], ["r"], keepdims=1), node("Sqrt", ["r"], ["n"]), node("Div", ["m", "n"], ["d"]),
        node("Reshape", ["d", "kernel"], ["k"]), node("Conv", ["x", "k"], group=1, pads=[1, 1, 1, 1]),
    ]  # fmt: skip
    inputs = {"x": real(1, 4, 6, 6), "style": real(1, 1, 4, 1, 1)}
    constants = {"w": real(1, 5, 4, 3, 3), "axes": whole(2, 3, 4), "kernel": whole(5, 4, 3, 3)}
    check(tmp_path, nodes, inputs, constants)


TRANSPOSED = [{}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, {"group": 2, "strides": [2, 2]},
              {"pads": [0, 1, 1, 0], "strides": [2, 2]}, {"output_shape": [12, 11], "strides": [2, 2]},
              {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"dilations": [2, 2]}]  # fmt: skip


@pytest.mark.parametrize("attributes", TRANSPOSED)
def test_transposed_convolutions(tmp_path, attributes):
    group = attributes.get("group", 1)
    constants = {"w": real(4, 6 // group, 3, 3), "b": real(6)}
    check(tmp_path, [node("ConvTranspose", ["x", "w", "b"], **attributes)], {"x": real(1, 4, 5, 5)}, constants)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]},
                                        {"strides": [2, 2], "pads": [0, 0, 1, 1]}, {"strides": [2, 2], "ceil_mode": 1},
                                        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}])  # fmt: skip
def test_poolings(tmp_path, op, attributes):
    check(tmp_path, [node(op, ["x"], kernel_shape=[3, 3], **attributes)], {"x": real(1, 2, 8, 9)})


def test_average_that_counts_its_padding(tmp_path):
    attributes = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}
    check(tmp_path, [node("AveragePool", ["x"], **attributes)], {"x": real(1, 2, 5, 5)})


def test_global_poolings(tmp_path):
    nodes = [node("GlobalAveragePool", ["x"], ["a"]), node("GlobalMaxPool", ["x"], ["b"])]
    check(tmp_path, nodes, {"x": real(2, 3, 4, 5)}, outputs=("a", "b"))


def test_normalizations(tmp_path):
    constants = {"s": real(4), "b": real(4), "m": real(4), "v": real(4, low=0.1), "ls": real(6), "lb": real(6)}
    nodes = [
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["a"]), node("Neg", ["x"], ["n"]),
        node("BatchNormalization", ["n", "s", "b", "m", "v"], ["c"]),
        node("InstanceNormalization", ["x", "s", "b"], ["d"]), node("LayerNormalization", ["x", "ls", "lb"], ["e"]),
        node("LpNormalization", ["x"], ["f"], axis=1, p=2), node("LRN", ["x"], ["g"], size=3),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": real(2, 4, 5, 6)}, constants, outputs=tuple("acdefg"))


@pytest.mark.parametrize("opset, size", [(18, 2), (21, 4)])
def test_group_normalization(tmp_path, opset, size):
    nodes = [node("GroupNormalization", ["x", "s", "b"], num_groups=2)]
    check(tmp_path, nodes, {"x": real(2, 4, 5, 6)}, {"s": real(size), "b": real(size)}, opset=opset)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 12, 13])
@pytest.mark.parametrize("axis", [None, 1, -1])
def test_softmax(tmp_path, op, opset, axis):
    attributes = {} if axis is None else {"axis": axis}
    check(tmp_path, [node(op, ["x"], **attributes)], {"x": real(2, 3, 4)}, opset=opset)


NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
RESIZES = [
    (mode, rule, nearest, factors)
    for mode, nearests in (("nearest", NEAREST), ("linear", ("",)), ("cubic", ("",)))
    for rule in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for nearest in nearests
    for factors in ((2.0, 2.0), (0.5, 0.5), (1.7, 0.6))
]  # fmt: skip


@pytest.mark.parametrize("mode, rule, nearest, factors", RESIZES)
def test_resize(tmp_path, mode, rule, nearest, factors):
    attributes = {"mode": mode, "coordinate_transformation_mode": rule}
    if nearest:
        attributes["nearest_mode"] = nearest
    constants = {"s": np.array([1, 1, *factors], np.float32)}
    check(tmp_path, [node("Resize", ["x", "", "s"], **attributes)], {"x": real(1, 2, 6, 8)}, constants, opset=13)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("sizes", [(12, 16), (7, 5), (1, 1)])
def test_resize_to_sizes(tmp_path, mode, sizes):
    constants = {"s": whole(1, 2, *sizes), "none": np.zeros(0, np.float32)}
    nodes = [node("Resize", ["x", "none", "none", "s"], mode=mode)]
    check(tmp_path, nodes, {"x": real(1, 2, 6, 8)}, constants, opset=11)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_without_aliasing(tmp_path, mode):
    nodes = [node("Resize", ["x", "", "s"], mode=mode, antialias=1)]
    constants = {"s": np.array([1, 1, 0.4, 0.5], np.float32)}
    check(tmp_path, nodes, {"x": real(1, 2, 10, 8)}, constants, opset=18)


@pytest.mark.parametrize("op, opset", [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_before_it_had_rules(tmp_path, op, opset, mode):
    inputs = {"x": real(1, 2, 6, 8)}
    if opset == 7:
        check(tmp_path, [node(op, ["x"], mode=mode, scales=[1.0, 1.0, 2.0, 3.0])], inputs, opset=opset)
    else:
        constants = {"s": np.array([1, 1, 2, 3], np.float32)}
        check(tmp_path, [node(op, ["x", "s"], mode=mode)], inputs, constants, opset=opset)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("opset", [2, 11])
def test_pad(tmp_path, mode, opset):
    pads = [0, 0, 1, 2, 0, 0, 3, 0]
    if opset == 2:
        check(tmp_path, [node("Pad", ["x"], mode=mode, pads=pads)], {"x": real(1, 2, 5, 6)}, opset=opset)
    else:
        constants = {"p": whole(*pads), "v": np.float32(1.5)}
        inputs = ["x", "p", "v"] if mode == "constant" else ["x", "p"]
        check(tmp_path, [node("Pad", inputs, mode=mode)], {"x": real(1, 2, 5, 6)}, constants, opset=opset)


def test_pad_of_chosen_axes(tmp_path):
    constants = {"p": whole(1, 2), "v": np.float32(0.5), "a": whole(1)}
    check(tmp_path, [node("Pad", ["x", "p", "v", "a"])], {"x": real(2, 3, 4)}, constants, opset=18)


SLICES = [((1, 0), (3, 2), (2, 1), (1, 1)), ((0,), (10**9,), (3,), (2,)), ((-1,), (-(2**63),), (2,), (-1,)),
          ((4,), (1,), (2,), (-2,)), ((-3,), (-1,), (-1,), (1,))]  # fmt: skip


@pytest.mark.parametrize("starts, ends, axes, steps", SLICES)
def test_slice(tmp_path, starts, ends, axes, steps):
    inputs, names = {"x": real(2, 3, 5, 6)}, ["x", "s", "e", "a", "t"]
    constants = {"s": whole(*starts), "e": whole(*ends), "a": whole(*axes), "t": whole(*steps)}
    check(tmp_path, [node("Slice", names)], inputs, constants)
    if set(steps) == {1}:
        check(tmp_path, [node("Slice", ["x"], starts=starts, ends=ends, axes=axes)], inputs, opset=9)


@pytest.mark.parametrize("opset", [11, 13])
def test_axes_as_attributes_and_as_inputs(tmp_path, opset):
    inputs, one = {"x": real(2, 1, 3)}, {"axes": [1]}
    if opset == 11:
        made = [node("Squeeze", ["x"], ["a"], **one), node("Unsqueeze", ["x"], ["b"], axes=[0, 2]),
                node("ReduceSum", ["x"], ["c"], axes=[-1]),
                node("Split", ["x"], ["d", "e"], axis=2, split=[1, 2])]  # fmt: skip
        constants = {}
    else:
        made = [node("Squeeze", ["x", "k"], ["a"]), node("Unsqueeze", ["x", "l"], ["b"]),
                node("ReduceSum", ["x", "m"], ["c"]), node("Split", ["x", "n"], ["d", "e"], axis=2)]  # fmt: skip
        constants = {"k": whole(1), "l": whole(0, 2), "m": whole(-1), "n": whole(1, 2)}
    check(tmp_path, made, inputs, constants, opset, tuple("abcde"))


def test_layouts(tmp_path):
    nodes = [
        node("Reshape", ["x", "r"], ["a"]), node("Transpose", ["x"], ["b"], perm=[0, 2, 3, 1]),
        node("Flatten", ["x"], ["c"], axis=2), node("Concat", ["x", "x"], ["d"], axis=-1),
        node("Expand", ["s", "e"], ["f"]), node("Tile", ["x", "t"], ["g"]), node("Split", ["x"], ["h", "i"], axis=1),
        node("DepthToSpace", ["x"], ["j"], blocksize=2), node("DepthToSpace", ["x"], ["k"], blocksize=2, mode="CRD"),
        node("SpaceToDepth", ["x"], ["l"], blocksize=2), node("Trilu", ["x", "o"], ["m"], upper=0),
    ]  # fmt: skip
    constants = {"r": whole(0, -1, 12), "e": whole(2, 1, 3), "t": whole(1, 2, 1, 3), "o": np.array(1)}
    check(tmp_path, nodes, {"x": real(1, 8, 4, 6), "s": real(1, 3)}, constants, outputs=tuple("abcdfghijklm"))


def test_picking(tmp_path):
    nodes = [
        node("Gather", ["x", "i"], ["a"], axis=1), node("Gather", ["x", "z"], ["b"], axis=2),
        node("GatherElements", ["x", "j"], ["c"], axis=2), node("GatherND", ["x", "k"], ["d"]),
        node("GatherND", ["x", "n"], ["e"], batch_dims=1), node("ScatterND", ["x", "k", "u"], ["f"]),
        node("ScatterElements", ["x", "j", "v"], ["g"], axis=2), node("OneHot", ["i", "depth", "values"], ["h"]),
    ]  # fmt: skip
    constants = {
        "i": whole(0, -1, 1), "z": np.array(-1), "j": RANDOM.permuted(np.tile(np.arange(4), (2, 3, 1)), axis=2) - 4,
        "k": whole([0, 1], [1, -1]), "n": whole([2], [0]), "u": real(2, 4), "v": real(2, 3, 4),
        "depth": np.array(4), "values": np.array([-1, 2], np.float32),
    }  # fmt: skip
    check(tmp_path, nodes, {"x": real(2, 3, 4)}, constants, outputs=tuple("abcdefgh"))


def test_reductions(tmp_path):
    names = ["Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]
    nodes = [node(f"Reduce{name}", ["x"], [name], axes=[1, 3], keepdims=k % 2) for k, name in enumerate(names)]
    check(tmp_path, [*nodes, node("ReduceMean", ["x"], ["all"])], {"x": real(2, 3, 4, 5)}, outputs=(*names, "all"))
    late = [node("ReduceMean", ["x", "axes"], ["a"]), node("ReduceMax", ["x"], ["b"], noop_with_empty_axes=1)]
    check(tmp_path, late, {"x": real(2, 3, 4, 5)}, {"axes": whole(-1)}, opset=18, outputs=("a", "b"))


def test_choosing_the_largest(tmp_path):
    nodes = [
        node("ArgMax", ["x"], ["a"], axis=1), node("ArgMin", ["x"], ["b"], axis=-1, keepdims=0),
        node("TopK", ["x", "k"], ["c", "d"], axis=1), node("TopK", ["x", "k"], ["e", "f"], largest=0),
        node("CumSum", ["x", "axis"], ["g"]), node("CumSum", ["x", "axis"], ["h"], exclusive=1, reverse=1),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": real(3, 5)}, {"k": whole(2), "axis": np.array(1)}, outputs=tuple("abcdefgh"))
    check(tmp_path, [node("NonZero", ["x"])], {"x": np.round(real(3, 5))})


def test_products_of_matrices(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Gemm", ["f", "w", "c"], ["b"], alpha=0.5, beta=2.0),
        node("Gemm", ["f", "v"], ["d"], transB=1), node("Einsum", ["x", "w"], ["e"], equation="bij, jk -> bik"),
        node("Gemm", ["g", "w", "c"], ["h"], transA=1),
    ]  # fmt: skip
    inputs = {"x": real(2, 3, 4), "f": real(3, 4), "g": real(4, 3)}
    check(tmp_path, nodes, inputs, {"w": real(4, 5), "v": real(5, 4), "c": real(5)}, outputs=tuple("abdeh"))


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_grid_sample(tmp_path, mode, padding, aligned):
    nodes = [node("GridSample", ["x", "g"], mode=mode, padding_mode=padding, align_corners=aligned)]
    inputs = {"x": real(1, 2, 5, 6), "g": real(1, 4, 3, 2, low=-1.3, high=1.3)}
    check(tmp_path, nodes, inputs, opset=20, tolerance=1e-4)


def test_quantised_weights(tmp_path):
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), node("Conv", ["x", "w"], ["c"]),
        node("QuantizeLinear", ["c", "t", "u"], ["d"]), node("DequantizeLinear", ["d", "t", "u"]),
    ]  # fmt: skip
    constants = {
        "q": RANDOM.integers(-128, 127, (4, 3, 1, 1)).astype(np.int8), "s": real(4, low=0.01, high=0.02),
        "z": np.zeros(4, np.int8), "t": np.float32(0.05), "u": np.uint8(128),
    }  # fmt: skip
    check(tmp_path, nodes, {"x": real(1, 3, 4, 4)}, constants, tolerance=0.051)


def test_sizes_are_computed_from_the_picture(tmp_path):
    """As exporters with free heights and widths write it: shape, arithmetic, reshape and resize."""
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "two"], ["h"]),
        node("Gather", ["shape", "three"], ["w"]),
        node("Mul", ["h", "w"], ["hw"]), node("Unsqueeze", ["hw", "zero"], ["hw1"]),
        node("Concat", ["head", "hw1"], ["flat"], axis=0), node("Reshape", ["x", "flat"], ["a"]),
        node("Slice", ["shape", "zero", "twos"], ["first"]), node("Slice", ["shape", "twos", "fours"], ["last"]),
        node("Cast", ["last"], ["lastf"], to=TensorProto.FLOAT), node("Mul", ["lastf", "half"], ["grown"]),
        node("Floor", ["grown"], ["whole"]), node("Cast", ["whole"], ["sizes"], to=TensorProto.INT64),
        node("Concat", ["first", "sizes"], ["target"], axis=0),
        node("Resize", ["x", "", "", "target"], ["b"], mode="linear"),
        node("ConstantOfShape", ["shape"], ["zeros"]), node("Add", ["x", "zeros"], ["c"]),
        node("Cast", ["hw"], ["hwf"], to=TensorProto.FLOAT), node("Div", ["x", "hwf"], ["d"]),
        node("Shape", ["shape"], ["rank"]), node("Cast", ["rank"], ["rank0"], to=1),
        node("Add", ["x", "rank0"], ["f"]),
        node("Range", ["z", "h", "one"], ["rows"]), node("Gather", ["x", "rows"], ["e"], axis=2),
    ]  # fmt: skip
    constants = {
        "two": np.array(2), "three": np.array(3), "zero": whole(0), "head": whole(1, 3), "twos": whole(2),
        "fours": whole(4), "half": np.float32(1.5), "z": np.array(0), "one": np.array(1),
    }  # fmt: skip
    shapes = {"x": [1, 3, "h", "w"]}
    results = check(tmp_path, nodes, {"x": real(1, 3, 5, 7)}, constants, outputs=tuple("abcdef"), shapes=shapes)
    assert results[1].shape == (1, 3, 7, 10)


def test_constants_are_computed_while_it_is_built(tmp_path):
    nodes = [
        node("Transpose", ["w"], ["t"]), node("Mul", ["t", "s"], ["m"]), node("MatMul", ["x", "m"], ["a"]),
        node("Constant", [], ["k"], value=numpy_helper.from_array(real(1, 5))), node("Add", ["a", "k"]),
    ]  # fmt: skip
    inputs, constants = {"x": real(3, 4)}, {"w": real(5, 4), "s": np.float32(0.3)}
    check(tmp_path, nodes, inputs, constants)
    graph = loaded(tmp_path, model(nodes, inputs, constants))
    module = onnx_as_torch.build(graph, CPU, torch.float32)
    assert sorted(tuple(p.shape) for p in module.parameters()) == [(1, 5), (4, 5)]


def test_a_branch_whose_condition_is_known(tmp_path):
    then = helper.make_graph([node("Relu", ["x"], ["p"])], "t", [], [onnx.ValueInfoProto(name="p")])
    other = helper.make_graph([node("Neg", ["x"], ["q"])], "e", [], [onnx.ValueInfoProto(name="q")])
    nodes = [node("If", ["c"], ["b"], then_branch=then, else_branch=other), node("Exp", ["b"])]
    for condition in (True, False):
        graph = loaded(tmp_path, model(nodes, {"x": real(4)}, {"c": np.array(condition)}))
        x = torch.linspace(-1, 1, 4)
        expected = torch.exp(torch.relu(x) if condition else -x)
        assert torch.equal(onnx_as_torch.build(graph, CPU, torch.float32)(x)[0], expected)


def test_random_numbers_are_the_same_every_time(tmp_path):
    nodes = [node("RandomNormalLike", ["x"], ["n"]), node("Add", ["x", "n"])]
    graph = loaded(tmp_path, model(nodes, {"x": real(1, 3, 16, 16)}))
    x = torch.zeros(1, 3, 16, 16)
    first, second = (onnx_as_torch.build(graph, CPU, torch.float32)(x)[0] for _ in range(2))
    assert torch.equal(first, second) and 0.8 < first.std() < 1.2


def network(batch=1):
    """Convolutions, normalisation, attention and a modulated kernel on (batch, 4, 8, 8), exported for one sample."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), node("LeakyRelu", ["a"], ["b"], alpha=0.2),
        node("Reshape", ["b", "groups"], ["c"]), node("InstanceNormalization", ["c", "s", "t"], ["d"]),
        node("Reshape", ["d", "picture"], ["e"]), node("Sigmoid", ["e"], ["g"]), node("Mul", ["e", "g"], ["h"]),
        node("Reshape", ["h", "tokens"], ["q"]), node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["k", "q"], ["l"]), node("Softmax", ["l"], ["p"], axis=-1), node("MatMul", ["q", "p"], ["o"]),
        node("Reshape", ["o", "picture"], ["r"]), node("Add", ["r", "b"], ["u"]),
        node("GlobalAveragePool", ["x"], ["style"]), node("Reshape", ["style", "modulation"], ["m"]),
        node("Mul", ["m", "w5"], ["v"]), node("Reshape", ["v", "kernel"], ["n"]),
        node("Conv", ["u", "n"], ["y"], group=1, pads=[1, 1, 1, 1]), node("Flatten", ["style"], ["z"], axis=0),
        node("Transpose", ["z"], ["flat"]),
    ]  # fmt: skip
    constants = {
        "w": real(4, 4, 3, 3), "groups": whole(1, 2, -1), "s": real(2), "t": real(2), "picture": whole(1, 4, 8, 8),
        "tokens": whole(1, 4, 64), "modulation": whole(1, 1, 4, 1, 1), "w5": real(1, 6, 4, 3, 3),
        "kernel": whole(6, 4, 3, 3),
    }  # fmt: skip
    return nodes, {"x": real(batch, 4, 8, 8)}, constants


def test_a_graph_for_one_sample_takes_many(tmp_path):
    """Fixed reshapes, kernels of each sample's own, and an output without an axis for the batch."""
    graph = loaded(tmp_path, model(*network(), outputs=("y", "flat")))
    module = onnx_as_torch.build(graph, CPU, torch.float32)
    batch = torch.rand(3, 4, 8, 8)
    with torch.inference_mode():
        alone = [module(sample[None]) for sample in batch]
        pictures, flat = module(batch)
        assert torch.allclose(pictures, torch.cat([results[0] for results in alone]), atol=1e-5)
        assert flat.shape == (3, 4, 1)
        assert torch.allclose(flat, torch.stack([results[1] for results in alone]), atol=1e-6)
        assert [tuple(x.shape) for x in module.samples(batch[:1])] == [(1, 6, 8, 8), (1, 4, 1)]


def test_a_second_input_without_a_batch_goes_to_every_sample(tmp_path):
    nodes = [node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), node("Mul", ["x", "f"])]
    graph = loaded(tmp_path, model(nodes, {"x": real(1, 3, 4, 4), "w": np.array([0.5])}))
    x = torch.rand(2, 3, 4, 4)
    module = onnx_as_torch.build(graph, CPU, torch.bfloat16)
    (result,) = module(x, torch.tensor([0.5], dtype=torch.float64))
    assert result.dtype == torch.float32 and torch.allclose(result, x * 0.5, atol=0.01)


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_half_precision(tmp_path, dtype, tolerance):
    made = model(*network())
    x = torch.rand(2, 4, 8, 8)
    with torch.inference_mode():
        module = onnx_as_torch.build(loaded(tmp_path, made), CPU, dtype)
        exact = onnx_as_torch.build(loaded(tmp_path, made), CPU, torch.float32)(x)[0]
        error = (module(x)[0].float() - exact).abs().max() / exact.abs().max()
    assert error < tolerance
    assert {p.dtype for p in module.parameters()} == {dtype}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pictures_are_summed_in_float32_in_half_precision(tmp_path, dtype):
    nodes = [
        node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "small"], ["m"]), node("Resize", ["x", "", "two"], ["r"]),
        node("Resize", ["m", "", "two"], ["s"]), node("Add", ["r", "s"]),
    ]  # fmt: skip
    constants = {"w": real(3, 3, 1, 1), "small": np.float32(0.003), "two": np.array([1, 1, 2, 2], np.float32)}
    graph = loaded(tmp_path, model(nodes, {"x": real(1, 3, 4, 4)}, constants))
    x = torch.rand(2, 3, 4, 4)
    exact, half = (onnx_as_torch.build(graph, CPU, each)(x)[0] for each in (torch.float32, dtype))
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 2e-4, "bfloat16 alone is 2e-3 away from the picture itself"
    assert (half - exact).abs().max() > 0, "the convolution too was run in float32"


def test_what_is_summed_in_float32_ends_at_the_last_convolutions():
    def link(op, inputs, output):
        return onnx_file.Node(op, "", output, inputs, (output,), {})

    nodes = [
        link("Conv", ("x", "w"), "a"), link("Relu", ("a",), "b"), link("Add", ("b", "x"), "c"),
        link("Conv", ("c", "w"), "d"), link("Clip", ("d",), "e"), link("Add", ("e", "x"), "y"),
    ]  # fmt: skip
    assert {node.name for node in summed_in_float32(nodes, ["y"])} == {"e", "y"}
    assert summed_in_float32(nodes[:4], ["d"]) == frozenset()


def test_a_graph_stored_in_half_runs_in_full(tmp_path):
    constants = {"w": real(4, 3, 1, 1).astype(np.float16)}
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Conv", ["h", "w"], ["c"]),
        node("Cast", ["c"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": real(1, 3, 4, 4)}, constants, tolerance=0.02)


def chain(length, size=64):
    nodes = [node("Conv", ["x", "w"], ["v0"])]
    for k in range(length):
        nodes += [node("Mul", [f"v{k}", "c"], [f"m{k}"]), node("Relu", [f"m{k}"], [f"v{k + 1}"])]
    return [*nodes, node("Identity", [f"v{length}"])], {"x": real(1, 1, size, size)}


def test_a_chain_takes_the_memory_of_one_value(tmp_path):
    nodes, inputs = chain(20)
    graph = loaded(tmp_path, model(nodes, inputs, {"w": real(16, 1, 1, 1), "c": np.float32(0.9)}))
    for count in (1, 4):
        module, mode = onnx_as_torch.meta_model(graph, torch.float32)
        with mode, torch.no_grad():
            x = torch.empty(count, 1, 64, 64)
            with LivePeak([x]) as live:
                module(x)
        assert live.peak == count * 16 * 64 * 64 * 4


def test_a_value_that_is_needed_later_or_seen_through_another_is_not_overwritten(tmp_path):
    nodes = [
        node("Exp", ["x"], ["a"]), node("Reshape", ["a", "flat"], ["b"]), node("Relu", ["a"], ["c"]),
        node("Neg", ["b"], ["d"]), node("Slice", ["d", "one", "three"], ["e"]), node("Sqrt", ["c"], ["f"]),
        node("Add", ["d", "f"], ["g"]), node("Identity", ["f"], ["h"]), node("Log", ["h"], ["i"]),
        node("Expand", ["e", "wide"], ["j"]), node("Tanh", ["j"], ["k"]),
    ]  # fmt: skip
    constants = {"flat": whole(6), "one": whole(1), "three": whole(3), "wide": whole(3, 2)}
    check(tmp_path, nodes, {"x": real(6)}, constants, outputs=("a", "d", "f", "g", "i", "k"))


def test_weights_are_not_written_to(tmp_path):
    nodes = [node("Mul", ["w", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["x", "b"])]
    graph = loaded(tmp_path, model(nodes, {"x": real(2, 20)}, {"w": real(2, 20)}))
    module = onnx_as_torch.build(graph, CPU, torch.float32)
    x = torch.rand(2, 20)
    assert torch.equal(module(x)[0], module(x)[0])


def test_nothing_is_kept_after_a_run(tmp_path):
    nodes, inputs = chain(3)
    module = onnx_as_torch.build(
        loaded(tmp_path, model(nodes, inputs, {"w": real(4, 1, 1, 1), "c": real()})), CPU, torch.float32
    )
    module(torch.rand(1, 1, 64, 64))
    gc.collect()
    alive = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor) and x.shape == (1, 4, 64, 64)]
    assert not alive


def test_unknown_operators_are_named(tmp_path):
    graph = loaded(tmp_path, model([node("LSTM", ["x"], ["a"]), node("Odd", ["a"], domain="some.one")], {"x": real(3)}))
    assert onnx_as_torch.unsupported(graph) == ("LSTM", "some.one.Odd")
    with pytest.raises(ModelFileError, match=r"LSTM, some\.one\.Odd\. onnxruntime may run this file"):
        onnx_as_torch.build(graph, CPU, torch.float32)


def test_an_operator_set_that_is_too_new_is_named(tmp_path):
    graph = loaded(tmp_path, model([node("Relu", ["x"])], {"x": real(3)}, opset=99))
    with pytest.raises(ModelFileError, match="operator set 99; the newest"):
        onnx_as_torch.build(graph, CPU, torch.float32)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 4, 9, 8)])
def test_a_picture_that_does_not_fit_is_called_so(tmp_path, shape):
    graph = loaded(tmp_path, model(*network()))
    module, mode = onnx_as_torch.meta_model(graph, torch.float32)
    with mode, pytest.raises(ModelFileError, match=r"model\.onnx does not fit together at"):
        module(torch.empty(shape))


BROKEN = [
    [node("Relu", ["nobody"])],
    [node("Reshape", ["x", "huge"])],
    [node("Tile", ["c", "huge"], ["t"]), node("Add", ["x", "t"])],
    [node("ConstantOfShape", ["huge"], ["t"], value=numpy_helper.from_array(whole(1))), node("Gather", ["x", "t"])],
    [node("Expand", ["c", "huge"], ["t"]), node("Neg", ["t"], ["n"]), node("Add", ["x", "n"])],
    [node("Gather", ["huge", "far"], ["i"]), node("Gather", ["x", "i"])],
    [node("Conv", ["x"], ["y"])],
    [node("Slice", ["x", "huge"])],
]


@pytest.mark.parametrize("nodes", BROKEN)
def test_graphs_that_do_not_fit_together(tmp_path, nodes):
    """Told as such while it is planned, or when its twin runs, before any memory is taken."""
    constants = {"huge": whole(1 << 20, 1 << 20), "c": whole([1, 2], [3, 4]), "far": np.array(9)}
    graph = loaded(tmp_path, model(nodes, {"x": real(4, 4)}, constants))
    with pytest.raises(ModelFileError, match=r"model\.onnx|operator"):
        module, mode = onnx_as_torch.meta_model(graph, torch.float32)
        with mode:
            module(torch.empty(4, 4))


WHOLE = model(*network()).SerializeToString()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_graph_is_refused_or_run_but_nothing_else(tmp_path, flips):
    content = bytearray(WHOLE)
    for place, byte in flips:
        content[place] = byte
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(content))
    try:
        module, mode = onnx_as_torch.meta_model(onnx_file.read(path), torch.float32)
        with mode:
            module(torch.empty(1, 4, 8, 8))
    except ModelFileError as error:
        assert str(error).endswith((".", "engine."))
