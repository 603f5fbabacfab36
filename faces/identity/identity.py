"""Who somebody is: a recogniser's vector with a name, made from pictures, blended, kept as a file.

Files are ReActor's face models (models/reactor/faces): a safetensors file with one tensor for each of the values
that InsightFace knows of a face. ReActor reads ours; what theirs hold besides the vector is kept. Ours say in their
metadata which recogniser made the vector; theirs do not, and come from InsightFace's w600k_r50.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.numpy import save

from ...catalog.cards.readers import AURAFACE, BUNDLED_RECOGNISER, RECOGNISER
from ...catalog.opening import Stamp, is_regular
from ...engines.torch import weights_file
from ...errors import FacesError, ModelFileError, OutputError, SettingError, printable
from ..face import Face
from .select import BUNDLED_DIMENSION, likeness

Combine = Literal["mean", "median"]
COMBINE = ("mean", "median")
BESIDE = f"embedding_{BUNDLED_RECOGNISER}"  # what the bundled recogniser's vector is called in a file of another one's
DIMENSION = 512
SUFFIX = ".safetensors"
LONGEST_NAME = 200  # bytes: file systems take 255 with the ending and what a name has while it is written
FORBIDDEN = set('/\\:*?"<>|') | {chr(code) for code in range(32)}  # in file names, by Windows
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{device}{number}" for device in ("COM", "LPT") for number in "0123456789\u00b9\u00b2\u00b3"
}
LARGEST_FILE = 16 << 20  # bytes
SHORTEST_VECTOR, LONGEST_VECTOR = 1e-3, 1e4  # recognisers give 1 to 40

_FORMAT = "slimfusion identity 1"
# What InsightFace knows of a face besides its vector, and the shape that readers expect.
_OTHERS: dict[str, tuple[tuple[int, ...], type]] = {
    "bbox": ((4,), np.float32),
    "kps": ((5, 2), np.float32),
    "det_score": ((), np.float32),
    "landmark_3d_68": ((68, 3), np.float32),
    "pose": ((3,), np.float32),
    "landmark_2d_106": ((106, 2), np.float32),
    "gender": ((), np.int64),
    "age": ((), np.int64),
}
_GENDERS = ("female", "male")  # InsightFace's 0 and 1


@dataclass(frozen=True, eq=False, repr=False)
class Identity:
    """SLIMFUSION_IDENTITY.

    embedding: (512,) float32, the recogniser's vector as it comes, not normalised; (128,) of the bundled one.
    recogniser: the card of the network that made it; vectors of different ones cannot be compared. count: of how many
    faces it is made. others: what a file of ReActor's holds besides, by its names there. Raises FacesError for a
    vector that is none.
    """

    name: str
    embedding: np.ndarray
    recogniser: str = RECOGNISER
    count: int = 1
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vector = self.embedding
        dimension = BUNDLED_DIMENSION if self.recogniser == BUNDLED_RECOGNISER else DIMENSION
        if vector.shape != (dimension,):
            raise FacesError(
                f"The identity {self.name!r} is a vector of shape {vector.shape}, not of {dimension} numbers: it comes "
                "from another recogniser and cannot be used here. Make it again."
            )
        if not np.isfinite(vector).all() or not np.any(vector):
            raise FacesError(f"The identity {self.name!r} is empty or has values that are not numbers: make it again.")
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not SHORTEST_VECTOR <= length <= LONGEST_VECTOR:
            raise FacesError(
                f"The identity {self.name!r} is a vector of length {length:.3g}, which no recogniser gives "
                f"({RECOGNISER} about 20): it was changed or damaged. Make it again."
            )

    def __repr__(self) -> str:
        return f"Identity({self.name!r} from {self.count} faces by {self.recogniser})"

    @property
    def bundled(self) -> np.ndarray | None:
        """The bundled recogniser's vector (128,) of the same faces, which is kept beside another one's; or None."""
        if self.recogniser == BUNDLED_RECOGNISER:
            return self.embedding
        beside = self.others.get(BESIDE)
        return beside if beside is not None and beside.shape == (BUNDLED_DIMENSION,) else None

    @property
    def unit(self) -> np.ndarray:
        """The vector with length 1, float32."""
        result: np.ndarray = self.embedding / np.linalg.norm(self.embedding)
        return result

    def check_recogniser(self, recogniser: str) -> None:
        """Raises FacesError unless its vector comes from the recogniser of this card."""
        if self.recogniser == recogniser:
            return
        if recogniser == RECOGNISER and self.recogniser in (BUNDLED_RECOGNISER, AURAFACE):
            raise FacesError(
                f"The identity {self.name!r} was made by {self.recogniser}, which tells people apart but feeds no swap "
                "model: those need the vector of InsightFace's w600k_r50.onnx. Put that file into "
                "models/insightface and make the identity again, or connect a source picture and no swap model."
            )
        raise FacesError(
            f"The identity {self.name!r} was made by the recogniser {self.recogniser}, but {recogniser} is in "
            "use, whose vectors mean something else. Make the identity again."
        )


def identity_from_faces(
    name: str, faces: Sequence[Face], combine: Combine = "mean", recogniser: str = RECOGNISER
) -> Identity:
    """One identity from faces of the same person, all of which have an embedding. Raises FacesError for none.

    recogniser: of faces that do not say which one looked at them.
    """
    if not faces:
        raise FacesError(
            "There is no face to make an identity from. Lower the minimum confidence, or use other pictures."
        )
    parts = [_of_face(name, face, recogniser) for face in faces]
    if len(parts) == 1:
        return parts[0]
    return replace(combined(name, parts, combine), others=parts[0].others)


def combined(
    name: str, identities: Sequence[Identity], combine: Combine = "mean", weights: Sequence[float] | None = None
) -> Identity:
    """One identity from several; with weights (mean only) more of some than of others.

    Directions are combined, because they are what tells people apart, and the lengths are averaged. weights: 0 or
    more, not all 0. Raises FacesError for different recognisers, SettingError for weights that cannot be used.
    """
    if not identities:
        raise FacesError("There is no identity to combine.")
    if combine not in COMBINE:
        raise SettingError(f"Identities are combined by {' or '.join(COMBINE)}, not by {combine!r}.")
    shares = np.array([1.0] * len(identities) if weights is None else list(weights), np.float64)
    if len(shares) != len(identities) or not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
        raise SettingError(f"Weights are 0 or more, one for each of {len(identities)} identities, not {weights}.")
    for identity in identities:
        identity.check_recogniser(identities[0].recogniser)
    shares /= shares.sum()
    vectors = np.array([identity.embedding for identity in identities], np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / lengths[:, None]
    direction = np.median(units, 0) if combine == "median" else shares @ units
    length = np.linalg.norm(direction)
    if length < 1e-6:
        raise FacesError("The identities cancel each other out: they have nothing in common that could be blended.")
    vector = (direction / length * (shares @ lengths)).astype(np.float32)
    count = sum(identity.count for identity, share in zip(identities, shares, strict=True) if share > 0)
    beside = [identity.bundled for identity in identities if identity.bundled is not None]
    others = {BESIDE: (shares @ np.array(beside)).astype(np.float32)} if len(beside) == len(identities) else {}
    return Identity(name, vector, identities[0].recogniser, count, others)


def alike(first: Identity, second: Identity) -> float:
    """The cosine of two identities, -1..1. Raises FacesError."""
    second.check_recogniser(first.recogniser)
    return likeness(first.embedding, second.embedding)


def identity_path(name: str, folder: Path) -> Path:
    """The file that keeps an identity of this name in a folder. Raises SettingError for a name that leads elsewhere."""
    plain = name.strip()
    if not plain or plain.startswith(".") or not set(plain).isdisjoint(FORBIDDEN):
        raise SettingError(f"{name!r} cannot be the name of a file. Use letters, digits, spaces, - and _.")
    if printable(plain) != plain:
        raise SettingError(f"{name!r} has characters that cannot be shown. Use letters, digits, spaces, - and _.")
    if plain.split(".")[0].strip().upper() in RESERVED:
        raise SettingError(f"{name!r} is the name of a device on Windows. Choose another one.")
    length = len(plain.encode())
    if length > LONGEST_NAME:
        raise SettingError(
            f"{name!r} is {length} bytes long as the name of a file, and at most {LONGEST_NAME} fit: as many Latin "
            f"letters, or {LONGEST_NAME // 3} Chinese ones. Choose a shorter name."
        )
    return folder / f"{plain}{SUFFIX}"


def saved_identities(folders: Iterable[Path]) -> dict[str, Path]:
    """The identities in the folders by name, whatever they are called; the first folder's come first."""
    paths: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if is_regular(path):
                paths.setdefault(path.stem, path)
    return paths


def saved_identity(name: str, folders: Iterable[Path]) -> Path:
    """The file of an identity that is there, and no other file of the disk. Raises ModelFileError."""
    path = saved_identities(folders).get(name)
    if path is None:
        raise ModelFileError(f"The identity {name!r} does not exist. Save one first, or choose another.")
    return path


def save_identity(identity: Identity, path: Path, overwrite: bool = False) -> None:
    """Writes a file that ReActor reads too. Raises OutputError."""
    if path.suffix != SUFFIX:
        raise OutputError(f"An identity is kept as {SUFFIX}, not as {path.name}.")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists. Choose another name, or let it be overwritten.")
    tensors: dict[str, np.ndarray] = {name: np.zeros(shape, kind) for name, (shape, kind) in _OTHERS.items()}
    tensors |= {name: np.array(value, order="C") for name, value in identity.others.items()}
    tensors["embedding"] = np.array(identity.embedding, np.float32, order="C")
    notes = {"format": _FORMAT, "recogniser": identity.recogniser, "name": identity.name, "count": str(identity.count)}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(tensors, notes))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that you may write to."
        ) from error


def load_identity(path: Path) -> Identity:
    """Reads an identity of ours or a face model of ReActor's. Raises ModelFileError, FacesError."""
    if path.suffix.lower() != SUFFIX:
        raise ModelFileError(f"{path.name} is not an identity file ({SUFFIX}). Choose another file.")
    size = Stamp.of(path).size
    if size > LARGEST_FILE:
        raise ModelFileError(f"{path.name} has {size} bytes, but an identity has a few thousand. Choose another file.")
    file = weights_file.read(path)
    notes, layout = file.metadata, file.content
    if "embedding" not in layout:
        names = ", ".join(sorted(layout)[:5]) or "nothing"
        raise ModelFileError(
            f"{path.name} is not an identity: it holds {names}, but no embedding. Choose another file."
        )
    tensors = {name: _array(value) for name, value in file.load(layout, torch.device("cpu")).items()}
    vector = np.asarray(tensors.pop("embedding"), np.float32)
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    ours = notes.get("format") == _FORMAT
    name = notes.get("name", path.stem) if ours else path.stem
    recogniser = notes.get("recogniser", RECOGNISER) if ours else RECOGNISER
    count = int(notes["count"]) if ours and re.fullmatch("[0-9]{1,9}", notes.get("count", "")) else 1
    return Identity(printable(name), vector, printable(recogniser), count, tensors)


def _array(value: torch.Tensor) -> np.ndarray:
    """numpy has neither bfloat16 nor numbers of 8 bits."""
    narrow = value.is_floating_point() and value.dtype not in (torch.float16, torch.float32, torch.float64)
    return np.asarray((value.float() if narrow else value).numpy())


def _of_face(name: str, face: Face, recogniser: str) -> Identity:
    if face.embedding is None:
        raise FacesError("A face has no embedding yet. Run a recogniser on it first.")
    others: dict[str, np.ndarray] = {
        "bbox": np.asarray(face.box, np.float32),
        "kps": np.asarray(face.landmarks, np.float32),
        "det_score": np.array(face.score, np.float32),
    }
    if face.gender in _GENDERS:
        others["gender"] = np.array(_GENDERS.index(face.gender), np.int64)
    if face.age is not None:
        others["age"] = np.array(sum(face.age) // 2, np.int64)
    return Identity(name, np.asarray(face.embedding, np.float32), face.recogniser or recogniser, 1, others)
