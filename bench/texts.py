"""The texts of all nodes in every language: writes the English ones, and counts what the others lack.

ComfyUI serves `locales/LANGUAGE/*.json` to its page. English comes from the nodes' schemas, as a running ComfyUI
gives them: `python dev.py bench texts` writes `locales/en/nodeDefs.json` anew. The other languages are written by
people. Its last line is JSON: how many texts there are, and for each other language what is missing and what is stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .host_driver import PACK, booted

Json = dict[str, Any]

LOCALES = PACK / "locales"
# Inputs whose options are the names of the user's files.
FILES = {"model", "restorer", "name"}


def english_texts(info: Json) -> Json:
    """`nodeDefs.json` for the answer to /object_info."""
    return {name: _node(node) for name, node in sorted(info.items()) if name.startswith("SlimFusion")}


def _node(node: Json) -> Json:
    inputs = {name: spec for group in ("required", "optional") for name, spec in node["input"].get(group, {}).items()}
    outputs = zip(node["output_name"], node["output_tooltips"], strict=True)
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": {name: _input(name, *spec) for name, spec in inputs.items()},
        "outputs": {str(index): {"name": name, "tooltip": tooltip} for index, (name, tooltip) in enumerate(outputs)},
    }


def _input(name: str, kind: Any, settings: Json | None = None) -> Json:
    settings = settings or {}
    options = kind if isinstance(kind, list) else settings.get("options", [])
    texts = {"name": settings.get("display_name", name), "tooltip": settings.get("tooltip", "")}
    words = [] if name in FILES else [option for option in options if not option.isdecimal()]
    return texts | ({"options": {word: word for word in words}} if words else {})


def flat(texts: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its path, such as `SlimFusionDoctor.outputs.0.name`."""
    if isinstance(texts, str):
        yield path, texts
        return
    for key, value in texts.items():
        yield from flat(value, f"{path}.{key}" if path else key)


def read(language: str, file: str) -> Json:
    """One file of a language; {} where there is none."""
    path = LOCALES / language / file
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def languages() -> list[str]:
    return sorted(folder.name for folder in LOCALES.iterdir() if folder.is_dir())


def main() -> int:
    with booted([]) as host:
        english = english_texts(host.get("/object_info"))
    text = json.dumps(english, indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")
    wanted = dict(flat(english)).keys()
    result: Json = {"bench": "texts", "texts": len(wanted)}
    for language in languages():
        there = dict(flat(read(language, "nodeDefs.json"))).keys()
        result[language] = {"missing": sorted(wanted - there), "stale": sorted(there - wanted)}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
