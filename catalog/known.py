"""The public model files that are known by their content: hash, size, source, licence, and the card of the model.

They stand in known_files.csv, a row for each. Hashes and sizes come from the manifests of the programs that ship the
files; where several independent manifests exist they agree. Nothing is ever fetched: a source is text for people.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from .card import DEFAULT_FOLDER, ModelCard
from .cards import CARDS
from .licences import COMMERCIAL_USE

TABLE = Path(__file__).with_name("known_files.csv")

# Where users have such files already, under a folder of models.
MODEL_SUBFOLDERS = (
    DEFAULT_FOLDER,
    "insightface",
    "reswapper",
    "hyperswap",
    "facerestore_models",
    "facedetection",
    "face_restore",
    "faceless",
    "detection",
    "ultralytics/bbox",
    "upscale_models",
)

# Where InsightFace's own programs look for the files of its releases.
_INSIGHTFACE_RELEASES = "https://github.com/deepinsight/insightface/releases"
_INSIGHTFACE_FOLDER = "insightface/models/buffalo_l"


@dataclass(frozen=True)
class KnownFile:
    """One file of the world.

    name: what it is mostly called, for people. licence: a key of COMMERCIAL_USE. source: where people get it.
    size: bytes, None where only the hash is known. sha256: "" where only the size is known.
    """

    name: str
    card: ModelCard
    licence: str
    source: str
    size: int | None
    sha256: str

    @property
    def commercial(self) -> bool | None:
        """Whether the licence lets a business use it; None where that is not stated or sources disagree."""
        return COMMERCIAL_USE[self.licence]

    @property
    def folder(self) -> str:
        """Where it belongs under a folder of models."""
        return _INSIGHTFACE_FOLDER if self.source == _INSIGHTFACE_RELEASES else self.card.folder

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix


def read_table(lines: Iterable[str]) -> Iterator[KnownFile]:
    """The rows of a table: name, card, licence (empty: the card's), source, size, sha256.

    Raises ValueError for a row of another length, of a card or licence that does not exist, or of no size and hash.
    """
    for row in csv.DictReader(lines, strict=True):
        if len(row) != 6 or None in row.values():
            raise ValueError(f"This row of {TABLE.name} has not six columns: {row}")
        card = CARDS.get(row["card"])
        licence = row["licence"] or (card.licence if card else "")
        if card is None or licence not in COMMERCIAL_USE or not (row["size"] or row["sha256"]):
            raise ValueError(f"This row of {TABLE.name} has no card, licence, or size and hash that are known: {row}")
        yield KnownFile(row["name"], card, licence, row["source"], int(row["size"] or 0) or None, row["sha256"])


KNOWN: tuple[KnownFile, ...] = tuple(read_table(TABLE.read_text(encoding="utf-8").splitlines()))
BY_HASH: dict[str, KnownFile] = {file.sha256: file for file in KNOWN if file.sha256}
SIZES: frozenset[int] = frozenset(file.size for file in KNOWN if file.size is not None)
# Endings of files of which only the hash is known: whatever their length, they may be one of them.
SUFFIXES_OF_ANY_SIZE: frozenset[str] = frozenset(file.suffix for file in KNOWN if file.size is None)
