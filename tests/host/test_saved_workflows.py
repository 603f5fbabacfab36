"""Workflows of the first release mean and do the same today."""

import cv2
import numpy as np
import pytest
import saved_workflows as saved
from slimfusion.bench.workflows import is_widget, nodes_of_class, ui_to_api

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]


@pytest.mark.parametrize("node", saved.WIDGETS)
def test_inputs_are_only_ever_appended(lab, node):
    order = [name for group in lab.info[node]["input_order"].values() for name in group]
    specs = {name: spec for group in lab.info[node]["input"].values() for name, spec in group.items()}
    widgets = [name for name in order if is_widget(specs[name])]
    assert widgets[: len(saved.WIDGETS[node])] == saved.WIDGETS[node]
    assert saved.SOCKETS[node] <= set(order) - set(widgets)


@pytest.mark.parametrize("path", saved.SAVED, ids=lambda path: path.stem)
def test_a_saved_workflow_runs_as_it_was_meant(lab, portrait, path):
    png = cv2.imencode(".png", (portrait[0, ..., ::-1] * 255).round().astype(np.uint8))[1].tobytes()
    lab.host.upload("example.png", png)
    workflow = saved.read(path)
    prompt = ui_to_api(workflow, lab.info)
    for node, inputs in saved.meant(workflow).items():
        assert prompt[node]["inputs"] == inputs
    run = lab.run(prompt)
    (saver,) = nodes_of_class(prompt, "SaveImage")
    assert len(run.outputs[saver]["images"]) == 1
