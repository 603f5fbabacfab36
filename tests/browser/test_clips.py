"""Clips and masks on the page: the line, the table, before and after, and people who are clicked into a step."""

import json
import re

import pytest
from playwright.sync_api import expect
from test_page import PEOPLE, connect, graph_of, receive, values

pytestmark = pytest.mark.browser
SCAN, PROCESS = "SlimFusionScanVideo", "SlimFusionProcessVideo"
RESTORE, SWAP = "SlimFusionRestoreStep", "SlimFusionSwapStep"
MASK = "SlimFusionFaceMask"
SHORT = """stop => {
  for (const node of app.graph.nodes) {
    const widget = node.widgets?.find(each => each.name === "stop");
    if (widget) widget.value = stop;
  }
}"""
HEAR = """() => {
  window.slimfusionTold = [];
  const api = app.api ?? comfyAPI.api.api;
  api.addEventListener("slimfusion.progress", ({ detail }) => window.slimfusionTold.push(detail));
}"""
TOLD = """([id, detail]) => {
  const api = app.api ?? comfyAPI.api.api;
  api.dispatchCustomEvent("slimfusion.progress", { node: String(id), ...detail });
}"""


def node_of(editor, kind):
    return editor.page.evaluate("kind => app.graph.nodes.find(each => each.type === kind).id", kind)


def come_near(editor, node, scale=1.0):
    near = """([id, scale]) => {
      const { pos } = app.graph.getNodeById(id);
      app.canvas.ds.scale = scale;
      app.canvas.ds.offset[0] = 340 / scale - pos[0];
      app.canvas.ds.offset[1] = 110 / scale - pos[1];
      app.canvas.setDirty(true, true);
    }"""
    editor.page.evaluate(near, [node, scale])
    editor.page.wait_for_timeout(800)


def panel_of(editor, node):
    """Opens the report behind a node's line."""
    editor.element_of(node, ".slimfusion-line").click()
    return editor.page.locator("dialog.slimfusion-panel")


def closed(editor):
    editor.page.keyboard.press("Escape")
    expect(editor.page.locator("dialog.slimfusion-panel")).to_have_count(0)


def test_a_scan_is_clicked_and_a_clip_is_compared(editor):
    """Other frames in each renderer: what the host has kept it does not send again."""
    editor.quiet()
    editor.open_template("Scan a clip")
    frames = 9 if "canvas" in editor.name else 8
    editor.page.evaluate(SHORT, frames / 24 - 0.01)
    editor.page.evaluate(HEAR)
    editor.queue()
    scan, process = node_of(editor, SCAN), node_of(editor, PROCESS)
    told = editor.page.evaluate("() => window.slimfusionTold")
    assert {(each["node"], each["stage"]) for each in told if each["rate"] >= 0 and each["left"] >= 0} >= {
        (str(scan), "look"),
        (str(process), "look"),
        (str(process), "work"),
    }
    expect(editor.element_of(scan, ".slimfusion-line")).to_contain_text(
        re.compile(rf"1 track in 1 shot, {frames} frames · (peak \d+ MiB · )?[\d.]+ s")
    )
    expect(editor.element_of(process, ".slimfusion-line")).to_contain_text(
        re.compile(rf"{frames} faces in {frames} frames · \d+ MiB of .+ · [\d.]+ s")
    )
    come_near(editor, scan)
    expect(panel_of(editor, scan).locator("pre")).to_contain_text("track  shot   frames")
    closed(editor)
    person = editor.element_of(scan, "[data-track]")
    expect(person).to_have_attribute("aria-pressed", "false")
    person.click()
    assert values(editor, RESTORE)["tracks"] == "0"
    expect(person).to_have_attribute("aria-pressed", "true")
    editor.shoot("scan-clicked")
    assert editor.overlaps() == []
    come_near(editor, process, 0.8)
    panel = panel_of(editor, process)
    expect(panel.locator(".slimfusion-compare img")).to_have_count(2)
    editor.page.wait_for_function(
        "() => [...document.querySelectorAll('.slimfusion-compare img')].every(image => image.complete)"
    )
    before, after = panel.locator("img").evaluate_all("""images => images.map(image => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
      const drawing = canvas.getContext("2d");
      drawing.drawImage(image, 0, 0, 64, 64);
      return [image.naturalWidth, [...drawing.getImageData(0, 0, 64, 64).data]];
    })""")
    assert before[0] == after[0] == 320
    apart = [abs(one - other) for one, other in zip(before[1], after[1], strict=True)]
    # The face, not the whole picture.
    assert max(apart) > 6 and sum(value > 3 for value in apart) < 0.5 * len(apart)
    expect(panel).to_contain_text("frames a second")
    editor.shoot("clip-compared")
    closed(editor)
    assert editor.complaints == []


def test_clicks_go_into_the_step_that_was_chosen(editor):
    editor.quiet()
    clip, scan, restore, swap, process = graph_of(editor, "LoadVideo", SCAN, RESTORE, SWAP, PROCESS)
    connect(editor, clip, 0, scan, "video")
    receive(editor, scan, {"slimfusion_people": [json.dumps(PEOPLE)]})
    come_near(editor, scan)
    hint = editor.element_of(scan, ".hint")
    people = editor.page.locator(".slimfusion-people [data-track]")
    expect(people).to_have_count(3)
    expect(hint).to_contain_text("Connect a Restore Step")
    people.nth(1).click()  # nobody to write to
    assert values(editor, RESTORE)["tracks"] == values(editor, SWAP)["people"] == ""

    connect(editor, clip, 0, process, "video")
    connect(editor, restore, 0, swap, "steps")
    connect(editor, swap, 0, process, "steps")
    editor.page.mouse.move(5, 5)  # who draws links is elsewhere, and comes back
    people.nth(1).hover()
    steps = editor.page.locator(".slimfusion-people .steps button")
    assert steps.all_inner_texts() == ["Restore Step", "Swap Step"]
    people.nth(1).click()
    people.nth(2).click()
    assert values(editor, RESTORE)["tracks"] == "2, 7"
    people.nth(1).click()
    assert values(editor, RESTORE)["tracks"] == "7"

    steps.nth(1).click()
    assert people.locator("b").all_inner_texts() == ["0 → A", "2 → A", "7 → A"]
    people.nth(0).click()
    assert values(editor, SWAP)["people"] == "2:A, 7:A"
    assert values(editor, RESTORE)["tracks"] == "7"
    typed = """([id, text]) => {
      const widget = app.graph.getNodeById(id).widgets.find(each => each.name === "people");
      widget.value = text;
      widget.callback?.(text);
    }"""
    editor.page.evaluate(typed, [swap, "7:B"])
    assert people.locator("b").all_inner_texts() == ["0", "2", "7 → B"]
    expect(people.nth(1)).to_have_attribute("title", re.compile("is not seen"))
    editor.shoot("people")
    assert [each for each in editor.complaints if "none.webp" not in each] == []


def test_steps_of_another_clip_are_left_alone(editor):
    clip, other, scan, restore, process = graph_of(editor, "LoadVideo", "LoadVideo", SCAN, RESTORE, PROCESS)
    connect(editor, clip, 0, scan, "video")
    connect(editor, other, 0, process, "video")
    connect(editor, restore, 0, process, "steps")
    receive(editor, scan, {"slimfusion_people": [json.dumps(PEOPLE)]})
    person = editor.element_of(scan, "[data-track]")
    person.click()
    assert values(editor, RESTORE)["tracks"] == ""
    connect(editor, clip, 0, process, "video")
    person.click()
    assert values(editor, RESTORE)["tracks"] == "0"


REPORT = {"frames": 12, "faces": 0, "seconds": 2.5, "counts_faces": True,
          "memory": {"frames": 12, "faces": 0, "seconds": {}, "degradations": [], "notes": []}}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "key", "sent", "tone", "text"),
    [
        (PROCESS, "report", REPORT, "warn", "No face was found, 12 frames · 2.50 s"),
        (PROCESS, "report", REPORT | {"counts_faces": False}, "ok", "12 frames · 2.50 s"),
        (SCAN, "line", {"what": "scanned", "tone": "warn", "tracks": 0, "shots": 1, "frames": 9, "seconds": 1},
         "warn", "No face was found, 9 frames · 1.00 s"),
        (MASK, "line", {"what": "masked", "tone": "ok", "faces": 2, "share": 7.5, "seconds": 0.5, "peak": 9 << 20,
                        "given": ["smaller batch"]}, "ok",
         "2 faces · 7.5 % of the picture may change · peak 9 MiB · 0.50 s · gave up: smaller batch"),
        (MASK, "line", {"what": "masked", "tone": "warn", "faces": 2, "share": 0, "seconds": 0}, "warn",
         "The mask is black: nothing may change · 0.00 s"),
        ("SlimFusionLoadIdentity", "line", {"what": "identity", "tone": "ok", "name": "Grace", "faces": 3,
                                            "seconds": 0.01}, "ok", "Grace, from 3 faces · 0.01 s"),
        ("SlimFusionPasteFaces", "report", {"frames": 1, "faces": 0, "seconds": {"paste": 0.2}, "degradations": []},
         "warn", "No face was found · 0.20 s"),
    ],
)  # fmt: skip
def test_the_line_in_plain_words(editor, kind, key, sent, tone, text):
    (node,) = graph_of(editor, kind)
    receive(editor, node, {f"slimfusion_{key}": [json.dumps(sent)]})
    line = editor.element_of(node, ".slimfusion-line")
    expect(line.locator(".text")).to_have_text(text)
    expect(line).to_have_class(re.compile(rf"\b{tone}\b"))


def test_a_mask_says_what_may_change(editor):
    """Of a picture without a face: nothing."""
    kinds = "EmptyImage", "SlimFusionDetectFaces", MASK, "MaskToImage", "PreviewImage"
    empty, detect, mask, picture, preview = graph_of(editor, *kinds)
    connect(editor, empty, 0, detect, "image")
    connect(editor, detect, 0, mask, "faces")
    connect(editor, mask, 0, picture, "mask")
    connect(editor, picture, 0, preview, "images")
    colour = "([id, value]) => { app.graph.getNodeById(id).widgets[3].value = value; }"
    editor.page.evaluate(colour, [empty, 7 if "canvas" in editor.name else 8])
    editor.queue()
    line = editor.element_of(mask, ".slimfusion-line")
    expect(line.locator(".text")).to_have_text(re.compile(r"No face was found · [\d.]+ s"))
    expect(line).to_have_class(re.compile(r"\bwarn\b"))


def test_a_clip_in_work_says_its_rate_and_the_time_left(editor):
    (process,) = graph_of(editor, PROCESS)
    detail = {"stage": "work", "done": 12, "total": 36, "rate": 3.2, "left": 7.5}
    editor.page.evaluate(TOLD, [process, detail])
    line = editor.element_of(process, ".slimfusion-line")
    expect(line.locator(".text")).to_have_text("12 of 36 frames · 3.2 frames/s · 7.50 s left")
    editor.page.evaluate(TOLD, [process, detail | {"stage": "join", "done": 0, "total": 1}])
    expect(line.locator(".text")).to_have_text("Joining picture and sound")
