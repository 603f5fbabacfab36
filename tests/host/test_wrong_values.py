"""Wrong values for every widget, sent by the API: the host's answer, success, or one sentence of ours."""

import json

import pytest
from slimfusion.bench.host_driver import HostError

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]

# json writes the first two as NaN and Infinity, which the host reads.
NUMBERS = (float("nan"), float("inf"), -1, 1e300, 1 << 70, "x", None, [], {})
WORDS = ("", "x", "../../outside", "\ud800", "9" * 5000, 7, None, [], {})
WIDGETS = {"INT": NUMBERS, "FLOAT": NUMBERS, "BOOLEAN": ("x", 2, None, []), "STRING": WORDS, "COMBO": WORDS}

OURS = ("ImageError", "SettingError", "FacesError", "ModelFileError", "BudgetError", "DependencyError", "OutputError")
# Nodes that another node's result goes into, and from where.
SOCKETS = {
    "IMAGE": ["in", 0],
    "MASK": ["in", 1],
    "SLIMFUSION_MODEL": ["model", 0],
    "SLIMFUSION_FACES": ["faces", 0],
}


def widgets(info, node: str) -> dict:
    """The wrong values for each widget of a node."""
    inputs = info[node]["input"]
    kinds = {name: kind for part in ("required", "optional") for name, (kind, *_) in inputs.get(part, {}).items()}
    named = {name: "COMBO" if isinstance(kind, list) else kind for name, kind in kinds.items()}
    return {name: WIDGETS[kind] for name, kind in named.items() if kind in WIDGETS}


def prompt_for(lab, node: str, file: str):
    """A node with all that it needs, and one that asks for its result; None where an identity is needed."""
    prompt = {
        "in": lab.node("ProbeIn", file=file),
        "model": lab.node("SlimFusionLoadModel"),
        "faces": lab.node("SlimFusionDetectFaces", image=["in", 0]),
        "node": lab.node(node),
        "out": lab.node("ProbeOut", file="wrong", value=["node", 0]),
    }
    for name, (kind, *_) in lab.info[node]["input"].get("required", {}).items():
        if name in prompt["node"]["inputs"]:
            continue
        kinds = [kind] if isinstance(kind, str) else []
        socket = next((SOCKETS[part] for part in ",".join(kinds).split(",") if part in SOCKETS), None)
        if socket is None:
            return None
        prompt["node"]["inputs"][name] = socket
    return prompt


def test_wrong_values_of_widgets_end_in_a_sentence(lab, portrait):
    file = lab.put("small", portrait[:, :128, 160:288])
    raw, tried = [], 0
    for node in sorted(name for name in lab.info if name.startswith("SlimFusion")):
        prompt = prompt_for(lab, node, file)
        if prompt is None:
            continue
        for name, values in widgets(lab.info, node).items():
            for value in values:
                tried += 1
                wrong = json.loads(json.dumps(prompt))
                wrong["node"]["inputs"][name] = value
                try:
                    run = lab.host.run(wrong)
                except HostError as refused:
                    assert "answered with 400" in str(refused), f"{node}.{name}={value!r}: {refused}"
                    continue
                if run.ending != "execution_success" and not run.error.startswith(OURS):
                    raw.append(f"{node}.{name}={value!r:.60}: {run.error[:200]}")
    assert raw == []
    assert tried > 200
    lab.run(prompt_for(lab, "SlimFusionRestoreFaces", file))
