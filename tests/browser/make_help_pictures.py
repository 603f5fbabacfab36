"""Makes the pictures of the help pages: every node as the page shows it, in each language, most of them after a run.

Needs a ComfyUI and Chromium, as the tests of the page do, and a font for each language (fonts-noto-cjk):
python tests/browser/make_help_pictures.py
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from slimfusion.bench.host_driver import booted
from slimfusion.bench.texts import languages, read

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ARGUMENTS
from editor import ROOT, Editor, opened
from make_templates import BUILD

PICTURES = ROOT / "js" / "docs" / "pictures"
WIDTH = 320
MARGIN = 10  # px around a node
QUALITIES, LARGEST = (85, 75, 60), 25_000  # of WebP, and bytes: letters stay sharp, and most have some 10 kB
PREVIEW = 100  # px more than a node asks for itself where it shows pictures
# What is run: (values, links to its inputs), by type. A node that needs a model file of the user's is shown as it is.
RUN = {
    "LoadImage": ({"image": "slimfusion_portrait.jpg"}, ()),
    "SlimFusionMemoryGuard": ({"budget_gib": 0.5}, ()),
    "SlimFusionLoadModel": ({}, ("SlimFusionMemoryGuard.budget > budget",)),
    "SlimFusionDetectFaces": ({}, ("LoadImage.IMAGE > image",)),
    "SlimFusionSelectFaces": ({}, ("SlimFusionDetectFaces.faces > faces", "LoadImage.IMAGE > image")),
    "SlimFusionFaceMask": ({}, ("SlimFusionDetectFaces.faces > faces",)),
    "SlimFusionRestoreFaces": (
        {},
        ("LoadImage.IMAGE > image", "SlimFusionLoadModel.model > model", "SlimFusionSelectFaces.faces > faces"),
    ),
    "SlimFusionMemoryReport": ({}, ("SlimFusionRestoreFaces.report > report",)),
    "SlimFusionCropFaces": ({}, ("LoadImage.IMAGE > image",)),
    "SlimFusionPasteFaces": (
        {},
        (
            "LoadImage.IMAGE > image",
            "SlimFusionCropFaces.crops > crops",
            "SlimFusionCropFaces.geometry > geometry",
        ),
    ),
    "SlimFusionSwapFaces": ({}, ("LoadImage.IMAGE > image", "LoadImage.IMAGE > source_image")),
    "SlimFusionReleaseModels": ({}, ("SlimFusionRestoreFaces.image > anything",)),
    "SlimFusionDoctor": ({}, ()),
    "SlimFusionRestoreStep": ({}, ("SlimFusionLoadModel.model > model",)),
    "PreviewImage": ({}, ("SlimFusionPasteFaces.image > images",)),
    "PreviewImage ": ({}, ("SlimFusionSwapFaces.image > images",)),
    "MaskPreview": ({}, ("SlimFusionFaceMask.mask > mask",)),
}
# Brings a node before the eyes, alone and at its own size where it fits; its box on the screen.
SHOW = """([id, margin, preview]) => {
  const node = app.graph.getNodeById(id);
  const titled = 30;
  const least = node.computeSize()[1] + (node.imgs?.length ? preview : 0);
  if (node.size[1] < least) node.setSize([node.size[0], least]);
  const [width, height] = [node.size[0], node.size[1] + titled];
  const { ds } = app.canvas;
  ds.scale = Math.min(1, (innerHeight - 200) / height);
  ds.offset[0] = (innerWidth / 2) / ds.scale - width / 2 - node.pos[0];
  ds.offset[1] = (innerHeight / 2 + 30) / ds.scale - height / 2 + titled - node.pos[1];
  app.canvas.setDirty(true, true);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const at = [node.pos[0], node.pos[1] - titled].map((value, axis) => (value + ds.offset[axis]) * ds.scale);
  return { x: at[0] + canvas.x - margin, y: at[1] + canvas.y - margin,
           width: width * ds.scale + 2 * margin, height: height * ds.scale + 2 * margin };
}"""


# Doctor names the Python of whoever makes the pictures.
WITHOUT_PATH = """path => {
  for (const detail of document.querySelectorAll(".slimfusion-findings .detail")) {
    detail.textContent = detail.textContent.replace(path, "python");
  }
}"""


def graph() -> dict:
    """What is run, in the form that BUILD takes."""
    nodes = {
        key: {"type": key.strip(), "values": values, "title": "", "models": [], "width": WIDTH, "height": 0}
        for key, (values, _) in RUN.items()
    }
    links = [link.replace(" > ", f" > {key}.") for key, (_, linked) in RUN.items() for link in linked]
    return {"nodes": nodes, "links": links}


def take(editor: Editor, node: int) -> bytes:
    """A node's picture as WebP."""
    for _ in range(2):  # a node may grow when it is drawn
        clip = editor.page.evaluate(SHOW, [node, MARGIN, PREVIEW])
        editor.page.wait_for_timeout(600)
    editor.page.evaluate(WITHOUT_PATH, sys.executable)
    taken = Image.open(io.BytesIO(editor.page.screenshot(clip=clip))).convert("RGB")
    return as_webp(taken)


def as_webp(picture: Image.Image) -> bytes:
    """As fine as the size allows: a photograph in a node takes more than letters."""
    for quality in QUALITIES:
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=quality, method=6)
        if content.tell() <= LARGEST:
            break
    return content.getvalue()


def make(editor: Editor, language: str) -> None:
    editor.host.post("/settings/Comfy.Locale", language)
    editor.host.free()  # or nodes whose results are kept would not say anew what they did
    editor.page.reload()
    editor.page.wait_for_function("() => window.app?.graph && LiteGraph.registered_node_types.SlimFusionSwapFaces")
    editor.page.wait_for_timeout(3000)
    ids = dict(editor.page.evaluate(BUILD, graph()))
    place = "ids => ids.forEach((id, index) => (app.graph.getNodeById(id).pos = [4000 * index, 0]))"
    editor.page.evaluate(place, list(ids.values()))
    editor.page.wait_for_timeout(800)
    _, history = editor.queue()
    assert history["status"]["status_str"] == "success", history["status"]
    editor.page.wait_for_timeout(1500)
    for index, kind in enumerate(read("en", "nodeDefs.json")):
        node = ids.get(kind) or editor.add_node(kind, 4000 * index, 9000)
        picture = take(editor, node)
        (PICTURES / f"{kind}.{language}.webp").write_bytes(picture)
        print(kind, language, len(picture), flush=True)


def main() -> int:
    for language in languages():
        if not subprocess.run(["fc-list", f":lang={language}"], capture_output=True, check=True).stdout:
            sys.exit(f"No font has the characters of {language}: its pictures would show boxes. Install one.")
    PICTURES.mkdir(exist_ok=True)
    with booted() as host, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        host.post("/settings/Comfy.Minimap.Visible", False)
        host.post("/settings/Comfy.NodeBadge.NodeSourceBadgeMode", "None")
        editor = opened(browser, host, "help", False)
        for language in languages():
            make(editor, language)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
