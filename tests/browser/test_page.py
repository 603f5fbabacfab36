"""What nodes say on the page: the line, the report, Doctor's list, the gauge, faces to click, nodes that stand in."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SOURCES = "/extensions/slimfusion"
FINDINGS = [
    {"title": "torch 2", "state": "ok", "detail": "runs on the CPU", "mend": ""},
    {
        "title": "onnxruntime",
        "state": "problem",
        "detail": "twice",
        "mend": "pip uninstall a\npip install b",
    },
]
PEOPLE = {
    "picture": {"filename": "none.webp", "subfolder": "", "type": "temp"},
    "columns": 3,
    "rows": 1,
    "people": [
        {"track": 0, "begins": 0.0, "ends": 1.5, "doubts": []},
        {"track": 2, "begins": 0.4, "ends": 1.1, "doubts": ["lost"]},
        {"track": 7, "begins": 2.0, "ends": 3.0, "doubts": []},
    ],
}
REACTOR = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "pos": [0, 0], "size": [300, 300], "inputs": [],
         "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1, 2]},
                     {"name": "MASK", "type": "MASK", "links": []}],
         "widgets_values": ["slimfusion_portrait.jpg", "image"]},
        {"id": 2, "type": "ReActorFaceSwap", "pos": [400, 0], "size": [300, 400],
         "inputs": [{"name": "input_image", "type": "IMAGE", "link": 1},
                    {"name": "source_image", "type": "IMAGE", "link": 2},
                    {"name": "face_model", "type": "FACE_MODEL", "link": None}],
         "outputs": [{"name": "SWAPPED_IMAGE", "type": "IMAGE", "links": [3]},
                     {"name": "FACE_MODEL", "type": "FACE_MODEL", "links": []}],
         "widgets_values": [True, "inswapper_128.onnx", "retinaface_resnet50", "GFPGANv1.4.pth", 1, 0.5, "no", "no",
                            "0, 1", "1, 0", 1]},
        {"id": 3, "type": "ReActorRestoreFace", "pos": [800, 0], "size": [300, 200],
         "inputs": [{"name": "image", "type": "IMAGE", "link": 3}],
         "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [4]}],
         "widgets_values": ["retinaface_resnet50", "none", 0.75, 0.25]},
        {"id": 4, "type": "PreviewImage", "pos": [1200, 0], "size": [300, 300],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 4}], "outputs": [], "widgets_values": []},
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 0, 2, 1, "IMAGE"], [3, 2, 0, 3, 0, "IMAGE"], [4, 3, 0, 4, 0, "IMAGE"]],
    "last_node_id": 4, "last_link_id": 4, "version": 0.4,
}  # fmt: skip
for place, node in enumerate(REACTOR["nodes"]):
    node |= {"flags": {}, "order": place, "mode": 0, "properties": {}}


def graph_of(editor, *kinds):
    """An empty graph with these nodes in a row; their ids."""
    editor.page.evaluate("() => { app.clean(); app.graph.clear(); }")
    ids = [editor.add_node(kind, 80 + 420 * index) for index, kind in enumerate(kinds)]
    editor.page.wait_for_timeout(500)
    return ids


def connect(editor, source, output, target, name):
    made = """([from, output, to, name]) => {
      const target = app.graph.getNodeById(to);
      app.graph.getNodeById(from).connect(output, target, target.inputs.findIndex(input => input.name === name));
    }"""
    editor.page.evaluate(made, [source, output, target, name])


def receive(editor, node, output):
    """As if the node had run and sent this."""
    editor.page.evaluate("([id, output]) => app.graph.getNodeById(id).onExecuted(output)", [node, output])


def values(editor, kind):
    return dict(editor.state()["widgets"][kind])


def set_widget(editor, kind, name, value):
    made = """([kind, name, value]) => {
      const node = app.graph.nodes.find(each => each.type === kind);
      node.widgets.find(each => each.name === name).value = value;
    }"""
    editor.page.evaluate(made, [kind, name, value])


def come_near(editor, kind):
    """Brings a node before the eyes at its own size: far away, the page draws nodes without their insides."""
    near = """kind => {
      const { pos } = app.graph.nodes.find(each => each.type === kind);
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset[0] = 300 - pos[0];
      app.canvas.ds.offset[1] = 160 - pos[1];
      app.canvas.setDirty(true, true);
    }"""
    editor.page.evaluate(near, kind)
    editor.page.wait_for_timeout(800)


def called(editor, file, call):
    return editor.page.evaluate(f"async () => {{ const m = await import('{SOURCES}/{file}'); return {call}; }}")


def test_the_line_says_what_was_done_and_opens_the_report(editor):
    editor.quiet()
    editor.open_template("Restore a portrait")
    set_widget(editor, "SlimFusionRestoreFaces", "keep_identity", "auto")
    editor.queue()
    line = editor.page.locator(".slimfusion-line")
    expect(line).to_contain_text(re.compile(r"1 face · \d+ MiB of .+ · .+ s|Unchanged"))
    if "Unchanged" in line.inner_text():  # the host has kept the result and does not send it again
        set_widget(editor, "SlimFusionRestoreFaces", "strength", 0.9)
        editor.queue()
    expect(line).to_contain_text("1 face")
    line.click()
    panel = editor.page.locator("dialog.slimfusion-panel")
    expect(panel).to_contain_text("SlimFusion restorer (bundled)")
    expect(panel).to_contain_text(re.compile(r"Like itself.*restored 0\.\d\d, pasted 0\.\d\d"))
    expect(panel.locator(".slimfusion-compare img")).to_have_count(2)
    sizes = "images => images.map(image => image.naturalWidth)"
    loaded = "() => [...document.querySelectorAll('.slimfusion-compare img')].every(image => image.complete)"
    editor.page.wait_for_function(loaded)
    assert panel.locator("img").evaluate_all(sizes) == [512, 512]
    editor.shoot("report")
    editor.page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert editor.complaints == []


def test_no_face_is_said_in_plain_sight(editor):
    empty, restore, preview = graph_of(editor, "EmptyImage", "SlimFusionRestoreFaces", "PreviewImage")
    connect(editor, empty, 0, restore, "image")
    connect(editor, restore, 0, preview, "images")
    editor.page.evaluate(
        "id => { app.graph.getNodeById(id).widgets[3].value = Math.floor(Math.random() * 1e6); }", empty
    )
    editor.queue()
    expect(editor.page.locator(".slimfusion-line.warn")).to_contain_text("No face was found")
    editor.shoot("no-face")


def test_an_error_is_said_where_it_happened(editor):
    (restore,) = graph_of(editor, "SlimFusionRestoreFaces")
    event = (
        "id => app.api.dispatchCustomEvent('execution_error', { node_id: id, exception_message: 'It is full.\\nMore' })"
    )
    editor.page.evaluate(event.replace("app.api", "(app.api ?? comfyAPI.api.api)"), str(restore))
    expect(editor.page.locator(".slimfusion-line.bad")).to_have_text("Failed: It is full.")


def test_doctor_is_a_list_whose_commands_can_be_copied(editor):
    (doctor,) = graph_of(editor, "SlimFusionDoctor")
    receive(editor, doctor, {"slimfusion_findings": [json.dumps(FINDINGS)]})
    list_ = editor.page.locator(".slimfusion-findings")
    expect(list_.locator(".sum")).to_have_text("Problems: 1, hints: 0")
    assert list_.locator(".title").all_inner_texts() == ["onnxruntime", "torch 2"]
    assert list_.locator("code").all_inner_texts() == ["pip uninstall a", "pip install b"]
    button = list_.locator("button.copy").last
    button.click()
    expect(button).to_have_text("Copied")
    editor.shoot("doctor")


def test_the_gauge_shows_the_budget_and_the_run(editor):
    editor.quiet()
    editor.open_template("Watch the memory")
    editor.page.evaluate(
        "() => { app.graph.nodes.find(n => n.type === 'SlimFusionRestoreImage').widgets[1].value = 48; }"
    )
    editor.queue()
    gauge = editor.page.locator(".slimfusion-gauge")
    expect(gauge.locator(".now b")).to_contain_text("of 512 MiB")
    expect(gauge.locator(".peak")).to_contain_text(re.compile(r"peak \d+ MiB"))
    expect(gauge.locator(".curve")).to_have_attribute("d", re.compile("^M .+ L "))
    for name in ("others", "ours", "free"):
        expect(gauge.locator(".key")).to_contain_text(name)
    limit = float(gauge.locator(".limit").get_attribute("y1"))
    assert 5 < limit < 95
    assert editor.complaints == []
    editor.shoot("gauge")


@pytest.mark.parametrize("budget", [0.25, 0.3, 1.05])
def test_a_budget_keeps_its_hundredths(editor, budget):
    (guard,) = graph_of(editor, "SlimFusionMemoryGuard")
    entered = """([id, value]) => {
      const widget = app.graph.getNodeById(id).widgets.find(each => each.name === 'budget_gib');
      widget.setValue ? widget.setValue(value, { e: {}, node: app.graph.getNodeById(id), canvas: app.canvas })
        : widget.callback(value);
      return widget.value;
    }"""
    assert editor.page.evaluate(entered, [guard, budget]) == pytest.approx(budget)


def test_a_click_chooses_faces(first_editor):
    editor = first_editor
    editor.quiet()
    editor.open_template("Choose a face in a group photo")
    editor.queue()
    faces = editor.page.locator(".slimfusion-faces button[data-face]")
    if not faces.count():  # taken from the host's cache, which sends nothing again
        editor.page.evaluate(
            "() => { app.graph.nodes.find(n => n.type === 'SlimFusionSelectFaces').widgets[2].value = 9; }"
        )
        editor.queue()
    expect(faces).to_have_count(2)
    assert values(editor, "SlimFusionSelectFaces")["numbers"] == "0"
    come_near(editor, "SlimFusionSelectFaces")
    faces.nth(1).click()
    assert values(editor, "SlimFusionSelectFaces")["numbers"] == "0, 1"
    faces.nth(0).click()
    assert values(editor, "SlimFusionSelectFaces")["numbers"] == "1"
    expect(faces.nth(1)).to_have_attribute("aria-pressed", "true")
    assert editor.overlaps() == []
    assert editor.complaints == []
    editor.shoot("faces")


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("m.numbersAfter('', 2)", "2"),
        ("m.numbersAfter('0-2', 1)", "0, 2"),
        ("m.numbersAfter('2', 2)", ""),
        ("m.peopleAfter('', 1, [0, 1, 2], ['A', 'B'])", "0:A, 1:B, 2:A"),
        ("m.peopleAfter('0:A, 1:B, 2:A', 1, [0, 1, 2], ['A', 'B'])", "0:A, 2:A"),
        ("m.peopleAfter('0:A, 2:A', 1, [0, 1, 2], ['A', 'B'])", ""),
        ("m.peopleAfter('1:A', 1, [0, 1, 2], ['A'])", "1:A"),
        ("m.peopleAfter('', 7, [2, 7], ['A', 'B'])", "2:A, 7:B"),
        ("m.peopleAfter('2:A, 7:B', 7, [2, 7], ['A', 'B'])", "2:A"),
    ],
)
def test_what_a_click_writes(editor, call, wanted):
    assert called(editor, "faces.js", call) == wanted


def test_every_sentence_is_there_in_both_languages(editor):
    words = called(editor, "words.js", "m.WORDS")
    assert words["en"].keys() == words["zh"].keys()
    named = re.compile(r"\{(\w+)\}")
    assert all(set(named.findall(words["en"][key])) == set(named.findall(words["zh"][key])) for key in words["en"])


def test_missing_nodes_of_others_are_replaced_only_when_asked(editor):
    replaced = {"SlimFusionSwapFaces", "SlimFusionRestoreFaces"}
    switch = "on => app.extensionManager.setting.set('SlimFusion.ReplaceNodes', on)"
    editor.page.evaluate(switch, True)
    editor.open_workflow(REACTOR)
    editor.page.wait_for_timeout(1000)
    state = editor.state()
    editor.shoot("replaced")
    assert set(state["types"]) == {"LoadImage", "PreviewImage", *replaced} and state["missing"] == []
    assert state["links"] == 4
    assert values(editor, "SlimFusionSwapFaces")["people"] == "0:B, 1:A"
    restore = values(editor, "SlimFusionRestoreFaces")
    assert (restore["strength"], restore["fidelity"]) == (0.75, 0.25)
    ends = """() => app.graph.nodes.find(n => n.type === 'SlimFusionSwapFaces').inputs
      .filter(input => input.link != null).map(input => input.name)"""
    assert editor.page.evaluate(ends) == ["image", "source_image"]
    expect(editor.page.get_by_text("stands in for 2 missing nodes").first).to_be_visible()
    editor.page.evaluate(switch, False)


def test_light_theme_stays_legible(editor):
    """The line's ink against its ground, by WCAG's contrast, in the page's light theme."""
    kinds = "SlimFusionRestoreFaces", "SlimFusionMemoryGuard", "SlimFusionDoctor", "SlimFusionScanVideo"
    scan = graph_of(editor, *kinds)[-1]
    receive(editor, scan, {"slimfusion_people": [json.dumps(PEOPLE)]})
    contrast = """() => {
      const level = text => {
        const linear = v => v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return [...document.querySelectorAll('.slimfusion-gauge, .slimfusion-findings, .slimfusion-mode,'
        + '.slimfusion-line, .slimfusion-people')].map(each => {
        const style = getComputedStyle(each);
        const [low, high] = [level(style.color), level(style.backgroundColor)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      });
    }"""
    with editor.light():
        editor.shoot("theme-light")
        ratios = {"light": editor.page.evaluate(contrast)}
    editor.shoot("theme-dark")
    ratios["dark"] = editor.page.evaluate(contrast)
    assert {name: len(each) for name, each in ratios.items()} == {"light": 6, "dark": 6}
    assert min(min(each) for each in ratios.values()) > 4.5
