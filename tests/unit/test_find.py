"""Finding faces with any detector: every frame, turned ones where needed, limits, numbers, wrong points."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.engines.memory.report import Report
from slimfusion.errors import BudgetError
from slimfusion.faces.detect import detection
from slimfusion.faces.detect.area import exposure_gain
from slimfusion.faces.detect.detection import changeable, detect_faces, detection_bytes
from slimfusion.faces.detect.detectors import MTCNN_BYTES
from slimfusion.faces.detect.find import EMPTY_FRAMES, by_place, find_faces
from slimfusion.faces.detect.mtcnn import Mtcnn
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.detect.views import Detections, Look, as_candidates, count_doubtful
from slimfusion.faces.face import Face
from stopping_host import Stopped, StoppingHost

HOST = StandaloneHost("cpu")
PORTRAIT = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255)
POINTS = np.array([[3, 3], [8, 3], [5, 6], [3, 9], [8, 9]], np.float32)


class Listed:
    """A detector that gives faces of these sides, and counts the frames that it sees."""

    def __init__(self, *sides: float, points: np.ndarray = POINTS) -> None:
        self.sides, self.points, self.seen = sides, points, 0

    def look(self, frames, turns=(0,), score=0.5, min_face=None, check=None):
        self.seen += len(frames)
        faces = [Face(0, np.float32([0, 0, side, side / 2]), self.points, 0.9) for side in self.sides]
        return [Look(as_candidates(faces))] * len(frames)


def test_each_frame_is_looked_at_once_and_faces_know_theirs():
    detector = Listed(10, 20)
    told = []
    host = StandaloneHost("cpu", progress=lambda stage, done, total: told.append((stage, done, total)))
    faces = find_faces(torch.zeros(19, 40, 50, 3), host, detector, DetectionSettings())
    assert detector.seen == 19 and faces.count == 38 and (faces.height, faces.width) == (40, 50)
    assert [face.frame for of_frame in faces.frames for face in of_frame] == [i // 2 for i in range(38)]
    assert told[-1] == ("detect", 19, 19)


def test_limits_of_size_and_number():
    frames = torch.zeros(1, 90, 90, 3)
    (faces,) = find_faces(frames, HOST, Listed(10, 40, 80), DetectionSettings(max_face=50)).frames
    assert [face.box[2] for face in faces] == [10, 40]
    best = DetectionSettings(max_faces=1, max_face=50)
    assert find_faces(frames, HOST, Listed(80, 40, 10), best).frames[0][0].box[2] in (10, 40)


@pytest.mark.parametrize("points", [np.zeros((5, 2), np.float32), POINTS * np.nan, POINTS * 1e-3])
def test_faces_that_cannot_be_aligned_are_not_found(points):
    assert find_faces(torch.zeros(1, 40, 50, 3), HOST, Listed(10, points=points), DetectionSettings()).count == 0


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("turned", ["auto", "always"])
def test_mtcnn_finds_a_turned_face_with_its_points_in_order(turns, turned):
    (upright,) = Mtcnn().detect(PORTRAIT[None])[0]
    frame = torch.rot90(PORTRAIT[:400, :500], -turns).contiguous()
    (face,) = detect_faces(frame[None], HOST, DetectionSettings(turned=turned)).frames[0]
    height, width = 400, 500
    x, y = upright.landmarks.T
    wanted = {0: (x, y), 1: (height - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, width - 1 - x)}[turns]
    assert np.abs(face.landmarks - np.stack(wanted, 1)).max() < 6
    assert (face.landmarks > face.box[:2]).all() and (face.landmarks < face.box[2:]).all()


def test_a_user_can_stop_between_frames():
    with pytest.raises(Stopped):
        detect_faces(PORTRAIT[None], StoppingHost("cpu"))


@pytest.mark.parametrize("angle", [30, 60, 90, 135, 180, 225, 300])
def test_a_face_at_any_angle_is_found_with_right_points_or_not_at_all(angle):
    """At half a turn and around it MTCNN's own points are two eye distances off."""
    picture = PORTRAIT[:300, 60:400].numpy()
    (truth,) = Mtcnn().detect(torch.from_numpy(picture.copy())[None])[0]
    turn = cv2.getRotationMatrix2D((170, 150), angle, 1)
    turn[:, 2] += 80
    frame = cv2.warpAffine(picture, turn, (500, 460), borderValue=(0.5, 0.5, 0.5))
    (face,) = detect_faces(torch.from_numpy(frame)[None], HOST).frames[0]
    wanted = truth.landmarks @ turn[:, :2].T + turn[:, 2]
    eyes = np.linalg.norm(truth.landmarks[1] - truth.landmarks[0])
    assert np.linalg.norm(face.landmarks - wanted, axis=1).max() < 0.12 * eyes
    inside = (face.landmarks > face.box[:2]) & (face.landmarks < face.box[2:])
    assert inside.all()


class Turning:
    """A detector that sees one face, in frames that are turned so many times alone; it counts all looks."""

    def __init__(self, turn: int | None) -> None:
        self.turn, self.looks = turn, []

    def look(self, frames, turns=(0,), score=0.5, min_face=None, check=None):
        self.looks += [(*turns, score)] * len(frames)
        faces = [Face(0, np.float32([0, 0, 30, 30]), POINTS, 0.99)] if self.turn in turns else []
        return [Look(as_candidates(faces))] * len(frames)


@pytest.mark.parametrize(
    "mode, turn, looks, found", [("never", 2, 1, 0), ("auto", 0, 1, 1), ("auto", 2, 3, 1), ("always", 2, 1, 1)]
)
def test_turned_frames_are_looked_at_only_where_nothing_stands_upright(mode, turn, looks, found):
    detector = Turning(turn)
    faces = find_faces(torch.zeros(1, 40, 50, 3), HOST, detector, DetectionSettings(turned=mode))
    assert faces.count == found and len(detector.looks) == looks
    assert all(score >= 0.97 for *turns, score in detector.looks if mode == "auto" and turns != [0])


def test_a_clip_without_faces_is_seldom_turned_and_a_turn_that_worked_is_tried_first():
    empty = Turning(None)
    find_faces(torch.zeros(2 * EMPTY_FRAMES, 40, 50, 3), HOST, empty, DetectionSettings())
    assert len(empty.looks) == 2 * EMPTY_FRAMES + 2 * 3
    lying = Turning(3)
    assert find_faces(torch.zeros(8, 40, 50, 3), HOST, lying, DetectionSettings()).count == 8
    assert len(lying.looks) == 8 + 3 + 7


class Doubting(Turning):
    """A detector that sees an upright face, and may doubt whether it is the only one."""

    doubtful = 1

    def look(self, frames, turns=(0,), score=0.5, min_face=None, check=None):
        self.looks += [(*turns, score)] * len(frames)
        upright, lying = (Face(0, np.float32([x, 0, x + 30, 30]), POINTS + np.float32([x, 0]), 0.99) for x in (0, 60))
        faces = [upright] if 0 in turns else [lying] if self.turn in turns else []
        return [Look(as_candidates(faces), 0, self.doubtful if 0 in turns else 0)] * len(frames)


def test_a_face_that_lies_beside_an_upright_one_is_looked_for_where_something_is_doubtful():
    lying = Doubting(1)
    assert find_faces(torch.zeros(4, 40, 99, 3), HOST, lying, DetectionSettings()).count == 8
    assert len(lying.looks) == 2 * 4, "the turn that worked first, and no other"
    nothing = Doubting(None)
    assert find_faces(torch.zeros(EMPTY_FRAMES, 40, 99, 3), HOST, nothing, DetectionSettings()).count == EMPTY_FRAMES
    assert len(nothing.looks) == EMPTY_FRAMES + 3, "in vain, hence not in every frame"
    sure = Doubting(1)
    sure.doubtful = 0
    assert find_faces(torch.zeros(4, 40, 99, 3), HOST, sure, DetectionSettings()).count == 4
    assert len(sure.looks) == 4


@pytest.mark.parametrize("turn", [1, 2])
def test_mtcnn_doubts_what_looks_a_little_like_a_face_beside_one(turn):
    both = torch.cat([PORTRAIT, torch.rot90(PORTRAIT, turn, (0, 1))], 1)
    assert len(detect_faces(both[None], HOST).frames[0]) == 2
    assert len(detect_faces(PORTRAIT[None], HOST).frames[0]) == 1


def test_only_large_places_beside_the_faces_are_doubtful():
    def detections(*boxes):
        return Detections(np.float64(boxes).reshape(-1, 4), np.zeros((len(boxes), 5, 2)), np.full(len(boxes), 0.5))

    face = detections((0, 0, 100, 100))
    weak = detections((200, 0, 300, 100), (10, 10, 90, 90), (200, 200, 220, 220))
    assert count_doubtful(weak, face) == 1 and count_doubtful(weak, detections()) == 0


def face_at(x, y, side=40.0, score=0.9):
    return Face(0, np.float32([x - side / 2, y - side / 2, x + side / 2, y + side / 2]), POINTS, score)


def test_numbers_go_from_left_to_right_whatever_the_score():
    places = [(30, 200), (110, 40), (300, 90)]
    for scores in ([0.9, 0.99, 0.8], [0.8, 0.9, 0.99]):
        faces = [face_at(*place, score=score) for place, score in zip(places, scores, strict=True)]
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
            numbered = by_place([faces[index] for index in order])
            assert [face.box[0] + 20 for face in numbered] == [30, 110, 300]


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_faces_above_each_other_go_from_the_top_down(shift):
    numbered = by_place([face_at(100, 200), face_at(100 + shift, 50), face_at(180, 10)])
    assert [float(face.box[1] + 20) for face in numbered] == [50, 200, 10]


def test_the_best_are_kept_and_then_numbered_by_place():
    class Three(Listed):
        def look(self, frames, *settings):
            faces = [face_at(150, 20, score=0.99), face_at(90, 20, score=0.85), face_at(30, 20, score=0.95)]
            return [Look(as_candidates(faces))] * len(frames)

    (faces,) = find_faces(torch.zeros(1, 60, 200, 3), HOST, Three(), DetectionSettings(max_faces=2)).frames
    assert [float(face.score) for face in faces] == [0.95, 0.99]


@pytest.mark.parametrize("exposure", [0.05, 0.1])
def test_a_very_dark_picture_still_has_its_face(exposure):
    (bright,) = detect_faces(PORTRAIT[None], HOST).frames[0]
    (face,) = detect_faces(PORTRAIT[None] * exposure, HOST).frames[0]
    assert np.abs(face.landmarks - bright.landmarks).max() < 4


def test_frames_of_usual_brightness_are_looked_at_as_they_are():
    assert exposure_gain(PORTRAIT.numpy()) == exposure_gain(PORTRAIT.numpy() * 0.3) == 1.0
    assert exposure_gain(np.zeros((9, 9, 3), np.float32)) == 1.0
    assert exposure_gain(PORTRAIT.numpy() * 0.05) > 10


def test_faces_that_are_too_small_are_left_and_the_report_says_so():
    report = Report()
    points = POINTS * 4
    small, large = (Face(0, np.float32([0, 0, side, side / 2]), points, 0.9) for side in (39, 41))
    settings = DetectionSettings()
    assert changeable([small, large], settings.smallest_changed(chosen=False), report) == [large]
    assert report.notes == ["faces smaller than 40 px, not changed: 1"]
    assert changeable([small, large], settings.smallest_changed(chosen=True), Report()) == [small, large]
    assert changeable([small, large], DetectionSettings(min_face=30).smallest_changed(False), Report())[0] is small


def test_a_budget_below_what_detection_takes_is_refused_before_a_frame_is_read(monkeypatch):
    monkeypatch.setattr(detection, "find_faces", lambda *_: pytest.fail("faces were looked for"))
    with pytest.raises(BudgetError, match=r"^Face detection: MTCNN needs \d+ MiB .* gives 20 MiB") as refusal:
        detect_faces(PORTRAIT[None], HOST, budget=MemoryBudget(20 << 20))
    assert refusal.value.needed > refusal.value.given


def test_a_batch_takes_no_more_than_is_forecast_at_most():
    SESSIONS.release()  # what other tests have left open counts into the prediction
    detect_faces(PORTRAIT[None], HOST)
    report, size = Report(), PORTRAIT.shape[:2]
    detect_faces(PORTRAIT.expand(24, -1, -1, -1), HOST, report=report)
    forecast = MTCNN_BYTES + detection_bytes(*size, DetectionSettings())
    assert 0 < report.measured_peak <= 1.25 * forecast
    assert report.predicted_peak - report.planning_bytes <= forecast <= report.predicted_peak


@pytest.mark.parametrize(
    ("size", "settings", "measured"),
    [
        # Two figures are the least, of one face, and the most, of crowds and noise.
        ((512, 512), DetectionSettings(), (33, 40)),
        ((720, 1280), DetectionSettings(), (51, 52)),
        ((1080, 1920), DetectionSettings(), (68, 82)),
        ((1080, 1920), DetectionSettings(turned="always"), (80, 82)),
        ((2160, 3840), DetectionSettings(), (55, 69)),
        ((2160, 3840), DetectionSettings(min_face=24), (61, 72)),
        ((2160, 3840), DetectionSettings(min_face=24, turned="always"), (71, 72)),
        ((4320, 7680), DetectionSettings(), (52, 52)),
        ((4320, 7680), DetectionSettings(turned="always"), (64, 64)),
        ((4320, 7680), DetectionSettings(min_face=12), (67, 81)),
        ((8000, 12000), DetectionSettings(), (51, 51)),
    ],
)
def test_the_forecast_is_what_was_measured_in_fresh_processes(size, settings, measured):
    forecast = MTCNN_BYTES + detection_bytes(*size, settings)
    assert all(0.8 <= forecast / (each << 20) <= 1.25 for each in measured)
