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
from slimfusion.faces.identity.guard import FREE, SHAPES, TOLD, WHOLE, Witness, witness
from slimfusion.faces.identity.keeping import Keeping

SIDE = 150
POINTS = (TEMPLATE * SIDE).astype(np.float32)
CPU = torch.device("cpu")


class ByColour(torch.nn.Module):
    """Knows a person by the mean colour: 128 numbers, the first three of which say something."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(crops.mean((2, 3)), (0, 125), value=0.1)


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


CENTRE = slice(50, 100), slice(50, 100)  # px around the nose
CORNER = slice(0, 12), slice(0, 12)


def test_what_is_coarse_stays_around_eyes_nose_and_mouth_and_all_else_comes() -> None:
    before = plain(0.5)
    seen = Witness(Keeping("auto"), ByColour(), Report())
    done = seen.restored(face(), before, before, drawn(0.58), POINTS)
    assert abs(done[CENTRE].mean() - 0.5) < 0.02 and done[CENTRE].std() > 0.02
    assert abs(done[CORNER].mean() - 0.58) < 0.02
    assert 0 < seen.rows()[0].held_back < 1


def test_the_further_a_face_moves_the_less_of_it_stays() -> None:
    """The recogniser of this test sees the colour in the corner alone, which no shape holds back."""

    class ByCorner(torch.nn.Module):
        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(crops[..., :12, :12].mean((2, 3)), (0, 125), value=0.1)

    def nose(mode: str, change: float) -> float:
        """The share of a change by the nose that is left."""
        seen = Witness(Keeping(mode), ByCorner(), Report())
        after = drawn(0.5 + change)
        done = seen.restored(face(), plain(0.5), plain(0.5), after, POINTS)
        return float((done - 0.5)[CENTRE].std() / (after - 0.5)[CENTRE].std())

    little, more, most = (nose("auto", change) for change in (0.02, 0.06, 0.3))
    assert 0 < little < more < 1 and most == 0
    assert nose("strong", 0.06) == more and nose("strong", 0.09) == 0 < nose("auto", 0.09)


def test_a_picture_keeps_its_size_and_its_border_when_shapes_are_held() -> None:
    points, before = POINTS * 2, np.full((300, 320, 3), 0.5, np.float32)
    done = SHAPES.applied(before, before + np.float32(0.25), points)
    assert done.shape == before.shape and done.dtype == np.float32
    assert done[0, 0, 0] == pytest.approx(0.75, abs=0.01) and done[150, 150, 0] == pytest.approx(0.5, abs=1e-3)
    assert FREE.applied(before, done, points) is done and WHOLE.applied(before, done, points) is before


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
