"""docs/MODELS.md: all model cards and known files as one page of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .card import OPEN, ModelCard, Port
from .cards import CARDS
from .known import KNOWN, KnownFile
from .licences import COMMERCIAL_USE

_INTRODUCTION = """\
# Models

What each model takes and returns, as this program uses it, and where people get the files. Nothing is downloaded.
This page is made from `catalog/cards/` and `catalog/known_files.csv` by `python -m slimfusion models --cards`; a test
holds it equal. A new model is one more row there.

- **Takes**, **returns**: shapes without the batch, pictures as channels x height x width.
- **Input range**: a picture 0..1 goes in as (picture - mean) / std. **Output range**: of the picture that comes out.
- **Aligned to**: where five points of the face lie in the crop; see `catalog/templates.py`.
- **Fidelity**: the network takes a weight from 0 (sharp) to 1 (faithful).
- **Halo**: px thrown away around a tile. An opened file may tell its own.
- **Identity**: what a swapper takes for a source. e is the vector of the recogniser `arcface` (512 numbers).
- **Licence** is that of the makers' files; *commercial* says whether it lets a business use them.
"""

_TITLES = {
    "restorer": "Face restorers",
    "image network": "Image networks",
    "swapper": "Swappers",
    "converter": "Converters of identities",
    "detector": "Detectors",
    "landmarker": "Landmarks",
    "recogniser": "Recognisers",
    "attributes": "Gender and age",
    "mask": "Masks",
    "parser": "Face parsers",
}
_IDENTITIES = {
    "projected": "e / abs(e) x matrix of the file",
    "projected unit": "e / abs(e) x matrix of the file, at length 1",
    "unit": "e at length 1",
    "raw": "e as it is",
    "converted": "e through `{converter}`",
    "converted unit": "e through `{converter}`, at length 1",
    "picture": "a picture aligned to `{source_template}`",
}
_COMMERCIAL = {True: "commercial: yes", False: "commercial: no", None: "commercial: unclear"}

_MEGABYTE = 10**6


def models_page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for kind, title in _TITLES.items():
        cards = [card for card in CARDS.values() if card.kind == kind]
        parts.append(f"## {title}\n\n{_table(_COLUMNS, cards)}")
    parts.append(f"## Files\n\n{_table(_FILE_COLUMNS, [card for card in CARDS.values() if _files(card)])}")
    return "\n".join(parts)


Column = tuple[str, Callable[[ModelCard], str]]


def _table(columns: Sequence[Column], cards: Sequence[ModelCard]) -> str:
    """Columns that are empty for all cards are left out."""
    rows = [[text(card) for _, text in columns] for card in cards]
    shown = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    lines = [[columns[index][0] for index in shown], ["---"] * len(shown)]
    lines += [[row[index] for index in shown] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ports(ports: Iterable[Port]) -> str:
    """Equal ports once, with how many there are."""
    counted = Counter(_port(port) for port in ports)
    return ", ".join(text if count == 1 else f"{count} of {text}" for text, count in counted.items())


def _port(port: Port) -> str:
    shape = " x ".join("any" if length in (None, OPEN) else str(length) for length in port.shape)
    unit = {0: "number", 1: " numbers"}.get(len(port.shape), "")
    return ("" if port.dtype == "float32" else f"{port.dtype} ") + shape + unit


def _returns(card: ModelCard) -> str:
    return _ports(card.outputs) + (" and more" if card.extra_outputs else "")


def _alignment(card: ModelCard) -> str:
    if card.template is None:
        return ""
    return f"`{card.template}`" + (f" + {card.template_offset} px" if card.template_offset else "")


def _takes_picture(card: ModelCard) -> bool:
    return len(card.inputs[0].shape) == 3


def _input_range(card: ModelCard) -> str:
    if not _takes_picture(card):
        return ""
    ends = {tuple(f"{(end - m) / s:.4g}" for end in (0, 1)) for m, s in zip(card.mean, card.std, strict=True)}
    if len(ends) == 1:
        return "..".join(ends.pop()).replace("-0..", "0..")
    return f"mean {_numbers(card.mean)}, std {_numbers(card.std)}"


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _colour(card: ModelCard) -> str:
    if not _takes_picture(card):
        return ""
    return card.colour + (", channels last" if card.layout == "NHWC" else "")


def _output_range(card: ModelCard) -> str:
    if card.kind in ("restorer", "swapper", "image network"):
        return "-1..1" if card.signed else "0..1"
    if card.kind == "mask":
        return "above 0 is face" if card.signed else "0..1"
    return ""


def _identity(card: ModelCard) -> str:
    if card.identity is None:
        return ""
    return _IDENTITIES[card.identity].format(converter=card.converter, source_template=card.source_template)


def _halo(card: ModelCard) -> str:
    return f"{card.halo} px" if card.is_image_network else ""


def _face_side(card: ModelCard) -> str:
    return f"{card.face_side} px" if card.face_side else ""


def _licence(card: ModelCard) -> str:
    return f"{card.licence}; {_COMMERCIAL[COMMERCIAL_USE[card.licence]]}"


def _files(card: ModelCard) -> list[KnownFile]:
    return [file for file in KNOWN if file.card is card]


def _file_links(card: ModelCard) -> str:
    return "<br>".join(_file_link(file) for file in _files(card))


def _file_link(file: KnownFile) -> str:
    size = "" if file.size is None else f", {file.size / _MEGABYTE:.1f} MB"
    licence = "" if file.licence == file.card.licence else f", licence: {file.licence}"
    return f"[{file.name}]({file.source}){size}{licence}"


def _folders(card: ModelCard) -> str:
    return ", ".join(dict.fromkeys(f"`models/{file.folder}`" for file in _files(card)))


_COLUMNS: tuple[Column, ...] = (
    ("Card", lambda card: f"`{card.name}`"),
    ("Torch weights", lambda card: card.architecture or ""),
    ("Takes", lambda card: _ports(card.inputs)),
    ("Returns", _returns),
    ("Aligned to", _alignment),
    ("Input range", _input_range),
    ("Colour", _colour),
    ("Output range", _output_range),
    ("Identity", _identity),
    ("Fidelity", lambda card: "yes" if card.has_fidelity else ""),
    ("Halo", _halo),
    ("Faces enlarged to", _face_side),
    ("Licence", _licence),
)
_FILE_COLUMNS: tuple[Column, ...] = (
    ("Card", lambda card: f"`{card.name}`"),
    ("Files, with where people get them", _file_links),
    ("Put into", _folders),
)
