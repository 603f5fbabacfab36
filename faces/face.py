"""What a detected face is, and the faces of a batch of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import FacesError


@dataclass(frozen=True, eq=False)
class Face:
    """One face, in pixels of its frame.

    frame: index of the frame in its batch.
    box: (4,) float32 x0 y0 x1 y1 in pixel edges: the pixels are frame[y0:y1, x0:x1].
    landmarks: (5, 2) float32 x y with pixel centres at whole numbers: left eye, right eye, nose, left mouth
        corner, right mouth corner; left is the picture's left.
    score: the detector's confidence, 0..1.

    What only some nodes ask for is None until a network has been asked:
    landmarks68: (68, 2) float32 x y like the five points, in the order of iBUG 300-W.
    embedding: (D,) float32, the recogniser's vector as it comes, not normalised.
    recogniser: the card of the network that made the embedding, "" without one.
    gender: "female" or "male". age: the youngest and oldest year that it is taken for; equal where the network
        gives one number.
    """

    frame: int
    box: np.ndarray
    landmarks: np.ndarray
    score: float
    landmarks68: np.ndarray | None = None
    embedding: np.ndarray | None = None
    recogniser: str = ""
    gender: str | None = None
    age: tuple[int, int] | None = None

    @property
    def side(self) -> float:
        """px of the box's longer side."""
        return float((self.box[2:] - self.box[:2]).max())


@dataclass(frozen=True, eq=False, repr=False)
class Faces:
    """The faces of each frame of a batch whose frames are `height` x `width` pixels."""

    frames: tuple[tuple[Face, ...], ...]
    height: int
    width: int

    @property
    def count(self) -> int:
        return sum(len(faces) for faces in self.frames)

    def __repr__(self) -> str:
        return f"Faces({self.count} in {len(self.frames)} frames of {self.width} x {self.height})"

    def check_size(self, frames: torch.Tensor) -> None:
        """Raises FacesError unless `frames` (B, H, W, C) has the size and length the faces were found in."""
        batch, height, width = frames.shape[:3]
        if (batch, height, width) != (len(self.frames), self.height, self.width):
            raise FacesError(
                f"The faces were found in {len(self.frames)} frames of {self.width} x {self.height}, but the "
                f"image has {batch} of {width} x {height}: detect faces in this image."
            )
        self.check_places()

    def check_places(self) -> None:
        """Raises FacesError for a face that is listed under another frame than its own."""
        for index, of_frame in enumerate(self.frames):
            for face in of_frame:
                if face.frame != index:
                    raise FacesError(
                        f"A face of frame {face.frame} is listed under frame {index}: detect faces in this image."
                    )
