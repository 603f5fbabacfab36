"""The likeness of faces: told step by step, and kept where a change would lead away from who is shown."""

import json

import numpy as np
import pytest
import torch
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.engines.memory.report import Report
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.bundled import EMBEDDER, TEMPLATE
from slimfusion.faces.identity.guard import TOLD, Witness, witness
from slimfusion.faces.identity.keeping import Keeping

SIDE = 150
POINTS = (TEMPLATE * SIDE).astype(np.float32)
CPU = torch.device("cpu")


class ByColour(torch.nn.Module):
    """Knows a person by the mean colour: 128 numbers, the first three of which say something."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(crops.mean((2, 3)), (0, 125), value=0.1)


class ByDetail(torch.nn.Module):
    """Knows a person by how strong the detail is."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(crops.std((2, 3)), (0, 125), value=0.1)


def face(frame: int = 0) -> Face:
    return Face(frame, np.array([20, 20, 130, 140], np.float32), POINTS, 1.0)


def plain(level: float) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.float32)


def beside(keeping: Keeping) -> Witness:
    return Witness(keeping, ByColour(), Report())


def drawn(level: float, seed: int = 0) -> np.ndarray:
    """A plain picture with detail that the mean does not see."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (SIDE, SIDE, 3)).astype(np.float32)
    return plain(level) + noise - noise.mean((0, 1))


@pytest.mark.parametrize("mode", ["auto", "strong"])
def test_what_is_coarse_stays_and_fine_detail_comes(mode) -> None:
    before, seen = plain(0.5), beside(Keeping(mode))
    done = seen.restored(face(), before, before, drawn(0.9), POINTS)
    inner = slice(30, -30)
    assert abs(done[inner, inner].mean() - 0.5) < 0.01 and done[inner, inner].std() > 0.04
    assert 0.5 < seen.rows()[0].held_back < 1


def test_a_change_that_leads_too_far_is_held_back_more_and_more() -> None:
    """The recogniser of this test sees fine detail alone."""
    shares = []
    for strength in (0.02, 0.2, 0.6, 3.0):
        seen = Witness(Keeping("auto"), ByDetail(), Report())
        change = strength * (drawn(0.0, 1) / 0.05)
        done = seen.restored(face(), plain(0.5), plain(0.5), plain(0.5) + change, POINTS)
        shares.append(round(float((done - 0.5).std() / change.std()), 1))
    assert shares[0] > 0.9 and shares == sorted(shares, reverse=True) and shares[-1] == 0
    assert len(set(shares)) >= 3


def test_off_holds_nothing_back_and_tells_what_happened() -> None:
    one, seen = face(), beside(Keeping(watch=True))
    after = plain(0.8)
    assert seen.restored(one, plain(0.2), plain(0.2), after, POINTS) is after
    seen.step(one, "pasted", plain(0.2), POINTS)
    (row,) = seen.rows()
    assert row.itself["restored"] < row.itself["pasted"] == 1.0
    assert row.held_back == 0 and row.person == {}


def test_who_is_shown_may_be_said() -> None:
    person = np.full(128, 0.1, np.float32)
    person[:3] = 0.8
    seen = beside(Keeping("auto", person))
    done = seen.restored(face(), plain(0.5), plain(0.5), drawn(0.9), POINTS)
    assert done.std() > 0.04  # no further from the person: the detail stays
    (row,) = seen.rows()
    assert row.person["restored"] > -1 and set(row.person) == {"restored"}


def test_colours_that_lead_away_from_the_new_person_are_left_out() -> None:
    person = np.full(128, 0.1, np.float32)
    person[:3] = 0.5
    shades = [plain(0.9), plain(0.7), plain(0.5)]
    assert beside(Keeping("off", watch=True)).coloured(shades, POINTS, person) == 0
    assert beside(Keeping("auto")).coloured(shades, POINTS, person) == 2
    assert beside(Keeping("auto")).coloured(shades, POINTS, None) == 0
    assert beside(Keeping("auto")).coloured([plain(0.501), *shades[1:]], POINTS, person) == 0


def test_many_faces_are_told_only_where_they_were_held_back() -> None:
    seen = beside(Keeping("auto"))
    faces = [face(number) for number in range(TOLD + 6)]
    for number, one in enumerate(faces):
        after = plain(0.8 if number == TOLD + 3 else 0.2)
        seen.restored(one, plain(0.2), plain(0.2), after, POINTS)
    rows = seen.rows()
    assert [row.frame for row in rows] == [*range(TOLD), TOLD + 3]
    assert rows[-1].held_back > 0


def test_without_a_wish_nothing_is_loaded() -> None:
    report = Report()
    with witness(Keeping(), Faces(((face(),),), SIDE, SIDE), MemoryBudget(), StandaloneHost("cpu"), report) as seen:
        after = plain(0.8)
        assert seen.restored(face(), plain(0.2), plain(0.2), after, POINTS) is after
        assert not SESSIONS.is_open(EMBEDDER, CPU, "fp32")
    assert report.likeness == []


def test_the_recogniser_is_a_session_like_others_and_the_report_tells_all() -> None:
    one, report = face(), Report()
    with witness(Keeping("auto"), Faces(((one,),), SIDE, SIDE), MemoryBudget(), StandaloneHost("cpu"), report) as seen:
        seen.restored(one, plain(0.5), plain(0.5), plain(0.5), POINTS)
        assert SESSIONS.is_open(EMBEDDER, CPU, "fp32")
    SESSIONS.release()
    assert not SESSIONS.is_open(EMBEDDER, CPU, "fp32")
    (row,) = json.loads(report.as_json())["likeness"]
    assert (row["frame"], row["face"], row["itself"]) == (0, 0, {"restored": 1.0})
    assert "likeness to itself: restored 1.00" in report.as_text()


def test_nothing_stays_loaded_where_nothing_should() -> None:
    budget, host = MemoryBudget(keep_loaded=False), StandaloneHost("cpu")
    with witness(Keeping("auto"), Faces(((face(),),), SIDE, SIDE), budget, host, Report()):
        assert SESSIONS.is_open(EMBEDDER, CPU, "fp32")
    assert not SESSIONS.is_open(EMBEDDER, CPU, "fp32")


def test_a_held_back_face_is_named() -> None:
    one, seen = face(), beside(Keeping("strong"))
    seen.restored(one, plain(0.2), plain(0.2), plain(0.8), POINTS)
    seen.report.likeness += seen.rows()
    assert "face 0 of frame 0: 100% of the change was held back" in seen.report.as_text()


def test_wrong_wishes_are_refused() -> None:
    with pytest.raises(SettingError, match="off, auto, strong"):
        Keeping("always")  # type: ignore[arg-type]
    with pytest.raises(FacesError, match="not of the bundled"):
        Keeping("auto", np.ones(512, np.float32))
