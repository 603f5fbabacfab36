"""From a job and a budget to a plan: a pure function that allocates nothing and asks nobody.

The ladder is walked from the best plan to the cheapest, the cheapest loss first: a smaller batch, then a
smaller tile, then another precision. What costs nothing to the picture, such as letting other models go, is
the host's and asked for before, so it is no degradation here; another device is tried by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...catalog.spec import ModelSpec
from ...errors import BudgetError, SettingError
from .. import tiles
from .budget import GIB, MemoryBudget, format_bytes
from .cost import Cost

# Tiles that are tried, px. 512 is where a further gain in speed ends on the devices that were measured.
TILE = 512
TILE_PER_HALO = 12  # a wide halo wants a wide tile, or most of the work is thrown away: here three eighths of it
TILES = (TILE, 384, 256, 192, 128, 96, 64)

# Pixels that are worth running at once. On a CPU a tile or face of usual size keeps all cores busy, and a second
# only takes memory; small crops, such as those that swappers and recognisers take, go together: 0.6 to 0.9 of the time
# was measured, but not below that of one by one where their activations are more than a cache's share. Where what is
# freed goes back at once, more of them cost more than they save: up to 1.7 of the time.
CPU_PIXELS, CPU_ACTIVATIONS = TILE**2, 48 << 20
OTHER_PIXELS = 8 * TILE**2
RETURNING_PIXELS = (TILE // 2) ** 2

# How much more activations take where what is freed is kept, because blocks of other sizes leave gaps: up to 1.9 of
# what is predicted without it were measured on five networks. It is done only where there is room for more than that,
# so that the prediction may lie in the middle. The gaps grow over the first runs, and end where they are as large as
# layers: of the bundled network 30 MiB after one face, 90 to 120 after many; of GFPGAN 7 and 67, of CodeFormer 20 and
# 70, of ESRGAN at 96 px 5. These are 180 to 540 bytes a pixel, whatever a network takes beside its gaps.
KEPT, KEPT_BY_MANY, KEPT_AT_MOST = 1.2, 1.6, 3.0
MANY = 4  # runs of a network
GAP_PIXEL = 64 * 4  # bytes: a layer of 64 channels in float32

# Below this much free memory a device is worked on at no more than 720p, unless quality is asked for.
LITTLE = GIB
WORKING_SIZE = (720, 1280)  # short and long side, px

UNLIMITED = 1 << 62  # bytes; more than any device has

FLOAT_PIXEL = 3 * 4  # bytes of one RGB pixel in float32


@dataclass(frozen=True)
class Work:
    """What is to be run through a network.

    height, width: px of one item. count: items. tiled: whether an item may be cut into tiles. held_bytes:
    what the caller itself holds on the CPU while the network works on an item. after_bytes: what it takes there
    to finish the item, when the network rests.
    """

    height: int
    width: int
    count: int
    tiled: bool
    held_bytes: int = 0
    after_bytes: int = 0


@dataclass(frozen=True)
class Requirement:
    """What a network takes in one precision.

    weights: bytes that stay. activations: bytes by pixels.
    steers_memory: the C library may be told to keep what layers free; not in another process.
    """

    weights: int
    activations: Cost
    steers_memory: bool = True


@dataclass(frozen=True)
class Question:
    """What is to be planned.

    requirements: for each precision that may be used, best first.
    tile: px that the user asks for, 0 for automatic. overlap: px.
    """

    work: Work
    spec: ModelSpec
    requirements: Mapping[str, Requirement]
    budget: MemoryBudget
    tile: int = 0
    overlap: int = 32


@dataclass(frozen=True)
class Available:
    """What a device offers: bytes that we may use, and bytes that are free at all."""

    device_type: str
    allowed: int
    free: int


@dataclass(frozen=True)
class Plan:
    """How the work will be done.

    tile: (height, width) that the network sees; overlap and halo in px. working_size: short and long side
    that items are shrunk to before, None to leave them. keeps_freed: on a CPU, what a layer frees is kept for
    the next one, which is faster and takes more. doubts: planned without what earlier runs measured.
    """

    precision: str
    batch: int
    tile: tuple[int, int]
    overlap: int
    halo: int
    working_size: tuple[int, int] | None
    keeps_freed: bool
    predicted_peak: int
    allowed: int
    degradations: tuple[str, ...] = ()
    doubts: bool = False

    @property
    def pixels(self) -> int:
        """That the network sees at a time."""
        return self.batch * self.tile[0] * self.tile[1]


def precisions(
    spec: ModelSpec, wanted: str, mode: str, good: tuple[str, ...], possible: tuple[str, ...]
) -> tuple[str, ...]:
    """The precisions that may be used, best first.

    wanted: "auto" or one by name. good: half precisions that the device computes fast; the network's best of
    them comes first. possible: those that run at all; one of them is the last resort. Quality and compatibility
    stay in fp32. Raises SettingError when the network is known not to survive the one that is wanted.
    """
    if wanted != "auto":
        if wanted not in spec.precisions:
            raise SettingError(
                f"{spec.name} does not work in {wanted}: its values leave the range. "
                f"Choose auto or one of {', '.join(spec.precisions)}."
            )
        return (wanted,)
    if mode in ("quality", "compatibility"):
        return ("fp32",)
    halves = [half for half in spec.precisions if half != "fp32"]
    first = [half for half in halves if half in good][:1]
    last = [] if first else [half for half in halves if half in possible][:1]
    return (*first, "fp32", *last)


def ladder(question: Question, available: Available) -> tuple[Plan, ...]:
    """The plans that fit into what is available, best first.

    Raises BudgetError when nothing fits (or, with on_low_memory "fail", when the best does not), SettingError
    when a tile is too small for the network.
    """
    budget, working_size = question.budget, _working_size(question, available)
    if working_size is not None:
        height, width = fitted(question.work.height, question.work.width, working_size)
        question = replace(question, work=replace(question.work, height=height, width=width))
    best = next(_candidates(question, replace(available, allowed=UNLIMITED), working_size))
    candidates = list(_candidates(question, available, working_size))
    tried = candidates[:1] if budget.on_low_memory == "fail" else candidates
    fitting = tuple(
        replace(plan, degradations=_degradations(best, plan))
        for plan in tried
        if plan.predicted_peak <= available.allowed
    )
    if not fitting:
        raise _refusal(question.spec, min(tried, key=lambda plan: plan.predicted_peak), budget)
    return fitting


def fitted(height: int, width: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) shrunk, if it must be, until the short and the long side are within `size`."""
    if size is None:
        return height, width
    factor = min(1.0, size[0] / min(height, width), size[1] / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def peak_bytes(work: Work, spec: ModelSpec, plan: Plan, requirement: Requirement, device_type: str) -> int:
    """Bytes on the device at the worst moment of a plan."""
    running = requirement.activations.bytes_for(plan.pixels)
    if plan.keeps_freed:
        share = (KEPT_BY_MANY if _runs(work, spec, plan) >= MANY else KEPT) - 1
        running += min(int(running * share), GAP_PIXEL * plan.pixels)
    if device_type != "cpu":
        return requirement.weights + running
    return requirement.weights + max(running + staging_bytes(work, spec, plan), work.after_bytes)


def _runs(work: Work, spec: ModelSpec, plan: Plan) -> int:
    """How often the network runs: for each batch of a frame's tiles, or of items."""
    if not work.tiled:
        return -(-work.count // plan.batch)
    grid = tiles.grid(work.height, work.width, plan.tile, plan.halo, plan.overlap, spec.multiple)
    return work.count * -(-len(grid) // plan.batch)


def staging_bytes(work: Work, spec: ModelSpec, plan: Plan) -> int:
    """Bytes on the CPU beside the network while it works.

    The stack of inputs, the stack of results, a result while its ramps are applied, and what the caller holds.
    """
    return plan.pixels * FLOAT_PIXEL * (1 + 2 * spec.scale**2) + work.held_bytes


def _working_size(question: Question, available: Available) -> tuple[int, int] | None:
    work, budget = question.work, question.budget
    may_shrink = work.tiled and budget.mode != "quality" and budget.on_low_memory == "degrade"
    if not may_shrink or available.free >= LITTLE:
        return None
    unchanged = fitted(work.height, work.width, WORKING_SIZE) == (work.height, work.width)
    return None if unchanged else WORKING_SIZE


def _candidates(question: Question, available: Available, working_size: tuple[int, int] | None) -> Iterator[Plan]:
    work, spec, device_type = question.work, question.spec, available.device_type
    for precision, requirement in question.requirements.items():
        for shape, halo, fade in _shapes(question):
            tiled = len(tiles.grid(work.height, work.width, shape, halo, fade, spec.multiple))
            plan = Plan(precision, 1, shape, fade, halo, working_size, False, 0, available.allowed)
            for candidate in _batched(plan, tiled if work.tiled else work.count, spec, requirement, device_type):
                peak = peak_bytes(work, spec, candidate, requirement, device_type)
                candidate = replace(candidate, predicted_peak=peak)
                if not candidate.keeps_freed or _has_room_to_keep(work, spec, candidate, requirement):
                    yield candidate


def _batched(plan: Plan, count: int, spec: ModelSpec, requirement: Requirement, device_type: str) -> Iterator[Plan]:
    """The plan with each batch that is worth trying, best first: on a CPU those that keep what is freed before the
    others. count: of items or tiles."""

    def batches(pixels: int) -> Iterator[int]:
        most = max(1, pixels // plan.pixels)
        return _batches(min(most, spec.largest_batch or most, count))

    if device_type == "cpu":
        cached = int(CPU_ACTIVATIONS / max(1.0, requirement.activations.per_pixel))
        worth, returning = min(CPU_PIXELS, cached), min(RETURNING_PIXELS, cached)
        if not requirement.steers_memory:
            yield from (replace(plan, batch=together) for together in batches(worth))
            return
        yield from (replace(plan, batch=together, keeps_freed=True) for together in batches(worth))
        yield from (replace(plan, batch=together) for together in batches(returning))
    else:
        yield from (replace(plan, batch=together) for together in batches(OTHER_PIXELS))


def _shapes(question: Question) -> Iterator[tuple[tuple[int, int], int, int]]:
    """What the network may see at a time: ((height, width), halo, overlap), best first."""
    work, spec, budget = question.work, question.spec, question.budget
    tile, overlap = question.tile, question.overlap
    whole = (_round_up(work.height, spec.multiple), _round_up(work.width, spec.multiple))
    if not work.tiled:
        yield whole, 0, 0
        return
    halo = spec.exact_halo if budget.mode == "quality" else spec.halo
    least = tiles.smallest_tile(halo, 0, spec.multiple)
    wanted = _round_up(tile or max(TILE, TILE_PER_HALO * halo), spec.multiple)
    if tile and wanted < least and max(whole) > wanted:
        raise SettingError(
            f"A tile of {tile} px is too small for {spec.name}, which needs at least {least} px. "
            "Choose a larger tile, or 0 for automatic."
        )
    if budget.mode == "performance" and not tile:
        yield whole, halo, overlap
    for side in (wanted, *(smaller for smaller in TILES if smaller < wanted)):
        side = _round_up(side, spec.multiple)
        fade = min(overlap, max(0, (side - 2 * halo - 2 * spec.multiple) // 3))
        if side >= tiles.smallest_tile(halo, fade, spec.multiple):
            # No larger than the number of tiles needs: 15 tiles cover 1080p at 432 x 464 px as well as at 512.
            height, width = (tiles.least_tile(length, side, halo, fade, spec.multiple) for length in whole)
            yield (height, width), halo, fade


def _has_room_to_keep(work: Work, spec: ModelSpec, plan: Plan, requirement: Requirement) -> bool:
    returning = peak_bytes(work, spec, replace(plan, keeps_freed=False), requirement, "cpu")
    more = (KEPT_AT_MOST - 1) * requirement.activations.bytes_for(plan.pixels)
    return returning + more <= plan.allowed


def _batches(largest: int) -> Iterator[int]:
    """The powers of two up to the largest, downwards: few sizes, so that allocators can reuse their blocks."""
    for exponent in reversed(range(largest.bit_length())):
        yield 1 << exponent


def _degradations(best: Plan, plan: Plan) -> tuple[str, ...]:
    """What was given up on the way from the best plan to this one, as sentences for the report."""
    steps = []
    if plan.batch < best.batch:
        steps.append(f"batch {plan.batch} instead of {best.batch}")
    if best.keeps_freed and not plan.keeps_freed:
        steps.append("what is freed goes back at once, which is slower")
    if plan.tile != best.tile:
        steps.append("tile {}x{} instead of {}x{}".format(*plan.tile[::-1], *best.tile[::-1]))
    if plan.precision != best.precision:
        steps.append(f"{plan.precision} instead of {best.precision}")
    if plan.working_size is not None:
        steps.append(f"worked at {plan.working_size[0]}p, because less than {format_bytes(LITTLE)} is free")
    return tuple(steps)


def _refusal(spec: ModelSpec, cheapest: Plan, budget: MemoryBudget) -> BudgetError:
    needed, have = cheapest.predicted_peak, cheapest.allowed
    how = "for one face" if spec.card.is_face_restorer else "with a tile of {}x{}".format(*cheapest.tile[::-1])
    advice = (
        "Let it degrade instead of fail, raise the budget, or use a smaller model."
        if budget.on_low_memory == "fail"
        else "Raise the budget, free memory, or use a smaller model such as the bundled one."
    )
    return BudgetError(
        f"{spec.name} needs {format_bytes(needed)} ({needed} bytes) {how} in {cheapest.precision}, but the memory "
        f"budget gives {format_bytes(have)} ({have} bytes). {advice}",
        needed,
        have,
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
