"""Swapping a batch: through a small network inside the budget, and without any."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from slimfusion.bench.faces.swap_twins import save_converter, save_swapper
from slimfusion.catalog.cards import CARDS
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import GIB, MemoryBudget
from slimfusion.errors import BudgetError, FacesError, ImageError, ModelFileError, SettingError
from slimfusion.faces import warp
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.fuse.classic import fusion_bytes
from slimfusion.faces.identity.identity import Identity
from slimfusion.faces.identity.keeping import Keeping
from slimfusion.faces.identity.people import Person
from slimfusion.faces.swap.swap import swap_faces
from slimfusion.faces.swap.task import Networks, Swapping
from slimfusion.models.onnx_description import describe
from slimfusion.models.onnx_torch_model import onnx_torch_model

HOST = StandaloneHost("cpu")
FULL = MemoryBudget(mode="quality")
HEIGHT, WIDTH = 170, 200
VECTORS = np.random.default_rng(0).normal(0, 1, (2, 512)).astype(np.float32)


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture(scope="module")
def blueprints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")

    def made(name: str):
        save = save_converter if name.startswith("crossface") else lambda path: save_swapper(path, CARDS[name])
        path = save(folder / f"{name}.onnx")
        return onnx_torch_model(describe(path, path.name, CARDS[name], "none"))

    names = ("inswapper", "hyperswap", "simswap_256", "uniface", "crossface_simswap", "crossface_ghost")
    return {name: made(name) for name in names}


def face_at(x: float, y: float, scale: float = 22, frame: int = 0) -> Face:
    points = warp.MEAN_FACE * scale + (x, y)
    five = np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    box = np.concatenate([points.min(0), points.max(0)])
    return Face(frame, box.astype(np.float32), five.astype(np.float32), 0.9, points.astype(np.float32))


def noisy(frames: int = 1, channels: int = 3, seed: int = 5) -> torch.Tensor:
    return torch.rand(frames, HEIGHT, WIDTH, channels, generator=torch.Generator().manual_seed(seed))


def bits(frames: torch.Tensor) -> torch.Tensor:
    return frames.contiguous().view(torch.int32)


TWO = Faces(((face_at(60, 60), face_at(150, 70)), (), (face_at(100, 60, frame=2),)), HEIGHT, WIDTH)
PICTURE = noisy(seed=8)[0].numpy()
ANNA = Person("Anna", Identity("Anna", VECTORS[0]), PICTURE, face_at(90, 50, 30))
BEN = Person("Ben", Identity("Ben", VECTORS[1]), 0.4 * PICTURE, face_at(90, 50, 30))


def networks_for(blueprints, name: str) -> Networks:
    if name == "classic":
        return Networks()
    return Networks(blueprints[name], blueprints["crossface_simswap"] if name == "simswap_256" else None)


WAYS = ["classic", "inswapper", "hyperswap", "simswap_256", "uniface"]


@pytest.mark.parametrize("name", WAYS)
def test_outside_the_mask_every_bit_stays_and_frames_out_are_frames_in(blueprints, name):
    frames = noisy(3, 4)
    frames[:, :2, :2] = torch.tensor([torch.nan, -0.0, torch.inf, 2.0])
    before = frames.clone()
    done = swap_faces(frames, [ANNA], networks_for(blueprints, name), FULL, HOST, Swapping(faces=TWO))
    assert torch.equal(bits(frames), bits(before)), "the frames that came in were written to"
    assert done.frames.shape == frames.shape and done.mask.shape == (3, HEIGHT, WIDTH) and done.faces is TWO
    same = bits(done.frames) == bits(frames)
    assert same[done.mask == 0].all() and same[..., 3].all() and same[1].all()
    assert done.mask[0].max() > 0.4 and done.mask[2].max() > 0.4 and torch.isfinite(done.frames[done.mask > 0]).all()
    assert not same[0, 60, 60, :3].all()
    assert done.report.faces == 3 and done.report.frames == 3
    assert done.report.notes == ["no face was found in frame 1: unchanged"]


@pytest.mark.parametrize("name", ["classic", "inswapper", "uniface"])
def test_likeness_to_the_frame_and_the_person_is_told(blueprints, name):
    networks, frames = networks_for(blueprints, name), noisy(3)
    swapping = Swapping(faces=TWO, keeping=Keeping(watch=True))
    free = swap_faces(frames, [ANNA], networks, FULL, HOST, replace(swapping, keeping=Keeping()))
    told = swap_faces(frames, [ANNA], networks, FULL, HOST, swapping)
    kept = swap_faces(frames, [ANNA], networks, FULL, HOST, replace(swapping, keeping=Keeping("strong")))
    assert torch.equal(bits(free.frames), bits(told.frames)) and free.report.likeness == []
    steps = {"pasted"} if name == "classic" else {"swapped", "coloured", "pasted"}
    for row in (*told.report.likeness, *kept.report.likeness):
        assert set(row.itself) == set(row.person) == steps and row.held_back in (0, 0.5, 1)
    assert [(row.frame, row.face) for row in told.report.likeness] == [(0, 0), (0, 1), (2, 0)]
    assert kept.frames.isfinite().all() and torch.equal(bits(kept.frames)[kept.mask == 0], bits(frames)[kept.mask == 0])


@pytest.mark.parametrize("name", WAYS)
def test_each_face_becomes_who_the_map_says(blueprints, name):
    frames, networks = noisy(3), networks_for(blueprints, name)
    swapping = Swapping(colour=0.0, people="0:B, 1:A")
    both = swap_faces(frames, [ANNA, BEN], networks, FULL, HOST, replace(swapping, faces=TWO))
    alone = Swapping(colour=0.0)
    anna, ben = (swap_faces(frames, [who], networks, FULL, HOST, replace(alone, faces=TWO)) for who in (ANNA, BEN))
    assert (both.frames[0, :, :95] - ben.frames[0, :, :95]).abs().max() < 1e-5
    assert (both.frames[0, :, 115:] - anna.frames[0, :, 115:]).abs().max() < 1e-5
    assert (anna.frames - ben.frames).abs().max() > 0.05
    assert both.report.notes[-1] == "fewer faces than people assigns in frame 2"


@pytest.mark.parametrize("name", ["classic", "inswapper"])
def test_a_user_mask_and_no_strength(blueprints, name):
    wanted = torch.zeros(HEIGHT, WIDTH)
    wanted[:, :60] = 1
    done = swap_faces(noisy(3), [ANNA], networks_for(blueprints, name), FULL, HOST, Swapping(faces=TWO, mask=wanted))
    assert torch.equal(done.frames[:, :, 60:], noisy(3)[:, :, 60:]) and done.mask[0, :, :60].max() > 0.9
    none = swap_faces(noisy(3), [ANNA], networks_for(blueprints, name), FULL, HOST, Swapping(strength=0.0, faces=TWO))
    assert torch.equal(none.frames, noisy(3)) and not none.mask.any()


def test_a_boosted_face_is_finer_and_costs_k_times_k_samples(blueprints):
    faces = Faces(((face_at(100, 60, 34),),), HEIGHT, WIDTH)
    told = []
    host = StandaloneHost("cpu", lambda stage, done, total: told.append((stage, done, total)))
    for boost in (0, 512):
        swap_faces(
            noisy(),
            [ANNA],
            Networks(blueprints["inswapper"]),
            FULL,
            host,
            Swapping(boost=boost, faces=faces, mask=None),
        )
    assert told[0] == ("swap", 1, 1) and told[-1] == ("swap", 16, 16)


def test_the_report_says_what_was_run(blueprints):
    done = swap_faces(
        noisy(3), [ANNA], networks_for(blueprints, "simswap_256"), MemoryBudget(GIB), HOST, Swapping(faces=TWO)
    )
    content = json.loads(done.report.as_json())
    assert content["model"] == "simswap_256.onnx" and {"convert", "swap", "paste"} <= set(content["seconds"])
    assert 0 < content["predicted_peak"] <= content["allowed"] <= GIB
    plain = swap_faces(noisy(3), [ANNA], Networks(), MemoryBudget(GIB), HOST, Swapping(faces=TWO)).report
    assert plain.model == "no model (classic fusion)" and plain.predicted_peak > 0 and "fuse" in plain.seconds


def without(person: Person, *parts: str) -> Person:
    return replace(person, **dict.fromkeys(parts))


def test_a_converter_that_is_missing_or_another_is_named(blueprints):
    with pytest.raises(ModelFileError, match=r"crossface_simswap.onnx \(licence: OpenRAIL-MS\).*into models/"):
        swap_faces(noisy(3), [ANNA], Networks(blueprints["simswap_256"]), FULL, HOST, Swapping(faces=TWO))
    wrong = Networks(blueprints["simswap_256"], blueprints["crossface_ghost"])
    with pytest.raises(SettingError, match=r"crossface_ghost.onnx is no crossface_simswap"):
        swap_faces(noisy(3), [ANNA], wrong, FULL, HOST, Swapping(faces=TWO))


def test_who_cannot_be_put_in_is_named(blueprints):
    unknown, unseen = without(ANNA, "identity"), without(ANNA, "picture", "face")
    other = Person("Eve", Identity("Eve", VECTORS[0], "ghost_arcface"))
    network = Networks(blueprints["inswapper"])
    with pytest.raises(FacesError, match="Anna has no identity yet"):
        swap_faces(noisy(3), [unknown], network, FULL, HOST, Swapping(faces=TWO))
    with pytest.raises(FacesError, match="made by the recogniser ghost_arcface"):
        swap_faces(noisy(3), [other], network, FULL, HOST, Swapping(faces=TWO))
    with pytest.raises(FacesError, match="identity without a picture"):
        swap_faces(noisy(3), [unseen], Networks(), FULL, HOST, Swapping(faces=TWO))
    with pytest.raises(FacesError, match="identity without a picture"):
        swap_faces(noisy(3), [unseen], Networks(blueprints["uniface"]), FULL, HOST, Swapping(faces=TWO))


def test_a_recogniser_is_asked_only_for_who_has_no_identity(blueprints):
    asked = []

    def recognise(person, report):
        asked.append(person.name)
        return Identity(person.name, VECTORS[1])

    network = Networks(blueprints["inswapper"], recognise=recognise)
    done = swap_faces(noisy(3), [without(BEN, "identity")], network, FULL, HOST, Swapping(faces=TWO))
    known = swap_faces(noisy(3), [BEN], network, FULL, HOST, Swapping(faces=TWO))
    assert asked == ["Ben"] and torch.equal(done.frames, known.frames)


def test_points_are_looked_for_where_a_face_has_none():
    bare = Face(0, TWO.frames[0][0].box, TWO.frames[0][0].landmarks, 0.9)
    faces = Faces(((bare,),), HEIGHT, WIDTH)
    with pytest.raises(FacesError, match="no 68 points"):
        swap_faces(noisy(), [ANNA], Networks(), FULL, HOST, Swapping(faces=faces))
    found = Networks(landmarks=lambda faces, report: [TWO.frames[0][0].landmarks68] * len(faces))
    done = swap_faces(noisy(), [ANNA], found, FULL, HOST, Swapping(faces=faces))
    assert done.mask.max() == 1


def test_a_profile_is_left_alone_without_a_network():
    side = face_at(60, 60)
    side.landmarks[2, 0] = side.landmarks[1, 0] + 5
    done = swap_faces(noisy(), [ANNA], Networks(), FULL, HOST, Swapping(faces=Faces(((side,),), HEIGHT, WIDTH)))
    assert torch.equal(done.frames, noisy()) and "seen from the side" in done.report.as_text()


@pytest.mark.parametrize("name", ["classic", "inswapper"])
def test_a_face_whose_points_coincide_is_left_alone(blueprints, name):
    nowhere = replace(face_at(60, 60), landmarks=np.ones((5, 2), np.float32))
    faces = Faces(((nowhere, face_at(150, 70)),), HEIGHT, WIDTH)
    done = swap_faces(noisy(), [ANNA], networks_for(blueprints, name), FULL, HOST, Swapping(faces=faces))
    assert done.report.faces == 1 and "not changed: 1" in done.report.as_text()
    assert done.mask[0, :, 110:].max() > 0.9


def test_too_small_a_budget_is_refused_and_the_other_way_offered(blueprints):
    with pytest.raises(BudgetError, match="Swapping without a model needs less memory"):
        swap_faces(noisy(3), [ANNA], Networks(blueprints["inswapper"]), MemoryBudget(1000), HOST, Swapping(faces=TWO))
    with pytest.raises(BudgetError, match="Blending a face of"):
        swap_faces(noisy(3), [ANNA], Networks(), MemoryBudget(1000), HOST, Swapping(faces=TWO))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"strength": 1.1}, "strength must be"), ({"colour": -1}, "colour weight"), ({"boost": 2000}, "boost must be"),
     ({"people": "x"}, "not a face and a person"), ({"shape": float("nan")}, "shape weight"),
     ({"strength": float("nan")}, "strength must be"), ({"strength": "much"}, "setting strength must be a number"),
     ({"texture": float("inf")}, "texture weight"), ({"boost": "most"}, "boost"), ({"boost": 2.5}, "boost")],
)  # fmt: skip
def test_settings_outside_their_range_are_refused(wrong, sentence):
    with pytest.raises(SettingError, match=sentence):
        Swapping(**wrong)


def test_what_is_no_mask_and_a_model_that_is_no_swapper(blueprints):
    with pytest.raises(ImageError, match="A mask has a height and a width"):
        swap_faces(noisy(3), [ANNA], Networks(), FULL, HOST, Swapping(faces=TWO, mask=torch.ones(5)))
    with pytest.raises(SettingError, match="is not a swap model but crossface_ghost"):
        swap_faces(noisy(3), [ANNA], Networks(blueprints["crossface_ghost"]), FULL, HOST, Swapping(faces=TWO))


@pytest.mark.parametrize("name", WAYS)
def test_a_frame_without_colour_gets_none(blueprints, name):
    frames = noisy(3)
    frames[0] = frames[0, ..., :1]
    done = swap_faces(frames, [ANNA], networks_for(blueprints, name), FULL, HOST, Swapping(faces=TWO))
    grey = done.frames[0]
    assert torch.equal(grey[..., 0], grey[..., 1]) and torch.equal(grey[..., 1], grey[..., 2])
    assert not torch.equal(grey, frames[0])
    assert not torch.equal(done.frames[2][..., 0], done.frames[2][..., 1])


def test_more_memory_is_forecast_for_a_larger_face_and_for_its_shape():
    small, large = face_at(100, 60), face_at(100, 60, 30)
    assert fusion_bytes([small], HEIGHT, WIDTH, 0) < fusion_bytes([small, large], HEIGHT, WIDTH, 0)
    assert fusion_bytes([small], HEIGHT, WIDTH, 0) < fusion_bytes([small], HEIGHT, WIDTH, 0.5)
    unknown = replace(small, landmarks68=None)
    assert 0.9 < fusion_bytes([unknown], HEIGHT, WIDTH, 0) / fusion_bytes([small], HEIGHT, WIDTH, 0) < 1.1
