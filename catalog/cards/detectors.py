"""Networks that find faces. How their outputs are read stands in `faces/detect/heads.py`."""

from __future__ import annotations

from ..card import HALF, ModelCard, Port, Triple, picture_port
from ..licences import GPL_OR_AGPL, INSIGHTFACE, MIT

SCRFD_STD: Triple = (128 / 255, 128 / 255, 128 / 255)
TO_255: Triple = (1 / 255, 1 / 255, 1 / 255)


def _strides(*widths: int) -> tuple[Port, ...]:
    """Three strides of each width: (positions, width)."""
    return tuple(Port(f"{width}_{stride}", (None, width)) for width in widths for stride in (8, 16, 32))


DETECTORS = (
    ModelCard("scrfd", "detector", (picture_port(None),), _strides(1, 4, 10), INSIGHTFACE, mean=HALF, std=SCRFD_STD),
    ModelCard("yoloface", "detector", (picture_port(640),), (Port("output", (20, 8400)),), GPL_OR_AGPL, size=640),
    ModelCard(
        "yunet", "detector", (picture_port(None),), _strides(1, 1, 4, 10), MIT, size=640, std=TO_255, colour="BGR"
    ),
)
