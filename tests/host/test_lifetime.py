"""Loading, keeping and letting go, under each of the host's caches."""

import numpy as np
import pytest
from slimfusion.engines.memory.factors import Factors

pytestmark = pytest.mark.host


def lightened(portrait: np.ndarray, step: int) -> np.ndarray:
    """Another picture each time, so that no result can come from the host's cache."""
    return np.minimum(portrait + np.float32(step / 255), np.float32(1))


def test_a_second_run_loads_no_model_again(lab, portrait):
    lab.run(lab.restoring(lab.put("a", lightened(portrait, 1))))
    opened = lab.loaded()["opened"]
    again = lab.run(lab.restoring(lab.put("b", lightened(portrait, 2))))
    assert again.report["sessions_built"] == 0
    assert lab.loaded()["opened"] == opened


def test_an_unchanged_prompt_gives_the_same_picture(lab, portrait):
    prompt = lab.restoring(lab.put("a", lightened(portrait, 1)))
    lab.run(prompt)
    first = lab.got("image")
    lab.run(prompt)
    np.testing.assert_array_equal(lab.got("image"), first)


def test_after_free_nothing_is_held_and_the_next_run_works(lab, portrait):
    prompt = lab.restoring(lab.put("a", lightened(portrait, 1)))
    lab.run(prompt)
    first = lab.got("image")
    assert lab.loaded()["sessions"] and lab.loaded()["host"]
    lab.free()
    run = lab.run(prompt)
    assert run.report["sessions_built"] == 2  # the detector and the restorer
    np.testing.assert_array_equal(lab.got("image"), first)


def test_a_model_that_is_not_to_be_kept_is_gone_after_the_run(lab, portrait):
    lab.free()
    prompt = lab.restoring(lab.put("c", lightened(portrait, 3)), budget=["guard", 0])
    prompt["guard"] = lab.node("SlimFusionMemoryGuard", keep_loaded=False)
    lab.run(prompt)
    assert lab.loaded()["sessions"] == []


def test_the_release_node_gives_everything_back(lab, portrait):
    prompt = lab.restoring(lab.put("d", lightened(portrait, 4)))
    prompt["release"] = lab.node("SlimFusionReleaseModels", anything=["restore", 0])
    run = lab.run(prompt)
    assert run.outputs["release"]["text"][0].startswith("released ")
    held = lab.loaded()
    assert held["sessions"] == held["host"] == []


def test_the_release_node_forgets_what_was_measured_on_request(lab, portrait):
    """Without the input nothing is forgotten: old workflows do not name it."""
    folder = lab.host.base / "user" / "__slimfusion"
    folder.mkdir(exist_ok=True)
    Factors().measured("net", 1.7, folder)
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("d", portrait)),
        "release": lab.node("SlimFusionReleaseModels", anything=["in", 0]),
    }
    assert "forgot" not in lab.run(prompt).outputs["release"]["text"][0]
    assert Factors().value("net", 1.15, folder) == pytest.approx(1.7, abs=0.01)
    prompt["release"]["inputs"]["forget_measurements"] = True
    assert ", forgot " in lab.run(prompt).outputs["release"]["text"][0]
    assert Factors().value("net", 1.15, folder) == 1.15


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_an_interrupt_stops_within_a_forward_pass_and_leaves_nothing_new(lab, portrait, warm):
    lab.free()
    if warm:
        lab.run(lab.restoring(lab.put("a", lightened(portrait, 1))))
    before = lab.loaded()
    frames = np.random.default_rng(5).random((4, 768, 768, 3), dtype=np.float32)
    prompt = lab.restoring(lab.put("large", frames), "SlimFusionRestoreImage", tile=256)
    steps = []
    with lab.host.started(prompt) as (prompt_id, events):
        seen = []
        for event in events:
            seen.append(event)
            if event["type"] == "progress":
                steps.append(event["data"])
                if len(steps) == 1:
                    lab.host.interrupt()
        run = lab.host.finished(prompt_id, seen)
    assert run.ending == "execution_interrupted"
    assert steps[-1]["value"] < steps[-1]["max"] / 2
    after = lab.loaded()
    assert (after["host"], after["sessions"]) == (before["host"], before["sessions"])
