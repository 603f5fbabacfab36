"""The detectors that can be chosen: MTCNN without any file, the others from the user's."""

import numpy as np
import pytest
import torch
from planted_heads import a_head, planted
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.engines.memory.report import Report
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.faces.detect.detection import detect_faces
from slimfusion.faces.detect.detectors import open_mtcnn, open_network_detector
from slimfusion.faces.detect.mtcnn import Mtcnn
from slimfusion.faces.detect.settings import DETECTORS, DetectionSettings
from slimfusion.faces.identity.library import ModelLibrary
from slimfusion.models.library import search

onnx_files = pytest.importorskip("onnx_files")
FRAMES = torch.zeros(2, 64, 64, 3)


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


def a_detector(path, name, batch):
    """A file whose network sees two heads in every picture; without a batch as InsightFace exports its own."""
    from onnx import helper

    tables = planted(name, [a_head(100, 120, 50, 60), a_head(300, 200, 150, 180)], [0.9, 0.8])
    tables = sorted(tables, key=lambda table: table.shape[1])  # as exports have them
    rank = 2 if batch is None else 3
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Reshape", ["zero", "shape"], ["zeros"]),
    ]
    shape = [-1] + [1] * (rank - 1)
    weights = {"nothing": np.zeros(1, np.float32), "shape": np.array(shape)}
    outputs = {}
    for index, table in enumerate(tables):
        weights[f"table{index}"] = table
        nodes.append(helper.make_node("Add", ["zeros", f"table{index}"], [f"output{index}"]))
        outputs[f"output{index}"] = [*([] if batch is None else [batch]), *table.shape]
    return onnx_files.saved(path, nodes, {"input": [batch or 1, 3, 640, 640]}, outputs, weights)


@pytest.mark.parametrize("name, batch", [("scrfd", 1), ("scrfd", None), ("yoloface", 1), ("yunet", "n")])
def test_heads_planted_in_a_file_come_back(tmp_path, name, batch):
    a_detector(tmp_path / "anything.onnx", name, batch)
    frames = torch.rand(2, 1280, 960, 3)
    files = library(lambda: search([tmp_path]))
    settings = DetectionSettings(name, 0.5, turned="never", find_file=files.detector)
    faces = detect_faces(frames, StandaloneHost("cpu"), settings)
    for index, of_frame in enumerate(faces.frames):
        assert [face.frame for face in of_frame] == [index] * 2
        for face, head in zip(of_frame, [a_head(200, 240, 100, 120), a_head(600, 400, 300, 360)], strict=True):
            assert np.abs(face.box - head[0]).max() < 0.5 and np.abs(face.landmarks - head[1]).max() < 0.5


def searched():
    raise AssertionError("no file is needed")


def library(search=searched) -> ModelLibrary:
    return ModelLibrary(search, MemoryBudget(), StandaloneHost("cpu"))


def opened(settings):
    return open_network_detector(settings, FRAMES, MemoryBudget(), StandaloneHost("cpu"), Report())


def test_mtcnn_needs_no_file():
    with open_mtcnn(1, 50 << 20, MemoryBudget(), StandaloneHost("cpu"), Report()) as detector:
        assert isinstance(detector, Mtcnn)


@pytest.mark.parametrize("name", DETECTORS[1:])
def test_a_detector_without_its_file_says_so(name):
    with pytest.raises(ModelFileError), opened(DetectionSettings(name, find_file=library(lambda: ()).detector)):
        pass
    with pytest.raises(SettingError, match=rf"{name} needs a model file.*find_file"), opened(DetectionSettings(name)):
        pass
