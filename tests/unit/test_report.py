"""The report as figures, as text and as a picture."""

import json

import pytest
import torch
from slimfusion.engines.memory.budget import GIB, MIB, MemoryBudget
from slimfusion.engines.memory.picture import (
    ALLOWED,
    BANDS,
    BOTTOM,
    BUDGET_SHARE,
    CHARACTERS,
    CURVE,
    GREY,
    HEADROOM,
    HEIGHT,
    INK,
    PAPER,
    PLOT,
    PREDICTED,
    TOP,
    WARNING,
    WIDTH,
    headline,
    lines,
    report_picture,
    stage_bands,
)
from slimfusion.engines.memory.report import MOST_SPANS, Report, Span
from slimfusion.engines.memory.samples import MOST_SAMPLES, thinned


def filled(**changes) -> Report:
    values = {
        "model": "net", "engine": "torch", "device": "cpu", "precision": "fp32", "mode": "auto",
        "budget": GIB, "allowed": 400 * MIB,
        "predicted_peak": 300 * MIB, "measured_peak": 250 * MIB, "batch": 2, "tile": (256, 512), "frames": 3,
        "faces": 4, "degradations": ["batch 2 instead of 8"], "notes": ["a note"],
        "timeline": [Span("plan", 0.0, 0.5), Span("restore", 0.5, 1.5), Span("paste", 1.5, 2.0), Span("restore", 2, 4)],
        "samples": [(0.1, 0), (1.0, 200 * MIB), (3.0, 250 * MIB), (3.5, -5)],
    }  # fmt: skip
    return Report(**{**values, **changes})


def pixels_of(picture: torch.Tensor, color: tuple[int, int, int]) -> torch.Tensor:
    """(H, W) bool: where the picture has exactly this colour."""
    return ((picture * 255).round() == torch.tensor(color)).all(-1)


def level_of(picture: torch.Tensor, color: tuple[int, int, int]) -> int:
    """The middle row of a horizontal line across the plot, dashed or not."""
    rows = pixels_of(picture, color).sum(1)
    assert rows.max() > WIDTH // 2.5
    return round(float((rows > WIDTH // 2.5).nonzero().float().mean()))


def contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """The ratio of two colours' relative luminances, as WCAG 2 defines it."""
    linear = [
        [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in rgb] for rgb in (first, second)
    ]
    light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (light[1] + 0.05) / (light[0] + 0.05)


def test_seconds_are_summed_by_stage_in_order_of_appearance():
    assert filled().seconds == {"plan": 0.5, "restore": 3.0, "paste": 0.5}
    assert list(filled().seconds) == ["plan", "restore", "paste"]


def test_stages_are_timed_also_when_they_fail():
    report = Report()
    with pytest.raises(ValueError), report.stage("outer"), report.stage("inner"):
        raise ValueError
    assert [span.stage for span in report.timeline] == ["inner", "outer"]
    inner, outer = report.timeline
    assert 0 <= outer.begin <= inner.begin <= inner.end <= outer.end


def test_samples_and_stages_have_one_clock():
    from time import perf_counter

    report = Report()
    with report.stage("work"):
        report.add_samples([(perf_counter(), 7)])
    (moment, level), (span,) = report.samples[0], report.timeline
    assert span.begin <= moment <= span.end and level == 7


def test_the_budget_is_taken_over():
    report = Report()
    report.begin(MemoryBudget(5 * MIB, "quality"))
    assert (report.budget, report.mode) == (5 * MIB, "quality")


def test_json_there_and_back():
    report = filled()
    content = json.loads(report.as_json())
    assert content["seconds"] == {"plan": 0.5, "restore": 3.0, "paste": 0.5}
    assert "samples" not in content and "timeline" not in content
    assert (content["tile"], content["degradations"], content["allowed"]) == (
        [256, 512],
        ["batch 2 instead of 8"],
        400 * MIB,
    )
    del content["seconds"]
    again = Report(**{**content, "tile": tuple(content["tile"])})
    assert again == filled(samples=[], timeline=[])


def test_the_text_names_plan_memory_time_and_what_was_given_up():
    text = filled(enforcement="enforced").as_text()
    assert "net in fp32 by torch on cpu, mode auto" in text and "3 frames, 4 faces; batch 2, tile 512x256" in text
    assert "budget 1.00 GiB, allowed 400 MiB (enforced), predicted 300 MiB, measured 250 MiB" in text
    assert "plan 0.50 s, restore 3.00 s, paste 0.50 s" in text
    assert text.endswith("given up: batch 2 instead of 8\na note")
    assert "budget automatic" in filled(budget=None).as_text()


@pytest.mark.parametrize("report", [Report(), Report(model="net", frames=1)])
def test_a_run_without_a_face_names_no_engine_and_no_bytes(report):
    report.notes.append("no face was found")
    first, *rest = report.as_text().splitlines()
    assert first == ("nothing was run with net" if report.model else "nothing was run")
    assert rest == [f"{'1 frame' if report.frames else '0 frames'}, 0 faces", "memory: budget automatic", *report.notes]


@pytest.mark.parametrize(("number", "words"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames")])
def test_one_frame_is_no_frames(number, words):
    assert f"{words}, 4 faces" in filled(frames=number).as_text()


def test_an_hour_of_samples_stays_small_and_keeps_its_peak():
    report = Report()
    for minute in range(60):
        report.add_samples([(minute * 60 + i * 0.05, 5 if minute * 1200 + i == 31234 else 1) for i in range(1200)])
    assert len(report.samples) <= MOST_SAMPLES
    assert max(level for _, level in report.samples) == 5
    assert [moment for moment, _ in report.samples] == sorted(moment for moment, _ in report.samples)


def test_a_films_timeline_stays_short_and_its_seconds_exact(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("slimfusion.engines.memory.report.perf_counter", lambda: clock[0])
    report = Report()
    for _ in range(3000):
        for stage, takes in (("align", 1.0), ("restore", 5.0), ("paste", 2.0)):
            with report.stage(stage):
                clock[0] += takes
    assert len(report.timeline) < 2 * MOST_SPANS
    assert report.seconds == pytest.approx({"align": 3000.0, "restore": 15000.0, "paste": 6000.0})
    assert list(report.seconds) == ["align", "restore", "paste"]
    assert report.timeline[-1].end == clock[0]


def test_samples_at_one_moment_are_thinned_too():
    assert thinned([(1.0, level) for level in range(50)], 10) == [(1.0, 49)]
    assert thinned([(float(i), i % 7) for i in range(5)], 10) == [(float(i), i % 7) for i in range(5)]


def test_neighbours_of_one_stage_are_one_band():
    timeline = [Span("b", 3, 4), Span("a", 0, 1), Span("a", 1, 2), Span("b", 2, 2.5), Span("a", 5, 6)]
    assert stage_bands(timeline) == [Span("a", 0, 2), Span("b", 2, 4), Span("a", 5, 6)]
    assert stage_bands([Span("a", 0, 9), Span("a", 1, 2)]) == [Span("a", 0, 9)]
    assert stage_bands([]) == []


@pytest.mark.parametrize("report", [Report(), filled(), filled(model="名前 \U0001f600 " * 40, degradations=["x"] * 60)])
def test_the_picture_is_a_picture(report):
    picture = report_picture(report)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == torch.float32
    assert picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0.01


@pytest.mark.parametrize(
    "odd",
    [{"samples": []}, {"timeline": []}, {"samples": [(-1.0, 5)]}, {"measured_peak": 0}, {"samples": [(9.0, GIB)]}],
)
def test_a_report_that_lacks_something_is_drawn_too(odd):
    assert report_picture(filled(**odd)).shape == (HEIGHT, WIDTH, 3)


def test_stages_and_the_course_of_memory_are_drawn():
    picture = report_picture(filled())
    assert all(pixels_of(picture, color).sum() > 500 for color in BANDS[:3])
    columns = pixels_of(picture, CURVE).any(0).nonzero()
    assert columns.max() - columns.min() > WIDTH // 2


def test_a_budget_that_is_near_is_drawn_above_the_prediction():
    picture = report_picture(filled())
    assert level_of(picture, ALLOWED) < level_of(picture, PREDICTED)


@pytest.mark.parametrize("allowed", [1, 301, 400, 1199, 1201, 4096, 17 * 1024])
def test_the_budgets_line_is_always_inside_the_plot(allowed):
    row = level_of(report_picture(filled(allowed=allowed * MIB)), ALLOWED)
    assert TOP + 5 < row <= BOTTOM


@pytest.mark.parametrize("report", [Report(), filled(budget=None, allowed=0, predicted_peak=0, measured_peak=0)])
def test_where_nothing_was_allowed_or_predicted_no_line_is_drawn(report):
    picture = report_picture(report)
    assert not pixels_of(picture, ALLOWED).any() and not pixels_of(picture, PREDICTED).any()
    assert headline(report) == "nothing was run"


def test_a_budget_of_the_user_is_drawn_where_nothing_was_planned():
    picture = report_picture(filled(allowed=0, predicted_peak=0, measured_peak=0, samples=[]))
    assert TOP + 5 < level_of(picture, ALLOWED) < BOTTOM - 40
    assert not pixels_of(picture, PREDICTED).any()


def test_what_nobody_measures_is_not_called_nothing():
    assert headline(filled(enforcement="predicted", measured_peak=0)) == "300 MiB of 400 MiB predicted"


@pytest.mark.parametrize("allowed", [310, 400, 1200])
def test_lines_are_where_their_bytes_are(allowed):
    picture = report_picture(filled(allowed=allowed * MIB))
    plot = BOTTOM - TOP
    assert BOTTOM - level_of(picture, PREDICTED) == pytest.approx(plot * 300 / allowed / HEADROOM, abs=2)
    assert BOTTOM - level_of(picture, ALLOWED) == pytest.approx(plot / HEADROOM, abs=2)


def test_a_budget_far_above_the_use_leaves_the_curve_readable():
    picture = report_picture(filled(allowed=17 * GIB))
    assert BOTTOM - level_of(picture, ALLOWED) == pytest.approx((BOTTOM - TOP) * BUDGET_SHARE, abs=2)
    curve = pixels_of(picture, CURVE).any(1).nonzero()
    assert int(curve.max() - curve.min()) > (BOTTOM - TOP) // 3


def test_the_curve_stays_inside_the_plot_where_a_sample_is_above_all_else():
    picture = report_picture(filled(samples=[(0.0, 0), (2.0, 900 * MIB), (4.0, 0)]))
    rows = pixels_of(picture, CURVE).any(1).nonzero()
    assert rows.min() > TOP and level_of(picture, ALLOWED) > TOP + 40


@pytest.mark.parametrize("ground", [PAPER, PLOT])
@pytest.mark.parametrize("color", [INK, GREY, ALLOWED, PREDICTED, CURVE, WARNING, *BANDS])
def test_everything_stands_out_from_the_paper(color, ground):
    assert contrast(color, ground) > 4.0


def test_what_was_given_up_comes_before_what_ran():
    told = lines(filled(degradations=["tile 256 instead of 512"], notes=[]))
    assert told[0] == ("given up: tile 256 instead of 512", True) and told[1][1] is False
    assert headline(filled()) == "250 MiB of 400 MiB"
    told = lines(filled(degradations=["a", "b", "c"], notes=["d"]))
    assert told == [("given up: a", True), ("and 3 more: see the text", True)]
    assert all(len(text) <= CHARACTERS for text, _ in lines(filled(model="名" * 200, degradations=["x " * 99])))
