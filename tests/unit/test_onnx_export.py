"""Export: the file gives what torch gives, at other sizes too, and is written whole or not at all."""

import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import face_model, save_upscaler
from slimfusion import cli
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.errors import ModelFileError, OutputError, SettingError
from slimfusion.faces.restore import restore_image
from slimfusion.models import export as onnx_export
from slimfusion.models.opening import open_model
from slimfusion.models.torch_model import torch_model


def ran(path, picture):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": picture.numpy()})[0])


def metadata(path):
    model = onnx.load(path, load_external_data=False)
    return {each.key: each.value for each in model.metadata_props}


def test_the_bundled_network_in_half_precision_at_a_size_that_was_not_exported(tmp_path):
    network = torch_model(BUNDLED_FILE)
    done = onnx_export.export(network, "fp16", tmp_path / "with space" / "网络.onnx")
    picture = torch.rand(1, 3, 64, 208)
    with torch.inference_mode():
        expected = onnx_export.Exportable(network, "fp32", 0.5)(picture)
    assert float((ran(done.path, picture) - expected).abs().max()) * 255 < 2
    assert metadata(done.path)["slimfusion.precision"] == "fp16"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps names in Unicode")
def test_a_file_whose_name_is_no_utf8_is_written(tmp_path, capsys):
    target = tmp_path / os.fsdecode(b"\xc4\xd0.onnx")
    assert cli.main(["export", str(save_upscaler(tmp_path / "x4.safetensors")), str(target)]) == 0
    assert r"\xc4\xd0.onnx" in capsys.readouterr().out
    assert target.stat().st_size > 1000


def test_a_face_network_with_a_fixed_batch_from_the_command_line(tmp_path, capsys):
    source, target = save_upscaler(tmp_path / "x4.safetensors"), tmp_path / "x4.onnx"
    assert cli.main(["export", str(source), str(target), "--batch", "1"]) == 0
    assert "0.00/255 from torch" in capsys.readouterr().out
    assert ran(target, torch.rand(1, 3, 16, 24)).shape == (1, 3, 64, 96)
    with pytest.raises(Exception, match="Got: 2 Expected: 1"):
        ran(target, torch.rand(2, 3, 16, 24))


def test_what_was_exported_is_known_for_what_it_is(tmp_path):
    network = torch_model(BUNDLED_FILE)
    path = onnx_export.export(network, "fp32", tmp_path / "own.onnx").path
    again = open_model(path, path.name, StandaloneHost("cpu"))
    facts = ("scale", "multiple", "halo", "exact_halo")
    assert [getattr(again.spec, fact) for fact in facts] == [getattr(network.spec, fact) for fact in facts]
    frames = torch.rand(1, 150, 130, 3)
    budget = MemoryBudget(mode="quality")
    ours, theirs = (restore_image(frames, each, budget, StandaloneHost("cpu"))[0] for each in (again, network))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_what_differs_from_torch_is_not_kept(tmp_path, monkeypatch):
    class Wrong:
        def run(self, *_):
            return [np.zeros((2, 3, 64, 64), np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: Wrong())
    with pytest.raises(ModelFileError, match="differs from torch by"):
        onnx_export.export(face_model(), "fp32", tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be(tmp_path):
    with pytest.raises(SettingError, match=r"cannot be exported in bf16\. Choose one of fp16, fp32"):
        onnx_export.export(face_model(), "bf16", tmp_path / "out.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        onnx_export.export(face_model(), "fp32", tmp_path / "file" / "out.onnx")


def test_another_ending_is_refused_before_any_work(tmp_path, capsys):
    assert cli.main(["export", BUNDLED, str(tmp_path / "out.pth")]) == cli.NOTHING_DONE
    assert "does not end in .onnx" in capsys.readouterr().err
