"""The list of models: what is there by content, what is missing, on which terms; ONNX files are read for it."""

import json

import pytest
from slimfusion import cli
from slimfusion.commands import models
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.models.library import identified, search, signature

onnx_files = pytest.importorskip("onnx_files")


@pytest.fixture
def folder(tmp_path):
    onnx_files.recogniser(tmp_path / "insightface" / "anything.onnx")
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "unrelated" / "other.onnx").write_bytes(b"")
    return tmp_path


def test_an_onnx_file_says_what_goes_in_and_comes_out(folder):
    read = signature(folder / "insightface" / "anything.onnx")
    assert read.inputs == (("input", "float32", ("n", 3, 112, 112)),)
    assert read.outputs == (("output", "float32", ("n", 512)),)
    assert identified(folder / "insightface" / "anything.onnx").card.name == "arcface"


def test_half_an_onnx_file_is_damaged(folder):
    path = folder / "insightface" / "anything.onnx"
    path.write_bytes(path.read_bytes()[:3000])
    (only,) = search([folder / "insightface"])
    assert only.state == "damaged" and "damaged" in only.note


def test_half_a_safetensors_file_is_damaged(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    with pytest.raises(ModelFileError, match="damaged"):
        signature(tmp_path / "model.safetensors")


def listed(capsys, *words):
    assert cli.main(["models", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_the_list_names_what_is_there_and_where_to_get_the_rest(folder, capsys):
    out = listed(capsys, folder)
    assert "unverified" in out and "anything.onnx" in out and "arcface (recogniser)" in out
    assert "other.onnx" not in out  # of a folder of models, only those that may hold faces' networks
    assert "det_10g.onnx" in out and "https://" in out and "nothing is downloaded" in out


def test_the_list_for_programs_and_for_business(folder, capsys):
    every = json.loads(listed(capsys, folder, "--json"))
    free = json.loads(listed(capsys, folder, "--json", "--commercial"))
    assert every["found"][0]["family"] == "arcface" and every["found"][0]["commercial"] is None
    assert free["found"] == []
    assert {file["commercial"] for file in free["missing"]} == {True}
    assert len(free["missing"]) < len(every["missing"])


def test_outside_a_comfyui_a_folder_must_be_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(models, "_COMFYUI_MODELS", tmp_path / "absent")
    assert "name a folder" in listed(capsys)
    monkeypatch.setattr(models, "_COMFYUI_MODELS", tmp_path)
    assert str(tmp_path) in listed(capsys)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SettingError, match="no folder"):
        models.searched_folders([tmp_path / "absent"])
