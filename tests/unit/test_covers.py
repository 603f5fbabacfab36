"""What stands before a face stays in a swap: told by the user's networks where there are some, else by colours."""

import numpy as np
import pytest
import torch
from slimfusion.bench.faces.swap_twins import save_swapper
from slimfusion.catalog.cards import CARDS
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.faces import align, warp
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.identity import Identity
from slimfusion.faces.identity.library import ModelLibrary
from slimfusion.faces.identity.people import Person
from slimfusion.faces.masks.covers import Hidden, cover_of
from slimfusion.faces.swap.networks import networks_for, occlusion
from slimfusion.faces.swap.swap import swap_faces
from slimfusion.faces.swap.task import Networks, Swapping
from slimfusion.models.library import search
from slimfusion.models.onnx_description import describe
from slimfusion.models.onnx_torch_model import onnx_torch_model
from slimfusion.opencv import cv2

onnx_files = pytest.importorskip("onnx_files")
HOST, FULL, SIDE = StandaloneHost("cpu"), MemoryBudget(mode="quality"), 240
POINTS = warp.MEAN_FACE * 45 + (120, 90)
MESH = warp.mesh_points(POINTS)
FIVE = np.stack([POINTS[36:42].mean(0), POINTS[42:48].mean(0), POINTS[30], POINTS[48], POINTS[54]]).astype(np.float32)
FACE = Face(0, np.array([60, 60, 180, 180], np.float32), FIVE, 0.9, POINTS.astype(np.float32))
FACES = Faces(((FACE,),), SIDE, SIDE)
AFFINE = align.affine_for(FIVE, "ffhq_512", 512)


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture(scope="module")
def swapper(tmp_path_factory):
    path = save_swapper(tmp_path_factory.mktemp("twin") / "inswapper.onnx", CARDS["inswapper"])
    return onnx_torch_model(describe(path, path.name, CARDS["inswapper"], "none"))


def drawn(skin=(0.85, 0.6, 0.5), thing=None):
    """A face of one colour with lips and a little noise; thing: the colour of a mask over mouth and chin."""
    noise = np.random.default_rng(1).normal(0, 0.01, (SIDE, SIDE, 1))
    picture = np.full((SIDE, SIDE, 3), 0.6)
    picture[warp.polygon_mask(cv2.convexHull(MESH[:73].astype(np.float32))[:, 0], SIDE, SIDE) > 0] = skin
    picture[warp.polygon_mask(POINTS[warp.LIPS], SIDE, SIDE) > 0] = (0.7, 0.3, 0.3)
    if thing is not None:
        picture[covered() > 0] = thing
    return torch.from_numpy((picture + noise).clip(0, 1).astype(np.float32))[None]


def covered():
    return warp.polygon_mask(np.vstack([POINTS[[29]], POINTS[15:1:-1]]), SIDE, SIDE)


def deep_inside():
    return cv2.erode(covered(), np.ones((9, 9), np.uint8)) > 0


def other_skin():
    """A face with wide stripes, so that a swap is seen where colours are matched."""
    stripes = 0.15 * np.sin(np.arange(SIDE) / 3).astype(np.float32)
    return (drawn((0.6, 0.45, 0.4))[0].numpy() + stripes[:, None, None]).clip(0, 1)


ANNA = Person("Anna", Identity("Anna", np.ones(512, np.float32)), other_skin(), FACE)
RED = (0.9, 0.0, 0.0)


def files(folder) -> ModelLibrary:
    return ModelLibrary(lambda: search([folder]), FULL, HOST)


def changed(frames, networks):
    done = swap_faces(frames, [ANNA], networks, FULL, HOST, Swapping(faces=FACES))
    return (done.frames - frames).abs().amax(-1)[0].numpy(), done


@pytest.mark.parametrize("way", ["classic", "network"])
@pytest.mark.parametrize("file", ["occluder", "parser"])
def test_the_users_network_says_what_stays(swapper, tmp_path, way, file):
    """A skin-coloured thing, which no colour tells; the twin networks see nothing but red as the face."""
    getattr(onnx_files, file)(tmp_path / "a.onnx")
    frames = drawn((0.85, 0.6, 0.5), (0.86, 0.6, 0.5))
    model = swapper if way == "network" else None
    frames[0, ..., 0][torch.from_numpy(covered() > 0)] = 0.0  # no red: hidden from the twins
    with_file, done = changed(frames, networks_for(model, files(tmp_path)))
    assert with_file[deep_inside()].max() < 2 / 255 and "occlusion" in done.report.seconds
    assert with_file[int(POINTS[29, 1]) - 12, 110:130].max() > 0.01, "the rest of the face is swapped"


@pytest.mark.parametrize("way", ["classic", "network"])
def test_without_a_file_colours_and_edges_say_it(swapper, tmp_path, way):
    frames = drawn(thing=(0.4, 0.65, 0.85))
    model = swapper if way == "network" else None
    told, _ = changed(frames, networks_for(model, files(tmp_path)))
    assert told[deep_inside()].max() < 2 / 255 and told.max() > 0.02


def test_a_plain_face_is_swapped_over_the_whole_crop(swapper, tmp_path):
    frames = drawn()
    plain = swap_faces(frames, [ANNA], Networks(swapper), FULL, HOST, Swapping(faces=FACES))
    asked = swap_faces(frames, [ANNA], networks_for(swapper, files(tmp_path)), FULL, HOST, Swapping(faces=FACES))
    assert torch.equal(plain.mask, asked.mask) and torch.equal(plain.frames, asked.frames)


def hidden(mask) -> Hidden:
    return Hidden(np.packbits(mask.astype(np.uint8)), 512, AFFINE)


def test_what_only_differs_in_the_outline_hides_nothing():
    """Networks call all beyond the face hidden, and draw its outline a little otherwise than points do."""
    points = warp.placed(MESH[:73], AFFINE)
    smaller = points.mean(0) + 0.96 * (points - points.mean(0))
    face = warp.polygon_mask(cv2.convexHull(smaller.astype(np.float32))[:, 0], 512, 512)
    cover = hidden(1 - face).cover(drawn()[0].numpy(), MESH)
    assert not cover.mask.any() and cover.free_points(MESH).min() == 1
    assert np.array_equal(cover.free_part(AFFINE, 512, MESH), np.ones((512, 512), np.float32))


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_a_thing_lies_where_the_crop_shows_it_at_every_size(scale):
    square = np.zeros((512, 512), np.uint8)
    square[300:360, 200:280] = 1
    mesh = MESH * scale
    affine = align.affine_for(FIVE * scale, "ffhq_512", 512)
    frame = np.zeros((int(SIDE * scale), int(SIDE * scale), 3), np.float32)
    cover = Hidden(np.packbits(square), 512, affine).cover(frame, mesh)
    free = cover.free_part(affine, 512, mesh)
    assert free[310:350, 210:270].max() < 0.05 and free[310:350, 310:330].min() > 0.95 and free[5, 5] == 0


def test_the_occluder_goes_before_the_parser_and_none_is_no_fault(tmp_path):
    frames = drawn(RED)
    assert occlusion(frames, [FACE], files(tmp_path)) is None
    onnx_files.parser(tmp_path / "c.onnx")
    (by_parser,) = occlusion(frames, [FACE], files(tmp_path))
    onnx_files.occluder(tmp_path / "a.onnx")
    (by_occluder,) = occlusion(frames, [FACE], files(tmp_path))
    assert by_parser.told and not by_occluder.told


def test_a_face_without_anything_before_it_has_no_cover():
    assert cover_of(drawn()[0].numpy(), MESH) is None
