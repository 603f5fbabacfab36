"""Makes the templates and blueprints out of `template_specs.py`: built, run and exported by the real page.

Start a host with this pack, then: python tests/browser/make_templates.py http://127.0.0.1:8188 FOLDER_OF_THE_HOST
"""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps
from playwright.sync_api import sync_playwright
from slimfusion import __version__
from slimfusion.bench.host_driver import Host

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ARGUMENTS
from editor import ROOT, Editor, opened
from template_specs import BLUEPRINTS, TEMPLATES, Template

THUMBNAIL = 400
HOST_VERSION = "0.3.75"  # of the oldest ComfyUI that has all of these nodes
ROOM = 1.25  # Nodes 2.0 draws nodes up to a fifth larger than the canvas
SOURCES = {"LoadImage": "image", "LoadVideo": "file"}  # what loads what a template starts from, and its widget for it
# Builds the graph as a user would, node by node, and returns the ids by key.
BUILD = """spec => {
  app.clean();  // else nodes show what others of their ids have shown
  app.graph.clear();
  const ids = {};
  for (const [key, { type, values, title, models, width, height }] of Object.entries(spec.nodes)) {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    if (title) node.title = title;
    for (const [name, value] of Object.entries(values)) {
      const widget = node.widgets.find(each => each.name === name);
      if (!widget) throw new Error(`${type} has no ${name}`);
      widget.value = value;
      widget.callback?.(value, app.canvas, node);
    }
    if (models.length) node.properties.models = models;
    node.setSize([width, Math.max(height, node.computeSize()[1])]);
    ids[key] = node.id;
  }
  for (const link of spec.links) {
    const [[from, output], [to, input]] = link.split(" > ").map(end => end.split("."));
    const [source, target] = [app.graph.getNodeById(ids[from]), app.graph.getNodeById(ids[to])];
    const slots = [source.outputs.findIndex(s => s.name === output), target.inputs.findIndex(s => s.name === input)];
    if (slots.includes(-1)) throw new Error(`no ${link}`);
    source.connect(slots[0], target, slots[1]);
  }
  return ids;
}"""
# Puts the nodes into columns, with the room that they have taken once everything was drawn.
LAY_OUT = """({ columns, ids, room }) => {
  let x = 40;
  for (const column of columns) {
    let [y, widest] = [80, 0];
    for (const key of column) {
      const node = app.graph.getNodeById(ids[key]);
      const [width, height] = node.size;
      node.pos = [x, y];
      widest = Math.max(widest, width);
      y += height * room + 60;
    }
    x += widest * room + 50;
  }
}"""
EXPORT = """() => { app.graph.setDirtyCanvas?.(true, true); return app.graph.serialize(); }"""
SUBGRAPH = """({ ids, name }) => {
  const items = new Set(ids.map(id => app.graph.getNodeById(id)));
  const { subgraph, node } = app.graph.convertToSubgraph(items);
  subgraph.name = name;
  node.title = name;
  for (const other of [...app.graph.nodes]) if (other !== node) app.graph.remove(other);
  node.pos = [0, 0];
  return app.graph.serialize();
}"""


def spec_of(template: Template) -> dict:
    nodes = {
        key: {
            "type": node.type,
            "values": node.values,
            "title": node.title,
            "models": list(node.models),
            "width": node.width,
            "height": node.height,
        }
        for key, node in template.nodes.items()
    }
    words = {"type": "MarkdownNote", "values": {"text": template.note}, "title": template.title}
    note = {**words, "models": [], "width": 360, "height": 200}
    return {"nodes": {"note": note, **nodes}, "links": list(template.links)}


def build(editor: Editor, template: Template) -> dict[str, int]:
    return dict(editor.page.evaluate(BUILD, spec_of(template)))


def without_nothing(value: Any) -> Any:
    """Without keys that hold nothing, which older pages refuse; a link that is not there is null in all of them."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if each is not None or name in ("link", "links")}
        return {name: without_nothing(each) for name, each in kept.items()}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value


def cleaned(workflow: dict) -> dict:
    """Without what belongs to the page that made it, such as where it had scrolled to."""
    workflow = without_nothing(workflow)
    workflow["extra"] = {}
    for node in workflow["nodes"]:
        node["size"] = [round(side) for side in node["size"]]
        node["pos"] = [round(side) for side in node["pos"]]
        ours = node["type"].startswith("SlimFusion")
        pack = {"cnr_id": "slimfusion", "ver": __version__} if ours else {"cnr_id": "comfy-core", "ver": HOST_VERSION}
        node["properties"] |= pack if node["type"] != "MarkdownNote" else {}
    return workflow


def picture_in(content: bytes) -> Image.Image:
    """A picture, or the first frame of a clip."""
    if content[4:8] == b"ftyp":  # what an MP4 begins with
        with av.open(io.BytesIO(content)) as clip:
            return next(clip.decode(video=0)).to_image()
    return Image.open(io.BytesIO(content)).convert("RGB")


def scaled(picture: Image.Image, box: tuple[int, int, int, int], width: int = 512) -> Image.Image:
    """A box of a picture as if that were `width` px wide, as a square thumbnail."""
    factor = picture.width / width
    return picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, tuple(side * factor for side in box))


def whole(picture: Image.Image) -> Image.Image:
    """All of a picture on a dark square."""
    result = Image.new("RGB", (THUMBNAIL, THUMBNAIL), (24, 26, 30))
    fitted = ImageOps.contain(picture, (THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    result.paste(fitted, ((THUMBNAIL - fitted.width) // 2, (THUMBNAIL - fitted.height) // 2))
    return result


def halves(left: Image.Image, right: Image.Image) -> Image.Image:
    """The halves of two thumbnails: the browser offers no slider for a pack's templates."""
    half, result = THUMBNAIL // 2, left.copy()
    result.paste(right.crop((half, 0, THUMBNAIL, THUMBNAIL)), (half, 0))
    ImageDraw.Draw(result).line((half, 0, half, THUMBNAIL), fill="white", width=3)
    return result


def face_of(picture: Image.Image) -> Image.Image:
    """The upper middle of a portrait, where its face is."""
    side = picture.width * 2 // 5
    left, top = (picture.width - side) // 2, picture.height // 16
    return picture.crop((left, top, left + side, top + side)).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def numbered(picture: Image.Image) -> Image.Image:
    """With the number of the first track in a corner, as Scan Video has it under the picture."""
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((16, 16, 80, 80), 14, fill=(79, 209, 127))
    draw.text((48, 48), "0", fill=(6, 33, 15), anchor="mm", font=ImageFont.load_default(46))
    return picture


def pictures_of(output: dict) -> list[dict]:
    """What a node has shown: its pictures, or those of the people in a clip as one."""
    people = [json.loads(shown)["picture"] for shown in output.get("slimfusion_people", [])]
    return [*output.get("images", []), *people][:1]


def thumbnail(template: Template, sources: list[Image.Image], shown: dict[str, Image.Image]) -> Image.Image:
    """shown: the pictures that nodes have shown in the run, by key; none where the template was not run."""
    way, box = template.shows
    if way == "split":
        small = sources[0].resize((64, 64)).resize(sources[0].size, Image.Resampling.NEAREST)  # an upscaler's input
        return halves(scaled(sources[0] if shown else small, box), scaled(shown.get("save", sources[0]), box))
    if way == "pair":
        half, result = THUMBNAIL // 2, Image.new("RGB", (THUMBNAIL, THUMBNAIL))
        for index, each in enumerate((scaled(sources[0], box), face_of(sources[1]))):
            result.paste(each.crop((half // 2, 0, half // 2 + half, THUMBNAIL)), (index * half, 0))
        return result
    if way == "people":
        return numbered(whole(shown["scan"]))
    key = {"boxes": "detect", "report": "report", "whole": "save"}[way]
    return whole(shown.get(key, sources[0]))


def make(editor: Editor, template: Template) -> None:
    ids = build(editor, template)
    named = [node.values[SOURCES[node.type]] for node in template.nodes.values() if node.type in SOURCES]
    sources = [picture_in((editor.host.base / "input" / name).read_bytes()) for name in named]
    shown: dict[str, Image.Image] = {}
    if not template.needs:
        _, history = editor.queue()
        assert history["status"]["status_str"] == "success", history["status"]
        for key, node in ids.items():
            for picture in pictures_of(history["outputs"].get(str(node), {})):
                shown[key] = picture_in(editor.host.view(picture))
    editor.page.wait_for_timeout(800)
    columns = [("note", *template.columns[0]), *template.columns[1:]]
    editor.page.evaluate(LAY_OUT, {"columns": columns, "ids": ids, "room": ROOM})
    folder = ROOT / "examples"
    workflow = cleaned(editor.page.evaluate(EXPORT))
    text = json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"
    (folder / f"{template.title}.json").write_text(text, encoding="utf-8")
    thumbnail(template, sources, shown).save(folder / f"{template.title}.jpg", quality=85)
    print(template.title, flush=True)


def make_blueprint(editor: Editor, name: str, template: Template, keys: tuple[str, ...]) -> None:
    ids = build(editor, template)
    editor.page.evaluate(LAY_OUT, {"columns": template.columns, "ids": ids, "room": ROOM})
    workflow = cleaned(editor.page.evaluate(SUBGRAPH, {"ids": [ids[key] for key in keys], "name": name}))
    folder = ROOT / "subgraphs"
    folder.mkdir(exist_ok=True)
    text = json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    print(name, flush=True)


def main() -> int:
    address, base, *titles = sys.argv[1:]
    host = Host(address, Path(base), None, Path(base) / "host.log")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        editor = opened(browser, host, "making", False)
        for template in TEMPLATES:
            if not titles or template.title in titles:
                make(editor, template)
        by_title = {template.title: template for template in TEMPLATES}
        for name, (title, keys) in BLUEPRINTS.items():
            if not titles or name in titles:
                make_blueprint(editor, name, by_title[title], keys)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
