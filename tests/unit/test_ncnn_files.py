"""Networks in ncnn's format, written here and read back."""

import numpy as np
import pytest
from safetensors.torch import load_file
from slimfusion.bench.engines import ncnn_files
from slimfusion.engines.torch import ncnn_file, weights_file
from slimfusion.errors import ModelFileError
from slimfusion.models.torch_model import torch_model


def save(folder, layers, flag=ncnn_file.HALVES, extra=b""):
    """layers: (weight (o, i, 3, 3), bias) of a convolution, or the slopes (o,) of a PReLU."""
    lines, content = ["7767517", "9 9"], b""
    for layer in layers:
        if isinstance(layer, tuple):
            weight, bias = layer
            lines.append(f"Convolution a 1 1 x y 0={len(bias)} 1=3 4=1 5=1 6={weight.size} 9=2 -23310=1,0.2")
            halves = weight.astype(np.float16).tobytes()
            content += flag.to_bytes(4, "little") + halves + bytes(-len(halves) % 4) + bias.tobytes()
        else:
            lines.append(f"PReLU b 1 1 y z 0={layer.size}")
            content += layer.tobytes()
    path = folder / "net.param"
    path.write_text("\n".join([*lines, "PixelShuffle c 1 1 z w 0=4", ""]))
    path.with_suffix(".bin").write_bytes(content + extra)
    return path


def convolution(inputs, outputs):
    rng = np.random.default_rng(outputs)
    return rng.normal(size=(outputs, inputs, 3, 3)), rng.normal(size=outputs).astype(np.float32)


def test_a_compact_network_comes_back_with_its_slopes(tmp_path):
    layers = [convolution(3, 5), np.full(5, 0.25, np.float32), convolution(5, 3)]
    tensors = load_file(ncnn_files.as_safetensors(save(tmp_path, layers), tmp_path))
    assert sorted(tensors) == ["body.0.bias", "body.0.weight", "body.1.weight", "body.2.bias", "body.2.weight"]
    np.testing.assert_array_equal(tensors["body.0.weight"], layers[0][0].astype(np.float16))
    np.testing.assert_array_equal(tensors["body.2.bias"], layers[2][1])
    assert tensors["body.1.weight"].tolist() == [0.25] * 5


def test_an_upscaler_gets_its_names(tmp_path):
    tensors = load_file(ncnn_files.as_safetensors(save(tmp_path, [convolution(2, 2)] * 36), tmp_path))
    assert {"body.1.rdb3.conv5.weight", "conv_first.bias", "conv_last.weight"} < set(tensors) and len(tensors) == 72


@pytest.mark.parametrize(
    ("how", "sentence"), [({"flag": 0}, "another type than fp16"), ({"extra": b"1234"}, "4 bytes are left")]
)
def test_what_is_not_such_a_file_is_refused(tmp_path, how, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        ncnn_file.read(save(tmp_path, [convolution(3, 4)], **how))


@pytest.mark.parametrize(
    "text", ["", "7767517\n9 9\nConvolution a 1 1 x y 0=4", "7767517\n9 9\nPReLU b 1 1 y z 0=-4", "\u540d"]
)
def test_damaged_layers_are_one_sentence(tmp_path, text):
    (tmp_path / "net.param").write_text(text, encoding="utf-8")
    (tmp_path / "net.bin").write_bytes(bytes(40))
    with pytest.raises(ModelFileError, match=r"net\.param"):
        ncnn_file.read(tmp_path / "net.param")
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelFileError, match=r"net\.bin does not exist|is not a text file"):
        ncnn_file.read(tmp_path / "net.param")


def test_such_a_file_is_a_model_like_any_other(tmp_path):
    channels = [(3, 64), *[(64, 64)] * 17, (64, 48)]
    layers = [layer for inputs, outputs in channels for layer in (convolution(inputs, outputs), np.ones(outputs, "f4"))]
    path = save(tmp_path, layers[:-1])
    spec = torch_model(path).spec
    assert (spec.architecture, spec.scale) == ("Compact", 4)
    assert all(value.device.type == "meta" for value in weights_file.shapes(path).values())
