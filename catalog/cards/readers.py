"""Networks that read something off one face: landmarks, identity, gender and age."""

from __future__ import annotations

from ..card import HALF, IMAGENET_MEAN, IMAGENET_STD, ModelCard, Port, Triple, picture_port
from ..licences import INSIGHTFACE, MIT_OR_BSD, UNSTATED
from .detectors import TO_255

# The card of the recogniser whose vectors identities hold and every swapper starts from: InsightFace's w600k_r50,
# whose vectors ReActor keeps too.
RECOGNISER = "arcface"


def _recogniser(
    name: str,
    licence: str = UNSTATED,
    template: str = "arcface_112_v2",
    mean: Triple = HALF,
    std: Triple = HALF,
    tells_by_shape: bool = False,
) -> ModelCard:
    ports = (picture_port(112),), (Port("output", (512,)),)
    return ModelCard(
        name,
        "recogniser",
        *ports,
        licence,
        size=112,
        template=template,
        mean=mean,
        std=std,
        tells_by_shape=tells_by_shape,
    )


LANDMARKERS = (
    ModelCard(
        "2dfan4",
        "landmarker",
        (picture_port(256),),
        (Port("landmarks", (68, 3)), Port("heatmaps", (68, 64, 64))),
        MIT_OR_BSD,
        size=256,
    ),
    ModelCard(
        "fan_68_5",
        "landmarker",
        (Port("input", (5, 2)),),
        (Port("output", (68, 2)),),
        template="ffhq_512",
    ),
    ModelCard(
        "2d106det", "landmarker", (picture_port(192),), (Port("fc1", (212,)),), INSIGHTFACE, size=192, std=TO_255
    ),
    ModelCard("1k3d68", "landmarker", (picture_port(192),), (Port("fc1", (3309,)),), INSIGHTFACE, size=192, std=TO_255),
)

RECOGNISERS = (
    _recogniser("arcface", INSIGHTFACE, tells_by_shape=True),
    _recogniser("simswap_arcface", mean=IMAGENET_MEAN, std=IMAGENET_STD),
    _recogniser("ghost_arcface"),
    # CSCS's identity is the sum of two networks' vectors.
    _recogniser("cscs_arcface", template="ffhq_512"),
)

ATTRIBUTES = (
    ModelCard("genderage", "attributes", (picture_port(96),), (Port("fc1", (3,)),), INSIGHTFACE, size=96, std=TO_255),
    ModelCard(
        "fairface",
        "attributes",
        (picture_port(224),),
        (Port("race_id", (), "int64"), Port("gender_id", (), "int64"), Port("age_id", (), "int64")),
        size=224,
        template="arcface_112_v2",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
)
