"""ComfyUI's page as a user has it before the eyes: opened, clicked and read in a real Chromium."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Response, ViewportSize, expect
from slimfusion.bench.host_driver import Host, Json

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "output" / "browser"
VIEWPORT: ViewportSize = {"width": 1600, "height": 900}
START_MS = 120_000
RUN_SECONDS = 300.0

# What these frontends say by themselves, without any pack: files that a new user does not have yet, core's own
# templates (not installed here), services outside, and interfaces that a host older than the frontend lacks.
OWN_COMPLAINTS = re.compile(
    r"https://(api\.comfy\.org|huggingface\.co|[a-z0-9.]+\.sentry\.io)/|/(api/)?userdata|/user\.css|/favicon\.ico"
    r"|/templates/index|core workflow templates|/api/jobs|JobsApiError"
    r"|net::ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED|CONNECTION|TUNNEL|PROXY|FAILED|TIMED_OUT|CERT)"
)
# Reads the graph as it stands: what a user sees as a missing node, a red node or a lost link.
STATE = """() => {
  const nodes = app.graph.nodes ?? app.graph._nodes;
  const links = [...(app.graph.links.values ? app.graph.links.values() : Object.values(app.graph.links))];
  return {
    types: nodes.map(node => node.type).sort(),
    missing: nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type),
    red: nodes.filter(node => node.has_errors).map(node => node.type),
    links: links.length,
    widgets: Object.fromEntries(nodes.map(node => [node.type, (node.widgets ?? []).map(w => [w.name, w.value])])),
  };
}"""


# The boxes of all nodes as they are drawn, titles included: by the canvas or as elements of the page.
BOXES = """() => {
  const drawn = [...document.querySelectorAll('[data-node-id]')].filter(each => each.offsetParent);
  if (drawn.length) {
    return drawn.map(each => {
      const { left, top, right, bottom } = each.getBoundingClientRect();
      return [app.graph.getNodeById(Number(each.dataset.nodeId))?.type ?? '', left, top, right, bottom];
    });
  }
  return (app.graph.nodes ?? app.graph._nodes).map(node => {
    const [x, y, width, height] = node.boundingRect ?? node.getBounding();
    return [node.type, x, y, x + width, y + height];
  });
}"""


def posted(answer: Response, path: str) -> bool:
    return answer.url.endswith(path) and answer.request.method == "POST"


@dataclass
class Editor:
    """One open page. complaints: errors that its console has shown since the last call of `quiet`."""

    page: Page
    host: Host
    name: str
    complaints: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        told = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not OWN_COMPLAINTS.search(told):
            self.complaints.append(told)

    def quiet(self) -> None:
        """Forgets what was said while the frontend itself started."""
        self.complaints.clear()

    def reopen(self) -> None:
        """A page of its own in the place of this one: no tab, nothing remembered."""
        context = self.page.context
        self.page.close()
        context.close()
        self.page = context.browser.new_page(viewport=VIEWPORT)
        self.load()

    def load(self) -> None:
        """Waits until the page can be used."""
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(self.host.address)
        self.page.wait_for_function(
            "() => window.app?.graph && app.extensionManager && LiteGraph.registered_node_types.SlimFusionDetectFaces",
            timeout=START_MS,
        )
        expect(self.page.get_by_role("button", name="Templates").first).to_be_visible(timeout=START_MS)
        self.page.wait_for_timeout(2000)

    def state(self) -> Json:
        return dict(self.page.evaluate(STATE))

    def open_template(self, name: str) -> None:
        """By the button Templates, the pack's own entry and the card, as a user does."""
        self.page.get_by_role("button", name="Templates").first.click()
        dialog = self.page.get_by_role("dialog").last
        dialog.get_by_text("slimfusion", exact=True).first.click()
        dialog.get_by_text(name, exact=True).first.click()
        expect(dialog).to_be_hidden(timeout=START_MS)
        wanted = len(json.loads((ROOT / "examples" / f"{name}.json").read_text(encoding="utf-8"))["nodes"])
        self.page.wait_for_function("wanted => (app.graph.nodes ?? app.graph._nodes).length === wanted", arg=wanted)

    def open_workflow(self, workflow: Json) -> None:
        """As a file that is dropped onto the page."""
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)

    def queue(self) -> tuple[Json, Json]:
        """Clicks Run; the prompt that the page sent, and its history once it has ended."""
        with self.page.expect_response(lambda answer: posted(answer, "/prompt")) as sent:
            self.page.get_by_test_id("queue-button").first.click()
        answer = sent.value.json()
        assert "prompt_id" in answer, f"the page's prompt was refused: {answer}"
        ends = time.monotonic() + RUN_SECONDS
        while not (history := self.host.get(f"/history/{answer['prompt_id']}")):
            assert time.monotonic() < ends, f"the prompt did not end:\n{self.host.log()[-3000:]}"
            self.page.wait_for_timeout(200)
        return json.loads(sent.value.request.post_data)["prompt"], history[answer["prompt_id"]]

    def overlaps(self) -> list[tuple[str, str]]:
        """The types of nodes that are drawn over one another."""
        boxes = self.page.evaluate(BOXES)
        return [
            (one[0], other[0])
            for index, one in enumerate(boxes)
            for other in boxes[:index]
            if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
        ]

    def add_node(self, kind: str, x: int = 300, y: int = 200) -> int:
        """Puts a node onto an empty graph's canvas; its id."""
        made = "([kind, x, y]) => { const node = LiteGraph.createNode(kind); node.pos = [x, y]; app.graph.add(node);"
        return int(self.page.evaluate(made + " return node.id; }", [kind, x, y]))

    def element_of(self, node: int, selector: str) -> Locator:
        """An element of ours on a node, whichever way it is drawn."""
        mark = f"slimfusion-{node}"
        tag = """([id, mark]) => {
          const node = app.graph.getNodeById(id);
          for (const widget of node.widgets) widget.element?.setAttribute?.('data-test', mark);
        }"""
        self.page.evaluate(tag, [node, mark])
        return self.page.locator(f'[data-test="{mark}"]{selector}, [data-test="{mark}"] {selector}').first

    @contextmanager
    def light(self) -> Iterator[None]:
        """The page's light theme, for a while."""
        theme = "name => app.extensionManager.setting.set('Comfy.ColorPalette', name)"
        self.page.evaluate(theme, "light")
        self.page.wait_for_timeout(1500)
        try:
            yield
        finally:
            self.page.evaluate(theme, "dark")
            self.page.wait_for_timeout(1000)

    def shoot(self, title: str) -> None:
        """Keeps a screenshot for the eyes."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(700)  # results are drawn a moment after the host has ended
        self.page.screenshot(path=SHOTS / f"{self.name}-{title}.png")


def opened(browser: Browser, host: Host, name: str, nodes_2: bool) -> Editor:
    """The page with one of the two renderers, once it can be used."""
    host.post("/settings/Comfy.VueNodes.Enabled", nodes_2)
    host.post("/settings/Comfy.TutorialCompleted", True)  # else the templates open by themselves
    editor = Editor(browser.new_page(viewport=VIEWPORT), host, name)
    editor.load()
    return editor
