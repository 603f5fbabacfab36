"""Every template, as a new user meets it: opened, run and looked at in the real page."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEMPLATES = sorted(file.stem for file in EXAMPLES.glob("*.json"))
FACE_ONLY = {"restore_portrait", "choose_a_face", "restore_on_any_card", "fuse_two_faces"}
FACE = slice(60, 190), slice(165, 285)  # of the portrait: rows, columns
BELOW = slice(320, None), slice(None)  # no face there


def picture(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32) / 255


def saved(host, history):
    shown = [picture for output in history["outputs"].values() for picture in output.get("images", [])]
    return [host.view(each) for each in shown if each["type"] == "output"]


def faces_restored(history):
    """How many faces each restoring or swapping node reports. A node from the cache reports nothing again."""
    shown = [output["slimfusion_report"][0] for output in history["outputs"].values() if "slimfusion_report" in output]
    return [json.loads(report)["faces"] for report in shown]


def ran(prompt, history):
    """The ids of nodes that report and did not come from the cache."""
    cached = {
        node for kind, told in history["status"]["messages"] if kind == "execution_cached" for node in told["nodes"]
    }
    reporting = {"SlimFusionRestoreFaces", "SlimFusionSwapFaces"}
    return [key for key, node in prompt.items() if node["class_type"] in reporting and key not in cached]


def changed(before, after, region):
    return float(np.abs(before[region] - after[region]).mean())


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_opens_runs_and_does_what_it_shows(editor, name):
    editor.quiet()
    editor.open_template(name)
    state = editor.state()
    template = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    assert state["types"] == sorted(node["type"] for node in template["nodes"])
    assert (state["missing"], state["red"]) == ([], [])
    assert state["links"] == len(template["links"])
    prompt, history = editor.queue()
    editor.shoot(name)
    assert history["status"]["status_str"] == "success", history["status"]
    assert editor.state()["red"] == []
    assert editor.complaints == []
    before = picture((EXAMPLES / "slimfusion_portrait.jpg").read_bytes())
    (after,) = map(picture, saved(editor.host, history))
    if name == "restore_and_scale":
        assert after.shape == (1024, 1024, 3)
        before = np.asarray(before.repeat(2, 0).repeat(2, 1))
        assert changed(before, after, tuple(slice(2 * part.start, 2 * part.stop) for part in FACE)) > 0.01
    else:
        assert after.shape == before.shape
        assert changed(before, after, FACE) > 0.01
    if name in FACE_ONLY:
        assert np.array_equal(before[BELOW], after[BELOW])
        assert faces_restored(history) == [1] * len(ran(prompt, history))


def test_detect_faces_sends_no_box_that_nobody_drew(editor):
    editor.open_template("restore_portrait")
    assert "bboxes" not in dict(editor.state()["widgets"]["SlimFusionDetectFaces"])
    prompt, history = editor.queue()
    (detect,) = [node for node in prompt.values() if node["class_type"] == "SlimFusionDetectFaces"]
    assert "bboxes" not in detect["inputs"] and "landmarks" not in detect["inputs"]
    assert history["status"]["status_str"] == "success"
    assert faces_restored(history) == [1] * len(ran(prompt, history))


def test_a_workflow_that_was_saved_with_a_box_widget_keeps_its_values(editor):
    workflow = json.loads((EXAMPLES / "choose_a_face.json").read_text(encoding="utf-8"))
    (detect,) = [node for node in workflow["nodes"] if node["type"] == "SlimFusionDetectFaces"]
    box = {"x": 0, "y": 0, "width": 512, "height": 512}
    detect["widgets_values"] = ["mtcnn", 0.75, 2, box, 24, 400, True, False, False]
    editor.open_workflow(workflow)
    values = dict(editor.state()["widgets"]["SlimFusionDetectFaces"])
    wanted = {"score": 0.75, "max_faces": 2, "min_face": 24, "max_face": 400, "turned": True, "tiled": False}
    assert {name: values[name] for name in wanted} == wanted
