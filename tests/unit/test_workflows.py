"""The converter from saved workflows to prompts, on the traps of the saved form."""

import pytest
from slimfusion.bench.workflows import WorkflowError, ui_to_api

INFO = {
    "LoadImage": {
        "input": {"required": {"image": [["a.png", "b.png"], {"image_upload": True}]}},
        "input_order": {"required": ["image"]},
    },
    "Sampler": {
        "input": {
            "required": {
                "image": ["IMAGE"],
                "seed": ["INT", {"control_after_generate": True}],
                "strength": ["FLOAT", {"default": 1.0}],
            },
            "optional": {
                "text": ["STRING", {"forceInput": True}],
                "mode": ["COMBO", {"options": ["x", "y"]}],
            },
        },
        "input_order": {"required": ["image", "seed", "strength"], "optional": ["text", "mode"]},
    },
}


def node(node_id, kind, inputs=(), values=(), mode=0):
    return {"id": node_id, "type": kind, "inputs": list(inputs), "widgets_values": list(values), "mode": mode}


def test_values_follow_the_schema_and_skip_the_pages_own_widgets():
    workflow = {
        "nodes": [
            node(1, "LoadImage", values=["b.png", "image"]),
            node(
                2,
                "Sampler",
                inputs=[{"name": "image", "link": 5}, {"name": "text", "link": None}],
                values=[7, "randomize", 0.5, "y"],
            ),
            node(3, "Note", values=["read me"]),
        ],
        "links": [[5, 1, 0, 2, 0, "IMAGE"]],
    }
    assert ui_to_api(workflow, INFO) == {
        "1": {"class_type": "LoadImage", "inputs": {"image": "b.png"}},
        "2": {
            "class_type": "Sampler",
            "inputs": {"image": ["1", 0], "seed": 7, "strength": 0.5, "mode": "y"},
        },
    }


def test_a_link_into_a_widget_wins_over_its_saved_value():
    workflow = {
        "nodes": [
            node(1, "LoadImage", values=["a.png", "image"]),
            node(
                2,
                "Sampler",
                [{"name": "strength", "link": 9, "widget": {"name": "strength"}}],
                [1, "fixed", 0.2],
            ),
        ],
        "links": [[9, 1, 1, 2, 0, "FLOAT"]],
    }
    inputs = ui_to_api(workflow, INFO)["2"]["inputs"]
    assert inputs["strength"] == ["1", 1]
    assert "mode" not in inputs


def test_reroutes_are_followed_to_the_source():
    workflow = {
        "nodes": [
            node(1, "LoadImage", values=["a.png", "image"]),
            node(2, "Reroute", [{"name": "", "link": 1}]),
            node(3, "Reroute", [{"name": "", "link": 2}]),
            node(4, "Sampler", [{"name": "image", "link": 3}], [1, "fixed", 1.0]),
        ],
        "links": [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 3, 0, "*"], [3, 3, 0, 4, 0, "*"]],
    }
    assert ui_to_api(workflow, INFO)["4"]["inputs"]["image"] == ["1", 0]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (node(1, "Unknown"), "Unknown, which this server does not have"),
        (node(1, "LoadImage", values=["a.png", "image"], mode=4), "muted or bypassed"),
    ],
)
def test_what_only_the_page_can_resolve_is_refused(broken, sentence):
    with pytest.raises(WorkflowError, match=sentence):
        ui_to_api({"nodes": [broken], "links": []}, INFO)
