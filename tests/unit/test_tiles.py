"""Tiles: exact cover, weights that sum to one, and equality with the untiled result."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.engines import tiles
from slimfusion.errors import SettingError

axes = st.tuples(
    st.integers(1, 3000), st.sampled_from([1, 2, 8, 16]), st.integers(0, 40), st.integers(0, 48), st.integers(0, 30)
)


@given(axes)
def test_spans_are_equal_aligned_and_cover_the_axis(case):
    length, multiple, halo, overlap, extra = case
    tile = tiles.smallest_tile(halo, overlap, multiple) + extra * multiple
    spans = tiles.spans(length, tile, halo, overlap, multiple)
    assert len({span.stop - span.start for span in spans}) == 1
    assert all(span.start % multiple == 0 for span in spans)
    assert spans[0].low == 0 and spans[-1].high == length
    assert spans[-1].stop < length + multiple
    weight = torch.zeros(length)
    for span in spans:
        part = torch.ones(span.high - span.low)
        if span.fade_in:
            part[: span.fade_in] *= tiles.rising(span.fade_in)
        if span.fade_out:
            part[-span.fade_out :] *= 1 - tiles.rising(span.fade_out)
        weight[span.low : span.high] += part
    assert (weight - 1).abs().max() <= 2e-7


@given(axes)
def test_painted_pixels_are_outside_the_halo(case):
    length, multiple, halo, overlap, extra = case
    tile = tiles.smallest_tile(halo, overlap, multiple) + extra * multiple
    for span in tiles.spans(length, tile, halo, overlap, multiple):
        assert span.low == 0 or span.low >= span.start + halo
        assert span.high == length or span.high <= span.stop - halo


@given(axes)
def test_the_least_tile_needs_no_more_tiles(case):
    length, multiple, halo, overlap, extra = case
    tile = tiles.smallest_tile(halo, overlap, multiple) + extra * multiple
    least = tiles.least_tile(length, tile, halo, overlap, multiple)
    assert least <= tile
    assert len(tiles.spans(length, least, halo, overlap, multiple)) == len(
        tiles.spans(length, tile, halo, overlap, multiple)
    )


def test_1080p_is_covered_by_smaller_tiles():
    assert [tiles.least_tile(length, 512, 32, 32, 16) for length in (1080, 1920)] == [432, 464]


def test_a_tile_without_room_is_refused_with_the_least_size():
    with pytest.raises(SettingError, match="use at least 152"):
        tiles.spans(1000, 96, 32, 24, 8)


def test_identity_network_returns_the_frame():
    frame = torch.rand(333, 517, 3)
    canvas = torch.empty_like(frame)
    tiles.run_tiled(frame, canvas, tiles.grid(333, 517, (160, 192), 16, 32, 16), 3, lambda x: x.clone())
    assert (canvas - frame).abs().max() <= 1e-6


def test_a_constant_gain_per_tile_leaves_no_step_at_the_seam():
    frame = torch.ones(64, 900, 3)
    canvas = torch.empty_like(frame)
    gains = iter([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    tiles.run_tiled(frame, canvas, tiles.grid(64, 900, (64, 256), 0, 64), 1, lambda x: x * next(gains))
    steps = (canvas[0, 1:, 0] - canvas[0, :-1, 0]).abs()
    assert steps.max() < 1.2 * torch.pi / 2 / 64  # the steepest slope of a Hann ramp of 64 px


def strided_network() -> torch.nn.Module:
    """Radius: 2 (first) + 2 * 2 (half size) + 2 = 8 px at most, plus the stride's 2."""
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, padding=2),
        torch.nn.Conv2d(8, 12, 4, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, 12, 3, padding=1),
        torch.nn.ConvTranspose2d(12, 3, 4, stride=2, padding=1),
    ).train(False)


@settings(deadline=None, max_examples=5)
@given(st.sampled_from([(900, 700), (1531, 977), (130, 1200)]), st.sampled_from([16, 24]), st.integers(1, 3))
def test_finite_receptive_field_tiled_equals_untiled(size, halo, batch):
    network = strided_network()
    frame = torch.rand(*size, 3)
    height, width = size
    padded = torch.nn.functional.pad(frame.permute(2, 0, 1)[None], (0, width % 2, 0, height % 2), mode="replicate")
    canvas = torch.empty_like(frame)
    with torch.inference_mode():
        whole = network(padded)[0, :, :height, :width].permute(1, 2, 0)
        tiles.run_tiled(frame, canvas, tiles.grid(height, width, (256, 320), halo, 32, 2), batch, network)
    assert (canvas - whole).abs().max() <= 1e-5


def test_upscaling_networks_paint_a_larger_canvas():
    frame = torch.rand(70, 90, 3)
    canvas = torch.empty(280, 360, 3)
    tiles.run_tiled(
        frame,
        canvas,
        tiles.grid(70, 90, (48, 48), 4, 8),
        2,
        lambda x: torch.nn.functional.interpolate(x, scale_factor=4, mode="nearest"),
    )
    assert torch.allclose(canvas[::4, ::4], frame, atol=1e-6)


def test_a_network_may_stop_the_work():
    def stop(batch: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    frame = torch.rand(64, 64, 3)
    with pytest.raises(KeyboardInterrupt):
        tiles.run_tiled(frame, torch.empty_like(frame), tiles.grid(64, 64, (64, 64), 0, 0), 1, stop)
