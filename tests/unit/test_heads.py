"""Heads planted into generated outputs come back in the frame's pixels, from every kind of detector."""

import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import torch
from planted_heads import a_head, planted
from slimfusion.catalog.cards import CARDS
from slimfusion.errors import ModelFileError, SettingError
from slimfusion.faces.detect import heads
from slimfusion.faces.detect.mtcnn import Mtcnn
from slimfusion.faces.detect.network import NetworkDetector, View, plausible, prepared, starts
from slimfusion.faces.detect.views import as_faces, turned_back

SIZE = (640, 640)


@pytest.mark.parametrize("name", heads.DECODERS)
def test_planted_heads_come_back_whatever_the_order_of_the_outputs(name):
    faces = [a_head(30, 40, 41, 52), a_head(300.5, 200.25, 120, 150), a_head(100, 290, 330, 340)]
    outputs = planted(name, faces, [0.6, 0.7, 0.9])
    shuffled = [outputs[i] for i in np.random.default_rng(3).permutation(len(outputs))]
    for given in (outputs, shuffled, [each[None] for each in shuffled]):
        found = heads.DECODERS[name](given, SIZE, 0.5)
        assert len(found) == 3
        for (box, points), score in zip(faces, [0.6, 0.7, 0.9], strict=True):
            best = np.abs(found.scores - score).argmin()
            assert found.scores[best] == pytest.approx(score, abs=1e-6)
            assert np.abs(found.boxes[best] - box).max() < 1e-2
            assert np.abs(found.landmarks[best] - points).max() < 1e-2
    assert len(heads.DECODERS[name](outputs, SIZE, 0.95)) == 0


@pytest.mark.parametrize("name", heads.DECODERS)
def test_outputs_of_another_kind_are_refused(name):
    with pytest.raises(ModelFileError):
        heads.DECODERS[name]([np.zeros((7, 3), np.float32)], SIZE, 0.5)


def test_outputs_that_do_not_fit_the_input_are_refused():
    with pytest.raises(ModelFileError, match="300 x 320"):
        heads.decode_scrfd(planted("scrfd", [], []), (320, 300), 0.5)


class Seeing:
    """A stand-in for a detector's network: it finds bright squares of one face's colours and plants their heads."""

    def __init__(self, name: str, least: int = 12) -> None:
        self.name, self.least, self.calls = name, least, 0

    def __call__(self, items):
        card = CARDS[self.name]
        for (picture,) in items:
            self.calls += 1
            pixels = picture.numpy().transpose(1, 2, 0) * np.float32(card.std) + np.float32(card.mean)
            pixels = pixels[..., ::-1] if card.colour == "BGR" else pixels
            faces = self.faces(pixels)
            yield tuple(torch.from_numpy(each) for each in planted(self.name, faces, [0.9] * len(faces)))

    def faces(self, pixels: np.ndarray) -> list:
        """Red is the face, and green in it is its chin: only upright faces, chin below, are seen."""
        import cv2

        count, _, stats, _ = cv2.connectedComponentsWithStats((pixels[..., 0] > 0.5).astype(np.uint8))
        found = []
        for x, y, width, height, _ in stats[1:count]:
            green = pixels[y : y + height, x : x + width, 1].mean(1)
            chin, brow = green[-max(1, height // 4) :].mean(), green[: height // 2 + 1].mean()
            if min(width, height) >= self.least and chin > 0.3 > brow:
                found.append(a_head(x, y, width, height))
        return found


def a_frame(height: int, width: int, *faces: tuple[int, int, int, int]) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.float32)
    for x, y, w, h in faces:
        frame[y : y + h, x : x + w, 0] = 1
        frame[y + h * 2 // 3 : y + h, x : x + w, 1] = 1
    return frame


def found_by(detector, frames: torch.Tensor, *settings) -> list:
    """The faces of each frame, best first."""
    looks = detector.look(frames, *settings)
    return [as_faces(look.detections, index, frames.shape[1:3]) for index, look in enumerate(looks)]


def found_in(frame: np.ndarray, name: str = "scrfd", turns=(0,), **settings) -> list:
    detector = NetworkDetector(CARDS[name], Seeing(name), **settings)
    (faces,) = found_by(detector, torch.from_numpy(frame)[None], turns)
    return faces


@pytest.mark.parametrize("name", heads.DECODERS)
@pytest.mark.parametrize("height, width", [(480, 640), (1080, 1920), (333, 257), (2160, 1440)])
def test_a_face_is_found_where_it_is(name, height, width):
    x, y, w, h = width // 3, height // 4, height // 5, height // 4
    (face,) = found_in(a_frame(height, width, (x, y, w, h)), name, tiled=False)
    box, points = a_head(x, y, w, h)
    scale = max(1, max(height, width) / 640)
    assert face.box.dtype == face.landmarks.dtype == np.float32 and face.frame == 0
    # The stand-in sees whole pixels of its input, hence the scale.
    assert np.abs(face.box - box).max() <= scale and np.abs(face.landmarks - points).max() <= scale


def test_tiles_find_small_faces_of_a_large_frame_and_no_face_twice():
    small, on_a_seam, large = (3000, 1500, 48, 60), (1260, 700, 60, 70), (300, 300, 900, 1100)
    frame = a_frame(2160, 3840, small, on_a_seam, large)
    assert len(found_in(frame, tiled=False)) == 1
    faces = found_in(frame)
    assert len(faces) == 3
    for wanted in (small, on_a_seam, large):
        box, points = a_head(*wanted)
        nearest = min(faces, key=lambda face: np.abs(face.box - box).max())
        assert np.abs(nearest.box - box).max() <= 6 and np.abs(nearest.landmarks - points).max() <= 6


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_faces_are_found_with_their_points_in_order(turns):
    upright = a_frame(400, 300, (90, 120, 100, 130))
    frame = np.ascontiguousarray(np.rot90(upright, -turns))
    assert found_in(frame) == []
    (face,) = found_in(frame, turns=(0, 1, 2, 3))
    _, points = a_head(90, 120, 100, 130)
    marks = np.zeros((400, 300))
    for index, (x, y) in enumerate(points.round().astype(int)):
        marks[y, x] = index + 1
    marks = np.rot90(marks, -turns)
    where = np.array([np.argwhere(marks == index + 1)[0][::-1] for index in range(5)])
    assert np.abs(face.landmarks - where).max() <= 1.5


def test_a_turned_frame_and_back_is_the_same():
    generator = np.random.default_rng(0)
    for turns in range(4):
        found = heads.Detections(np.array([[3.0, 5, 20, 40]]), generator.random((1, 5, 2)) * 20, np.ones(1))
        once = turned_back(found, (70, 90), turns)
        shape = (90, 70) if turns % 2 else (70, 90)
        again = turned_back(once, shape, (4 - turns) % 4)
        assert np.allclose(again.boxes, found.boxes) and np.allclose(again.landmarks, found.landmarks)


def test_two_hundred_faces_and_limits():
    places = [(x, y, 20 + (x // 60) % 3 * 8, 30) for x in range(10, 1200, 60) for y in range(10, 500, 50)]
    frame = a_frame(520, 1220, *places)
    detector = NetworkDetector(CARDS["yoloface"], Seeing("yoloface", 8), (1280, 1280))
    (faces,) = found_by(detector, torch.from_numpy(frame)[None])
    assert len(faces) == len(places) == 200
    (large,) = found_by(detector, torch.from_numpy(frame)[None], (0,), 0.5, 34)
    assert 0 < len(large) < 200
    keys = [(-round(face.score, 2), face.box[0]) for face in faces]
    assert keys == sorted(keys)


def test_one_call_a_view_and_frames_keep_their_order():
    frames = torch.from_numpy(np.stack([a_frame(200, 300, (40 * i, 20, 60, 80)) for i in range(4)]))
    seeing = Seeing("yunet")
    found = found_by(NetworkDetector(CARDS["yunet"], seeing), frames)
    assert seeing.calls == 4
    assert [round(float(faces[0].box[0])) for faces in found] == [0, 40, 80, 120]
    assert [faces[0].frame for faces in found] == [0, 1, 2, 3]


def test_no_frames_and_wrong_settings():
    detector = NetworkDetector(CARDS["scrfd"], Seeing("scrfd"))
    assert detector.look(torch.zeros(0, 64, 64, 3)) == []
    with pytest.raises(SettingError):
        detector.look(torch.zeros(1, 64, 64, 3), score=1.5)


def test_what_is_no_number_is_no_face():
    class Broken(Seeing):
        def faces(self, pixels):
            return [a_head(10, 10, 50, 60), (np.full(4, np.nan), np.full((5, 2), 3.0))][:1]

        def __call__(self, items):
            for outputs in super().__call__(items):
                outputs[0][4:10, :2] = np.nan
                yield outputs

    detector = NetworkDetector(CARDS["yoloface"], Broken("yoloface"))
    (faces,) = found_by(detector, torch.zeros(1, 640, 640, 3))
    assert len(faces) == 1


def test_a_view_is_shrunk_and_padded_below_and_right():
    frame = np.random.default_rng(0).random((50, 100, 4), np.float32)
    picture = prepared(frame, View(0, 0, 0, 100, 50, 0.5), (64, 64))
    assert np.abs(picture[:25, :50] - frame[..., :3].reshape(25, 2, 50, 2, 3).mean((1, 3))).max() < 1e-6
    assert picture[25:].max() == picture[:, 50:].max() == 0
    turned = prepared(frame, View(1, 0, 0, 50, 100, 0.5), (64, 64))
    assert np.abs(turned[:50, :25] - np.rot90(picture[:25, :50])).max() < 1e-6


@pytest.mark.parametrize("length", [640, 1280, 1281, 1921, 2160, 3840, 7680])
def test_tiles_cover_a_length_and_overlap(length):
    first = starts(length, 1280)
    assert first[0] == 0 and all(b - a <= 960 for a, b in pairwise(first))
    assert first[-1] + 1280 >= length and (len(first) == 1 or math.isclose(first[-1], length - 1280))


def test_mtcnn_is_called_in_the_same_way():
    portrait = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255)[None]
    for detector in (Mtcnn(), NetworkDetector(CARDS["scrfd"], Seeing("scrfd", 8))):
        ((face,),) = found_by(detector, portrait, (0,), 0.8, 20, None)
        assert face.landmarks.shape == (5, 2)


def test_points_in_the_order_of_a_face_are_plausible_however_it_lies():
    points = a_head(0, 0, 100, 120)[1]
    profile = points * [0.05, 1] + [[0, 0], [0, 0], [30, 0], [0, 0], [0, 0]]
    for angle in np.radians(range(0, 360, 30)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert plausible(points @ turn) and plausible(profile @ turn)
        assert not plausible(points[[1, 0, 2, 4, 3]] @ turn), "left and right exchanged"
        assert not plausible(points[[3, 4, 2, 0, 1]] @ turn), "mouth above the eyes"
    assert not plausible(points[[0, 1, 2, 0, 1]]) and not plausible(points * np.nan)
    points[2] += [0, 200]
    assert not plausible(points), "the nose far below the mouth"
