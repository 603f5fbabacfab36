"""The recipes "add a detector" and "add a restorer" of CONTRIBUTING.md, followed with a toy."""

import numpy as np
import onnx_files
import torch
from onnx import helper
from slimfusion import (
    DetectionSettings,
    ModelLibrary,
    Restoring,
    StandaloneHost,
    detect_faces,
    open_model,
    restore_faces,
)
from slimfusion.catalog.card import HALF, ModelCard, Port, picture_port
from slimfusion.catalog.cards import CARDS
from slimfusion.faces.detect import heads, settings
from slimfusion.faces.detect.views import Detections
from slimfusion.faces.face import Face, Faces
from slimfusion.models.library import search

HOST = StandaloneHost("cpu")
SIDE = 96
# What the toy sees wherever it looks: one face, upright.
BOX = [20.0, 16.0, 76.0, 84.0]
POINTS = [36.0, 40.0, 60.0, 40.0, 48.0, 54.0, 38.0, 68.0, 58.0, 68.0]


def decode_toy(outputs, size, least_score):
    (row,) = (np.asarray(output, np.float32).reshape(1, 15) for output in outputs)
    return Detections(row[:, 1:5], row[:, 5:].reshape(1, 5, 2), row[:, 0])


def test_a_detector_is_a_card_and_a_decoder(tmp_path, monkeypatch):
    card = ModelCard("toy", "detector", (picture_port(SIDE),), (Port("faces", (1, 15)),), size=SIDE)  # 1. describe it
    monkeypatch.setitem(CARDS, card.name, card)
    monkeypatch.setattr(settings, "DETECTORS", (*settings.DETECTORS, card.name))
    monkeypatch.setitem(heads.DECODERS, card.name, decode_toy)  # 2. decode it
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "row"], ["faces"]),
    ]
    weights = {"nothing": np.zeros(1, np.float32), "row": np.float32([[[0.9, *BOX, *POINTS]]])}
    onnx_files.saved(tmp_path / "any name.onnx", nodes, {"input": [1, 3, SIDE, SIDE]}, {"faces": [1, 1, 15]}, weights)

    files = ModelLibrary(lambda: search([tmp_path]), host=HOST)
    chosen = DetectionSettings("toy", turned="never", find_file=files.detector)
    (faces,) = detect_faces(torch.rand(1, SIDE, SIDE, 3), HOST, chosen).frames
    assert np.abs(faces[0].box - BOX).max() < 0.5
    assert np.abs(faces[0].landmarks.ravel() - POINTS).max() < 0.5


def test_a_restorer_is_a_card(tmp_path, monkeypatch):
    card = ModelCard(  # 1. describe it
        "toy restorer",
        "restorer",
        (picture_port(SIDE),),
        (picture_port(SIDE, "output"),),
        size=SIDE,
        template="ffhq_512",
        mean=HALF,
        std=HALF,
        signed=True,
    )
    monkeypatch.setitem(CARDS, card.name, card)
    nodes = [helper.make_node("Add", ["input", "more"], ["output"])]
    path = onnx_files.saved(
        tmp_path / "any name.onnx",
        nodes,
        {"input": [1, 3, SIDE, SIDE]},
        {"output": [1, 3, SIDE, SIDE]},
        {"more": np.float32([0.25])},
    )

    frames = torch.full((1, 128, 128, 3), 0.5)
    face = Face(0, np.float32(BOX), np.float32(POINTS).reshape(5, 2), 0.9)
    done = restore_faces(
        frames, open_model(path, host=HOST), host=HOST, restoring=Restoring(Faces(((face,),), 128, 128))
    )
    assert done.report.model == "any name.onnx"
    assert abs(float(done.frames[0, 50, 48, 0]) - 0.625) < 1e-6 and torch.equal(
        done.frames[done.mask == 0], frames[done.mask == 0]
    )
