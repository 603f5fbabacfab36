"""Twelve kinds of source through the pipeline: what comes out is what went in, but for the faces."""

from fractions import Fraction

import av
import clip_files as clips
import numpy as np
import pytest
from networks import face_model
from planted_faces import planted_following
from slimfusion.engines.host import StandaloneHost
from slimfusion.faces.face import Faces
from slimfusion.video import look, read
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.steps import RestoreStep


@pytest.fixture
def planted(monkeypatch):
    """A face stands in the middle of every frame."""
    monkeypatch.setattr(look, "follow_faces", planted_following)


def restored(source, target, **settings):
    step = RestoreStep(face_model())
    detection = look.DetectionSettings(min_face=8)
    return process_video(
        source, target, [step], host=StandaloneHost("cpu"), settings=ClipSettings(detection=detection, **settings)
    )


def uneven(count, seed=1):
    steps = np.random.default_rng(seed).integers(200, 1500, count - 1)
    return [0, *np.cumsum(steps).tolist()]


KINDS = {
    "mp4 h264": ("a.mp4", {}),
    "variable rate": ("a.mp4", {"pts": uneven(20), "frames": 20}),
    "rotated": ("a.mp4", {"rotation": 90}),
    "prores 10 bit": ("a.mov", {"codec": "prores_ks", "pixels": "yuv422p10le"}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "time_base": Fraction(1, 1000), "pts": [33 * i for i in range(12)]}),
    "vp9 alpha": ("a.webm", {"codec": "libvpx-vp9", "pixels": "yuva420p", "alpha": True, "sound": 0,
                             "time_base": Fraction(1, 1000), "pts": [33 * i for i in range(12)]}),
    "mkv two sounds": ("a.mkv", {"sound": 2, "subtitles": True, "time_base": Fraction(1, 1000),
                                 "pts": [33 * i for i in range(12)]}),
    "hdr10": ("a.mp4", {"codec": "libx265", "pixels": "yuv420p10le", "color_primaries": 9, "color_trc": 16,
                        "colorspace": 9, "color_range": 1,
                        "options": {"x265-params": f"log-level=none:repeat-headers=1:{clips.HDR10}"}}),
    "odd size": ("a.webm", {"codec": "libvpx-vp9", "size": (853, 481), "frames": 3, "sound": 0,
                            "time_base": Fraction(1, 1000), "pts": [0, 33, 67]}),
    "no sound": ("a.mov", {"sound": 0, "sample_aspect_ratio": Fraction(4, 3)}),
    "one frame": ("a.mp4", {"frames": 1, "sound": 0}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_what_went_in_but_for_the_faces(tmp_path, planted, kind):
    name, settings = KINDS[kind]
    source = clips.make_clip(tmp_path / name, **settings)
    target = tmp_path / f"out{source.suffix}"
    report = restored(source, target)
    assert report.notes == []
    assert report.faces == report.frames == len(clips.times(source))
    assert clips.times(target) == clips.times(source)
    assert clips.packets(target, "audio") == clips.packets(source, "audio")
    assert clips.packets(target, "subtitle") == clips.packets(source, "subtitle")
    old, new = read.open_clip(source), read.open_clip(target)
    same = ("width", "height", "pixels", "codec", "aspect", "rotation", "colour", "hdr", "decoder")
    assert {each: getattr(new, each) for each in same} == {each: getattr(old, each) for each in same}
    with av.open(str(target)) as container:
        assert container.metadata.get("title", container.metadata.get("TITLE")) == "a title"


def test_a_gif_becomes_a_clip_with_its_times(tmp_path, planted):
    source = clips.make_gif(tmp_path / "a.gif")
    report = restored(source, tmp_path / "out.mp4")
    assert clips.times(tmp_path / "out.mp4") == clips.times(source)
    assert any("gif" in note for note in report.notes)


def test_a_folder_of_numbered_pictures_is_a_clip(tmp_path, planted):
    from PIL import Image

    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(clips.picture(index)).save(folder / f"shot{index}.png")  # 10 after 9, not after 1
    report = restored(folder, tmp_path / "out.mkv", codec="ffv1", rate=Fraction(12))
    assert clips.times(tmp_path / "out.mkv") == [round(Fraction(i * 1000, 12)) * Fraction(1, 1000) for i in range(12)]
    assert report.frames == 12
    got = clips.decoded(tmp_path / "out.mkv").astype(int)
    wanted = np.stack([clips.picture(index) for index in range(12)]).astype(int)
    assert np.abs(got[:, :10, :10] - wanted[:, :10, :10]).mean() < 4
    assert (got - wanted)[:, 55:65, 75:85].mean() > 15  # the face, a tenth brighter


def test_pixels_outside_the_faces_keep_their_bits(tmp_path, planted):
    """Written without loss: every sample outside the square of the face is the source's."""
    source = clips.make_clip(tmp_path / "a.mp4", sound=0)
    restored(source, tmp_path / "out.mkv", codec="ffv1")
    old, new = clips.decoded(source, "yuv420p"), clips.decoded(tmp_path / "out.mkv", "yuv420p")
    luma, before = new[:, : clips.HEIGHT], old[:, : clips.HEIGHT]
    outside = np.ones((clips.HEIGHT, clips.WIDTH), bool)
    outside[20:100, 40:120] = False
    np.testing.assert_array_equal(luma[:, outside], before[:, outside])
    assert (luma[:, 55:65, 75:85].astype(int) - before[:, 55:65, 75:85]).mean() > 10


def test_a_rotated_clip_is_worked_on_upright(tmp_path, monkeypatch):
    seen = []

    def follow(pictures, clues, host, settings, budget, report):
        seen.append(pictures[0].shape[:2])
        return Faces(((),) * len(pictures), *pictures[0].shape[:2])

    monkeypatch.setattr(look, "follow_faces", follow)
    source = clips.make_clip(tmp_path / "a.mp4", rotation=-90)
    report = restored(source, tmp_path / "out.mp4")
    assert set(seen) == {(clips.WIDTH, clips.HEIGHT)}
    assert report.notes == ["no face was found: every frame is as it came in"]


def test_what_cannot_be_kept_is_said_first(tmp_path, planted):
    source = clips.make_clip(tmp_path / "a.mkv", codec="ffv1", pixels="yuva444p10le", alpha=True, subtitles=True,
                             time_base=Fraction(1, 1000), pts=[33 * i for i in range(12)])  # fmt: skip
    said = []
    restored(source, tmp_path / "out.mp4", say=said.append)
    text = "\n".join(said)
    for word in ("ffv1 cannot be written to .mp4", "no alpha", "subtitle"):
        assert word in text


def test_a_range_is_cut_out_with_its_sound(tmp_path, planted):
    source = clips.make_clip(tmp_path / "a.mp4", frames=30)
    report = restored(source, tmp_path / "out.mp4", start=0.2, stop=0.6)
    assert report.frames == 12
    assert clips.times(tmp_path / "out.mp4")[0] == 0
    assert clips.times(tmp_path / "out.mp4")[-1] == Fraction(11, 30)
    (sound,), (whole,) = clips.packets(tmp_path / "out.mp4", "audio"), clips.packets(source, "audio")
    assert {content for _, content in sound} <= {content for _, content in whole}
    assert 0.35 < float(sound[-1][0]) < 0.45


def test_a_range_in_frames(tmp_path, planted):
    source = clips.make_clip(tmp_path / "a.mp4", frames=30)
    assert restored(source, tmp_path / "out.mp4", start=5, stop=9, in_frames=True).frames == 4


def test_a_damaged_packet_costs_its_own_frame(tmp_path, planted):
    """Every frame a key frame, one of them broken: the count stays, and the one before is shown again."""
    source = clips.make_clip(tmp_path / "a.mkv", codec="mjpeg", pixels="yuvj420p", sound=0,
                             time_base=Fraction(1, 1000), pts=[33 * i for i in range(12)])  # fmt: skip
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [each for each in container.demux(video=0) if each.size][5]
    start = bytes(content).index(bytes(packet)[:200])
    content[start : start + packet.size] = bytes(packet.size)
    source.write_bytes(content)
    report = restored(source, tmp_path / "out.mkv", codec="ffv1")
    assert report.frames == 12 and report.repeated == 1
    assert any("damaged" in note for note in report.notes)
    assert clips.times(tmp_path / "out.mkv") == [Fraction(33 * i, 1000) for i in range(12)]
