"""What is shown of a clip: frames in work before and after, the people of a scan, the seconds it took."""

import clip_files as clips
import numpy as np
import pytest
from networks import face_model
from planted_faces import planted_following
from slimfusion.bench.video.clips import write_clip
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.report import Report
from slimfusion.faces.restore import Restoring
from slimfusion.video import look
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.pixels import shown, to_pixels
from slimfusion.video.read import moments, open_clip
from slimfusion.video.scan import PICTURE_SIDE, Person, Scan, scan_video
from slimfusion.video.steps import RestoreStep

FRAMES = 6


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "follow_faces", planted_following)
    return clips.make_clip(tmp_path / "a.mp4", frames=FRAMES)


def settings(**values):
    return ClipSettings(ram=512 << 20, detection=look.DetectionSettings(min_face=8), **values)


def test_every_frame_in_work_is_shown_before_and_after(source, tmp_path):
    pairs = []
    chosen = settings(preview=lambda before, after: pairs.append((shown(before, 512), shown(after, 512))))
    step = RestoreStep(face_model(), Restoring(strength=1.0))
    report = process_video(source, tmp_path / "b.mp4", [step], host=StandaloneHost("cpu"), settings=chosen)
    assert len(pairs) == FRAMES
    clip = open_clip(source)
    for (before, after), moment in zip(pairs, moments(clip), strict=True):
        np.testing.assert_array_equal(before, to_pixels(moment.frame, clip))
        apart = np.abs(before.astype(int) - after).max(-1)
        assert apart[40:80, 60:100].max() > 3 and apart[:10, :10].max() == 0  # the face alone
    assert report.seconds > 0
    assert report.as_dict()["seconds"] == report.seconds


@pytest.mark.parametrize(
    ("picture", "wanted"),
    [
        (np.full((40, 80, 4), 200, np.uint8), 200),
        (np.full((40, 80, 3), 51400, np.uint16), 200),
        (np.full((40, 80, 3), 200 / 255, np.float32), 200),
        (np.full((40, 80, 3), 1.5, np.float32), 255),
    ],
)
def test_a_picture_to_look_at(picture, wanted):
    result = shown(picture, 20)
    assert result.shape == (10, 20, 3) and result.dtype == np.uint8
    assert np.unique(result).tolist() == [wanted]
    assert shown(picture, 200).shape == (40, 80, 3)


def test_a_scan_says_its_seconds_and_its_memory(source, monkeypatch):
    def with_report(pictures, clues, host, detection, budget, report):
        report.measured_peak = 5 << 20
        return planted_following(pictures, clues, host, detection, budget, report)

    monkeypatch.setattr(look, "follow_faces", with_report)
    scan = scan_video(source, host=StandaloneHost("cpu"), settings=settings())
    assert scan.seconds > 0 and scan.memory.measured_peak == 5 << 20
    assert "memory" not in scan.as_dict()  # what programs read is the clip's


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 1, 1), (1, 1, 1), (6, 6, 1), (7, 6, 2)])
def test_the_pictures_of_people_lie_in_rows(count, columns, rows):
    people = tuple(
        Person(track, 0, 0, 0, 1, 0, np.full((PICTURE_SIDE, PICTURE_SIDE, 3), 100 + track, np.uint8))
        for track in range(count)
    )
    scan = Scan("a.mp4", (0,), np.zeros(1), people, (), 0.0, Report())
    pictures = scan.pictures()
    assert pictures.shape == (rows * PICTURE_SIDE, columns * PICTURE_SIDE, 3)
    middles = pictures[PICTURE_SIDE // 2 :: PICTURE_SIDE, PICTURE_SIDE // 2 :: PICTURE_SIDE, 0].ravel().tolist()
    assert middles[:count] == [100 + track for track in range(count)]
    assert scan.sheet().shape[1] == columns * PICTURE_SIDE


def test_frames_are_searched_whole_at_the_beginning_at_cuts_and_now_and_then(tmp_path, monkeypatch):
    asked = []

    def noting(pictures, clues, host, detection, budget, report):
        asked.append((list(clues.whole), len(clues.before)))
        return planted_following(pictures, clues, host, detection, budget, report)

    monkeypatch.setattr(look, "follow_faces", noting)
    noise = np.random.default_rng(3).integers(40, 46, (20, 64, 96, 3), np.uint8)
    pictures = [picture + (150 if index >= 12 else 0) for index, picture in enumerate(noise)]
    source = write_clip(tmp_path / "cut.mkv", (picture for picture in pictures), (96, 64), "ffv1", sound=False)
    scan_video(source, host=StandaloneHost("cpu"), settings=settings())
    yes, no = True, False
    assert asked == [
        ([yes, *[no] * 6, yes], 0),
        ([no, no, no, yes, yes, no, no, yes], 1),
        ([no, no, no, yes], 1),
    ]
