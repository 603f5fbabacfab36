"""Faces where a test wants them."""

import numpy as np
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.frames import as_floats

FFHQ = np.array([(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.612, 0.725)], np.float32)


def face_at(frame, x, y, side=72.0):
    """A face around a place whose restored square has `side` px."""
    points = (FFHQ - 0.5) * side + [x, y]
    box = np.array([x - 0.3 * side, y - 0.3 * side, x + 0.3 * side, y + 0.3 * side], np.float32)
    return Face(frame, box, points.astype(np.float32), 0.99)


def planted_detection(frames, host, settings, budget, report):
    """Instead of `detect_faces`: one face in the middle of every frame."""
    height, width = frames.shape[1:3]
    return Faces(tuple((face_at(i, width / 2, height / 2),) for i in range(len(frames))), height, width)


def planted_following(pictures, clues, host, settings, budget, report):
    """Instead of `follow_faces`: the same."""
    return planted_detection(as_floats(pictures), host, settings, budget, report)
