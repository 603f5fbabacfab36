"""What one model takes and returns: everything that is known of it before a file is opened.

The cards stand in the tables of `catalog.cards`; docs/MODELS.md shows them as a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .licences import UNSTATED

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
    "built in",  # our own code, of which there is no file and no row in the tables
]

# What a swapper takes for an identity, made from the recogniser's vector e: "projected" is e / |e| times the file's
# own 512 x 512 matrix; "raw" is e; "converted" is what the converter makes of e; "unit" and what ends with it is
# brought to length 1; "picture" is an aligned picture of the source.
Identity = Literal["projected", "projected unit", "unit", "raw", "converted", "converted unit", "picture"]

# Stands in a shape for a length that the file must leave open; None is any length.
OPEN = -1

Triple = tuple[float, float, float]
NO_MEAN: Triple = (0.0, 0.0, 0.0)
NO_SCALE: Triple = (1.0, 1.0, 1.0)
HALF: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

DEFAULT_FOLDER = "slimfusion"


@dataclass(frozen=True)
class Port:
    """An input or output of a network: its shape without the batch, None where any length will do."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class ModelCard:
    """One model, or several that are handled in the same way.

    name: unique. inputs, outputs: shapes without the batch, with the names that one common export has.
    licence: of the makers' files, a key of COMMERCIAL_USE. architecture: spandrel's name for its weights, if any.
    size: px of its square picture, None where any will do. template: how a face is aligned for it.
    template_offset: px that are added to the template's points.
    mean, std: a picture 0..1 goes in as (picture - mean) / std. colour: the order of its channels. layout: of its axes.
    signed: its picture comes out in -1..1, else in 0..1.
    has_fidelity: it takes a weight from 0 (sharp) to 1 (faithful).
    halo: px thrown away around a tile of an image network, so many that no seam is seen.
    exact_halo: px after which a tile equals the whole picture; None: the opened file tells, or nobody knows.
    face_side: px of the square around a face at which an image network restores best, to which smaller ones are
    enlarged; None: faces are restored as large as they are.
    identity: what a swapper takes for a source. converter: the card of the network that makes it.
    source_template: how a source picture is aligned.
    folder: where its files belong under a folder of models.
    extra_outputs: more outputs may follow. tells_by_shape: False where shapes prove nothing, because other models have
    the same ones.
    """

    name: str
    kind: Kind
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    licence: str = UNSTATED
    architecture: str | None = None
    size: int | None = None
    template: str | None = None
    template_offset: float = 0.0
    mean: Triple = NO_MEAN
    std: Triple = NO_SCALE
    colour: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    signed: bool = False
    has_fidelity: bool = False
    halo: int = 32
    exact_halo: int | None = None
    face_side: int | None = None
    identity: Identity | None = None
    converter: str | None = None
    source_template: str | None = None
    folder: str = DEFAULT_FOLDER
    extra_outputs: bool = False
    tells_by_shape: bool = True

    @property
    def is_face_restorer(self) -> bool:
        """Takes and returns one aligned crop of `size` px."""
        return self.kind == "restorer"

    @property
    def is_image_network(self) -> bool:
        """Takes pictures of any size, which can be cut into tiles."""
        return self.kind == "image network"

    @property
    def takes_tensors(self) -> bool:
        """Is not picture to picture."""
        return not (self.is_face_restorer or self.is_image_network)

    @property
    def needs_vector(self) -> bool:
        """A swapper that takes a recogniser's vector of the source, not its picture."""
        return self.kind == "swapper" and self.identity != "picture"

    @property
    def needs_matrix(self) -> bool:
        """A swapper whose identity goes through the matrix at the end of its file."""
        return self.identity in ("projected", "projected unit")

    @property
    def handling(self) -> tuple[object, ...]:
        """Equal for cards that may be taken for one another without any harm."""
        face = (self.kind, self.size, self.template, self.template_offset)
        picture = (self.mean, self.std, self.colour, self.layout, self.signed, self.has_fidelity)
        source = (self.identity, self.converter, self.source_template)
        return *face, *picture, *source, tuple(port.shape for port in (*self.inputs, *self.outputs))


def picture_port(size: int | None, name: str = "input", channels: int = 3) -> Port:
    """A square picture with its channels first."""
    return Port(name, (channels, size, size))
