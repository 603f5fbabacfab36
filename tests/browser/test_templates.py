"""Every template, as a new user meets it: opened, run and looked at in the real page."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import template_specs
from pages import TEMPLATE_PAGES

pytestmark = pytest.mark.browser
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEMPLATES = {template.title: template for template in template_specs.TEMPLATES}
# Where the portrait's face alone may change.
FACE_ONLY = {
    "Restore a portrait",
    "Find small faces in a large photo",
    "Fuse two faces without a model",
    "Restore only a part of the face",
    "Restore on any card",
}
SIZES = {"Restore and scale": (1024, 1024), "Restore a 4K picture under 1 GiB": (2160, 3840)}
PART = "Restore only a part of the face"  # the lower third is masked
CLIPS = {"Restore a clip", "Scan a clip"}
LIGHT_TOO = {"Scan a clip", "Watch the memory"}  # between them they show all that this pack draws
GROUPS = {"Choose a face in a group photo", "Let two people change places"}
FACE = slice(60, 190), slice(165, 285)  # of the portrait: rows, columns
UPPER_FACE = slice(60, 130), FACE[1]
LOWER_FACE = slice(145, 190), FACE[1]
BELOW = slice(320, None), slice(None)  # no face there


def picture(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32) / 255


def saved(host, history):
    shown = [picture for output in history["outputs"].values() for picture in output.get("images", [])]
    return [host.view(each) for each in shown if each["type"] == "output"]


@cache
def as_the_host_reads_it(host, name):
    """A picture of its input folder: from 0.33 on FFmpeg decodes it, whose JPEG differs from Pillow's by some 1/255."""
    prompt = {
        "in": {"class_type": "LoadImage", "inputs": {"image": name}},
        "out": {"class_type": "SaveImage", "inputs": {"images": ["in", 0], "filename_prefix": "as read"}},
    }
    (shown,) = host.run(prompt).outputs["out"]["images"]
    return picture(host.view(shown))


def faces_restored(history):
    """How many faces each restoring or swapping node reports. A node from the cache reports nothing again."""
    shown = [output["slimfusion_report"][0] for output in history["outputs"].values() if "slimfusion_report" in output]
    return [json.loads(report)["faces"] for report in shown]


def ran(prompt, history):
    """The ids of nodes that report and did not come from the cache."""
    cached = {
        node for kind, told in history["status"]["messages"] if kind == "execution_cached" for node in told["nodes"]
    }
    reporting = {"SlimFusionRestoreFaces", "SlimFusionSwapFaces", "SlimFusionProcessVideo"}
    return [key for key, node in prompt.items() if node["class_type"] in reporting and key not in cached]


def changed(before, after, region):
    return float(np.abs(before[region] - after[region]).mean())


def test_every_template_is_shipped_with_its_picture():
    files = {file.stem for file in EXAMPLES.glob("*.json")}
    assert files == set(TEMPLATES) and len(files) >= 12
    assert all((EXAMPLES / f"{name}.jpg").is_file() for name in files)


@pytest.mark.parametrize("editor", TEMPLATE_PAGES, indirect=True)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_opens_runs_and_does_what_it_shows(editor, name):
    editor.quiet()
    editor.open_template(name)
    state = editor.state()
    template = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    assert state["types"] == sorted(node["type"] for node in template["nodes"])
    marked = set()
    if "newest" in editor.name and TEMPLATES[name].needs:  # it marks loaders whose file the user has not got yet
        marked = {node["type"] for node in template["nodes"] if node["properties"].get("models")}
    assert state["missing"] == [] and set(state["red"]) <= marked
    assert state["links"] == len(template["links"])
    if TEMPLATES[name].needs:  # the page says which files are missing, and offers those that it may download
        editor.shoot(name)
        named = editor.page.get_by_text(TEMPLATES[name].needs).locator("visible=true")
        shown = named.count()
        editor.page.keyboard.press("Escape")
        assert shown
        assert editor.overlaps() == []
        return
    prompt, history = editor.queue()
    editor.shoot(name)
    assert history["status"]["status_str"] == "success", history["status"]
    assert editor.state()["red"] == []
    assert editor.overlaps() == []
    if name in LIGHT_TOO:
        with editor.light():
            editor.shoot(f"{name}-light")
            assert editor.overlaps() == []
    assert editor.complaints == []
    if name in CLIPS:  # what comes out is looked at in tests/host/test_video.py
        assert [content[4:8] for content in saved(editor.host, history)] == [b"ftyp"]
        assert faces_restored(history) == [36] * len(ran(prompt, history))
        return
    before = as_the_host_reads_it(editor.host, "slimfusion_portrait.jpg")
    (after,) = map(picture, saved(editor.host, history))
    if name in SIZES or name in GROUPS:
        assert after.shape == (*SIZES.get(name, (512, 949)), 3)
        return
    assert after.shape == before.shape
    assert changed(before, after, UPPER_FACE if name == PART else FACE) > 0.01
    if name == PART:
        assert np.array_equal(before[LOWER_FACE], after[LOWER_FACE])
    if name in FACE_ONLY:
        assert np.array_equal(before[BELOW], after[BELOW])
        assert faces_restored(history) == [1] * len(ran(prompt, history))


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if template.needs])
def test_a_template_names_the_files_that_it_needs(name):
    workflow = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    models = [model for node in workflow["nodes"] for model in node["properties"].get("models", [])]
    assert TEMPLATES[name].needs in {model["name"] for model in models}
    assert all({"name", "url", "directory"} <= set(model) for model in models)


def test_templates_name_their_pack_and_version():
    for name in TEMPLATES:
        workflow = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
        for node in workflow["nodes"]:
            pack = "slimfusion" if node["type"].startswith("SlimFusion") else "comfy-core"
            assert node["type"] == "MarkdownNote" or node["properties"]["cnr_id"] == pack, (name, node["type"])


def test_detect_faces_sends_no_box_that_nobody_drew(editor):
    editor.open_template("Find small faces in a large photo")
    assert "bboxes" not in dict(editor.state()["widgets"]["SlimFusionDetectFaces"])
    prompt, history = editor.queue()
    (detect,) = [node for node in prompt.values() if node["class_type"] == "SlimFusionDetectFaces"]
    assert "bboxes" not in detect["inputs"] and "landmarks" not in detect["inputs"]
    assert history["status"]["status_str"] == "success"
    assert faces_restored(history) == [1] * len(ran(prompt, history))


def test_a_workflow_that_was_saved_with_a_box_widget_keeps_its_values(editor):
    workflow = json.loads((EXAMPLES / "Choose a face in a group photo.json").read_text(encoding="utf-8"))
    (detect,) = [node for node in workflow["nodes"] if node["type"] == "SlimFusionDetectFaces"]
    box = {"x": 0, "y": 0, "width": 512, "height": 512}
    detect["widgets_values"] = ["mtcnn", 0.75, 2, box, 24, 400, True, False, False]
    editor.open_workflow(workflow)
    values = dict(editor.state()["widgets"]["SlimFusionDetectFaces"])
    wanted = {"score": 0.75, "max_faces": 2, "min_face": 24, "max_face": 400, "turned": True, "tiled": False}
    assert {name: values[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", template_specs.BLUEPRINTS)
def test_a_blueprint_is_offered_and_is_one_node(editor, name):
    offered = editor.host.get("/global_subgraphs").values()
    assert name in {entry["name"] for entry in offered if entry["info"]["node_pack"] == "custom_nodes.slimfusion"}
    editor.quiet()
    editor.open_workflow(json.loads((EXAMPLES.parent / "subgraphs" / f"{name}.json").read_text(encoding="utf-8")))
    inside = (
        """() => app.graph.nodes.map(node => [node.title, [...node.subgraph.nodes].map(each => each.type).sort()])"""
    )
    title, keys = template_specs.BLUEPRINTS[name]
    assert editor.page.evaluate(inside) == [[name, sorted(TEMPLATES[title].nodes[key].type for key in keys)]]
    editor.shoot(name)
    assert editor.complaints == []
