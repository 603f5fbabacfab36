"""What swappers need besides their family: the few facts in which files of one family differ, and their converters."""

from __future__ import annotations

from .families import FAMILIES, Family
from .known import KNOWN, OPENRAIL, KnownFile

# The family of the recogniser whose vectors every swapper here starts from.
RECOGNISER = "arcface"

# px that are added to a template's points: what was trained at 128 px sees the same square at 256, whose pixel centres
# lie half a pixel further in.
TEMPLATE_OFFSETS = {"reswapper_256": 0.5}

# FaceFusion's exports of inswapper were made for e E / |e|; all others, InsightFace's own among them, want that
# brought to length 1.
_NOT_OF_LENGTH_1 = frozenset(
    {
        "a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7",
        "c4eccca86ad177586c85c28bf1a64a9d9ed237e283a15818d831f7facfd3f420",
    }
)

LARGEST_BOOST = 1024  # px


def wants_length_1(known: KnownFile | None) -> bool:
    """Whether a projected identity is normalised again for this file; so it is for every file that is not known."""
    return known is None or known.sha256 not in _NOT_OF_LENGTH_1


def needs_vector(family: Family) -> bool:
    """Whether a swapper takes a recogniser's vector of the source, and not its picture."""
    return family.identity != "picture"


def missing_converter(family: Family) -> str:
    """What to say when the network that makes a swapper's identity is not there."""
    assert family.converter is not None and family.converter in FAMILIES
    known = next((file for file in KNOWN if file.family == family.converter), None)
    licence = OPENRAIL[0] if known is None else known.licence
    folder = "slimfusion" if known is None else known.folder
    source = "" if known is None else f" from {known.source}"
    return (
        f"{family.name} needs the converter {family.converter}.onnx (licence: {licence}), which turns the recogniser's "
        f"vector into its own, and it was not found. Put it{source} into models/{folder}."
    )
