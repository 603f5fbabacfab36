"""The doctor inside the host, where torch and onnxruntime are loaded already and the models are the host's."""

import pytest
from slimfusion.catalog.files import BUNDLED

pytestmark = pytest.mark.host


@pytest.mark.parametrize("lab", ["default"], indirect=True)
def test_the_doctor_tells_what_it_finds(lab):
    folder = lab.host.base / "models" / "upscale_models"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "名 前.pth").write_bytes(b"<html>")
    run = lab.run({"doctor": lab.node("SlimFusionDoctor", hash_models=True)})
    (text,) = run.outputs["doctor"]["text"]
    assert f"ok       {BUNDLED}: " in text and "SHA-256" in text
    assert "ok       CPU: runs" in text
    assert "advice   名 前.pth: " in text
