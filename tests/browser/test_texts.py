"""What the page makes of the nodes' texts and inputs: languages, saved workflows, and dragging from `model`."""

from pathlib import Path

import pytest
import saved_workflows as saved
from slimfusion.bench.texts import read

pytestmark = pytest.mark.browser
PICTURE = Path(__file__).resolve().parents[2] / "examples" / "slimfusion_portrait.jpg"

UNSCALED = "() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true); }"
# Where an input's dot is on the screen.
DOT = """(input) => {
  const node = (app.graph.nodes ?? app.graph._nodes)[0];
  const row = [...document.querySelectorAll(".lg-slot--input")].find(
    (slot) => slot.textContent.trim() === input,
  );
  const dot = row?.querySelector("[data-slot-key]") ?? row;
  if (dot) {
    const box = dot.getBoundingClientRect();
    return [box.x + Math.min(box.width / 2, 4), box.y + box.height / 2];
  }
  const place = node.getConnectionPos(true, node.inputs.findIndex((slot) => slot.name === input));
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const { offset, scale } = app.canvas.ds;
  return [0, 1].map((axis) => (place[axis] + offset[axis]) * scale + [canvas.x, canvas.y][axis]);
}"""
LINKED = """() => {
  const nodes = app.graph.nodes ?? app.graph._nodes;
  const input = nodes[0].inputs.find((slot) => slot.name === "model");
  const link = input.link == null ? null : (app.graph.links.get?.(input.link) ?? app.graph.links[input.link]);
  return link && nodes.find((node) => node.id === link.origin_id).type;
}"""
TEXTS = """(kinds) => Object.fromEntries(kinds.map((kind) => {
  const node = LiteGraph.createNode(kind);
  const widgets = new Set((node.widgets ?? []).map((widget) => widget.name));
  return [kind, {
    display_name: node.title,
    inputs: Object.fromEntries([
      ...(node.inputs ?? []).filter((slot) => !widgets.has(slot.name)).map((slot) => [slot.name, slot.localized_name]),
      ...(node.widgets ?? []).map((widget) => [widget.name, widget.label]),
    ]),
    outputs: (node.outputs ?? []).map((slot) => slot.localized_name),
  }];
}))"""


def place(editor, kind):
    """A node alone on the canvas."""
    editor.open_workflow({"version": 0.4, "nodes": [{"id": 1, "type": kind, "pos": [700, 250]}], "links": []})
    editor.page.evaluate(UNSCALED)
    editor.page.wait_for_timeout(1500)


def opened_in(editor, language):
    """Reloads the page in a language."""
    editor.host.post("/settings/Comfy.Locale", language)
    editor.page.reload()
    editor.page.wait_for_function("() => window.app?.graph && LiteGraph.registered_node_types.SlimFusionSwapFaces")
    editor.page.wait_for_timeout(3000)
    editor.quiet()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_label_is_in_the_users_language(editor, language):
    """English comes last: it is what the other tests need."""
    opened_in(editor, language)
    wanted = read(language, "nodeDefs.json")
    shown = editor.page.evaluate(TEXTS, list(wanted))
    for node, texts in wanted.items():
        assert shown[node]["display_name"] == texts["display_name"]
        labels = shown[node]["inputs"]
        assert {name: labels.get(name) for name in texts["inputs"]} == {
            name: each["name"] for name, each in texts["inputs"].items()
        }
        assert shown[node]["outputs"] == [each["name"] for each in texts["outputs"].values()]
    place(editor, "SlimFusionSwapFaces")
    editor.shoot(f"texts-{language}")
    assert editor.complaints == []


@pytest.mark.parametrize("path", saved.SAVED, ids=lambda path: path.stem)
def test_a_workflow_of_the_first_release_opens_as_it_was_meant(editor, path):
    editor.host.upload("example.png", PICTURE.read_bytes())
    editor.quiet()
    workflow = saved.read(path)
    editor.open_workflow(workflow)
    state = editor.state()
    assert state["missing"] == []
    assert [kind for kind in state["red"] if kind in saved.WIDGETS] == []
    assert state["links"] == len(workflow["links"])
    prompt = editor.page.evaluate("async () => (await app.graphToPrompt()).output")
    for node, inputs in saved.meant(workflow).items():
        assert {name: prompt[node]["inputs"].get(name) for name in inputs} == inputs
    assert editor.complaints == []


@pytest.mark.parametrize("shift", [False, True], ids=["first", "with-shift"])
def test_the_loader_is_offered_to_who_drags_from_model(editor, shift):
    """The short menu or the search, as the page's version and the user's settings say: each by one of the two ways."""
    page = editor.page
    place(editor, "SlimFusionRestoreFaces")
    x, y = page.evaluate(DOT, "model")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 100, y + 40, steps=5)
    page.mouse.move(x - 300, y + 120, steps=5)
    if shift:
        page.keyboard.down("Shift")
    page.mouse.up()
    page.keyboard.up("Shift")
    offered = page.locator(".litecontextmenu, [role=dialog], [role=listbox]").get_by_text(
        # the search marks what was typed, the menu names the node's id
        "SlimFusionLoadModel"
    )
    searched = page.get_by_role("option", name="Load Fusion Model")
    offered.or_(searched).first.wait_for(timeout=20_000)
    editor.shoot(f"drag-from-model-{'shift' if shift else 'plain'}")
    offered.or_(searched).first.click()
    page.wait_for_function(f"() => ({LINKED})() === 'SlimFusionLoadModel'", timeout=20_000)
