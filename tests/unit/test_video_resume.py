"""Stopping and going on: whatever happens in the middle, the result is the one of a try that was never stopped."""

import os
import subprocess
import sys
import time
from pathlib import Path

import clip_files as clips
import pytest
from networks import face_model
from planted_faces import planted_following
from slimfusion.engines.host import StandaloneHost
from slimfusion.errors import OutputError
from slimfusion.faces.restore import Restoring
from slimfusion.video import look, write
from slimfusion.video.manifest import WorkFolder
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.steps import RestoreStep

WORKER = Path(__file__).parents[1] / "killed_clip.py"
FRAMES = 30


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    monkeypatch.setattr(look, "follow_faces", planted_following)
    monkeypatch.setattr(look, "SEGMENT_SECONDS", 0.2)


class Stopped(Exception):
    pass


def work(source, target, stop_at=None, strength=1.0, **settings):
    """stop_at: (stage, frame) at which the user interrupts."""

    def progress(stage, done, total):
        if stop_at is not None and (stage, done) == stop_at:
            raise Stopped

    detection = look.DetectionSettings(min_face=8)
    chosen = ClipSettings(ram=512 << 20, detection=detection, **settings)
    step = RestoreStep(face_model(), Restoring(strength=strength))
    return process_video(source, target, [step], host=StandaloneHost("cpu", progress=progress), settings=chosen)


@pytest.fixture
def source(tmp_path):
    return clips.make_clip(tmp_path / "a.mp4", frames=FRAMES)


@pytest.fixture
def whole(source, tmp_path):
    """The result of a try that is not stopped."""
    target = tmp_path / "whole.mp4"
    work(source, target)
    return target.read_bytes()


@pytest.mark.parametrize("stop_at", [("look", 8), ("work", 3), ("work", 20), ("join", 0)])
def test_interrupted_anywhere_it_goes_on_to_the_same_bits(source, whole, tmp_path, stop_at):
    target = tmp_path / "out.mp4"
    with pytest.raises(Stopped):
        work(source, target, stop_at)
    assert not target.exists()
    report = work(source, target)
    assert target.read_bytes() == whole
    assert report.frames == report.faces == FRAMES
    assert report.resumed > 0 or stop_at[1] < 12
    assert not WorkFolder(target).path.exists()


def test_a_killed_process_loses_nothing(source, whole, tmp_path):
    """kill -9 in the middle of the work; the bench does it twenty times."""
    target = tmp_path / "out.mp4"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(WORKER), str(source), str(target), "0.05"], env=environment)
    ends = time.monotonic() + 120
    while not WorkFolder(target).segment(1).exists():
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not target.exists()
    report = work(source, target)
    assert 0 < report.resumed < 5
    assert target.read_bytes() == whole


def test_another_source_begins_anew(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(Stopped):
        work(source, target, ("work", 20))
    clips.make_clip(source, frames=FRAMES - 5)
    report = work(source, target)
    assert report.resumed == 0 and report.frames == FRAMES - 5
    assert any("source has changed" in note for note in report.notes)


def test_other_settings_begin_anew_and_say_so(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(Stopped):
        work(source, target, ("work", 20))
    report = work(source, target, strength=0.5)
    assert report.resumed == 0
    assert any("settings are not those" in note for note in report.notes)


def test_without_resume_nothing_is_taken_over(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(Stopped):
        work(source, target, ("work", 20))
    assert work(source, target, resume=False).resumed == 0


def test_a_segment_that_somebody_cut_short_is_made_again(source, whole, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(Stopped):
        work(source, target, ("work", 20))
    first = WorkFolder(target).segment(0)
    first.write_bytes(first.read_bytes()[:100])
    work(source, target)
    assert target.read_bytes() == whole


def test_two_processes_on_one_target_are_one_too_many(source, tmp_path):
    target = tmp_path / "out.mp4"
    with WorkFolder(target).held(), pytest.raises(OutputError, match="Another process"):
        work(source, target)


def test_a_full_disk_is_said_and_what_is_done_stays(source, whole, tmp_path, monkeypatch):
    target, closed = tmp_path / "out.mp4", []
    close = write.SegmentWriter.close

    def fail(self):
        if len(closed) == 2:
            raise write.write_error(self._path, OSError(28, "No space left on device"))
        closed.append(self)
        return close(self)

    monkeypatch.setattr(write.SegmentWriter, "close", fail)
    with pytest.raises(OutputError, match=r"disk .* is full.*stays"):
        work(source, target)
    monkeypatch.setattr(write.SegmentWriter, "close", close)
    assert work(source, target).resumed == 2
    assert target.read_bytes() == whole
