"""A frame in equal tiles, and back into one picture without a seam.

All tiles have one size, so that one plan, one set of buffers and one compiled graph serve them all; the last
ones are shifted inwards instead of cut thin. Around each tile a halo is computed and thrown away, because
there the network has seen the tile's edge instead of the picture. Between neighbours the remaining overlap
crossfades over a Hann ramp. Only two tiles meet on a ramp and their weights are w and 1 - w, so the sum is
one by construction and no canvas of weights is kept. Each tile leaves the device as soon as it is done: the
device holds one batch of tiles, whatever the size of the frame.

The ramp is the raised cosine of Hann's window, 0.5 - 0.5 cos(pi t); at a picture's own edges there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch

from ..errors import SettingError
from .buffers import Buffers


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the frame.

    start, stop: what the network sees; may reach beyond the frame's end, where the edge is repeated.
    low, high: what is painted. fade_in, fade_out: ramp lengths at either end, 0 at the frame's own edges.
    """

    start: int
    stop: int
    low: int
    high: int
    fade_in: int
    fade_out: int


@dataclass(frozen=True)
class Grid:
    """Tiles over a frame: every row span with every column span."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) that the network sees."""
        return self.rows[0].stop - self.rows[0].start, self.columns[0].stop - self.columns[0].start


def smallest_tile(halo: int, overlap: int, multiple: int) -> int:
    """The smallest tile that still moves forward: both halos, and three ramps so that never three meet."""
    return _round_up(2 * halo + 3 * overlap + 2 * multiple, multiple)


def least_tile(length: int, tile: int, halo: int, overlap: int, multiple: int = 1) -> int:
    """The side, at most `tile`, that covers an axis with no more tiles than `tile` does: the same number of tiles,
    each of them smaller, instead of an overlap wider than asked for. In steps of 16 px or more, since kernels
    work on whole vectors.
    """
    padded = _round_up(length, multiple)
    if padded <= tile:
        return padded
    count = len(spans(length, tile, halo, overlap, multiple))
    step = _round_up(16, multiple)
    side = -(-(padded + (count - 1) * (2 * halo + overlap)) // count)
    side = _round_up(max(side, smallest_tile(halo, overlap, multiple)), step)
    while side < tile and len(spans(length, side, halo, overlap, multiple)) > count:
        side += step
    return min(side, tile)


def spans(length: int, tile: int, halo: int, overlap: int, multiple: int = 1) -> tuple[Span, ...]:
    """Equal tiles of `tile` pixels over an axis of `length` pixels, painting every pixel.

    Starts lie on multiples of `multiple`, so that a network that shrinks its input by that factor sees the
    same grid as on the whole frame. Raises SettingError when halo and overlap leave nothing of the tile.
    """
    padded = _round_up(length, multiple)
    if padded <= tile:
        return (Span(0, padded, 0, length, 0, 0),)
    if tile % multiple or tile < smallest_tile(halo, overlap, multiple):
        raise SettingError(
            f"A tile of {tile} px is too small for a halo of {halo} and an overlap of {overlap} px: use at "
            f"least {smallest_tile(halo, overlap, multiple)}, in steps of {multiple}, or a smaller overlap."
        )
    step = (tile - 2 * halo - overlap) // multiple
    travel = (padded - tile) // multiple
    count = math.ceil(travel / step) + 1
    starts = [index * travel // (count - 1) * multiple for index in range(count)]
    # Where tile i hands over to tile i + 1: the middle of what both know without their halos.
    seams = [(after + before + tile) // 2 for before, after in pairwise(starts)]
    half = overlap // 2
    return tuple(
        Span(
            start,
            start + tile,
            seams[index - 1] - half if index else 0,
            seams[index] - half + overlap if index < count - 1 else length,
            overlap if index else 0,
            overlap if index < count - 1 else 0,
        )
        for index, start in enumerate(starts)
    )


def grid(height: int, width: int, tile: tuple[int, int], halo: int, overlap: int, multiple: int = 1) -> Grid:
    """Equal tiles over a frame. tile: (height, width). All in pixels."""
    return Grid(spans(height, tile[0], halo, overlap, multiple), spans(width, tile[1], halo, overlap, multiple))


@lru_cache(maxsize=64)
def rising(length: int) -> torch.Tensor:
    """The Hann ramp from 0 to 1. Shape (length,), float32; `1 - rising(n)` is the ramp that meets it."""
    position = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    return (0.5 - 0.5 * torch.cos(math.pi * position)).float()


def cut(frame: torch.Tensor, row: Span, column: Span, out: torch.Tensor) -> torch.Tensor:
    """The tile as a network takes it, written into `out`.

    frame: (H, W, 3) float32. out: (3, tile height, tile width) float32, returned. Beyond the frame's end
    the last row and column are repeated.
    """
    height, width = frame.shape[:2]
    bottom, right = min(row.stop, height), min(column.stop, width)
    seen_rows, seen_columns = bottom - row.start, right - column.start
    out[:, :seen_rows, :seen_columns] = frame[row.start : bottom, column.start : right].permute(2, 0, 1)
    if seen_columns < out.shape[2]:
        out[:, :seen_rows, seen_columns:] = out[:, :seen_rows, seen_columns - 1 : seen_columns]
    if seen_rows < out.shape[1]:
        out[:, seen_rows:] = out[:, seen_rows - 1 : seen_rows]
    return out


def lay(tile: torch.Tensor, row: Span, column: Span, scale: int, canvas: torch.Tensor) -> None:
    """Adds a finished tile to the canvas, its ramps applied.

    tile: (3, tile height * scale, tile width * scale) float32, overwritten. canvas: (H * scale, W * scale,
    3) float32, zero where nothing has been painted.
    """
    top, left = (row.low - row.start) * scale, (column.low - column.start) * scale
    bottom, right = (row.high - row.start) * scale, (column.high - column.start) * scale
    painted = tile[:, top:bottom, left:right]
    if row.fade_in:
        painted[:, : row.fade_in * scale].mul_(rising(row.fade_in * scale)[:, None])
    if row.fade_out:
        painted[:, -row.fade_out * scale :].mul_(1 - rising(row.fade_out * scale)[:, None])
    if column.fade_in:
        painted[:, :, : column.fade_in * scale].mul_(rising(column.fade_in * scale))
    if column.fade_out:
        painted[:, :, -column.fade_out * scale :].mul_(1 - rising(column.fade_out * scale))
    canvas[row.low * scale : row.high * scale, column.low * scale : column.high * scale].add_(painted.permute(1, 2, 0))


def run_tiled(
    frame: torch.Tensor,
    canvas: torch.Tensor,
    tiles: Grid,
    batch: int,
    network: Callable[[torch.Tensor], torch.Tensor],
    buffers: Buffers | None = None,
) -> None:
    """Runs `network` over the tiles of one frame and paints the canvas.

    frame: (H, W, 3) float32. canvas: (H * scale, W * scale, 3) float32, overwritten. network takes
    (n, 3, h, w) float32 on the CPU and returns (n, 3, h * scale, w * scale) float32 on the CPU; what it
    returns is used up; it may raise to stop. buffers: where the stack of tiles is taken from, to be used again for
    the next frame.
    """
    canvas.zero_()
    scale = canvas.shape[0] // frame.shape[0]
    places = list(tiles)
    stack = (buffers or Buffers()).take("tiles", (min(batch, len(places)), 3, *tiles.tile))
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        for slot, (row, column) in zip(stack, chosen, strict=False):
            cut(frame, row, column, slot)
        for result, (row, column) in zip(network(stack[: len(chosen)]), chosen, strict=True):
            lay(result, row, column, scale, canvas)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
