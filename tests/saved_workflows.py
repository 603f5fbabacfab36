"""Workflows that users saved with the first release, and how the nodes were then. Nothing in here is ever changed."""

import json
from pathlib import Path

SAVED = sorted((Path(__file__).parent / "workflows").glob("*.json"))

# Saved values have no names: they are told by their order.
WIDGETS = {
    "SlimFusionMemoryGuard": ["mode", "budget_gib", "on_low_memory", "keep_loaded"],
    "SlimFusionLoadModel": ["model", "engine", "precision", "commercial_only"],
    "SlimFusionDetectFaces": [
        *("detector", "score", "max_faces", "min_face", "max_face", "turned", "tiled", "commercial_only"),
    ],
    "SlimFusionRestoreFaces": ["strength", "fidelity", "tile", "overlap", "turned", "min_face"],
    "SlimFusionRestoreImage": ["tile", "overlap", "fidelity"],
    "SlimFusionMemoryReport": [],
    "SlimFusionReleaseModels": [],
    "SlimFusionDoctor": ["hash_models"],
    "SlimFusionSelectFaces": [
        *("numbers", "order", "count", "score", "gender", "youngest", "oldest", "likeness", "if_none"),
        "commercial_only",
    ],
    "SlimFusionFaceMask": [
        *("feather", "top_margin", "right_margin", "bottom_margin", "left_margin", "areas", "regions", "occlusion"),
        "commercial_only",
    ],
    "SlimFusionIdentity": ["name", "combine", "commercial_only", "turned", "min_face"],
    "SlimFusionSaveIdentity": ["name", "overwrite"],
    "SlimFusionLoadIdentity": ["name"],
    "SlimFusionBlendIdentities": ["name", "weight_1", "weight_2", "weight_3", "weight_4"],
    "SlimFusionLikeness": [],
    "SlimFusionSwapFaces": [
        *("strength", "colour", "shape", "texture", "boost", "people", "provenance", "commercial_only"),
        *("turned", "min_face"),
    ],
}
SOCKETS = {
    "SlimFusionMemoryGuard": set(),
    "SlimFusionLoadModel": {"budget"},
    "SlimFusionDetectFaces": {"image", "bboxes", "landmarks", "budget"},
    "SlimFusionRestoreFaces": {"image", "model", "faces", "mask", "budget"},
    "SlimFusionRestoreImage": {"image", "model", "budget"},
    "SlimFusionMemoryReport": {"report"},
    "SlimFusionReleaseModels": {"anything"},
    "SlimFusionDoctor": set(),
    "SlimFusionSelectFaces": {"faces", "image", "identity", "budget"},
    "SlimFusionFaceMask": {"faces", "image", "mask", "budget"},
    "SlimFusionIdentity": {"image", "faces", "budget"},
    "SlimFusionSaveIdentity": {"identity"},
    "SlimFusionLoadIdentity": set(),
    "SlimFusionBlendIdentities": {"identity_1", "identity_2", "identity_3", "identity_4"},
    "SlimFusionLikeness": {"identity_1", "identity_2"},
    "SlimFusionSwapFaces": {
        *("image", "faces", "identity", "source_image", "source_faces", "model", "mask", "budget"),
        *("identity_b", "identity_c", "identity_d"),
    },
}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def links_into(workflow: dict, node: dict) -> dict[str, list]:
    """Names of connected inputs to the node and output that they are connected to."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    return {entry["name"]: links[entry["link"]] for entry in node.get("inputs", []) if entry.get("link") is not None}


def meant(workflow: dict) -> dict[str, dict]:
    """What each of our nodes was set to, and connected to, when the workflow was saved: node id to inputs."""
    ours = [node for node in workflow["nodes"] if node["type"] in WIDGETS]
    values = {str(node["id"]): dict(zip(WIDGETS[node["type"]], node["widgets_values"], strict=False)) for node in ours}
    return {str(node["id"]): values[str(node["id"])] | links_into(workflow, node) for node in ours}
