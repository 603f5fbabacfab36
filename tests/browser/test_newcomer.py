"""A newcomer's first picture, counted in actions: from a template, by hand, and on a ComfyUI without OpenCV.

An action is what a user would call one: a click, or a node put into the graph by name (on empty ground or at the end of
a link), with all that the page asks for on the way.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from editor import Editor, opened
from PIL import Image
from playwright.sync_api import expect
from slimfusion.bench.host_driver import booted
from slimfusion.bench.workflows import nodes_of_class, ui_to_api

pytestmark = pytest.mark.browser
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EMPTY = {"version": 0.4, "last_node_id": 0, "last_link_id": 0, "nodes": [], "links": []}
TYPES = "() => (app.graph.nodes ?? app.graph._nodes).map((node) => node.type)"
# The middle of an output's dot on the screen, of the only node of a type.
DOT = """([type, name]) => {
  const node = (app.graph.nodes ?? app.graph._nodes).find((each) => each.type === type);
  const drawn = document.querySelector(`[data-node-id="${node.id}"]`);
  const rows = [...(drawn?.querySelectorAll(".lg-slot--output") ?? [])];
  const row = rows.find((each) => each.textContent.trim().toLowerCase() === name.toLowerCase());
  if (row) {
    const box = (row.querySelector("[data-slot-key]") ?? row).getBoundingClientRect();
    return [box.right - Math.min(box.width / 2, 4), box.y + box.height / 2];
  }
  const place = node.getConnectionPos(false, node.outputs.findIndex((slot) => slot.name === name));
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const { offset, scale } = app.canvas.ds;
  return [0, 1].map((axis) => (place[axis] + offset[axis]) * scale + [canvas.x, canvas.y][axis]);
}"""


@dataclass
class Newcomer:
    """Somebody with a mouse and a keyboard, whose actions are counted."""

    editor: Editor
    did: list[str] = field(default_factory=list)

    def click(self, what, target) -> None:
        target.click()
        self.did.append(what)

    def add(self, title: str, kind: str, at: tuple[int, int]) -> None:
        """A double click on empty ground, the node's name, Enter."""
        self.editor.page.mouse.dblclick(*at)
        self._choose(title, kind, at)
        self.did.append(f"add {title}")

    def pull(self, source: tuple[str, str], title: str, kind: str, at: tuple[int, int]) -> None:
        """A link from a node's output to empty ground, the new node's name, Enter."""
        page = self.editor.page
        x, y = page.evaluate(DOT, list(source))
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30, y + 10, steps=5)
        page.mouse.move(*at, steps=10)
        page.mouse.up()
        menu = page.locator(".litecontextmenu").get_by_text("Search", exact=True)
        search = page.get_by_role("combobox").or_(page.get_by_placeholder("Add a node"))
        menu.or_(search).locator("visible=true").first.wait_for(timeout=20_000)
        if menu.count():
            menu.click()
        self._choose(title, kind, at)
        self.did.append(f"pull {title} from {source[0]}")

    def _choose(self, title: str, kind: str, at: tuple[int, int]) -> None:
        page = self.editor.page
        page.wait_for_timeout(800)
        page.keyboard.type(title)
        page.get_by_text(title).locator("visible=true").first.wait_for(timeout=20_000)
        page.wait_for_timeout(800)
        page.keyboard.press("Enter")
        page.wait_for_function(f"kind => ({TYPES})().includes(kind)", arg=kind, timeout=20_000)
        page.mouse.move(at[0] + 2, at[1])
        page.wait_for_timeout(500)
        if page.evaluate("() => Boolean(app.canvas.state?.ghostNodeId != null)"):  # newer pages let go of it on a click
            page.mouse.click(*at)
            page.wait_for_timeout(500)

    def run(self) -> np.ndarray:
        """Clicks Run; the picture that is saved, (H, W, 3) levels."""
        _, history = self.editor.queue()
        self.did.append("Run")
        assert history["status"]["status_str"] == "success", history["status"]
        saved = [each for output in history["outputs"].values() for each in output.get("images", [])]
        (picture,) = [self.editor.host.view(each) for each in saved if each["type"] == "output"]
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int)


def is_restored(result: np.ndarray) -> bool:
    """Whether the portrait's face is another one, and nothing else is."""
    before = np.asarray(Image.open(EXAMPLES / "slimfusion_portrait.jpg").convert("RGB"), int)
    face = np.abs(result - before)[60:190, 165:285]
    return bool(result.shape == before.shape and face.mean() > 2 and (result == before)[320:].all())


def from_template(editor: Editor) -> Newcomer:
    """Browse templates, Restore a portrait, Run."""
    newcomer, page = Newcomer(editor), editor.page
    newcomer.click("Templates", page.get_by_role("button", name="Templates").first)
    dialog = page.get_by_role("dialog").last
    newcomer.click("Restore a portrait", dialog.get_by_text("Restore a portrait", exact=True).first)
    expect(dialog).to_be_hidden()
    page.wait_for_function(f"() => ({TYPES})().includes('SlimFusionRestoreFaces')")
    assert is_restored(newcomer.run())
    return newcomer


def test_three_actions_from_a_template(editor):
    editor.quiet()
    newcomer = from_template(editor)
    assert newcomer.did == ["Templates", "Restore a portrait", "Run"]
    assert editor.complaints == []


def test_five_actions_by_hand(editor):
    """Load Image shows the portrait at once, because that is all there is in the input folder of a fresh ComfyUI."""
    editor.open_workflow(EMPTY)
    editor.page.evaluate("() => { app.canvas.ds.scale = 0.6; app.canvas.ds.offset[0] = app.canvas.ds.offset[1] = 0; }")
    editor.page.wait_for_timeout(800)
    editor.quiet()
    newcomer = Newcomer(editor)
    newcomer.add("Load Image", "LoadImage", (320, 260))
    chosen = """name => {
      const node = (app.graph.nodes ?? app.graph._nodes).find((each) => each.type === "LoadImage");
      const widget = node.widgets.find((each) => each.name === "image");
      if (widget.value === name) return false;
      widget.value = name;
      return true;
    }"""
    if editor.page.evaluate(chosen, "slimfusion_portrait.jpg"):  # other tests have laid pictures there
        newcomer.did.append("choose the portrait")
    newcomer.pull(("LoadImage", "IMAGE"), "Tiled Face Restore", "SlimFusionRestoreFaces", (720, 240))
    newcomer.pull(("SlimFusionRestoreFaces", "image"), "Save Image", "SaveImage", (1200, 240))
    result = newcomer.run()
    editor.shoot("by-hand")
    assert is_restored(result)
    assert len(newcomer.did) <= 5, newcomer.did
    assert editor.complaints == []


@pytest.fixture(scope="module")
def without_opencv(browser, tmp_path_factory) -> Iterator[Editor]:
    """The page of a ComfyUI in whose Python OpenCV is not installed."""
    shadow = tmp_path_factory.mktemp("shadow")
    (shadow / "cv2.py").write_text('raise ModuleNotFoundError("No module named \'cv2\'", name="cv2")\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(shadow))
        with booted() as host:
            fresh = opened(browser, host, "without-opencv", False)
            fresh.quiet()
            yield fresh
            fresh.page.close()


def test_three_actions_without_opencv(without_opencv):
    newcomer = from_template(without_opencv)
    assert newcomer.did == ["Templates", "Restore a portrait", "Run"]
    without_opencv.shoot("portrait")
    assert without_opencv.complaints == []


def test_a_clip_without_opencv(without_opencv):
    host = without_opencv.host
    workflow = json.loads((EXAMPLES / "Restore a clip.json").read_text(encoding="utf-8"))
    prompt = ui_to_api(workflow, host.get("/object_info"))
    (process,) = nodes_of_class(prompt, "SlimFusionProcessVideo")
    prompt[process]["inputs"]["stop"] = 0.1
    run = host.run(prompt)
    assert run.ending == "execution_success", run.error
    report = json.loads(run.outputs[process]["slimfusion_report"][0])
    assert report["frames"] == report["faces"] == 3
    assert report["flicker"] is None  # the one thing that OpenCV alone measures


def test_doctor_says_what_opencv_would_bring(without_opencv):
    without_opencv.open_workflow(EMPTY)
    node = without_opencv.add_node("SlimFusionDoctor")
    without_opencv.page.wait_for_timeout(800)
    without_opencv.queue()
    listed = without_opencv.element_of(node, ".slimfusion-findings")
    expect(listed).to_contain_text("all nodes run without it")
    expect(listed).to_contain_text("install")
    without_opencv.shoot("doctor")
