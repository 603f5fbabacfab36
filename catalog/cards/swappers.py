"""Networks that replace one face by another, and the converters that make their identities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..card import HALF, IMAGENET_MEAN, IMAGENET_STD, Identity, ModelCard, Port, picture_port
from ..licences import APACHE, INSIGHTFACE, NON_COMMERCIAL, OPENRAIL, RESEARCH_RAIL, UNSTATED

_MINUS_1_TO_1: dict[str, Any] = {"mean": HALF, "std": HALF, "signed": True}


def _swapper(
    name: str, size: int, template: str, identity: Identity, licence: str = UNSTATED, **more: Any
) -> ModelCard:
    """more: fields that differ from those of most."""
    card = ModelCard(
        name,
        "swapper",
        (picture_port(size, "target"), Port("source", (512,))),
        (picture_port(size, "output"),),
        licence,
        size=size,
        template=template,
        identity=identity,
    )
    return replace(card, **more)


def _converter(name: str) -> ModelCard:
    # `converter` names what is made, so that the three are never taken for one another.
    return ModelCard(name, "converter", (Port("input", (512,)),), (Port("output", (512,)),), OPENRAIL, converter=name)


SWAPPERS = (
    _swapper("inswapper", 128, "arcface_128", "projected unit", INSIGHTFACE, folder="insightface"),
    # FaceFusion's exports were made for e E / |e|; all others, InsightFace's own among them, want that brought to
    # length 1. Only their hash tells them.
    _swapper(
        "inswapper_facefusion",
        128,
        "arcface_128",
        "projected",
        INSIGHTFACE,
        folder="insightface",
        tells_by_shape=False,
    ),
    _swapper(
        "hyperswap",
        256,
        "arcface_128",
        "unit",
        RESEARCH_RAIL,
        outputs=(picture_port(256, "output"), Port("mask", (1, 256, 256))),
        folder="hyperswap",
        **_MINUS_1_TO_1,
    ),
    _swapper(
        "simswap_256",
        256,
        "arcface_112_v1",
        "converted unit",
        NON_COMMERCIAL,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        converter="crossface_simswap",
    ),
    _swapper("simswap_512", 512, "arcface_112_v1", "converted unit", NON_COMMERCIAL, converter="crossface_simswap"),
    _swapper("ghost", 256, "arcface_112_v1", "converted", APACHE, converter="crossface_ghost", **_MINUS_1_TO_1),
    _swapper("hififace", 256, "mtcnn_512", "converted unit", converter="crossface_hififace", **_MINUS_1_TO_1),
    # Trained at 128 px, it sees the same square at 256, whose pixel centres lie half a pixel further in.
    _swapper("reswapper_256", 256, "arcface_128", "projected unit", template_offset=0.5, folder="reswapper"),
    _swapper("alphaface", 256, "arcface_128", "raw", NON_COMMERCIAL),
    _swapper(
        "uniface",
        256,
        "ffhq_512",
        "picture",
        inputs=(picture_port(256, "target"), picture_port(256, "source")),
        source_template="ffhq_512",
        **_MINUS_1_TO_1,
    ),
    _swapper(
        "blendswap",
        256,
        "ffhq_512",
        "picture",
        NON_COMMERCIAL,
        inputs=(picture_port(256, "target"), picture_port(112, "source")),
        source_template="arcface_112_v2",
    ),
)

CONVERTERS = tuple(_converter(f"crossface_{target}") for target in ("ghost", "hififace", "simswap"))
