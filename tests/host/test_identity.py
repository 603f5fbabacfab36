"""People inside the host without any file of the user's: known again, watched and kept while faces are worked on."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.host


def lightened(portrait, step):
    """Another picture each time, so that no result can come from the host's cache."""
    return np.minimum(portrait + np.float32(step / 255), np.float32(1))


def told(run, node):
    """A node's report, of several in the prompt."""
    return json.loads(run.outputs[node]["slimfusion_report"][0])


def test_somebody_is_known_again_without_a_file(lab, portrait):
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("her", lightened(portrait, 1))),
        "faces": lab.node("SlimFusionDetectFaces", image=["in", 0]),
        "make": lab.node("SlimFusionIdentity", image=["in", 0], name="Eileen"),
        "other": lab.node("SlimFusionIdentity", image=["mirrored", 0], name="Mirrored"),
        "mirrored": lab.node("ProbeIn", file=lab.put("mirrored", portrait[:, :, ::-1])),
        "alike": lab.node("SlimFusionLikeness", identity_1=["make", 0], identity_2=["other", 0]),
        "select": lab.node(
            "SlimFusionSelectFaces", faces=["faces", 0], image=["in", 0], identity=["make", 0], if_none="stop"
        ),
        "mask": lab.node("SlimFusionFaceMask", faces=["select", 0]),
        "out": lab.node("ProbeOut", file="mask", value=["mask", 0]),
    }
    run = lab.run(prompt)
    assert lab.got("mask").max() == 1
    assert json.loads(run.outputs["make"]["slimfusion_line"][0])["what"] == "identityNoSwap"
    assert json.loads(run.outputs["alike"]["slimfusion_line"][0])["value"] > 0.5


def test_a_restored_face_is_watched_and_kept(lab, portrait):
    prompt = lab.restoring(lab.put("watched", lightened(portrait, 2)), keep_identity="strong", identity=["make", 0])
    prompt["make"] = lab.node("SlimFusionIdentity", image=["in", 0])
    (row,) = told(lab.run(prompt), "restore")["likeness"]
    assert set(row["itself"]) == set(row["person"]) == {"restored", "pasted"}
    assert row["person"]["pasted"] > 0.9 and 0 <= row["held_back"] <= 1
    free = lab.restoring(lab.put("free", lightened(portrait, 3)))
    (row,) = told(lab.run(free), "restore")["likeness"]
    assert row["held_back"] == 0 and row["person"] == {} and 0.5 < row["itself"]["pasted"] <= 1


def test_a_blended_face_is_told_beside_the_new_person(lab, portrait):
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("frame", lightened(portrait, 4))),
        "source": lab.node("ProbeIn", file=lab.put("source", lightened(portrait[:, :, ::-1], 5))),
        "swap": lab.node("SlimFusionSwapFaces", image=["in", 0], source_image=["source", 0], keep_identity="auto"),
        "out": lab.node("ProbeOut", file="image", value=["swap", 0]),
    }
    (row,) = told(lab.run(prompt), "swap")["likeness"]
    assert set(row["itself"]) == set(row["person"]) == {"pasted"} and row["person"]["pasted"] > 0.3
