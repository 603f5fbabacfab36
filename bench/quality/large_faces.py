"""How much detail a face keeps that is far larger than its network: 1500 px, and a network of 512 px that blurs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...catalog.cards import CARDS
from ...catalog.spec import ModelSpec
from ...distill.degrade import Image
from ...engines.live_peak import CountedModel, MetaModel
from ...engines.network import Network, Tensors
from ...faces import align
from ...faces.face import Face, Faces
from ...faces.restore import Restoring, restore_faces
from ...opencv import cv2
from ..result import at_least

SIDE = 1500  # px of the face's aligned square
FRAME = 1600  # px of the frame around it
GRAIN = 0.02  # standard deviation of the film grain, which is as fine as the frame
BLUR = 9  # px of the network's box
SEED = 1
LEAST_KEPT = 0.9
TEMPLATE = "ffhq_512"


class BlurringModel(CountedModel):
    """A face network with GFPGAN's shapes, whose result is its crop without any detail."""

    def __init__(self) -> None:
        card = CARDS["gfpgan"]
        self.spec = ModelSpec("blur", None, card, "blur", card.licence, 0, 1, 1, 0, 0, ("fp32",))
        self.key = ("blur",)

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        return 0

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        from torch._subclasses.fake_tensor import FakeTensorMode

        return lambda inputs, fidelity: blurred(inputs), FakeTensorMode(allow_non_fake_inputs=True)

    def load(self, device: torch.device, precision: str, limit: int) -> BlurringNetwork:
        return BlurringNetwork()


class BlurringNetwork(Network):
    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        return blurred(inputs)

    def close(self) -> None:
        return


def blurred(inputs: Tensors) -> Tensors:
    return (F.avg_pool2d(inputs[0], BLUR, 1, BLUR // 2, count_include_pad=False),)


def large_face(picture: Image, face: Face) -> tuple[Image, Face]:
    """The picture with its face's square `SIDE` px wide in the middle of `FRAME` px, with grain; and the face."""
    crop = align.affine_for(face.landmarks, TEMPLATE, SIDE)
    crop[:, 2] += (FRAME - SIDE) / 2
    enlarged = cv2.warpAffine(picture, crop, (FRAME, FRAME), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    grain = np.random.default_rng(SEED).normal(0, GRAIN, enlarged.shape)
    points = face.landmarks @ crop[:, :2].T + crop[:, 2]
    box = np.array([*points.min(0), *points.max(0)])
    placed = replace(face, frame=0, box=box.astype(np.float32), landmarks=points.astype(np.float32), landmarks68=None)
    return (enlarged + grain).clip(0, 1).astype(np.float32), placed


def fine_detail(picture: Image, size: int) -> np.ndarray:
    """The spectrum (H, W, 3) of a square of a face's frame above what a crop of `size` px can hold."""
    window = np.hanning(len(picture))
    spectrum = np.fft.fft2((picture - picture.mean((0, 1))) * np.outer(window, window)[..., None], axes=(0, 1))
    frequency = np.fft.fftfreq(len(picture))
    spectrum[np.hypot(frequency[:, None], frequency[None]) <= 0.5 * size / SIDE] = 0
    return np.asarray(spectrum)


def large_face_bars(picture: Image, face: Face) -> list[dict[str, Any]]:
    """Of the detail above the network's resolution: its energy, and how much of it is the frame's own."""
    frame, placed = large_face(picture, face)
    model, frames = BlurringModel(), torch.from_numpy(frame)[None]
    done = restore_faces(frames, model, restoring=Restoring(faces=Faces(((placed,),), FRAME, FRAME)))
    inside = slice(FRAME // 4, FRAME * 3 // 4), slice(FRAME // 4, FRAME * 3 // 4)  # where the mask is 1
    size = model.spec.card.size
    assert size is not None
    before, after = (fine_detail(each[inside], size) for each in (frame, done.frames[0].numpy()))
    energy = float((np.abs(before) ** 2).sum())
    own = float((before.conj() * after).real.sum()) / energy
    return [
        at_least("large_face_detail_energy_kept", round(float((np.abs(after) ** 2).sum()) / energy, 4), LEAST_KEPT),
        at_least("large_face_detail_of_the_frame", round(own, 4), LEAST_KEPT),
    ]
