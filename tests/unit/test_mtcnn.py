"""The detector on a known face, on crowds, on cut faces and on pictures that hold none."""

import hashlib
import importlib.util
import sys

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.errors import DependencyError, ImageError, SettingError
from slimfusion.faces.detect import area, mtcnn, mtcnn_weights
from slimfusion.faces.detect.boxes import nms
from slimfusion.faces.detect.mtcnn import Mtcnn

ASTRONAUT = skimage.data.astronaut().astype(np.float32) / 255
EYES = np.array([[203, 100], [246, 103]])  # read off the picture
MIRRORED = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn()


def batch(*frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(frames))


def test_one_face_on_the_astronaut(detector):
    (faces,) = detector.detect(batch(ASTRONAUT))
    (face,) = faces
    assert face.frame == 0 and 0.9 < face.score <= 1
    assert face.box.shape == (4,) and face.box.dtype == face.landmarks.dtype == np.float32
    assert np.abs(face.landmarks[:2] - EYES).max() < 3
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert right_eye[1] < nose[1] < left_mouth[1]
    assert (face.landmarks > face.box[:2]).all() and (face.landmarks < face.box[2:]).all()


def test_a_mirrored_face_has_mirrored_points(detector):
    """A shift of half a pixel in the geometry would show as twice that here."""
    offsets = []
    for size in (200, 256, 330, 400, 512):
        picture = cv2.resize(ASTRONAUT, (size, size), interpolation=cv2.INTER_AREA)
        (face,), (other,) = detector.detect(batch(picture, np.ascontiguousarray(picture[:, ::-1])), min_face=24)
        mirrored = other.landmarks[MIRRORED] * [-1, 1] + [size - 1, 0]
        assert np.abs(face.landmarks - mirrored).max() < 0.006 * size
        offsets.append((face.landmarks - mirrored)[:, 0].mean())
    assert abs(np.mean(offsets)) < 0.5


def test_a_batch_finds_what_single_frames_find(detector):
    dark, turned = ASTRONAUT * 0.6, np.ascontiguousarray(ASTRONAUT[:, ::-1])
    frames = batch(ASTRONAUT, dark, np.zeros_like(dark), turned, ASTRONAUT, dark)
    together = detector.detect(frames)
    for index, faces in enumerate(together):
        (alone,) = detector.detect(frames[index : index + 1])
        assert len(faces) == len(alone) == (0 if index == 2 else 1)
        for face, single in zip(faces, alone, strict=True):
            assert face.frame == index
            assert np.abs(face.landmarks - single.landmarks).max() < 1e-2
            assert np.abs(face.box - single.box).max() < 1e-2
            assert face.score == pytest.approx(single.score, abs=1e-4)


def test_the_same_picture_gives_the_same_faces(detector):
    (first,), (second,) = (detector.detect(batch(ASTRONAUT))[0] for _ in range(2))
    assert np.array_equal(first.landmarks, second.landmarks) and first.score == second.score


def test_thirty_faces_in_one_picture_sorted(detector):
    crowd = np.tile(ASTRONAUT[30:230, 120:320], (5, 6, 1))
    (faces,) = detector.detect(batch(crowd))
    cells = sorted((int(face.landmarks[2, 1] // 200), int(face.landmarks[2, 0] // 200)) for face in faces)
    assert cells == [(row, column) for row in range(5) for column in range(6)]
    keys = [(-round(face.score, 2), face.box[0]) for face in faces]
    assert keys == sorted(keys)
    (three,) = detector.detect(batch(crowd), max_faces=3)
    assert [face.score for face in three] == [face.score for face in faces[:3]]


@pytest.mark.parametrize("cut", ["left", "right", "bottom"])
def test_a_face_cut_by_the_border(detector, cut):
    x0, y0, x1, y1 = {"left": (200, 0, 512, 512), "right": (0, 0, 248, 512), "bottom": (0, 0, 512, 148)}[cut]
    (faces,) = detector.detect(batch(ASTRONAUT[y0:y1, x0:x1].copy()), min_face=24)
    (face,) = faces
    assert np.abs(face.landmarks[:2] - (EYES - np.array([x0, y0]))).max() < 8
    assert face.box.min() >= 0 and face.box[2] <= x1 - x0 and face.box[3] <= y1 - y0


def test_alpha_is_not_looked_at(detector):
    alpha = np.random.default_rng(0).random((512, 512, 1), np.float32)
    (face,), (plain,) = (detector.detect(batch(p))[0] for p in (np.concatenate([ASTRONAUT, alpha], 2), ASTRONAUT))
    assert np.abs(face.landmarks - plain.landmarks).max() < 1e-2


def test_nan_counts_as_black(detector):
    holes = np.random.default_rng(1).random((512, 512)) < 0.02
    holed, black = ASTRONAUT.copy(), ASTRONAUT.copy()
    holed[holes], black[holes] = np.nan, 0
    some, others = (detector.detect(batch(picture))[0] for picture in (holed, black))
    assert [face.box.tolist() for face in some] == [face.box.tolist() for face in others] != []
    assert detector.detect(torch.full((1, 80, 90, 3), float("nan"))) == [[]]


def test_pieces_of_a_level_give_the_whole(detector, monkeypatch):
    (whole,) = detector.detect(batch(ASTRONAUT))
    monkeypatch.setattr(mtcnn, "P_PIXELS_AT_ONCE", 5000)
    monkeypatch.setattr(mtcnn, "PATCHES_AT_ONCE", {24: 3, 48: 3})
    (pieces,) = detector.detect(batch(ASTRONAUT))
    assert len(whole) == len(pieces) == 1
    assert np.abs(whole[0].landmarks - pieces[0].landmarks).max() < 1e-2


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 1, 4), (1, 5, 300, 3), (1, 23, 23, 3), (1, 24, 24, 3)])
def test_tiny_frames_hold_no_face(detector, shape):
    assert detector.detect(torch.rand(shape, generator=torch.Generator().manual_seed(0))) == [[]] * shape[0]


def test_flat_and_empty_input(detector):
    assert detector.detect(torch.full((1, 200, 200, 3), 0.5)) == [[]]
    assert detector.detect(torch.zeros(0, 64, 64, 3)) == []


def test_a_grey_picture_still_has_its_face(detector):
    grey = np.repeat(ASTRONAUT.mean(2, keepdims=True), 3, 2)
    (face,) = detector.detect(batch(grey))[0]
    assert np.abs(face.landmarks[:2] - EYES).max() < 4


def test_a_small_face_is_found_only_when_asked_for(detector):
    assert detector.detect(batch(ASTRONAUT), min_face=400) == [[]]
    small = cv2.resize(ASTRONAUT, (128, 128), interpolation=cv2.INTER_AREA)
    assert len(detector.detect(batch(small), min_face=20)[0]) == 1


def test_score_is_a_threshold(detector):
    (face,) = detector.detect(batch(ASTRONAUT))[0]
    assert detector.detect(batch(ASTRONAUT), score=min(1.0, face.score + 1e-3)) == [[]]


@pytest.mark.parametrize("scale, shift", [(1.0, 0), (0.8, 8), (1.5, -12)])
def test_points_inside_a_foreign_box(detector, scale, shift):
    (face,) = detector.detect(batch(ASTRONAUT))[0]
    centre, size = (face.box[:2] + face.box[2:]) / 2 + shift, (face.box[2:] - face.box[:2]) * scale
    boxes = np.stack([np.concatenate([centre - size / 2, centre + size / 2]), [300, 300, 400, 400]])
    points, scores = detector.landmarks_in_boxes(torch.from_numpy(ASTRONAUT), boxes)
    assert points.shape == (2, 5, 2) and points.dtype == scores.dtype == np.float32
    assert np.abs(points[0] - face.landmarks).max() < 4
    assert scores[0] > 0.9 and scores[0] > scores[1]


def test_no_boxes_no_points(detector):
    points, scores = detector.landmarks_in_boxes(torch.from_numpy(ASTRONAUT), np.empty((0, 4)))
    assert points.shape == (0, 5, 2) and scores.shape == (0,)


@pytest.mark.parametrize("boxes", [np.zeros((2, 5)), np.array([[0, 0, np.nan, 9]])])
def test_boxes_that_are_none(detector, boxes):
    with pytest.raises(SettingError, match="x0 y0 x1 y1"):
        detector.landmarks_in_boxes(torch.from_numpy(ASTRONAUT), boxes)


def test_check_can_interrupt(detector):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detector.detect(batch(ASTRONAUT), check=stop)


@pytest.mark.parametrize(
    "frames",
    [torch.zeros(64, 64, 3), torch.zeros(1, 64, 64, 1), torch.zeros(1, 64, 64, 3, dtype=torch.float16)],
)
def test_wrong_layout_is_refused(detector, frames):
    with pytest.raises(ImageError, match="Images must be"):
        detector.detect(frames)


@pytest.mark.parametrize("setting", [{"score": 1.5}, {"score": float("nan")}, {"min_face": 8}, {"max_faces": -1}])
def test_settings_outside_their_range(detector, setting):
    with pytest.raises(SettingError):
        detector.detect(batch(ASTRONAUT), **setting)


def test_suppression_keeps_the_best_and_what_is_apart():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [2, 2, 8, 8]], float)
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert nms(boxes, scores, 0.5, of_smaller=True).tolist() == [1, 2]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []
    assert nms(boxes[[0, 0]], np.array([0.5, 0.5]), 0.5).tolist() == [0]  # ties: the first


def test_weights_need_no_tensorflow(detector):
    assert "tensorflow" not in sys.modules and "mtcnn" not in sys.modules


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="pip install mtcnn"):
        Mtcnn()


def test_a_changed_file_is_never_opened(monkeypatch, tmp_path):
    good = (mtcnn_weights.weights_folder() / "pnet.lz4").read_bytes()
    (tmp_path / "pnet.lz4").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    monkeypatch.setattr(mtcnn_weights, "decompressed", lambda frame: pytest.fail("it was opened"))
    with pytest.raises(DependencyError, match="SHA-256"):
        mtcnn_weights.load_weights("pnet", tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DependencyError, match=r"onet\.lz4"):
        mtcnn_weights.load_weights("onet", tmp_path)


# Of the bytes of all arrays one after the other, as joblib and lz4 read them once.
ARRAYS_SHA256 = {
    "pnet": "c0d7cc8347269a07cfb309bca9bcf5ffb237a46e9bb231a56e1e8ce0cd5e8ce6",
    "rnet": "a4254564bcd904c344170f907b00d8134e48cb75dac620caddf948a1175a43de",
    "onet": "5982fb959b7be0ce34fa6497299170040417ef6e1749b5294c00d30ede11dacc",
}


@pytest.mark.parametrize("name", ARRAYS_SHA256)
def test_weights_are_the_arrays_of_the_package(name):
    content = b"".join(array.numpy().tobytes() for array in mtcnn_weights.load_weights(name))
    assert hashlib.sha256(content).hexdigest() == ARRAYS_SHA256[name]


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (b"\x30abc", b"abc"),
        (b"\xf0\x02" + b"a" * 17, b"a" * 17),
        (b"\xf0\xff\x00" + b"a" * 270, b"a" * 270),
        (b"\x32abc\x03\x00\x10d", b"abcabcabcd"),  # the copy overlaps what it makes
        (b"\x1fa\x01\x00\x05\x10b", b"a" * 25 + b"b"),
        (b"\x10x\x01\x00\x10y", b"xxxxxy"),
    ],
)
def test_blocks_are_new_bytes_and_copies_of_earlier_ones(block, content):
    frame = b"\x04\x22\x4d\x18\x40\x40\xc0" + len(block).to_bytes(4, "little") + block
    plain = (3 | mtcnn_weights.PLAIN_BLOCK).to_bytes(4, "little") + b"raw"
    assert mtcnn_weights.decompressed(frame + plain + bytes(4)) == content + b"raw"


def test_a_copy_reaches_into_the_block_before():
    content = bytearray(b"before")
    mtcnn_weights.append_block(content, b"\x00\x06\x00\x10!")
    assert content == b"beforebefo!"


def test_a_large_frame_with_small_faces_is_read_in_parts_and_gives_the_same(detector, monkeypatch):
    (whole,) = detector.detect(batch(ASTRONAUT), min_face=20)
    monkeypatch.setattr(area, "TABLE_BYTES", 1 << 20)
    (parts,) = detector.detect(batch(ASTRONAUT), min_face=20)
    assert len(parts) == len(whole) == 1
    assert np.abs(parts[0].landmarks - whole[0].landmarks).max() < 2


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("table", [1 << 16, 1 << 30])
def test_a_turned_look_gives_points_of_the_frame(detector, monkeypatch, turn, table):
    monkeypatch.setattr(area, "TABLE_BYTES", table)
    (face,) = detector.detect(batch(ASTRONAUT), min_face=40)[0]
    frame = np.ascontiguousarray(np.rot90(ASTRONAUT[:, :499], -turn))
    (look,) = detector.look(batch(frame), (turn,), 0.97, 40)
    (points,) = look.detections.landmarks
    marks = {1: (511 - face.landmarks[:, 1], face.landmarks[:, 0]), 2: (498, 511) - face.landmarks}.get(turn)
    wanted = marks if turn == 2 else (face.landmarks[:, 1], 498 - face.landmarks[:, 0]) if turn == 3 else marks
    wanted = np.stack(wanted, 1) if isinstance(wanted, tuple) else wanted
    assert np.abs(points - wanted).max() < 6


def test_of_too_many_candidates_the_best_stay_in_their_order():
    cells = np.zeros((5, 9))
    cells[:, 4] = 0.7, 0.9, 0.65, 0.8, 0.95
    assert mtcnn.best_cells(cells, 3)[:, 4].tolist() == [0.9, 0.8, 0.95]
    assert mtcnn.best_cells(cells, 5) is cells


def test_a_limit_on_candidates_loses_no_face(detector, monkeypatch):
    (before,) = detector.detect(batch(ASTRONAUT))
    monkeypatch.setattr(mtcnn, "MOST_CELLS", 40)
    monkeypatch.setattr(mtcnn, "P_PIXELS_AT_ONCE", 1 << 12)
    (after,) = detector.detect(batch(ASTRONAUT))
    assert len(after) == len(before) == 1
    assert np.abs(after[0].box - before[0].box).max() < 1
