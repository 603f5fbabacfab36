"""Networks from picture to picture: face restorers, which take one aligned crop, and image networks of any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..card import HALF, OPEN, ModelCard, Port, picture_port
from ..licences import APACHE, APACHE_GFPGAN, BY_FILE, NON_COMMERCIAL, S_LAB, UNSTATED

_WITH_WEIGHT: dict[str, Any] = {
    "inputs": (picture_port(512), Port("weight", (), "float64")),
    "has_fidelity": True,
}


def _restorer(name: str, licence: str = UNSTATED, size: int = 512, **more: Any) -> ModelCard:
    """more: fields that differ from those of most."""
    card = ModelCard(
        name,
        "restorer",
        (picture_port(size),),
        (picture_port(size, "output"),),
        licence,
        size=size,
        template="ffhq_512",
        mean=HALF,
        std=HALF,
        signed=True,
        folder="facerestore_models",
    )
    return replace(card, **more)


RESTORERS = (
    _restorer("gfpgan", APACHE_GFPGAN, architecture="GFPGAN"),
    _restorer("gpen_512", NON_COMMERCIAL),
    _restorer("restoreformer", APACHE, architecture="RestoreFormer", extra_outputs=True),
    _restorer("gfpgan_1024", outputs=(picture_port(1024, "output"),)),
    _restorer("gpen_256", NON_COMMERCIAL, 256),
    _restorer("gpen_1024", NON_COMMERCIAL, 1024),
    _restorer("gpen_2048", NON_COMMERCIAL, 2048),
    _restorer("codeformer", S_LAB, architecture="CodeFormer", **_WITH_WEIGHT),
    # Its exports leave the type of its weight open, so only its hash tells it from CodeFormer.
    _restorer("vqfr", tells_by_shape=False, **_WITH_WEIGHT),
)

# Upscalers and the like. The halo is a usual one, with which tiles are close to the whole picture and not equal.
IMAGE_NETWORK = ModelCard(
    "image network",
    "image network",
    (picture_port(OPEN),),
    (picture_port(None, "output"),),
    BY_FILE,
    folder="upscale_models",
)


def _by_weights(name: str, architecture: str, **more: Any) -> ModelCard:
    """An image network that is known by the architecture of its weights; as ONNX it is one among the others."""
    return replace(IMAGE_NETWORK, name=name, architecture=architecture, tells_by_shape=False, **more)


IMAGE_NETWORKS = (
    IMAGE_NETWORK,
    # Of the 91 px that it sees the last hardly count: at most 0.5 / 255 was measured with a crossfade on 16 damaged
    # photographs, against 4.5 with 48 px, and a third of the range without a crossfade where pictures meet.
    # Noisy JPEG squares of 100 to 480 px gain 1.2 to 2.2 dB at 512 px and 0.1 to 0.6 dB at their own size (fidelity
    # 0.5 and 1); 384 and 640 px are within 0.4 dB of that.
    _by_weights("slim_unet", "SlimUnet", licence=APACHE, has_fidelity=True, halo=64, face_side=512),
    # RRDBNet sees hundreds of pixels and uses few of them. Measured on realesrgan-x4plus over damaged portraits: 64 px
    # from a cut the largest difference is 1.1 / 255, before neighbours crossfade; 96 px from it 0.12 / 255. With a
    # crossfade none above 1 / 255 is left (bench/tiles.py).
    _by_weights("esrgan", "ESRGAN", halo=64, exact_halo=96),
    # Its whole reach with the usual 32 layers.
    _by_weights("compact", "Compact", halo=34),
)
