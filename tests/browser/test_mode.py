"""The mode of Memory Budget Guard: a slider before the eyes, the page's own list behind it."""

import json

import pytest
from playwright.sync_api import expect
from slimfusion.engines.memory.budget import MODES

pytestmark = pytest.mark.browser
GUARD = "SlimFusionMemoryGuard"
WORKFLOW = {
    "version": 0.4, "last_node_id": 2, "last_link_id": 1, "links": [[1, 1, 0, 2, 0, "STRING"]],
    "nodes": [
        {"id": 1, "type": "PrimitiveString", "pos": [80, 200], "size": [300, 100], "inputs": [],
         "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}], "widgets_values": ["quality"]},
        {"id": 2, "type": GUARD, "pos": [480, 150], "size": [320, 420],
         "inputs": [{"name": "mode", "type": "COMBO", "widget": {"name": "mode"}, "link": 1}],
         "outputs": [], "widgets_values": ["quality", 1.25, "fail", False]},
    ],
}  # fmt: skip


def opened_with(editor, linked):
    """The guard with values that an older release has saved; its id."""
    workflow = json.loads(json.dumps(WORKFLOW))
    if not linked:
        workflow["links"], workflow["nodes"] = [], workflow["nodes"][1:]
        workflow["nodes"][0]["inputs"] = []
    for place, node in enumerate(workflow["nodes"]):
        node |= {"flags": {}, "order": place, "mode": 0, "properties": {}}
    editor.open_workflow(workflow)
    editor.page.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset[0] = app.canvas.ds.offset[1] = 0; }")
    editor.page.evaluate("() => app.canvas.setDirty(true, true)")
    editor.page.wait_for_timeout(1000)


def sent(editor):
    prompt = editor.page.evaluate("async () => (await app.graphToPrompt()).output")
    return next(node["inputs"] for node in prompt.values() if node["class_type"] == GUARD)


def test_the_slider_has_the_modes_of_the_node(editor):
    opened_with(editor, linked=False)
    marks = editor.page.locator(".slimfusion-mode button")
    assert marks.evaluate_all("all => all.map(each => each.dataset.mode)") == list(MODES)


def test_a_saved_mode_is_kept_and_the_slider_changes_it(editor):
    editor.quiet()
    opened_with(editor, linked=False)
    saved = {"mode": "quality", "budget_gib": 1.25, "on_low_memory": "fail", "keep_loaded": False}
    assert sent(editor) == saved
    expect(editor.page.locator(".slimfusion-mode .chosen")).to_have_text("quality")
    editor.shoot("mode")
    editor.page.locator(".slimfusion-mode button", has_text="compatibility").click()
    assert sent(editor) == saved | {"mode": "compatibility"}
    editor.page.locator(".slimfusion-mode input").focus()
    for _ in range(2):
        editor.page.keyboard.press("ArrowLeft")
    assert sent(editor) == saved | {"mode": "performance"}
    expect(editor.page.locator(".slimfusion-mode .chosen")).to_have_text("performance")
    values = "() => app.graph.serialize().nodes[0].widgets_values"
    assert editor.page.evaluate(values)[:4] == ["performance", 1.25, "fail", False]
    assert editor.complaints == []


def test_the_list_is_there_once_and_only_where_the_mode_is_linked(editor):
    shown = """() => {
      const node = (app.graph.nodes ?? app.graph._nodes).find((each) => each.comfyClass === "SlimFusionMemoryGuard");
      const is = (name) => !node.widgets.find((each) => each.name === name).hidden;
      return [is("mode"), is("slimfusion_mode")];
    }"""
    opened_with(editor, linked=False)
    assert editor.page.evaluate(shown) == [False, True]
    expect(editor.page.locator(".slimfusion-mode")).to_be_visible()
    opened_with(editor, linked=True)
    editor.shoot("mode-linked")
    in_list, on_slider = editor.page.evaluate(shown)
    assert not on_slider
    assert in_list or "newest" in editor.name  # that page shows a linked input as its socket alone
    linked = """() => (app.graph.nodes ?? app.graph._nodes).find((each) => each.comfyClass === "SlimFusionMemoryGuard")
      .inputs.find((input) => input.name === "mode").link"""
    assert editor.page.evaluate(linked) is not None
    expect(editor.page.locator(".slimfusion-mode:visible")).to_have_count(0)


def test_nothing_stands_where_the_list_was(editor):
    """Pages of 1.32 kept a row for what is hidden: the first widget stands one row below the output, and no two."""
    opened_with(editor, linked=False)
    expect(editor.page.locator("[data-node-id]").get_by_text("mode", exact=True)).to_have_count(0)
    places = """() => {
      const { widgets } = (app.graph.nodes ?? app.graph._nodes)[0];
      return ["budget_gib", "on_low_memory"].map((name) => widgets.find((each) => each.name === name).y);
    }"""
    first, second = editor.page.evaluate(places)
    assert "nodes2" in editor.name or 0 < first < 1.6 * (second - first)
