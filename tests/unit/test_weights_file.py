"""Model files: what is read, and the sentence for what is not."""

import pickle
from pathlib import Path

import pytest
import torch
from networks import save_upscaler
from slimfusion.engines.session import Session
from slimfusion.engines.torch import weights_file
from slimfusion.errors import ModelFileError
from slimfusion.models import torch_model as torch_backend
from slimfusion.models.borrowed_model import borrowed_model
from slimfusion.models.torch_model import torch_model

CPU = torch.device("cpu")


class RunsCode:
    def __reduce__(self):
        return (Path.touch, (Path("code_was_run"),))


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "名 with space.pth"])
def test_a_network_is_recognised_from_its_shapes_and_runs(tmp_path, name):
    model = torch_model(save_upscaler(tmp_path / name))
    assert (model.spec.architecture, model.spec.scale) == ("ESRGAN", 4)
    session = Session(model, CPU, "fp32")
    result = session.run(torch.rand(2, 3, 24, 20), 0.5)
    assert result.shape == (2, 3, 96, 80)
    assert result.min() >= 0 and result.max() <= 1


def test_it_runs_as_spandrel_runs_it(tmp_path):
    import spandrel

    path = save_upscaler(tmp_path / "net.pth")
    picture = torch.rand(1, 3, 32, 32)
    reference = spandrel.ModelLoader().load_from_file(path)(picture)
    assert (Session(torch_model(path), CPU, "fp32").run(picture, 0.5) - reference).abs().max() <= 1e-6


def test_shapes_take_no_memory(tmp_path):
    layout = weights_file.shapes(save_upscaler(tmp_path / "net.pth"))["params_ema"]
    assert {value.device.type for value in layout.values()} == {"meta"}


def test_legacy_files_are_read(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(weights_file.tensors(path)["weight"], torch.ones(3))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
@pytest.mark.parametrize("content", [b"", b"<html>404 not found</html>", bytes(range(256)) * 8])
def test_what_is_no_model_is_called_damaged(tmp_path, suffix, content):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"model{suffix} \({len(content)} bytes\) is damaged"):
        torch_model(path)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.99])
def test_half_a_download_is_called_damaged(tmp_path, name, kept):
    path = save_upscaler(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelFileError, match="Download it again"):
        torch_model(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"weight": RunsCode()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match="contains Python code"):
        torch_model(path)
    path.write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(ModelFileError, match="contains Python code"):
        torch_model(path)
    assert not (tmp_path / "code_was_run").exists()


def test_an_unknown_architecture_is_named_as_such(tmp_path):
    path = tmp_path / "lora.pth"
    torch.save({"lora_up": torch.ones(4, 4), "lora_down": torch.ones(4, 4)}, path)
    with pytest.raises(ModelFileError, match="architecture that is not supported \\(2 tensors\\)"):
        torch_model(path)


def test_missing_tensors_are_damage(tmp_path):
    path = save_upscaler(tmp_path / "net.pth")
    weights = torch.load(path, weights_only=True)["params_ema"]
    del weights["model.0.bias"]
    torch.save(weights, path)
    with pytest.raises(ModelFileError, match="tensors are missing or of another size"):
        torch_model(path)


def test_a_list_is_no_state_dict(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([torch.ones(3)], path)
    with pytest.raises(ModelFileError, match="holds list instead of named weights"):
        torch_model(path)


def test_missing_files_and_unknown_endings_are_said(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        torch_model(tmp_path / "nowhere.pth")
    (tmp_path / "model.exe").write_bytes(b"MZ")
    with pytest.raises(ModelFileError, match=r"\.exe is unknown"):
        torch_model(tmp_path / "model.exe")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_tensor_arrives_in_its_type(tmp_path, precision):
    path = save_upscaler(tmp_path / "net.safetensors")
    model = torch_model(path)
    picture = torch.rand(1, 3, 16, 16)
    reference = Session(model, CPU, "fp32").run(picture, 0.5)
    assert (Session(model, CPU, precision).run(picture, 0.5) - reference).abs().max() <= 0.02


def test_a_borrowed_network_keeps_its_owners_type():
    import spandrel
    from spandrel.architectures.ESRGAN import ESRGAN

    weights = ESRGAN(in_nc=3, out_nc=3, num_filters=16, num_blocks=1, scale=2).state_dict()
    descriptor = spandrel.ModelLoader().load_from_state_dict(weights)
    model = borrowed_model(descriptor, "theirs")
    assert model.spec.precisions == ("fp32",)
    own = torch_backend.constant_bytes(
        model.layout, torch.float32
    )  # the weights are there already, what is worked out from them is not
    assert model.weight_bytes("fp32", CPU) == own
    assert model.weight_bytes("fp32", torch.device("cuda")) == own + 4 * model.spec.parameters
