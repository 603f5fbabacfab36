"""Networks from picture to picture: face restorers, which take one aligned crop, and image networks of any size."""

from __future__ import annotations

from ..card import HALF, OPEN, ModelCard, Port, picture_port
from ..licences import APACHE, APACHE_GFPGAN, BY_FILE, NON_COMMERCIAL, S_LAB, UNSTATED


def _restorer(
    name: str,
    licence: str = UNSTATED,
    size: int = 512,
    architecture: str | None = None,
    *,
    result: int | None = None,
    weighted: bool = False,
    extra_outputs: bool = False,
    tells_by_shape: bool = True,
) -> ModelCard:
    weight = (Port("weight", (), "float64"),) if weighted else ()
    return ModelCard(
        name,
        "restorer",
        (picture_port(size), *weight),
        (picture_port(result or size, "output"),),
        licence,
        architecture,
        size,
        "ffhq_512",
        mean=HALF,
        std=HALF,
        signed=True,
        has_fidelity=weighted,
        folder="facerestore_models",
        extra_outputs=extra_outputs,
        tells_by_shape=tells_by_shape,
    )


def _image_network(
    name: str,
    licence: str = BY_FILE,
    architecture: str | None = None,
    *,
    has_fidelity: bool = False,
    halo: int = 32,
    exact_halo: int | None = None,
    face_side: int | None = None,
) -> ModelCard:
    return ModelCard(
        name,
        "image network",
        (picture_port(OPEN),),
        (picture_port(None, "output"),),
        licence,
        architecture,
        has_fidelity=has_fidelity,
        halo=halo,
        exact_halo=exact_halo,
        face_side=face_side,
        folder="upscale_models",
        tells_by_shape=architecture is None,
    )


# Their halo is a usual one, with which tiles are close to the whole picture and not equal.
IMAGE_NETWORK = _image_network("image network")

RESTORERS = (
    _restorer("gfpgan", APACHE_GFPGAN, architecture="GFPGAN"),
    _restorer("gpen_512", NON_COMMERCIAL),
    _restorer("restoreformer", APACHE, architecture="RestoreFormer", extra_outputs=True),
    _restorer("gfpgan_1024", result=1024),
    _restorer("gpen_256", NON_COMMERCIAL, 256),
    _restorer("gpen_1024", NON_COMMERCIAL, 1024),
    _restorer("gpen_2048", NON_COMMERCIAL, 2048),
    _restorer("codeformer", S_LAB, architecture="CodeFormer", weighted=True),
    # Its exports leave the type of its weight open, so only its hash tells it from CodeFormer.
    _restorer("vqfr", weighted=True, tells_by_shape=False),
)

IMAGE_NETWORKS = (
    IMAGE_NETWORK,
    # Of the 91 px that it sees the last hardly count: at most 0.5 / 255 was measured with a crossfade on 16 damaged
    # photographs, against 4.5 with 48 px, and a third of the range without a crossfade where pictures meet.
    # Noisy JPEG squares of 100 to 480 px gain 1.2 to 2.2 dB at 512 px and 0.1 to 0.6 dB at their own size (fidelity
    # 0.5 and 1); 384 and 640 px are within 0.4 dB of that.
    _image_network("slim_unet", APACHE, "SlimUnet", has_fidelity=True, halo=64, face_side=512),
    # RRDBNet sees hundreds of pixels and uses few of them. Measured on realesrgan-x4plus over damaged portraits: 64 px
    # from a cut the largest difference is 1.1 / 255, before neighbours crossfade; 96 px from it 0.12 / 255. With a
    # crossfade none above 1 / 255 is left (bench/tiles.py).
    _image_network("esrgan", architecture="ESRGAN", halo=64, exact_halo=96),
    # Its whole reach with the usual 32 layers.
    _image_network("compact", architecture="Compact", halo=34),
)
