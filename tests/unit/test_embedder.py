"""The bundled recogniser: its file, what it tells of a real face, and who may use its vectors."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from slimfusion.bench.portraits import astronaut
from slimfusion.catalog.cards.readers import BUNDLED_RECOGNISER
from slimfusion.distill.degrade import SEVERITIES, degrade
from slimfusion.distill.embedder.packing import packed
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.torch.architectures import slim_embedder
from slimfusion.errors import FacesError, ModelFileError
from slimfusion.faces.align import warped
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity import bundled
from slimfusion.faces.identity.identity import Identity, alike, load_identity, save_identity
from slimfusion.faces.identity.library import ModelLibrary, add_embeddings, identity_of
from slimfusion.faces.identity.select import SAME_PERSON, Choice, likeness, select

FIVE = np.array([[203.1, 99.7], [246.4, 102.9], [224.4, 127.9], [201.8, 139.1], [244.9, 141.2]], np.float32)
LIBRARY = ModelLibrary(host=StandaloneHost("cpu"))


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


def face_at(points: np.ndarray = FIVE) -> Face:
    return Face(0, np.array([180, 70, 270, 180], np.float32), points.astype(np.float32), 1.0)


def vector(picture: np.ndarray, points: np.ndarray = FIVE) -> np.ndarray:
    (only,) = bundled.bundled_embeddings([(picture, face_at(points))])
    return only


def other_person() -> tuple[np.ndarray, np.ndarray]:
    """The portrait with another shape of face, and its points: a third longer and darker."""
    affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.35, 0.0]])
    picture = warped(astronaut(), affine, (512, 512))[..., ::-1] ** 1.6
    return np.ascontiguousarray(picture), FIVE @ affine[:, :2].T


def test_the_file_is_small_free_and_whole() -> None:
    assert bundled.WEIGHTS.stat().st_size <= 3_000_000
    with safe_open(bundled.WEIGHTS, "pt") as file:
        metadata = file.metadata()
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 (it is no dictionary)
    assert metadata["architecture"] == slim_embedder.ARCHITECTURE and metadata["training"]
    assert metadata["licence"].startswith("Apache-2.0")
    assert {tensor.dtype for tensor in tensors} == {torch.float16, torch.int8, torch.uint8}
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_one_person_stays_one_person_mirrored_and_damaged() -> None:
    clear = vector(astronaut())
    assert (clear.shape, clear.dtype) == ((128,), np.float32)
    mirrored = np.ascontiguousarray(astronaut()[:, ::-1])
    swapped = (FIVE * (-1, 1) + (511, 0))[[1, 0, 2, 4, 3]]
    damaged = degrade(astronaut(), SEVERITIES["light"], 0)
    assert np.linalg.norm(vector(mirrored, swapped) - clear) < SAME_PERSON
    assert np.linalg.norm(vector(damaged) - clear) < SAME_PERSON
    picture, points = other_person()
    assert np.linalg.norm(vector(picture, points) - clear) > np.linalg.norm(vector(damaged) - clear)


def test_what_is_no_number_counts_as_black() -> None:
    broken = astronaut().copy()
    broken[90:110, 200:220] = np.nan
    assert np.isfinite(vector(broken)).all()


def test_points_that_coincide_are_refused() -> None:
    with pytest.raises(FacesError, match="coincide"):
        vector(astronaut(), np.zeros((5, 2), np.float32))


def test_weights_that_lack_something_are_refused() -> None:
    with pytest.raises(ModelFileError, match="incomplete"):
        slim_embedder.load({"stem.bias": torch.zeros(32)})


def test_without_any_file_people_are_chosen_by_likeness() -> None:
    picture, points = other_person()
    frames = torch.from_numpy(np.concatenate([astronaut(), picture], 1))[None]
    faces = Faces(((face_at(), face_at(points + np.array([512, 0]))),), 512, 1024)
    known = identity_of("her", frames, faces.frames[0][:1], LIBRARY)
    assert (known.recogniser, known.embedding.shape) == (BUNDLED_RECOGNISER, (128,))
    choice = Choice(reference=known.embedding, likeness=0.9, recogniser=known.recogniser)
    chosen = select(faces, choice, None, lambda some: add_embeddings(frames, some, LIBRARY, known.recogniser))
    assert [float(face.landmarks[0, 0]) for face in chosen.frames[0]] == [pytest.approx(203.1, abs=1e-3)]


def test_a_face_that_another_recogniser_has_seen_is_looked_at_again() -> None:
    frames = torch.from_numpy(astronaut())[None]
    seen = Face(0, face_at().box, FIVE, 1.0, embedding=np.ones(512, np.float32), recogniser="arcface")
    reference = add_embeddings(frames, [face_at()], LIBRARY)[0].embedding
    choice = Choice(reference=reference, recogniser=BUNDLED_RECOGNISER)
    faces = Faces(((seen,),), 512, 512)
    assert select(faces, choice, None, lambda some: add_embeddings(frames, some, LIBRARY, BUNDLED_RECOGNISER)).count
    with pytest.raises(ModelFileError, match="No recogniser"):
        add_embeddings(frames, [seen], LIBRARY, "arcface")


def test_likeness_tells_people_apart_where_others_do() -> None:
    one = np.zeros(128, np.float32)
    one[0] = 1.3
    other = one.copy()
    other[1] = SAME_PERSON
    assert likeness(one, one) == 1
    assert likeness(one, other) == pytest.approx(0.3)
    assert likeness(one, -one) == -1


def test_it_is_kept_in_a_file_and_feeds_no_swapper(tmp_path) -> None:
    identity = identity_of("her", torch.from_numpy(astronaut())[None], [face_at()], LIBRARY)
    save_identity(identity, tmp_path / "her.safetensors")
    again = load_identity(tmp_path / "her.safetensors")
    assert alike(identity, again) == 1 and again.recogniser == BUNDLED_RECOGNISER
    with pytest.raises(FacesError, match=r"feeds no swap model.*w600k_r50"):
        again.check_recogniser("arcface")
    with pytest.raises(FacesError, match="not of 128"):
        Identity("x", np.ones(512, np.float32), BUNDLED_RECOGNISER)


@pytest.mark.parametrize(("bits", "most"), [(4, 0.13), (8, 0.012)])
def test_weights_survive_packing(bits, most) -> None:
    value = torch.randn(16, 24, 3, 3, generator=torch.Generator().manual_seed(1))
    value[0, :8] = 0
    codes, scales = packed(value, bits)
    assert codes.dtype == (torch.uint8 if bits == 4 else torch.int8) and codes.shape[1] == 216 * bits // 8
    again = slim_embedder.weight({"w.codes": codes, "w.scales": scales}, "w", value)
    assert torch.equal(again[0, :8], value[0, :8])
    assert float((again - value).norm() / value.norm()) < most


def test_a_plain_weight_stays_as_it_is() -> None:
    value = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(slim_embedder.weight({"w": value}, "w", value), value)
