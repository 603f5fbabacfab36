"""What stands for OpenCV, held against OpenCV itself: each function, and a whole restored portrait."""

import ast
import json
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from archive import ROOT
from PIL import Image
from slimfusion.opencv.stand_in import PARTS

ROOMS = ("catalog", "commands", "doctor", "engines", "faces", "models", "nodes", "video")
# Reading and writing files, which nodes leave to ComfyUI, and a measure that is then left out of a clip's report.
NOT_STOOD_FOR = {"imdecode", "imencode", "IMREAD_UNCHANGED", "COLOR_RGBA2BGRA", "COLOR_BGRA2RGBA",
                 "DISOpticalFlow", "DISOPTICAL_FLOW_PRESET_FAST"}  # fmt: skip
RANDOM = np.random.default_rng(7)


def smooth(height, width, channels=3):
    """A picture float32 0..1 whose colours change softly, as photographs do."""
    coarse = RANDOM.random((max(2, height // 12), max(2, width // 12), channels)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1).reshape(height, width, -1)


PICTURE = smooth(181, 240)
LEVELS = np.rint(PICTURE * 255).astype(np.uint8)
GREY = np.ascontiguousarray(PICTURE[..., 0])
MASK = (GREY > 0.5).astype(np.uint8)
TURN = np.array([[0.9, 0.4, -12.3], [-0.4, 0.9, 40.7]])
ELLIPSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
X, Y = (RANDOM.uniform(-20, 260, (90, 70)).astype(np.float32) for _ in "xy")
LAB = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2Lab)
FIVE = 1e-5  # what float32 leaves of a sum of many pixels


def constants(name):
    return getattr(cv2, name)


def sizes():
    for way in ("NEAREST", "LINEAR", "CUBIC", "AREA", "LANCZOS4"):
        for size in ((100, 77), (333, 500), (240, 181), (480, 90), (1, 1), (60, 181)):
            yield f"resize {way} {size}", "resize", (PICTURE, size), {"interpolation": constants(f"INTER_{way}")}, FIVE


def warps():
    for way in ("LINEAR", "CUBIC"):
        for border in ("CONSTANT", "REPLICATE"):
            named = {"borderMode": constants(f"BORDER_{border}")}
            flags = {"flags": constants(f"INTER_{way}")}
            yield f"warp {way} {border}", "warpAffine", (PICTURE, TURN, (200, 150)), flags | named, 1e-4
            yield f"remap {way} {border}", "remap", (PICTURE, X, Y, flags["flags"]), named, 1e-4
    back = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
    yield "warp back", "warpAffine", (GREY, TURN, (200, 150)), back, 1e-4
    yield "warp of a mask", "warpAffine", (MASK, TURN, (200, 150)), {}, 0
    yield (
        "warp of one pixel",
        "warpAffine",
        (PICTURE[:1, :1], TURN, (30, 20)),
        {"borderMode": cv2.BORDER_REPLICATE},
        FIVE,
    )


CASES = [
    *sizes(),
    *warps(),
    ("levels", "resize", (LEVELS, (80, 60)), {"interpolation": cv2.INTER_AREA}, 1),
    ("border", "copyMakeBorder", (PICTURE, 3, 0, 5, 2, cv2.BORDER_REPLICATE), {}, 0),
    ("black border", "copyMakeBorder", (GREY, 3, 0, 5, 2, cv2.BORDER_CONSTANT), {}, 0),
    ("integral", "integral", (LEVELS,), {}, 0),
    ("integral of grey", "integral", (LEVELS[..., 0].copy(),), {}, 0),
    ("levels of a dark frame", "addWeighted", (PICTURE * 2 - 0.5, 300.0, PICTURE, 0.0, 0.0), {"dtype": cv2.CV_8U}, 0),
    ("difference", "absdiff", (PICTURE, PICTURE[::-1].copy()), {}, 0),
    ("blur", "GaussianBlur", (PICTURE, (0, 0), 2.3), {}, FIVE),
    ("blur wider than the picture", "GaussianBlur", (GREY[:7, :9].copy(), (0, 0), 6.0), {}, FIVE),
    ("blur on black", "GaussianBlur", (GREY, (0, 0), 5.0), {"borderType": cv2.BORDER_CONSTANT}, FIVE),
    ("blur of levels", "GaussianBlur", (LEVELS, (5, 5), 0), {}, 1),
    ("slope across", "Sobel", (PICTURE, cv2.CV_32F, 1, 0), {"ksize": 3}, FIVE),
    ("slope down", "Sobel", (PICTURE, cv2.CV_32F, 0, 1), {"ksize": 3}, FIVE),
    ("smaller", "pyrDown", (PICTURE,), {}, FIVE),
    ("larger", "pyrUp", (PICTURE,), {"dstsize": (479, 361)}, FIVE),
    ("grow", "dilate", (MASK, ELLIPSE), {}, 0),
    ("grow softly", "dilate", (GREY, ELLIPSE), {}, 0),
    ("shrink", "erode", (MASK, np.ones((7, 7), np.uint8)), {}, 0),
    ("open", "morphologyEx", (MASK, cv2.MORPH_OPEN, ELLIPSE), {}, 0),
    ("depth", "distanceTransform", (MASK, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), {}, 1e-4),
    # OpenCV looks L*a*b* up in a coarse table: up to 0.6 of 100 from the formula.
    ("L*a*b*", "cvtColor", (PICTURE, cv2.COLOR_RGB2Lab), {}, 1.0),
    ("L*a*b* of levels", "cvtColor", (LEVELS, cv2.COLOR_RGB2LAB), {}, 2),
    ("sRGB", "cvtColor", (LAB, cv2.COLOR_Lab2RGB), {}, 1e-3),
    ("grey", "cvtColor", (LEVELS, cv2.COLOR_RGB2GRAY), {}, 1),
    ("order", "cvtColor", (LEVELS, cv2.COLOR_RGB2BGR), {}, 0),
    ("histogram", "calcHist", ([LEVELS], [0, 1, 2], None, [8] * 3, [0, 256] * 3), {}, 0),
    *(
        (f"ellipse {side}", "getStructuringElement", (cv2.MORPH_ELLIPSE, (side, side)), {}, 0)
        for side in range(1, 64, 2)
    ),
]


@pytest.mark.parametrize(
    ("name", "values", "named", "off"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_function_is_as_opencvs(name, values, named, off):
    wanted, result = getattr(cv2, name)(*values, **named), PARTS[name](*values, **named)
    assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(result.astype(np.float64) - wanted).max() <= off


def test_lab_comes_back_and_is_the_standards():
    """Of IEC 61966-2-1 and CIE 15: pure red is 53.24, 80.09, 67.20."""
    red = PARTS["cvtColor"](np.array([[[1, 0, 0]]], np.float32), cv2.COLOR_RGB2Lab)
    assert red[0, 0] == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    back = PARTS["cvtColor"](PARTS["cvtColor"](PICTURE, cv2.COLOR_RGB2Lab), cv2.COLOR_Lab2RGB)
    assert np.abs(back - PICTURE).max() < 1e-4


def test_what_is_no_number_is_black_and_what_is_beyond_is_cut():
    frame = np.array([[np.nan, -np.inf, np.inf, -1.0, 1.0, 0.5]], np.float32)
    assert PARTS["addWeighted"](frame, 255.0, frame, 0.0, 0.0).tolist() == [[0, 0, 255, 0, 255, 128]]


def test_depth_of_what_has_no_outside_is_large():
    assert PARTS["distanceTransform"](np.ones((5, 5), np.uint8), cv2.DIST_L2, 0).min() > 1e6


def test_contrast_is_raised_as_opencv_does():
    dark = LEVELS[:176, :, 0] // 5
    wanted, result = (make(2.0).apply(np.ascontiguousarray(dark)) for make in (cv2.createCLAHE, PARTS["createCLAHE"]))
    assert np.abs(result.astype(int) - wanted).max() <= 2  # its tiles lie half a pixel aside


def test_connected_parts_are_the_same():
    (count, labels), (wanted, theirs) = (each(MASK, connectivity=4) for each in (PARTS["connectedComponents"],
                                                                                cv2.connectedComponents))  # fmt: skip
    assert count == wanted and len(set(zip(labels.ravel().tolist(), theirs.ravel().tolist(), strict=True))) == count


@pytest.mark.parametrize("points", [RANDOM.uniform(0, 150, (count, 2)).astype(np.float32) for count in (1, 2, 3, 30)])
def test_hulls_have_the_same_corners(points):
    wanted, result = (hull(points)[:, 0].tolist() for hull in (cv2.convexHull, PARTS["convexHull"]))
    assert sorted(result) == sorted(wanted)


def test_points_on_a_line_have_a_hull_of_its_ends():
    points = np.array([[0, 0], [2, 2], [1, 1], [2, 2]], np.float32)
    assert sorted(PARTS["convexHull"](points)[:, 0].tolist()) == [[0, 0], [2, 2]]


@pytest.mark.parametrize("name", ["fillConvexPoly", "fillPoly"])
@pytest.mark.parametrize("low", [10, -80])
def test_polygons_are_filled_but_for_pixels_at_their_edge(name, low):
    points = RANDOM.uniform(low, 190, (9, 2)).astype(np.float32)
    corners = np.round(cv2.convexHull(points) * 16).astype(np.int32)
    filled = np.zeros((180, 180), np.uint8), np.zeros((180, 180), np.uint8)
    for picture, fill in zip(filled, (getattr(cv2, name), PARTS[name]), strict=True):
        fill(picture, [corners] if name == "fillPoly" else corners, 1, shift=4)
    edge = cv2.polylines(np.zeros((180, 180), np.uint8), [corners], True, 1, 3, shift=4)
    assert filled[0].any() and (filled[0] != filled[1])[edge == 0].sum() == 0
    assert (filled[0] != filled[1]).sum() < 0.01 * filled[0].sum()


def test_a_polygon_outside_the_picture_leaves_it():
    picture = np.zeros((9, 9), np.uint8)
    assert not PARTS["fillConvexPoly"](picture, np.array([[200, 200], [300, 200], [200, 300]]), 1, shift=4).any()


def test_the_mesh_of_faces_has_the_same_triangles(monkeypatch):
    from slimfusion.faces import warp

    wanted = {tuple(sorted(each)) for each in warp.triangles().tolist()}
    monkeypatch.setattr(warp, "cv2", type("Module", (), PARTS))
    assert {tuple(sorted(each)) for each in warp.triangles.__wrapped__().tolist()} == wanted


def test_marks_are_drawn_where_opencv_draws_them():
    for name, values in {
        "rectangle": ((20, 30), (90, 80), (255, 0, 0), 3),
        "circle": ((50, 60), 6, (255, 0, 0), -1),
        "putText": ("0: 12", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 0, 0), 3),
    }.items():
        drawn = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
        for picture, draw in zip(drawn, (getattr(cv2, name), PARTS[name]), strict=True):
            draw(picture, *values, cv2.LINE_AA)
        boxes = [np.array([axis[[0, -1]] for axis in map(np.unique, np.nonzero(each[..., 0] > 99))]) for each in drawn]
        assert np.abs(boxes[0] - boxes[1]).max() <= (26 if name == "putText" else 1), name  # another face of letters


def test_letters_fit_the_box_that_is_drawn_for_them():
    (width, height), below = PARTS["getTextSize"]("17", cv2.FONT_HERSHEY_SIMPLEX, 2.0, 2)
    picture = np.zeros((200, 300, 3), np.uint8)
    PARTS["putText"](picture, "17", (50, 100), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (255, 255, 255), 2)
    rows, columns = np.nonzero(picture[..., 0])
    assert rows.min() >= 100 - height - 1 and rows.max() <= 100 + below
    assert columns.min() >= 49 and columns.max() <= 51 + width + 2
    assert (rows.max() - rows.min()) > 0.8 * height


def test_everything_that_nodes_use_of_opencv_is_stood_for():
    used = {
        node.attr
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cv2"
    }
    assert used - set(PARTS) == NOT_STOOD_FOR


def test_constants_are_opencvs():
    named = {name: value for name, value in PARTS.items() if isinstance(value, int)}
    assert named == {name: constants(name) for name in named} and len(named) > 20


def test_a_portrait_is_restored_the_same_without_opencv(tmp_path):
    code = """
import sys
if sys.argv[1] == "without":
    sys.modules["cv2"] = None
import numpy as np, torch
from PIL import Image
from slimfusion import open_model, opencv, restore_faces
assert opencv.is_whole() == (sys.argv[1] == "with")
picture = np.asarray(Image.open(sys.argv[2]).convert("RGB"), np.float32) / 255
done = restore_faces(torch.from_numpy(picture)[None], open_model())
assert done.report.faces == 1
Image.fromarray(np.rint(done.frames[0].numpy() * 255).astype(np.uint8)).save(sys.argv[3])
"""
    portrait, results = ROOT / "examples" / "slimfusion_portrait.jpg", []
    for way in ("with", "without"):
        target = tmp_path / f"{way}.png"
        done = subprocess.run([sys.executable, "-c", code, way, portrait, target], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1500:]
        results.append(np.asarray(Image.open(target), int))
    assert np.abs(results[0] - np.asarray(Image.open(portrait).convert("RGB"), int)).max() > 10
    assert np.abs(results[0] - results[1]).max() <= 1


CLIP_CODE = """
import sys
if sys.argv[1] == "without":
    sys.modules["cv2"] = None
import json
import numpy as np, torch
from PIL import Image
from slimfusion import (GIB, MemoryBudget, ModelLibrary, StandaloneHost, Swapping, detect_faces, networks_for,
                        open_model, opencv, person_from_picture)
from slimfusion.faces.restore import Restoring
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.scan import scan_video
from slimfusion.video.steps import RestoreStep, SwapStep
assert opencv.is_whole() == (sys.argv[1] == "with")
clip, portrait, target = sys.argv[2:]
host, budget, settings = StandaloneHost("cpu"), MemoryBudget(GIB), ClipSettings(stop=0.1, codec="ffv1")
assert len(scan_video(clip, budget, host, settings).people) == 1
picture = np.asarray(Image.open(portrait).convert("RGB"), np.float32) / 255
person = person_from_picture("A", picture, detect_faces(torch.from_numpy(picture)[None], host).frames[0])
library = ModelLibrary(lambda: [], budget, host)
steps = [SwapStep((person,), networks_for(None, library), Swapping()), RestoreStep(open_model(), Restoring())]
print(json.dumps(process_video(clip, target, steps, budget, host, settings).as_dict()))
"""


def test_a_clip_goes_through_all_steps_without_opencv(tmp_path):
    """Scanned, swapped without a model and restored; only the flicker is not measured."""
    clip, portrait = (ROOT / "examples" / f"slimfusion_{name}" for name in ("clip.mp4", "second_portrait.jpg"))
    reports, results = [], []
    for way in ("with", "without"):
        target = tmp_path / f"{way}.mkv"
        words = [sys.executable, "-c", CLIP_CODE, way, clip, portrait, target]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1500:]
        reports.append(json.loads(done.stdout.splitlines()[-1]))
        with av.open(str(target)) as made:
            results.append(np.array([frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)], int))
    assert [(each["frames"], each["faces"]) for each in reports] == [(3, 3)] * 2
    assert reports[0]["flicker"] > 0 and reports[1]["flicker"] is None
    difference = np.abs(results[0] - results[1]).max(-1)
    assert difference.mean() < 0.2 and (difference > 2).mean() < 0.01


def test_the_stand_in_is_loaded_only_where_it_is_needed():
    shown = "'slimfusion.opencv.stand_in' in sys.modules, opencv.is_whole()"
    code = f"import sys; from slimfusion import opencv; print({shown})"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.split() == ["False", "True"], child.stderr
