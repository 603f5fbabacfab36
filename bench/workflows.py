"""From the workflow JSON that ComfyUI's page saves to the prompt JSON that its HTTP interface takes.

The page does this in the browser; here the server's own `/object_info` says which inputs are widgets and in
which order their values stand. Only what plain graphs need is done: notes are left out, reroutes followed;
anything else that the page would have to resolve (sub-graphs, muted or bypassed nodes) is refused.
"""

from typing import Any

Json = dict[str, Any]

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR"}
NOTES = {"Note", "MarkdownNote"}


class WorkflowError(Exception):
    """A workflow holds something that this converter does not do."""


def is_widget(spec: list[Any]) -> bool:
    """Whether an input of `/object_info` (`[type or options, settings?]`) is shown as a widget."""
    settings = spec[1] if len(spec) > 1 else {}
    return not settings.get("forceInput") and (isinstance(spec[0], list) or spec[0] in WIDGET_TYPES)


def extra_values(spec: list[Any]) -> int:
    """How many values of the page's own widgets (seed control, upload button) follow an input's value."""
    settings = spec[1] if len(spec) > 1 else {}
    helpers = ("control_after_generate", "image_upload", "video_upload", "audio_upload")
    return sum(bool(settings.get(helper)) for helper in helpers)


def widget_inputs(node: Json, info: Json) -> Json:
    """Names to values, from the saved values in the order of the node's schema."""
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        return dict(saved)
    values: Json = {}
    position = 0
    for group in ("required", "optional"):
        specs = info["input"].get(group, {})
        for name in info["input_order"].get(group, []):
            if is_widget(specs[name]) and position < len(saved):
                values[name] = saved[position]
                position += 1 + extra_values(specs[name])
    return values


def source(workflow: Json, link_id: int) -> list[Any]:
    """The `[node id, output slot]` that a link comes from, with reroutes followed."""
    links = {link[0]: link for link in workflow["links"]}
    nodes = {node["id"]: node for node in workflow["nodes"]}
    while True:
        _, node_id, slot, *_ = links[link_id]
        if nodes[node_id]["type"] != "Reroute":
            return [str(node_id), slot]
        link_id = nodes[node_id]["inputs"][0]["link"]


def ui_to_api(workflow: Json, object_info: Json) -> Json:
    """The prompt of a saved workflow.

    Raises WorkflowError for a node class that the server does not have, and for a node that is muted,
    bypassed or a sub-graph.
    """
    prompt: Json = {}
    for node in workflow["nodes"]:
        kind = node["type"]
        if kind in NOTES or kind == "Reroute":
            continue
        if kind not in object_info:
            raise WorkflowError(f"The workflow uses the node {kind}, which this server does not have.")
        if node.get("mode", 0) != 0:
            raise WorkflowError(f"Node {node['id']} ({kind}) is muted or bypassed, which only the page resolves.")
        inputs = widget_inputs(node, object_info[kind])
        linked = {entry["name"]: entry["link"] for entry in node.get("inputs", []) if entry.get("link") is not None}
        inputs.update({name: source(workflow, link) for name, link in linked.items()})
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


def nodes_of_class(prompt: Json, class_type: str) -> list[str]:
    """Ids of the nodes of one class."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]
