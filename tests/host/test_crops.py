"""Faces around samplers inside the host: nothing between changes nothing, and core's nodes take what comes out."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.host


def lightened(portrait, step):
    """Another picture each time, so that no result can come from the host's cache."""
    return np.minimum(portrait + np.float32(step / 255), np.float32(1))


def around(lab, pixels, between=None, **settings):
    """A prompt that crops, does something, pastes and writes what comes out."""
    prompt = {
        "in": lab.node("ProbeIn", file=lab.put("faces", pixels)),
        "cut": lab.node("SlimFusionCropFaces", image=["in", 0], size=256, **settings),
        "paste": lab.node(
            "SlimFusionPasteFaces", image=["in", 0], crops=["between" if between else "cut", 0], geometry=["cut", 2]
        ),
        "report": lab.node("SlimFusionMemoryReport", report=["paste", 2]),
    }
    for name, (node, output) in {
        "crops": ("cut", 0), "masks": ("cut", 1), "image": ("paste", 0), "mask": ("paste", 1),
    }.items():  # fmt: skip
        prompt[name] = lab.node("ProbeOut", file=name, value=[node, output])
    return prompt | ({"between": between} if between else {})


def told(run, node):
    """A node's report, of several in the prompt."""
    return json.loads(run.outputs[node]["slimfusion_report"][0])


def test_nothing_between_changes_nothing(lab, portrait):
    frames = np.concatenate([lightened(portrait, 1), np.full_like(portrait, 0.5), lightened(portrait, 2)])
    run = lab.run(around(lab, frames))
    assert lab.got("crops").shape == (2, 256, 256, 3) and lab.got("masks").shape == (2, 256, 256)
    np.testing.assert_array_equal(lab.got("image").view(np.uint32), frames.view(np.uint32))
    assert [bool(mask.any()) for mask in lab.got("mask")] == [True, False, True]
    for node in ("cut", "paste"):
        report = told(run, node)
        assert (report["faces"], report["frames"]) == (2, 3) and 0 < report["predicted_peak"] < report["allowed"]


def test_core_nodes_stand_between(lab, portrait):
    """An upscaler's place taken by core's ImageScale and ImageInvert: what comes back is of another size."""
    pixels = lightened(portrait, 3)
    scale = {"upscale_method": "bicubic", "width": 512, "height": 512, "crop": "disabled"}
    prompt = around(lab, pixels, lab.node("ImageInvert", image=["scale", 0]), faces=["faces", 0])
    prompt["scale"] = lab.node("ImageScale", image=["cut", 0], **scale)
    prompt["faces"] = lab.node("SlimFusionDetectFaces", image=["in", 0])
    lab.run(prompt)
    image, mask = lab.got("image"), lab.got("mask")
    np.testing.assert_array_equal(image[mask == 0], pixels[mask == 0])
    inner = mask > 0.999
    assert inner.sum() > 500 and abs(image[inner].mean() - (1 - pixels[inner].mean())) < 0.05


def test_set_latent_noise_mask_takes_the_masks_as_they_are(lab, portrait):
    prompt = around(lab, np.concatenate([lightened(portrait, 4), lightened(portrait, 5)]))
    prompt["latent"] = lab.node("EmptyLatentImage", width=256, height=256, batch_size=2)
    prompt["noise"] = lab.node("SetLatentNoiseMask", samples=["latent", 0], mask=["cut", 1])
    prompt["out"] = lab.node("ProbeOut", file="latent", value=["noise", 0])
    run = lab.run(prompt)
    (latent,) = run.outputs["out"]["probe"]
    assert "noise_mask" in latent
    masks = lab.got("masks")
    assert masks.min() == 0 and masks.max() == 1 and masks.dtype == np.float32


def test_no_face_and_another_number_of_pictures_are_no_crash(lab, portrait):
    blank = np.full((1, 64, 64, 3), 0.25, np.float32)
    lab.run(around(lab, blank))
    np.testing.assert_array_equal(lab.got("image"), blank)
    prompt = around(lab, lightened(portrait, 6), lab.node("RepeatImageBatch", image=["cut", 0], amount=3))
    run = lab.run(prompt)
    assert "not used: 2" in "\n".join(told(run, "paste")["notes"])


def test_after_free_both_work_again_and_hold_nothing(lab, portrait):
    prompt = around(lab, lightened(portrait, 7))
    lab.run(prompt)
    first = lab.got("crops")
    lab.free()
    assert lab.loaded()["sessions"] == []
    prompt["cut"]["inputs"]["feather"] = 0.2
    lab.run(prompt)
    np.testing.assert_array_equal(lab.got("crops"), first)


def test_an_unchanged_prompt_gives_the_same_crops(lab, portrait):
    prompt = around(lab, lightened(portrait, 8), upright=False, square="ffhq")
    lab.run(prompt)
    first = lab.got("crops"), lab.got("masks")
    lab.run(prompt)
    for before, name in zip(first, ("crops", "masks"), strict=True):
        np.testing.assert_array_equal(lab.got(name), before)


def test_geometry_of_another_image_is_a_sentence(lab, portrait):
    prompt = around(lab, lightened(portrait, 9))
    prompt["other"] = lab.node("ProbeIn", file=lab.put("other", portrait[:, :300]))
    prompt["paste"]["inputs"]["image"] = ["other", 0]
    assert "FacesError" in (error := lab.failed(prompt)) and "at any scale" in error
