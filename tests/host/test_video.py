"""Clips in the host: the example, stopping and going on, and looking first."""

import io
import json
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import slimfusion
from PIL import Image
from slimfusion.bench.workflows import nodes_of_class, ui_to_api

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]
EXAMPLES = Path(slimfusion.__file__).parent / "examples"
CLIP = EXAMPLES / "slimfusion_clip.mp4"


def times(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def prompt_of(lab, **changes):
    prompt = ui_to_api(json.loads((EXAMPLES / "Restore a clip.json").read_text(encoding="utf-8")), lab.info)
    (process,) = nodes_of_class(prompt, "SlimFusionProcessVideo")
    prompt[process]["inputs"] |= changes
    return prompt, process


def saved(lab, run):
    files = sorted((lab.host.base / "output" / "SlimFusion").glob("clip_*.mp4"), key=lambda path: path.stat().st_mtime)
    assert files, run
    return files[-1]


def test_the_example_restores_a_clip(lab):
    prompt, process = prompt_of(lab, stop=0.5)
    run = lab.run(prompt)
    result = saved(lab, run)
    assert times(result) == times(CLIP)[:12]
    report = json.loads(run.outputs[process]["slimfusion_report"][0])
    assert report["frames"] == report["faces"] == 12
    assert report["tracks"] == 1 and report["counts_faces"] and report["seconds"] > 0
    pair = json.loads(run.outputs[process]["slimfusion_compare"][0])
    before, after = (np.asarray(Image.open(io.BytesIO(lab.host.view(pair[name]))), int) for name in ("before", "after"))
    assert before.shape == after.shape == (320, 320, 3)
    assert np.abs(before - after).max() > 6  # a face is another one


def test_an_interrupted_clip_goes_on(lab):
    prompt, process = prompt_of(lab, crf=20)
    temporary = lab.host.base / "temp" / "slimfusion"

    def stop():
        ends = time.monotonic() + 300
        while not list(temporary.glob(".*.slimfusion/look-00000.npz")) and time.monotonic() < ends:
            time.sleep(0.05)
        time.sleep(2)
        lab.host.interrupt()

    watcher = threading.Thread(target=stop)
    watcher.start()
    run = lab.host.run(prompt)
    watcher.join()
    assert run.ending == "execution_interrupted"
    assert list(temporary.glob(".*.slimfusion/look-00000.npz"))
    again = lab.run(prompt)
    report = json.loads(again.outputs[process]["slimfusion_report"][0])
    assert report["frames"] == len(times(CLIP))
    assert not list(temporary.glob(".*.slimfusion"))
    assert "look" not in report["memory"]["seconds"]


def test_a_scan_says_who_is_there(lab):
    prompt = {
        "clip": lab.node("LoadVideo", file="slimfusion_clip.mp4"),
        "scan": lab.node("SlimFusionScanVideo", video=["clip", 0], stop=0.4),
        "sheet": lab.node("ProbeOut", file="sheet", value=["scan", 0]),
    }
    run = lab.run(prompt)
    shown = run.outputs["scan"]
    assert "1 track" in shown["text"][0]
    line = json.loads(shown["slimfusion_line"][0])
    assert (line["what"], line["tone"], line["tracks"], line["shots"]) == ("scanned", "ok", 1, 1)
    assert line["seconds"] > 0 and line["given"] == []
    people = json.loads(shown["slimfusion_people"][0])
    assert [person["track"] for person in people["people"]] == [0]
    assert Image.open(io.BytesIO(lab.host.view(people["picture"]))).size == (160, 160)
    assert lab.got("sheet").shape[0] == 1


def test_a_video_of_images_works_too(lab, portrait):
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("portrait", portrait.repeat(3, 0))),
        "video": lab.node("CreateVideo", images=["in", 0], fps=24.0),
        "model": lab.node("SlimFusionLoadModel"),
        "step": lab.node("SlimFusionRestoreStep", model=["model", 0]),
        "process": lab.node("SlimFusionProcessVideo", video=["video", 0], steps=["step", 0]),
        "save": lab.node("SaveVideo", video=["process", 0], filename_prefix="SlimFusion/made"),
    }
    lab.run(prompt)
    (file,) = (lab.host.base / "output" / "SlimFusion").glob("made_*.mp4")
    assert len(times(file)) == 3
