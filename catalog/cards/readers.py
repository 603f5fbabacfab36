"""Networks that read something off one face: landmarks, identity, gender and age."""

from __future__ import annotations

from dataclasses import replace

from ..card import HALF, IMAGENET_MEAN, IMAGENET_STD, ModelCard, Port, picture_port
from ..licences import APACHE, INSIGHTFACE, MIT_OR_BSD, UNSTATED
from .detectors import TO_255

# The card of the recogniser whose vectors identities hold and every swapper starts from: InsightFace's w600k_r50,
# whose vectors ReActor keeps too.
RECOGNISER = "arcface"
# Of the same shapes, free for commercial use; its vectors mean something else and feed no swapper.
AURAFACE = "auraface"
# What vectors of the recogniser that comes along are said to be made by. It has no file of the user's and no card.
BUNDLED_RECOGNISER = "slim_embedder"

_ARCFACE = ModelCard(
    RECOGNISER,
    "recogniser",
    (picture_port(112),),
    (Port("output", (512,)),),
    INSIGHTFACE,
    size=112,
    template="arcface_112_v2",
    mean=HALF,
    std=HALF,
)
# Other recognisers of the same shapes, of unstated licence; only their hash tells them.
_OTHER = replace(_ARCFACE, licence=UNSTATED, tells_by_shape=False)

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
    _ARCFACE,
    replace(_OTHER, name=AURAFACE, licence=APACHE),
    replace(_OTHER, name="simswap_arcface", mean=IMAGENET_MEAN, std=IMAGENET_STD),
    replace(_OTHER, name="ghost_arcface"),
    # CSCS's identity is the sum of two networks' vectors.
    replace(_OTHER, name="cscs_arcface", template="ffhq_512"),
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
