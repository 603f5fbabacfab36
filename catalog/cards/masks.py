"""Networks that say of each pixel of a crop what it is: face or not, or which part of it."""

from __future__ import annotations

from ..card import IMAGENET_MEAN, IMAGENET_STD, ModelCard, Port, picture_port
from ..licences import GPL, MIT

MASKS = (
    ModelCard(
        "xseg",
        "mask",
        (Port("input", (256, 256, 3)),),
        (Port("output", (256, 256, 1)),),
        GPL,
        size=256,
        colour="BGR",
        layout="NHWC",
    ),
    ModelCard("dfl_xseg", "mask", (picture_port(256, "in_face:0"),), (picture_port(256, "out_mask:0", 1),), size=256),
    # Above 0 is face: signed, unlike the mask that goes from 0 to 1.
    ModelCard(
        "occluder", "mask", (picture_port(256, "img"),), (picture_port(256, "output", 1),), size=256, signed=True
    ),
)

PARSERS = (
    ModelCard(
        "bisenet",
        "parser",
        (picture_port(512),),
        (picture_port(512, "output", 19),),
        MIT,
        size=512,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        extra_outputs=True,
    ),
)
