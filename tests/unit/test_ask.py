"""Networks from the user's folders look at faces inside a budget, once for all faces and not before they are needed."""

import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.catalog.cards.readers import BUNDLED_RECOGNISER, RECOGNISER
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.errors import ModelFileError
from slimfusion.faces import align
from slimfusion.faces.detect.detection import detect_faces
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.attributes import add_attributes
from slimfusion.faces.identity.identity import Identity, combined
from slimfusion.faces.identity.library import (
    OCCLUDERS,
    PARSERS,
    ModelLibrary,
    add_embeddings,
    add_landmarks68,
    identity_of,
    mask_network,
)
from slimfusion.faces.identity.select import Choice, select
from slimfusion.faces.masks.face_masks import MaskChoice, MaskNetworks, face_masks
from slimfusion.models.library import search

onnx_files = pytest.importorskip("onnx_files")
SIDE = 200


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture
def folder(tmp_path):
    onnx_files.recogniser(tmp_path / "b.onnx")
    onnx_files.occluder(tmp_path / "a.onnx")
    onnx_files.parser(tmp_path / "c.onnx")
    onnx_files.genderage(tmp_path / "d.onnx")
    onnx_files.landmarker(tmp_path / "e.onnx")
    return tmp_path


@pytest.fixture
def counting(folder):
    """Networks, and a list that grows by each search for them."""
    searches = []

    def counted():
        searches.append(folder)
        return search([folder])

    return ModelLibrary(counted, MemoryBudget(), StandaloneHost("cpu")), searches


@pytest.fixture
def library(counting):
    return counting[0]


def face_at(x, y, side, frame=0):
    points = align.template_points("ffhq_512", side) + np.array([x, y])
    return Face(frame, np.array([x, y, x + side, y + side], np.float32), points.astype(np.float32), 0.9)


def two_faces():
    """A red and a blue face in one frame."""
    frames = torch.zeros(1, SIDE, 2 * SIDE, 3)
    frames[0, :, :SIDE, 0] = 1.0
    frames[0, :, SIDE:, 2] = 1.0
    return frames, Faces(((face_at(20, 20, 150), face_at(SIDE + 20, 20, 150)),), SIDE, 2 * SIDE)


def test_a_recogniser_is_found_by_its_shapes_and_looks_at_all_faces(library):
    frames, faces = two_faces()
    known = add_embeddings(frames, faces.frames[0], library)
    weight = np.random.default_rng(5).standard_normal((3, 512)).astype(np.float32)
    for face, colour in zip(known, ([1, -1, -1], [-1, -1, 1]), strict=True):
        assert np.abs(face.embedding - np.float32(colour) @ weight).max() < 1e-3
    assert library.report.sessions_built == 1 and library.report.measured_peak > 0


def test_an_identity_of_the_users_recogniser_has_the_bundled_ones_vector_beside(library):
    frames, faces = two_faces()
    identity = identity_of("Ann", frames, faces.frames[0][:1], library)
    assert identity.recogniser == RECOGNISER and identity.embedding.shape == (512,)
    assert identity.bundled is not None and identity.bundled.shape == (128,)
    both = combined("both", [identity, identity])
    assert both.bundled is not None and np.abs(both.bundled - identity.bundled).max() < 1e-6
    assert combined("one", [identity, Identity("plain", identity.embedding)]).bundled is None


def test_likeness_selects_and_the_folders_are_searched_only_for_it(counting):
    library, searches = counting
    frames, faces = two_faces()

    def embeddings(some):
        return add_embeddings(frames, some, library)

    assert select(faces, Choice(order="large"), None, embeddings).count == 2
    assert searches == []
    reference = add_embeddings(frames, faces.frames[0][1:], library)[0].embedding
    chosen = select(faces, Choice(reference=reference, likeness=0.9), None, embeddings)
    assert [float(face.box[0]) for face in chosen.frames[0]] == [SIDE + 20]
    assert len(searches) == 1, "once for a library, which is one command or one node's run"


def test_masks_see_what_their_networks_see(library):
    frames, faces = two_faces()
    frames[0, 100:, :, 0] = 0.0
    occlusion = face_masks(
        faces, MaskChoice(occlusion=True), frames, MaskNetworks(mask_network(library, "mask", OCCLUDERS, faces.count))
    )[0]
    assert occlusion[80, 95] == 1 and not occlusion[101:].any() and not occlusion[:, SIDE:].any()
    skin = face_masks(
        faces,
        MaskChoice(regions=("skin",)),
        frames,
        MaskNetworks(parser=mask_network(library, "parser", PARSERS, faces.count)),
    )[0]
    assert skin[80, 95] == 1 and not skin[:, SIDE:].any()


def test_gender_and_age_select(library):
    frames, faces = two_faces()
    chosen = select(faces, Choice(gender="male", youngest=40), lambda some: add_attributes(frames, some, library))
    assert [(float(face.box[0]), face.gender) for face in chosen.frames[0]] == [(20, "male")]
    (_, years), *_ = (face.age for face in chosen.frames[0])
    assert 40 <= years <= 100


def test_areas_are_made_from_points_that_a_network_finds(library):
    frames, faces = two_faces()
    choice = MaskChoice(areas=("mouth",))
    mask = face_masks(
        faces, choice, frames, MaskNetworks(landmarks=lambda some: add_landmarks68(frames, some, library))
    )[0]
    x, y = faces.frames[0][0].landmarks[2]  # the area is a part of the ring around the nose, to its upper right
    assert mask[int(y) - 20, int(x) + 13] > 0.5 and mask[int(y) + 20, int(x) - 13] == 0


def test_a_network_that_is_not_there_says_where_to_get_it(tmp_path):
    empty = ModelLibrary(lambda: search([tmp_path]), MemoryBudget(), StandaloneHost("cpu"))
    frames, faces = two_faces()
    with pytest.raises(ModelFileError, match=r"No recogniser was found.*w600k_r50\.onnx from https.*buffalo_l"):
        add_embeddings(frames, faces.frames[0], empty, RECOGNISER)
    assert add_embeddings(frames, [], empty) == []


def test_commercial_use_only_refuses_what_is_not_known_to_be_free(folder):
    strict = ModelLibrary(lambda: search([folder]), MemoryBudget(), StandaloneHost("cpu"), commercial_only=True)
    frames, faces = two_faces()
    with pytest.raises(ModelFileError, match=r"free for commercial use.*no such file is known"):
        add_embeddings(frames, faces.frames[0], strict, RECOGNISER)
    free = add_embeddings(frames, faces.frames[0], strict)
    assert {face.recogniser for face in free} == {BUNDLED_RECOGNISER}


def test_without_a_landmark_file_the_bundled_network_gives_the_points():
    frames = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255)[None]
    faces = detect_faces(frames, StandaloneHost("cpu")).frames[0]
    (face,) = add_landmarks68(frames, faces, ModelLibrary(lambda: (), MemoryBudget(), StandaloneHost("cpu")))
    eyes = np.stack([face.landmarks68[36:42].mean(0), face.landmarks68[42:48].mean(0)])
    distance = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
    assert np.abs(eyes - face.landmarks[:2]).max() < 0.1 * distance
