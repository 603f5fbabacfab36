"""Finding faces with any detector: every frame once, turned frames, limits, faces that cannot be aligned."""

import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.engines.host import StandaloneHost
from slimfusion.errors import SettingError
from slimfusion.faces.detect.find import find_faces
from slimfusion.faces.detect.mtcnn import Mtcnn
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.detection import detect_faces
from slimfusion.faces.face import Face

HOST = StandaloneHost("cpu")
PORTRAIT = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255)
POINTS = np.array([[3, 3], [8, 3], [5, 6], [3, 9], [8, 9]], np.float32)


class Listed:
    """A detector that gives faces of these sides, and counts the frames that it sees."""

    def __init__(self, *sides: float, points: np.ndarray = POINTS) -> None:
        self.sides, self.points, self.seen = sides, points, 0

    def detect(self, frames, score=0.5, min_face=None, max_faces=0, check=None):
        self.seen += len(frames)
        return [
            [Face(index, np.float32([0, 0, side, side / 2]), self.points, 0.9) for side in self.sides]
            for index in range(len(frames))
        ]


def test_each_frame_is_looked_at_once_and_faces_know_theirs():
    detector = Listed(10, 20)
    told = []
    host = StandaloneHost("cpu", progress=lambda stage, done, total: told.append((stage, done, total)))
    faces = find_faces(torch.zeros(19, 40, 50, 3), host, detector, 0.5)
    assert detector.seen == 19 and faces.count == 38 and (faces.height, faces.width) == (40, 50)
    assert [face.frame for of_frame in faces.frames for face in of_frame] == [i // 2 for i in range(38)]
    assert told[-1] == ("detect", 19, 19)


def test_limits_of_size_and_number():
    frames = torch.zeros(1, 90, 90, 3)
    (faces,) = find_faces(frames, HOST, Listed(10, 40, 80), 0.5, 0, None, 50).frames
    assert [face.box[2] for face in faces] == [10, 40]
    assert find_faces(frames, HOST, Listed(80, 40, 10), 0.5, 1, None, 50).frames[0][0].box[2] == 40
    with pytest.raises(SettingError, match=r"20 px.*30 px"):
        find_faces(frames, HOST, Listed(), 0.5, 0, 30, 20)


@pytest.mark.parametrize("points", [np.zeros((5, 2), np.float32), POINTS * np.nan, POINTS * 1e-3])
def test_faces_that_cannot_be_aligned_are_not_found(points):
    assert find_faces(torch.zeros(1, 40, 50, 3), HOST, Listed(10, points=points), 0.5).count == 0


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_mtcnn_finds_a_turned_face_with_its_points_in_order(turns):
    (upright,) = Mtcnn().detect(PORTRAIT[None])[0]
    frame = torch.rot90(PORTRAIT[:400, :500], -turns).contiguous()
    (face,) = detect_faces(frame[None], HOST, DetectionSettings(turned="always")).frames[0]
    height, width = 400, 500
    x, y = upright.landmarks.T
    wanted = {0: (x, y), 1: (height - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, width - 1 - x)}[turns]
    assert np.abs(face.landmarks - np.stack(wanted, 1)).max() < 6
    assert (face.landmarks > face.box[:2]).all() and (face.landmarks < face.box[2:]).all()


def test_a_user_can_stop_between_frames():
    class Stopped(BaseException):
        pass

    class Stopping(StandaloneHost):
        def check_interrupt(self):
            raise Stopped

    with pytest.raises(Stopped):
        detect_faces(PORTRAIT[None], Stopping("cpu"))
