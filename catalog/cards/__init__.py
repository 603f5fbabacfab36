"""All model cards, by name and by architecture. A new model is one more row in one of the tables beside this."""

from __future__ import annotations

from ..card import ModelCard
from .detectors import DETECTORS
from .masks import MASKS, PARSERS
from .readers import ATTRIBUTES, LANDMARKERS, RECOGNISERS
from .restorers import IMAGE_NETWORK, IMAGE_NETWORKS, RESTORERS
from .swappers import CONVERTERS, SWAPPERS

# Among cards that fit a file equally well the first is taken.
CARDS: dict[str, ModelCard] = {
    card.name: card
    for table in (
        DETECTORS,
        LANDMARKERS,
        RECOGNISERS,
        ATTRIBUTES,
        MASKS,
        PARSERS,
        RESTORERS,
        SWAPPERS,
        CONVERTERS,
        IMAGE_NETWORKS,
    )
    for card in table
}
_BY_ARCHITECTURE = {card.architecture: card for card in CARDS.values() if card.architecture}


def card_for_architecture(architecture: str) -> ModelCard:
    """The card of weights by spandrel's name for them; what has none is an image network of unknown licence."""
    return _BY_ARCHITECTURE.get(architecture, IMAGE_NETWORK)
