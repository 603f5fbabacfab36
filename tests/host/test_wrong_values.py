"""Wrong values for every widget, sent by the API: the host's answer, success, or one sentence of ours.

After each of them another prompt must still be run: a sentence that cannot be logged had once ended the host's worker.
"""

import json

import numpy as np
import pytest
from slimfusion.bench.host_driver import HostError
from slimfusion.faces.identity.identity import DIMENSION, Identity, identity_path, save_identity

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]

# json writes the first two as NaN and Infinity, which the host reads.
NUMBERS = (float("nan"), float("inf"), -1, 1e300, 1 << 70, "x", None, [], {})
WORDS = ("", "x", "../../outside", "\ud800", "9" * 5000, 7, None, [], {})
WIDGETS = {"INT": NUMBERS, "FLOAT": NUMBERS, "BOOLEAN": ("x", 2, None, []), "STRING": WORDS, "COMBO": WORDS}

OURS = ("ImageError", "SettingError", "FacesError", "ModelFileError", "BudgetError", "DependencyError", "OutputError")
# What is connected to an input of a kind, and to inputs that a node does nothing without.
SOCKETS = {
    "IMAGE": ["in", 0],
    "MASK": ["in", 1],
    "*": ["in", 0],
    "SLIMFUSION_MODEL": ["model", 0],
    "SLIMFUSION_FACES": ["faces", 0],
    "SLIMFUSION_IDENTITY": ["who", 0],
    "SLIMFUSION_REPORT": ["restored", 2],
    "SLIMFUSION_STEPS": ["step", 0],
    "SLIMFUSION_CROPS": ["cropped", 2],
    "VIDEO": ["clip", 0],
}
FIRST_FRAME = {"unit": "frames", "stop": 1.0}
ALSO = {
    "SlimFusionSwapFaces": {"source_image": ["in", 0]},
    "SlimFusionFaceMask": {"faces": ["faces", 0]},
    "SlimFusionSaveIdentity": {"overwrite": True},
    "SlimFusionProcessVideo": FIRST_FRAME,
    "SlimFusionScanVideo": FIRST_FRAME,
    "SlimFusionSwapStep": {"source_image": ["in", 0]},
}
KNOWN = "known"
SILENT_SECONDS = 60.0


def widgets(info, node: str) -> dict:
    """The wrong values for each widget of a node."""
    inputs = info[node]["input"]
    kinds = {name: kind for part in ("required", "optional") for name, (kind, *_) in inputs.get(part, {}).items()}
    named = {name: "COMBO" if isinstance(kind, list) else kind for name, kind in kinds.items()}
    return {name: WIDGETS[kind] for name, kind in named.items() if kind in WIDGETS}


def prompt_for(lab, node: str, file: str) -> dict:
    """A node with all that it needs, and one that asks for its result."""
    prompt = {
        "in": lab.node("ProbeIn", file=file),
        "model": lab.node("SlimFusionLoadModel"),
        "faces": lab.node("SlimFusionDetectFaces", image=["in", 0]),
        "who": lab.node("SlimFusionLoadIdentity", name=KNOWN),
        "restored": lab.node("SlimFusionRestoreFaces", image=["in", 0], model=["model", 0]),
        "cropped": lab.node("SlimFusionCropFaces", image=["in", 0]),
        "step": lab.node("SlimFusionRestoreStep", model=["model", 0]),
        "clip": lab.node("LoadVideo", file="slimfusion_clip.mp4"),
        "node": lab.node(node, **ALSO.get(node, {})),
        "out": lab.node("ProbeOut", file="wrong", value=["node", 0]),
    }
    if node == "SlimFusionLoadIdentity":
        prompt["node"] = prompt["who"]
    for name, (kind, *_) in lab.info[node]["input"].get("required", {}).items():
        if name not in prompt["node"]["inputs"]:
            prompt["node"]["inputs"][name] = next(SOCKETS[part] for part in kind.split(",") if part in SOCKETS)
    return prompt


def check_alive(lab, after: str) -> None:
    """Runs a prompt that needs no network."""
    guard = {"guard": lab.node("SlimFusionMemoryGuard")}
    run = lab.host.run(guard | {"out": lab.node("ProbeOut", file="good", value=["guard", 0])}, SILENT_SECONDS)
    assert run.ending == "execution_success", f"after {after}: {run.error}"


@pytest.fixture
def file(lab, portrait) -> str:
    folder = lab.host.base / "models" / "reactor" / "faces"
    folder.mkdir(parents=True, exist_ok=True)
    save_identity(Identity(KNOWN, np.ones(DIMENSION, np.float32)), identity_path(KNOWN, folder), overwrite=True)
    return lab.put("small", portrait[:, 40:200, 144:304])


def nodes(lab) -> list[str]:
    return sorted(name for name in lab.info if name.startswith("SlimFusion"))


def test_every_node_does_its_work_with_good_values(lab, file):
    """Else wrong values would be met by an error that comes before them."""
    for node in nodes(lab):
        run = lab.host.run(prompt_for(lab, node, file))
        assert run.ending == "execution_success", f"{node}: {run.error}"


def test_wrong_values_of_widgets_end_in_a_sentence(lab, file):
    raw, tried = [], 0
    for node in nodes(lab):
        for name, values in widgets(lab.info, node).items():
            for value in values:
                tried += 1
                wrong = json.loads(json.dumps(prompt_for(lab, node, file)))
                wrong["node"]["inputs"][name] = value
                what = f"{node}.{name}={value!r:.60}"
                try:
                    run = lab.host.run(wrong)
                except HostError as refused:
                    assert "answered with 400" in str(refused), f"{what}: {refused}"
                else:
                    if run.ending != "execution_success" and not run.error.startswith(OURS):
                        raw.append(f"{what}: {run.error[:200]}")
                check_alive(lab, what)
    assert raw == []
    assert tried > 300
