"""What the public face networks expect and give, a family for all files that are handled in the same way.

A family is known by the shapes of its inputs and outputs, never by a file's name: three different files are
called GPEN-BFR-512.onnx. The values come from the programs that ship the files (InsightFace, FaceFusion,
VisoMaster, ReActor), collected in the project's model notes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .contracts import Contract, Domain
from .spec import Port

Kind = Literal[
    "detector",
    "landmarker",
    "recogniser",
    "attributes",
    "mask",
    "parser",
    "restorer",
    "swapper",
    "converter",
    "image network",
]

# What a swapper takes for an identity, made from the recogniser's vector e: "projected" is e / |e| times the
# file's own 512 x 512 matrix, normalised again; "unit" is e / |e|; "raw" is e; "converted" is what the converter
# makes of e, and "converted unit" the same, normalised; "picture" is an aligned picture of the source.
Identity = Literal["projected", "unit", "raw", "converted", "converted unit", "picture"]

# Stands in a shape for a length that the file must leave open; None is any length.
OPEN = -1

Triple = tuple[float, float, float]
NO_MEAN: Triple = (0.0, 0.0, 0.0)
NO_SCALE: Triple = (1.0, 1.0, 1.0)
HALF: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
TO_255: Triple = (1 / 255, 1 / 255, 1 / 255)
SCRFD_STD: Triple = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True)
class Family:
    """How a network wants its input and what its output means.

    size: px of its square picture, None where any will do. template: how a face is aligned for it. mean, std: a
    picture 0..1 goes in as (picture - mean) / std, with its channels in the order `colour` and its axes as
    `layout` says. signed: its picture comes out in -1..1, else in 0..1. has_fidelity: it takes a weight from 0
    (sharp) to 1 (faithful). identity, converter, source_template: for swappers, what they take for a source,
    which family makes it, and how a source picture is aligned. inputs, outputs: shapes without the batch, with
    the names that one common export has. extra_outputs: more may follow. tells_by_shape: False where other
    families have the same shapes, and shapes prove nothing.
    """

    name: str
    kind: Kind
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    size: int | None = None
    template: str | None = None
    mean: Triple = NO_MEAN
    std: Triple = NO_SCALE
    colour: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    signed: bool = False
    has_fidelity: bool = False
    identity: Identity | None = None
    converter: str | None = None
    source_template: str | None = None
    extra_outputs: bool = False
    tells_by_shape: bool = True

    @property
    def handling(self) -> tuple[object, ...]:
        """Equal for families that may be taken for one another without any harm."""
        given = (self.kind, self.size, self.template, self.mean, self.std, self.colour, self.layout, self.signed)
        source = (self.has_fidelity, self.identity, self.converter, self.source_template)
        return *given, *source, tuple(port.shape for port in (*self.inputs, *self.outputs))

    def contract(self, licence: str) -> Contract:
        """The same as the engines' contract; `licence` is the file's."""
        domains: dict[Kind, Domain] = {"restorer": "face", "image network": "image"}
        domain = domains.get(self.kind, "tensors")
        size = self.size if domain == "face" else None
        return Contract(self.name, domain, licence, size, self.template, self.has_fidelity)


def _picture(size: int | None, name: str = "input", channels: int = 3) -> Port:
    return Port(name, (channels, size, size))


def _restorer(
    name: str, size: int = 512, result: int | None = None, weighted: bool = False, extra_outputs: bool = False
) -> Family:
    inputs = (_picture(size), *((Port("weight", (), "float64"),) if weighted else ()))
    return Family(
        name,
        "restorer",
        inputs,
        (_picture(result or size, "output"),),
        size,
        "ffhq_512",
        HALF,
        HALF,
        signed=True,
        has_fidelity=weighted,
        extra_outputs=extra_outputs,
    )


def _swapper(
    name: str,
    size: int,
    template: str,
    identity: Identity,
    mean: Triple = NO_MEAN,
    std: Triple = NO_SCALE,
    signed: bool = False,
    converter: str | None = None,
    source: Port | None = None,
    source_template: str | None = None,
    masked: bool = False,
) -> Family:
    inputs = (_picture(size, "target"), source or Port("source", (512,)))
    outputs = (_picture(size, "output"), *((Port("mask", (1, size, size)),) if masked else ()))
    return Family(
        name,
        "swapper",
        inputs,
        outputs,
        size,
        template,
        mean,
        std,
        signed=signed,
        identity=identity,
        converter=converter,
        source_template=source_template,
    )


def _converter(name: str) -> Family:
    # `converter` names what is made, so that the three are never taken for one another.
    return Family(name, "converter", (Port("input", (512,)),), (Port("output", (512,)),), converter=name)


def _detector_outputs(*widths: int) -> tuple[Port, ...]:
    """Three strides of each width: (positions, width)."""
    return tuple(Port(f"{width}_{stride}", (None, width)) for width in widths for stride in (8, 16, 32))


_DETECTORS = (
    Family("scrfd", "detector", (_picture(None),), _detector_outputs(1, 4, 10), mean=HALF, std=SCRFD_STD),
    Family("yoloface", "detector", (_picture(640),), (Port("output", (20, 8400)),), 640),
    Family(
        "yunet",
        "detector",
        (_picture(None),),
        _detector_outputs(1, 1, 4, 10),
        640,
        std=TO_255,
        colour="BGR",
    ),
)

_READERS = (
    Family("2dfan4", "landmarker", (_picture(256),), (Port("landmarks", (68, 3)), Port("heatmaps", (68, 64, 64))), 256),
    Family("fan_68_5", "landmarker", (Port("input", (5, 2)),), (Port("output", (68, 2)),), template="ffhq_512"),
    Family("2d106det", "landmarker", (_picture(192),), (Port("fc1", (212,)),), 192, std=TO_255),
    Family("1k3d68", "landmarker", (_picture(192),), (Port("fc1", (3309,)),), 192, std=TO_255),
    Family("arcface", "recogniser", (_picture(112),), (Port("output", (512,)),), 112, "arcface_112_v2", HALF, HALF),
    Family(
        "simswap_arcface",
        "recogniser",
        (_picture(112),),
        (Port("output", (512,)),),
        112,
        "arcface_112_v2",
        IMAGENET_MEAN,
        IMAGENET_STD,
        tells_by_shape=False,
    ),
    Family(
        "ghost_arcface",
        "recogniser",
        (_picture(112),),
        (Port("output", (512,)),),
        112,
        "arcface_112_v2",
        HALF,
        HALF,
        tells_by_shape=False,
    ),
    # CSCS's identity is the sum of two networks' vectors.
    Family(
        "cscs_arcface",
        "recogniser",
        (_picture(112),),
        (Port("output", (512,)),),
        112,
        "ffhq_512",
        HALF,
        HALF,
        tells_by_shape=False,
    ),
    Family("genderage", "attributes", (_picture(96),), (Port("fc1", (3,)),), 96, std=TO_255),
    Family(
        "fairface",
        "attributes",
        (_picture(224),),
        (Port("race_id", (), "int64"), Port("gender_id", (), "int64"), Port("age_id", (), "int64")),
        224,
        "arcface_112_v2",
        IMAGENET_MEAN,
        IMAGENET_STD,
    ),
)

_MASKS = (
    Family(
        "xseg",
        "mask",
        (Port("input", (256, 256, 3)),),
        (Port("output", (256, 256, 1)),),
        256,
        colour="BGR",
        layout="NHWC",
    ),
    Family("dfl_xseg", "mask", (_picture(256, "in_face:0"),), (_picture(256, "out_mask:0", 1),), 256),
    # Above 0 is face: signed, unlike the mask that goes from 0 to 1.
    Family("occluder", "mask", (_picture(256, "img"),), (_picture(256, "output", 1),), 256, signed=True),
    Family(
        "bisenet",
        "parser",
        (_picture(512),),
        (_picture(512, "output", 19),),
        512,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        extra_outputs=True,
    ),
)

_RESTORERS = (
    _restorer("gfpgan"),
    _restorer("gpen_512"),
    _restorer("restoreformer", extra_outputs=True),
    _restorer("gfpgan_1024", result=1024),
    _restorer("gpen_256", 256),
    _restorer("gpen_1024", 1024),
    _restorer("gpen_2048", 2048),
    _restorer("codeformer", weighted=True),
    # Its exports leave the type of its weight open, so only its hash tells it from CodeFormer.
    replace(_restorer("vqfr", weighted=True), tells_by_shape=False),
)

_SWAPPERS = (
    _swapper("inswapper", 128, "arcface_128", "projected"),
    _swapper("hyperswap", 256, "arcface_128", "unit", HALF, HALF, signed=True, masked=True),
    _swapper(
        "simswap_256",
        256,
        "arcface_112_v1",
        "converted unit",
        IMAGENET_MEAN,
        IMAGENET_STD,
        converter="crossface_simswap",
    ),
    _swapper("simswap_512", 512, "arcface_112_v1", "converted unit", converter="crossface_simswap"),
    _swapper("ghost", 256, "arcface_112_v1", "converted", HALF, HALF, signed=True, converter="crossface_ghost"),
    _swapper("hififace", 256, "mtcnn_512", "converted unit", HALF, HALF, signed=True, converter="crossface_hififace"),
    _swapper("reswapper_256", 256, "arcface_128", "projected"),
    _swapper("alphaface", 256, "arcface_128", "raw"),
    _swapper(
        "uniface",
        256,
        "ffhq_512",
        "picture",
        HALF,
        HALF,
        signed=True,
        source=_picture(256, "source"),
        source_template="ffhq_512",
    ),
    _swapper(
        "blendswap",
        256,
        "ffhq_512",
        "picture",
        source=_picture(112, "source"),
        source_template="arcface_112_v2",
    ),
    *(_converter(f"crossface_{target}") for target in ("ghost", "hififace", "simswap")),
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *_DETECTORS,
        *_READERS,
        *_MASKS,
        *_RESTORERS,
        *_SWAPPERS,
        # Upscalers and the like, which take any size and can be tiled.
        Family("image network", "image network", (_picture(OPEN),), (_picture(None, "output"),)),
    )
}
