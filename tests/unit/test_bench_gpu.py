"""The GPU bench without a card: it skips, and its parts go on when one of them does not."""

import json
import subprocess
import sys

import pytest
import torch
from slimfusion.bench.gpu import gpu, speed
from slimfusion.bench.gpu.place import Findings, Place, Skipped
from slimfusion.errors import DeviceError

MET = {"name": "a", "value": 1, "limit": 1, "ok": True}


def test_without_a_card_it_says_so_and_succeeds(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "gpu.md")])
    gpu.main()
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert result["bench"] == "gpu" and result["bars"] == [] and result["skipped"] == gpu.NO_CARD
    assert gpu.NO_CARD in lines[0] and not (tmp_path / "gpu.md").exists()


@pytest.mark.parametrize(
    ("error", "key"), [(Skipped("There is no TensorRT."), "skipped"), (DeviceError("The card was lost."), "failure")]
)
def test_a_part_that_cannot_be_done_is_a_sentence(monkeypatch, error, key):
    def measure(place):
        assert place.is_rehearsal and place.seconds == 9.0
        raise error

    monkeypatch.setitem(gpu.PARTS, "speed", gpu.Part("Speed", measure, 9))
    assert gpu.run_part("speed", True, 9.0) == {key: str(error)}


def test_all_parts_together_stay_within_the_commands_time(monkeypatch):
    assert sum(part.seconds for part in gpu.PARTS.values()) <= gpu.SECONDS == 1200
    clock = [0.0]
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
    given = {}

    def run(name, is_rehearsal, seconds):
        given[name] = seconds
        clock[0] += 600.0
        return {"bars": [MET]}

    outcomes = gpu.run_parts(list(gpu.PARTS), False, run)
    assert list(given.values()) == [360, 140] and list(given) == ["memory", "speed"]
    assert all(outcomes[name] == {"skipped": "no time was left"} for name in list(gpu.PARTS)[2:])


def test_a_part_that_does_not_end_is_ended_with_its_children(monkeypatch):
    started = []
    popen = subprocess.Popen

    def sleeping(command, **options):
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])"
        started.append(popen([sys.executable, "-c", code], **options))
        return started[-1]

    monkeypatch.setattr(gpu.subprocess, "Popen", sleeping)
    assert gpu.in_own_process("speed", True, 1.0) == {"failure": "did not end within 1 s"}
    assert started[0].returncode is not None


def test_the_table_has_every_figure_and_a_failure_is_a_bar_that_is_missed():
    outcomes = {
        "speed": {"rows": {"GFPGAN | batch 1": "3 ms"}, "bars": [MET], "notes": ["quick"]},
        "onnx": {"skipped": "no file"},
        "tensorrt": {"failure": "the card was lost"},
    }
    text = gpu.table(outcomes)
    for said in ("| GFPGAN / batch 1 | 3 ms |", "| a | 1 (bar 1) | met |", "quick", "skipped: no file", "failure: the"):
        assert said in text
    assert [bar["ok"] for bar in gpu.bars_of(outcomes)] == [True, False]


def test_more_than_the_card_has_is_a_figure_and_not_the_end(monkeypatch, tmp_path):
    def run(batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(speed, "forward_of", lambda *_: run)
    findings = Findings()
    place = Place(torch.device("cpu"), True, tmp_path, 9.0)
    speed._measure_network(place, "GFPGAN", torch.float32, 1e12, findings)
    assert findings.rows == {"GFPGAN, fp32, batch 1": "more memory than this card has"} and findings.bars == []
