"""Numbered boxes and five points on a picture, for the preview."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..opencv import cv2
from .face import Face

BOX_COLOUR, POINT_COLOUR, TEXT_COLOUR = (80, 220, 120), (255, 190, 60), (10, 30, 15)

# Parts of the frame's longer side: lines, and the height of numbers, which can be read on 6000 px shown at 400.
LINE, TEXT = 1 / 400, 1 / 40
LEAST_TEXT, FONT_HEIGHT = 14, 22  # px of a number at least, and of one at OpenCV's scale 1
SHOWN_FRAMES, SHOWN_SIDE = 16, 1024  # most frames and px that a page is sent


@dataclass(frozen=True)
class Shown:
    """The first frames of a batch (B, H, W, C), shrunk for a page one by one as they are asked for."""

    frames: torch.Tensor

    def __len__(self) -> int:
        return min(len(self.frames), SHOWN_FRAMES)

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < len(self):
            raise IndexError(index)
        frame = self.frames[index].numpy()
        height, width = frame.shape[:2]
        factor = min(1.0, SHOWN_SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return torch.from_numpy(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))


def draw_faces(frame: np.ndarray, faces: Sequence[Face]) -> None:
    """Draws each face's box, points and number from 0 into a frame (H, W, 3 or 4) float32 0..1 RGB.

    Lines and text grow with the frame. Alpha is kept.
    """
    longest = max(frame.shape[:2])
    for index, face in enumerate(faces):
        draw_face(frame, face, str(index), max(1, round(longest * LINE)), max(LEAST_TEXT, longest * TEXT))


def draw_face(frame: np.ndarray, face: Face, label: str, width: int, text: float) -> None:
    """Draws one face into the frame; width is the line's and text the number's height, both in pixels.

    Works on an 8-bit copy of the face's surroundings, because OpenCV writes text and smooth lines on nothing
    else.
    """
    scale = text / FONT_HEIGHT
    bold, border = max(1, round(text / 9)), max(2, round(text / 4))
    (text_width, text_height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, bold)
    label_size = np.array([text_width, text_height]) + 2 * border
    box = np.round(face.box).astype(int)
    extent = np.array([frame.shape[1], frame.shape[0]])
    marks = np.concatenate([box.reshape(2, 2), np.round(face.landmarks).astype(int)])
    start = (marks.min(0) - [0, label_size[1]] - 4 * width).clip(0, extent - 1)
    stop = (np.maximum(marks.max(0), box[:2] + label_size) + 4 * width).clip(start + 1, extent)
    patch = frame[start[1] : stop[1], start[0] : stop[0], :3]
    drawing = (np.nan_to_num(patch).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    x0, y0 = (box[:2] - start).tolist()
    x1, y1 = (box[2:] - start).tolist()
    cv2.rectangle(drawing, (x0, y0), (x1, y1), BOX_COLOUR, width, cv2.LINE_AA)
    for x, y in (marks[2:] - start).tolist():
        cv2.circle(drawing, (x, y), 2 * width, POINT_COLOUR, -1, cv2.LINE_AA)
    top = max(0, y0 - int(label_size[1]))
    cv2.rectangle(drawing, (x0, top), (x0 + int(label_size[0]), top + int(label_size[1])), BOX_COLOUR, -1)
    place = x0 + border, top + text_height + border
    cv2.putText(drawing, label, place, cv2.FONT_HERSHEY_SIMPLEX, scale, TEXT_COLOUR, bold, cv2.LINE_AA)
    patch[...] = drawing.astype(np.float32) / 255
