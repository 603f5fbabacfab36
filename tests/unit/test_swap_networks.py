"""What a swap needs besides its swapper: found when it is needed, named when it is missing."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.bench.faces.swap_twins import save_converter, save_swapper
from slimfusion.catalog.cards import CARDS
from slimfusion.catalog.found import Found
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.engines.memory.report import Report
from slimfusion.errors import FacesError, ModelFileError
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.identity import Identity
from slimfusion.faces.identity.library import ModelLibrary
from slimfusion.faces.identity.people import Person
from slimfusion.faces.swap.networks import converter_for, networks_for, people_from
from slimfusion.faces.swap.swap import swap_faces
from slimfusion.models.onnx_description import describe
from slimfusion.models.onnx_torch_model import onnx_torch_model

HOST = StandaloneHost("cpu")
ANNA = Identity("Anna", np.ones(512, np.float32))
PORTRAIT = torch.from_numpy(skimage.data.astronaut()[20:180, 140:300].copy())[None].float() / 255


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


def files(*found: Found) -> ModelLibrary:
    return ModelLibrary(lambda: found, MemoryBudget(mode="quality"), HOST)


def meta_model(folder, name: str):
    path = save_swapper(folder / f"{name}.onnx", CARDS[name])
    return onnx_torch_model(describe(path, path.name, CARDS[name], "none"))


def test_a_missing_converter_is_named_with_its_licence_and_place(tmp_path):
    with pytest.raises(ModelFileError, match=r"crossface_hififace.onnx \(licence: OpenRAIL-MS\).*into models/"):
        converter_for(meta_model(tmp_path, "hififace"), files())


def test_a_swapper_without_one_looks_for_nothing(tmp_path):
    nobody = ModelLibrary(lambda: pytest.fail("files were looked for"), MemoryBudget(), HOST)
    networks = networks_for(meta_model(tmp_path, "hyperswap"), nobody)
    assert networks.converter is None and networks.recognise is not None
    assert networks_for(None, nobody).swapper is None


def test_a_vector_is_asked_of_the_recogniser_that_is_there(monkeypatch):
    box, five = np.array([2, 2, 90, 90], np.float32), np.zeros((5, 2), np.float32)
    seen = Face(7, box, five, 0.9)
    asked = []

    def answer(frames, faces, library, recogniser):
        asked.append((tuple(frames.shape), faces[0].frame, recogniser))
        return [replace(faces[0], embedding=np.ones(512, np.float32))]

    monkeypatch.setattr("slimfusion.faces.swap.networks.add_embeddings", answer)
    networks = networks_for(None, files())
    assert networks.recognise(Person("Ben", None, PORTRAIT[0].numpy(), seen), Report()).name == "Ben"
    assert asked == [((1, 160, 160, 3), 0, "arcface")], "a swap model takes no other vector"


def test_two_pictures_are_fused_with_nothing_but_what_is_bundled():
    (person,) = people_from([], PORTRAIT.flip(2), None, files())
    done = swap_faces(PORTRAIT, [person], networks_for(None, files()), MemoryBudget(), HOST)
    assert done.mask.max() == 1 and (done.frames - PORTRAIT).abs().max() > 0.02
    assert torch.equal(done.frames[done.mask == 0], PORTRAIT[done.mask == 0])


def test_the_converter_that_is_there_is_taken(tmp_path, monkeypatch):
    path = save_converter(tmp_path / "crossface_ghost.onnx")
    there = Found(path, path.stat().st_size, "unverified", None, CARDS["crossface_ghost"])
    taken = meta_model(tmp_path, "ghost")
    monkeypatch.setattr("slimfusion.faces.swap.networks.open_model", lambda path, *_, **__: path)
    assert converter_for(taken, files(there)) == path


def test_people_are_identities_pictures_or_both():
    mirrored = torch.cat([PORTRAIT, PORTRAIT.flip(2)])
    people = people_from([ANNA, None, None, None], mirrored, None, files())
    assert [person.name for person in people] == ["Anna", "B"]
    assert people[0].identity is ANNA and people[1].identity is None
    assert all(person.face is not None for person in people)
    assert np.array_equal(people[1].picture, mirrored[1].numpy())
    (alone,) = people_from([ANNA, None, None, None], None, None, files())
    assert alone.picture is None
    assert people_from([None] * 4, None, None, files()) == []


def test_a_source_of_many_faces_can_be_chosen_from():
    box = np.array([0, 0, 90, 90], np.float32)
    points = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
    one = Face(0, box, points, 0.9)
    faces = Faces(((one, one),), 160, 160)
    with pytest.raises(FacesError, match="2 faces in the source picture of A"):
        people_from([], PORTRAIT, faces, files())
    (person,) = people_from([], PORTRAIT, Faces(((one,),), 160, 160), files())
    assert person.face is one
