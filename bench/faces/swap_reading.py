"""The swappers' cards in plain numpy, read anew from the programs that ship the files: what ours is held against.

Nothing here uses the package's own alignment, warp, embedding rule or range. Only linear slopes are sampled, which any
exact sampler gives alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from ...catalog.cards import CARDS
from ...faces.face import Face
from ...faces.masks.soft import crop_mask
from ...faces.swap.swap import swapped_crops
from ...faces.swap.swapper import Swapper, identity_input, matrix_in, picture_input
from .swap_twins import emap, infer_with, runtime, save_converter, save_swapper

LIMIT = 1e-4  # between this reading and ours, values in 0..1
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5,) * 3, (0.5,) * 3
NONE = (0.0,) * 3, (1.0,) * 3
POINTS = {
    "arcface_128": "36167656 40387734 63696719 40235469 50019687 56044219 38710391 72160547 61507734 72034453",
    "arcface_112_v1": "35473214 45658929 64526786 45658929 50000000 61154464 37913393 77687500 62086607 77687500",
    "mtcnn_512": "36562865 46733799 63305391 46585885 50019127 61942959 39032951 77598822 61178945 77476328",
    "ffhq_512": "37691676 46864664 62285697 46912813 50123859 61331904 39308822 72541100 61150205 72490465",
    "arcface_112_v2": "34191607 46157411 65653393 45983393 50022500 64050536 37097589 82469196 63151696 82325089",
}
# card: side, template, (mean, std), identity, whether the result goes back through mean and std
READING: dict[str, tuple[int, str, tuple[Any, Any], str, bool]] = {
    "inswapper": (128, "arcface_128", NONE, "projected unit", False),
    "inswapper_facefusion": (128, "arcface_128", NONE, "projected", False),
    "reswapper_256": (256, "arcface_128", NONE, "projected unit", False),
    "hyperswap": (256, "arcface_128", HALF, "unit", True),
    "simswap_256": (256, "arcface_112_v1", IMAGENET, "converted unit", False),
    "simswap_512": (512, "arcface_112_v1", NONE, "converted unit", False),
    "ghost": (256, "arcface_112_v1", HALF, "converted", True),
    "hififace": (256, "mtcnn_512", HALF, "converted unit", True),
    "uniface": (256, "ffhq_512", HALF, "picture 256 ffhq_512", True),
    "blendswap": (256, "ffhq_512", NONE, "picture 112 arcface_112_v2", False),
    "alphaface": (256, "arcface_128", NONE, "raw", False),
}

VECTOR = np.random.default_rng(2).normal(0, 1.3, 512).astype(np.float32)


def ramps(height: int, width: int) -> np.ndarray:
    """(height, width, 3): even slopes, which OpenCV's 32nds of a pixel move by less than the limit here."""
    y, x = np.mgrid[:height, :width] / 400
    return np.stack([x, y, 0.9 - (x + y) / 2], -1).astype(np.float32)


FRAME = torch.from_numpy(ramps(200, 220))[None]
SOURCE = ramps(180, 200)


def template(name: str, side: int) -> np.ndarray:
    """(5, 2) in pixels."""
    return np.array([int(each) / 1e8 for each in POINTS[name].split()]).reshape(5, 2) * side


def face_in(side: float, x: float, y: float, turn: float = 0.2) -> Face:
    """A face that is turned a little, with points that no similarity fits exactly."""
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (template("ffhq_512", 1) - 0.5) @ rotation.T * side + (x, y)
    points += np.random.default_rng(9).normal(0, 0.8, (5, 2))
    return Face(0, np.array([x - 60, y - 60, x + 60, y + 60], np.float32), points.astype(np.float32), 0.9)


# Larger than any crop, so that none is shrunk: then a crop is plain linear sampling.
TARGET, SOURCE_FACE = face_in(120, 110, 100), face_in(90, 100, 90, -0.1)


def fitted(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Umeyama's similarity by singular values, (2, 3)."""
    a, b = points - points.mean(0), wanted - wanted.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, np.sign(np.linalg.det(u @ v))])
    linear = (s * np.diag(sign)).sum() / (a**2).sum() * u @ sign @ v
    return np.column_stack([linear, wanted.mean(0) - linear @ points.mean(0)])


def sampled(picture: np.ndarray, affine: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3): linear between pixel centres, the edge carried on."""
    linear = np.linalg.inv(affine[:, :2])
    y, x = np.mgrid[:side, :side]
    places = np.stack([x, y], -1) @ linear.T - linear @ affine[:, 2]
    places = places.clip(0, np.array(picture.shape[1::-1]) - 1)
    low = np.minimum(places.astype(int), np.array(picture.shape[1::-1]) - 2)
    dx, dy = np.moveaxis(places - low, -1, 0)[..., None]
    x0, y0 = np.moveaxis(low, -1, 0)
    top = picture[y0, x0] * (1 - dx) + picture[y0, x0 + 1] * dx
    return top * (1 - dy) + (picture[y0 + 1, x0] * (1 - dx) + picture[y0 + 1, x0 + 1] * dx) * dy


def read_identity(kind: str, converter: onnxruntime.InferenceSession) -> np.ndarray:
    """The source as the network gets it, without the batch's dimension."""
    if kind.startswith("picture"):
        _, side, name = kind.split()
        crop = sampled(SOURCE, fitted(SOURCE_FACE.landmarks.astype(float), template(name, int(side))), int(side))
        return crop.transpose(2, 0, 1)
    e = VECTOR.astype(np.float64)
    if kind.startswith("projected"):
        e = e / np.linalg.norm(e) @ emap()
    if kind.startswith("converted"):
        (e,) = converter.run(None, {"input": VECTOR[None]})[0].astype(np.float64)
    return e / np.linalg.norm(e) if kind.endswith("unit") else e


@dataclass(frozen=True, eq=False)
class Reading:
    """affine: (2, 3). crop, picture: (S, S, 3). source: what goes in beside the crop. mask: (S, S)."""

    affine: np.ndarray
    crop: np.ndarray
    source: np.ndarray
    picture: np.ndarray
    mask: np.ndarray


def read(name: str, session: onnxruntime.InferenceSession, converter: onnxruntime.InferenceSession) -> Reading:
    """What a swapper makes of TARGET in FRAME."""
    side, crop_template, (mean, std), kind, denormalised = READING[name]
    offset = 0.5 if name == "reswapper_256" else 0.0
    affine = fitted(TARGET.landmarks.astype(float), template(crop_template, side) + offset)
    crop = sampled(FRAME[0].numpy(), affine, side)
    source = read_identity(kind, converter).astype(np.float32)
    target = ((crop - mean) / std).transpose(2, 0, 1).astype(np.float32)
    picture, *masks = session.run(None, {"target": target[None], "source": source[None]})
    picture = picture[0].transpose(1, 2, 0)
    picture = (picture * std + mean if denormalised else picture).clip(0, 1)
    learned = masks[0][0, 0] if masks else 1.0
    return Reading(affine, crop, source, picture, np.minimum(crop_mask(side), learned))


def save_twins(folder: Path) -> dict[str, Path]:
    """A file for every swapper that is read here, and a converter."""
    files = {name: save_swapper(folder / f"{name}.onnx", CARDS[name]) for name in READING}
    return files | {"converter": save_converter(folder / "converter.onnx")}


def our_swapper(path: Path, name: str) -> Swapper:
    stat = path.stat()
    return Swapper(CARDS[name], matrix_in(path, stat.st_mtime_ns, stat.st_size))


def our_source(swapper: Swapper, converter: onnxruntime.InferenceSession) -> torch.Tensor:
    if swapper.card.identity == "picture":
        return picture_input(swapper, SOURCE, SOURCE_FACE)
    vector = VECTOR
    if swapper.card.converter:
        (vector,) = converter.run(None, {"input": VECTOR[None]})[0]
    return identity_input(swapper, vector)


def difference(name: str, twins: dict[str, Path]) -> float:
    """The largest between ours and the reading, of crop, source, picture and mask."""
    session, converter = runtime(twins[name]), runtime(twins["converter"])
    expected, swapper = read(name, session, converter), our_swapper(twins[name], name)
    source = our_source(swapper, converter)
    (found,) = swapped_crops(FRAME, [(TARGET, 0)], [source], swapper, infer_with(session))
    _, affine, picture, mask, crop = found
    pairs = (
        (affine, expected.affine),
        (crop, expected.crop),
        (source.numpy(), expected.source),
        (picture, expected.picture),
        (mask, expected.mask),
    )
    return max(float(np.abs(one - other).max()) for one, other in pairs)
