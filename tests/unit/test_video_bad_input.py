"""What users hand over by mistake: one sentence each, and nothing written."""

import clip_files as clips
import pytest
from networks import face_model, save_upscaler
from planted_faces import planted_following
from slimfusion.cli import main
from slimfusion.commands.video import moment_from
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MIB
from slimfusion.errors import BudgetError, ClipError, OutputError, SettingError
from slimfusion.faces.identity.people import Person
from slimfusion.faces.swap.task import Networks, Swapping
from slimfusion.models.opening import open_model
from slimfusion.video import formats, look, pipeline, read
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.steps import ImageStep, RestoreStep, SwapStep

HOST = StandaloneHost("cpu")


@pytest.fixture
def source(tmp_path):
    return clips.make_clip(tmp_path / "a.mp4", frames=4, sound=0)


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(look, "follow_faces", planted_following)


def fail(kind, source, target, match, steps=None, **settings):
    with pytest.raises(kind, match=match):
        process_video(
            source, target, steps or [RestoreStep(face_model())], host=HOST, settings=ClipSettings(**settings)
        )
    assert not target.is_file() or target == source


def test_files_that_are_no_clips(tmp_path):
    import av

    target = tmp_path / "out.mp4"
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no clip")
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.layout = "mono"
        clips._add_sound(container, stream, 0.2, 300)
    (tmp_path / "folder").mkdir()
    for name, words in {
        "nothing.mp4": "There is no file",
        "empty.mp4": "not a clip",
        "text.mp4": "not a clip",
        "sound.m4a": "holds no video, only audio",
        "folder": "no numbered pictures",
    }.items():
        fail(ClipError, tmp_path / name, target, words)


def test_a_file_cut_short_in_its_index(source, tmp_path):
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    fail(ClipError, source, tmp_path / "out.mp4", "not a clip|no frame")


def test_a_file_with_a_stream_of_video_and_no_frames(tmp_path):
    import av

    source = tmp_path / "zero.avi"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        container.start_encoding()
    fail(ClipError, source, tmp_path / "out.mp4", "holds no frame that can be read")


def test_a_range_without_a_frame(tmp_path, planted):
    source = clips.make_clip(tmp_path / "a.mkv", codec="mjpeg", pixels="yuvj420p", sound=0, frames=2,
                             time_base=clips.Fraction(1, 1000), pts=[0, 900])  # fmt: skip
    fail(ClipError, source, tmp_path / "out.mkv", "no frame in the range", start=0.2, stop=0.4, codec="ffv1")


def test_a_truncated_stream_gives_what_is_there(tmp_path, planted):
    source = clips.make_clip(tmp_path / "a.mkv", codec="mjpeg", pixels="yuvj420p", sound=0, frames=12,
                             time_base=clips.Fraction(1, 1000), pts=[33 * i for i in range(12)])  # fmt: skip
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    report = process_video(source, tmp_path / "out.mkv", [RestoreStep(face_model())], host=HOST,
                           settings=ClipSettings(codec="ffv1"))  # fmt: skip
    assert 4 <= report.frames < 12


def test_targets_that_cannot_be(source, tmp_path):
    fail(OutputError, source, source, "is the clip itself")
    fail(OutputError, source, tmp_path / "away" / "out.mp4", "no folder")
    fail(OutputError, source, tmp_path / "out.gif", "cannot be written as .gif")
    fail(OutputError, source, tmp_path / "out", "without an ending")
    (tmp_path / "folder.mp4").mkdir()
    fail(OutputError, source, tmp_path / "folder.mp4", "is a folder")
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    with pytest.raises(OutputError, match="is the clip itself"):
        process_video(source, link, [RestoreStep(face_model())], host=HOST)


def test_a_folder_that_may_not_be_written_to(source, tmp_path, monkeypatch):
    """Told by what the system answers: an administrator, as whom tests often run, may write anywhere."""
    monkeypatch.setattr(pipeline.os, "access", lambda path, mode: False)
    fail(OutputError, source, tmp_path / "out.mp4", "is read-only")


def test_ranges_outside(source, tmp_path):
    target = tmp_path / "out.mp4"
    fail(SettingError, source, target, "the clip ends at", start=60)
    fail(SettingError, source, target, "end behind", start=2, stop=1)
    fail(SettingError, source, target, "steadiness", steadiness=2)
    fail(SettingError, source, target, "RAM budget", ram=0)
    fail(BudgetError, source, target, "RAM budget gives", ram=MIB)


def test_codecs_that_cannot_be(source, tmp_path, monkeypatch):
    target = tmp_path / "out.mp4"
    fail(SettingError, source, target, "no codec 'divx'", codec="divx")
    fail(SettingError, source, target, "holds no prores", codec="prores")
    fail(SettingError, source, target, "crf", crf=99)
    monkeypatch.setitem(formats.CODECS, "h264", formats.Codec("libnothing", ("yuv420p",), 18))
    fail(OutputError, source, target, "no encoder libnothing")


def test_bits_that_a_codec_does_not_hold_are_said_before_the_work(tmp_path):
    source = clips.make_clip(tmp_path / "a.mkv", codec="ffv1", pixels="yuv420p12le", sound=0, frames=2,
                             time_base=clips.Fraction(1, 1000), pts=[0, 33])  # fmt: skip
    encoding, notes = formats.choose_encoding(read.open_clip(source), ".mp4", "h264", None, 1)
    assert encoding.pixels == "yuv420p10le"
    assert "h264 holds 10 bits a colour here, the source has 12" in notes


def test_steps_that_cannot_be(source, tmp_path, planted):
    target = tmp_path / "out.mp4"
    with pytest.raises(SettingError, match="nothing to do"):
        process_video(source, target, [], host=HOST)
    with pytest.raises(SettingError, match="needs a model"):
        RestoreStep(None)
    with pytest.raises(SettingError, match="needs a model"):
        ImageStep(None)
    with pytest.raises(SettingError, match="aligned faces only"):
        ImageStep(face_model())
    with pytest.raises(SettingError, match="nobody"):
        SwapStep((), Networks())
    with pytest.raises(SettingError, match="no person 'C'"):
        SwapStep((Person("A"),), Networks(), Swapping(people="0:C"))
    fail(SettingError, source, target, "no track 7", [RestoreStep(face_model(), tracks="7")])


def test_a_track_by_its_number_is_changed_alone(source, tmp_path, planted):
    settings = ClipSettings(codec="ffv1", detection=look.DetectionSettings(min_face=8))
    step = RestoreStep(face_model(), tracks="0")
    report = process_video(source, tmp_path / "out.mkv", [step], host=HOST, settings=settings)
    assert (clips.decoded(tmp_path / "out.mkv")[:, 60, 80] != clips.decoded(source)[:, 60, 80]).any()
    assert report.tracks == 1


def test_a_whole_frame_step_enlarges(source, tmp_path):
    model = open_model(save_upscaler(tmp_path / "x2.pth", 2), host=HOST)
    report = process_video(source, tmp_path / "out.mp4", [ImageStep(model)], host=HOST)
    assert clips.decoded(tmp_path / "out.mp4").shape == (4, 2 * clips.HEIGHT, 2 * clips.WIDTH, 3)
    assert report.frames == 4 and report.tracks == 0


def test_a_stop_reaches_through(source, tmp_path, planted):
    class Stopping(StandaloneHost):
        def check_interrupt(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_video(source, tmp_path / "out.mp4", [RestoreStep(face_model())], host=Stopping("cpu"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", (12.5, False)), ("1:02.5", (62.5, False)), ("1:00:01", (3601, False)), ("30f", (30, True))],
)
def test_times_as_people_write_them(text, value):
    assert moment_from(text) == value


@pytest.mark.parametrize("text", ["soon", "1:x", "f", "1.5f"])
def test_times_that_are_none(text):
    with pytest.raises(SettingError, match="is no time"):
        moment_from(text)


def test_the_command_line_says_what_is_wrong(source, tmp_path, capsys):
    for words in (
        ["video", "nowhere.mp4", "out.mp4"],
        ["video", str(source), str(tmp_path / "o.mp4"), "--people", "0:A"],
    ):
        assert main(words) == 2
    said = capsys.readouterr().err
    assert "There is no clip at nowhere.mp4" in said and "--people" in said


def test_the_command_line_takes_a_folder(tmp_path, capsys, planted):
    takes = tmp_path / "takes"
    takes.mkdir()
    for name in ("one.mp4", "two.mp4"):
        clips.make_clip(takes / name, frames=2, sound=0)
    out = tmp_path / "out"
    assert main(["video", str(takes), str(out), "--device", "cpu", "--scan"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["one.json", "one.png", "two.json", "two.png"]
    assert "1 track" in capsys.readouterr().out
