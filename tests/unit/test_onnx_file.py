"""ONNX files: what is read of them, what is not believed, and the sentence for what is damaged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from slimfusion.engines.onnx import file as onnx_file
from slimfusion.errors import ModelFileError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def model(tensors=(), nodes=None, inputs=None, opset=17):
    """A model of one Relu beside some tensors."""
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="the relu")] if nodes is None else nodes
    graph = helper.make_graph(nodes, "g", inputs or [picture], [result], list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="a test")


def saved(path: Path, content) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def test_the_graph_is_described(tmp_path):
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    graph = onnx_file.read(saved(tmp_path / "名 with space.onnx", model([weight])))
    assert (graph.opset, graph.producer, graph.parameters) == (17, "a test", 6)
    assert [(v.name, v.dtype, v.shape) for v in graph.inputs] == [("x", torch.float32, ("batch", 3, None, 8))]
    assert [(v.name, v.shape) for v in graph.outputs] == [("y", None)]
    (node,) = graph.nodes
    assert (node.op, node.name, node.inputs, node.outputs) == ("Relu", "the relu", ("x",), ("y",))


def test_attributes_of_every_kind(tmp_path):
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [])
    given = {"i": -3, "f": 0.5, "s": "text", "ints": [1, -2], "floats": [1.5, 2.5], "strings": ["a", "b"],
             "t": numpy_helper.from_array(np.arange(3), "t"), "g": branch, "zero": 0}  # fmt: skip
    graph = onnx_file.read(saved(tmp_path / "m.onnx", model(nodes=[helper.make_node("Odd", ["x"], ["y"], **given)])))
    read = graph.nodes[0].attributes
    assert [read[k] for k in ("i", "f", "s", "ints", "floats", "zero")] == [-3, 0.5, "text", (1, -2), (1.5, 2.5), 0]
    assert read["strings"] == ("a", "b")
    assert read["t"].load().tolist() == [0, 1, 2]
    assert [node.op for node in graph.everything()] == ["Odd", "Identity"]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "float64", "int64", "int32", "uint8", "int8", "bool", "uint64", "bfloat16"]
)
def test_tensors_of_every_type_are_read(tmp_path, dtype, raw):
    import ml_dtypes

    values = np.array([[0, 1, 200], [3, 0, 1]])
    values = values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = (
        helper.make_tensor("w", kind, values.shape, values.tobytes(), raw=True)
        if raw
        else helper.make_tensor("w", kind, values.shape, values.flatten())
    )
    stored = onnx_file.read(saved(tmp_path / "m.onnx", model([tensor]))).initializers["w"]
    assert str(stored.dtype) == f"torch.{dtype}"
    assert stored.load().tolist() == values.tolist()


def test_initializers_keep_their_order_and_are_no_inputs(tmp_path):
    tensors = [numpy_helper.from_array(np.full(2, k, np.float32), f"w{k}") for k in range(3)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "w0")]
    graph = onnx_file.read(saved(tmp_path / "m.onnx", model(tensors, inputs=inputs)))
    assert list(graph.initializers) == ["w0", "w1", "w2"]
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.last_initializer.load().tolist() == [2.0, 2.0]


def test_a_tensor_that_was_read_does_not_change_with_its_file(tmp_path):
    values = np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32)
    path = saved(tmp_path / "model.onnx", model([numpy_helper.from_array(values, "w")]))
    tensor = onnx_file.read(path).last_initializer.load()
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.truncate(16)
    assert np.array_equal(tensor.numpy(), values)


def external(folder: Path, location: str, **entries) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return saved(folder / "model.onnx", model([tensor]))


def test_weights_beside_the_model_are_read(tmp_path):
    (tmp_path / "重 量.bin").write_bytes(b"\0" * 8 + np.arange(4, dtype=np.float32).tobytes())
    stored = onnx_file.read(external(tmp_path, "重 量.bin", offset=8, length=16)).last_initializer
    assert stored.load().tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("location", ["../w.bin", "a/../../w.bin", "..\\w.bin", "/etc/passwd", "C:\\w.bin", "C:w", ""])
def test_weights_outside_the_models_folder_are_not_opened(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "inside").mkdir()
    with pytest.raises(ModelFileError, match="not a file in the model's own folder"):
        onnx_file.read(external(tmp_path / "inside", location))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="not a file in the model's own folder"):
        onnx_file.read(external(tmp_path / "inside", "w.bin"))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"keeps its weights in the file 'w\.bin', which is not in"):
        onnx_file.read(external(tmp_path, "w.bin"))


@pytest.mark.parametrize(
    "entries", [{"offset": 1}, {"length": 15}, {"offset": -4}, {"offset": "9" * 30}, {"length": ""}]
)
def test_weights_that_lie_elsewhere_than_the_file_reaches(tmp_path, entries):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(ModelFileError, match="does not fit it"):
        onnx_file.read(external(tmp_path, "w.bin", **entries))


@pytest.mark.parametrize(
    "content", [b"", b"<html>404 not found</html>", bytes(range(256)) * 8, b"\x08\x07", b"\0" * 99]
)
def test_what_is_no_onnx_is_called_damaged(tmp_path, content):
    with pytest.raises(ModelFileError, match=rf"model\.onnx \({len(content)} bytes\) is damaged or not an ONNX"):
        onnx_file.read(saved(tmp_path / "model.onnx", content))


def test_a_shape_that_its_bytes_do_not_fill(tmp_path):
    lying = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000, 1000], raw_data=bytes(16))
    with pytest.raises(ModelFileError, match="has 16 bytes instead of 4000000"):
        onnx_file.read(saved(tmp_path / "model.onnx", model([lying])))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        onnx_file.read(tmp_path / "model.onnx")


def test_a_file_of_more_than_two_gib(tmp_path):
    """Protobuf's own readers end there. The file is sparse: it takes no room on the disk."""

    def long_field(number: int, length: int) -> bytes:
        varint = bytearray()
        while length > 0x7F:
            varint.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([number << 3 | 2]) + bytes(varint) + bytes([length])

    count = (5 << 29) // 4  # 2.5 GiB
    tensor = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[count]).SerializeToString()
    tensor += long_field(9, count * 4)
    last = numpy_helper.from_array(np.arange(3, dtype=np.float32), "emap").SerializeToString()
    last = long_field(5, len(last)) + last
    big = long_field(5, len(tensor) + count * 4) + tensor
    rest = model()
    graph = rest.graph.SerializeToString()
    rest.ClearField("graph")
    head = rest.SerializeToString() + long_field(7, len(graph) + len(big) + count * 4 + len(last)) + graph + big
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + count * 4)
        file.write(last)
    read = onnx_file.read(path)
    assert read.initializers["big"].nbytes == 5 << 29
    assert read.last_initializer.load().tolist() == [0.0, 1.0, 2.0]


def content_of_everything() -> bytes:
    tensors = [
        numpy_helper.from_array(np.ones((2, 3), np.float32), "a"),
        helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("c", TensorProto.INT64, [2], [1, -1]),
        helper.make_tensor("d", TensorProto.FLOAT16, [2], np.ones(2, np.float16)),
    ]
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [])
    return model(tensors, [helper.make_node("Odd", ["x"], ["y"], g=branch, s="text", ints=[1, 2])]).SerializeToString()


WHOLE = content_of_everything()


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(WHOLE)),
)
@example([], len(WHOLE))
def test_a_damaged_file_is_refused_or_read_but_nothing_else(tmp_path, flips, length):
    content = bytearray(WHOLE)
    for place, byte in flips:
        content[place] = byte
    path = saved(tmp_path / "model.onnx", bytes(content[:length]))
    try:
        graph = onnx_file.read(path)
        loaded = [tensor.load().nbytes for tensor in graph.initializers.values()]
    except ModelFileError as error:
        assert "model.onnx" in str(error)
        return
    assert sum(loaded) <= 64 * len(content)
