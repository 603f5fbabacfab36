"""Time of a face against the floor that the card's arithmetic sets, and what half precision costs in exactness.

The floor is the network's floating point operations, as torch counts them, over the most that this card was seen to do
in the same precision: in a large convolution or product of matrices, measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..memory.low_memory_forwards import forward_of
from ..result import at_most
from ..twins import scaled_gfpgan
from .place import Findings, Place, best_seconds

# The half precision that the product takes for each.
NETWORKS = {"GFPGAN": torch.float16, "CodeFormer": torch.bfloat16}
BATCHES = (1, 8)
ROUNDS = 10
TIMES_FLOOR = 3.0
HALF_ERROR = 2.0  # of 255
WEIGHT_SCALES = (1e-3, 1.0, 30.0)


def measure(place: Place) -> Findings:
    findings = Findings()
    networks = {"GFPGAN": torch.bfloat16} if place.is_rehearsal else NETWORKS
    rates = {dtype: most_operations(place, dtype) for dtype in (torch.float32, *networks.values())}
    for dtype, rate in rates.items():
        findings.rows[f"most that was seen, {_name(dtype)}"] = f"{rate / 1e12:.2f} TFLOP/s"
    with torch.inference_mode():
        for name, half in networks.items():
            for dtype in (torch.float32, half):
                _measure_network(place, name, dtype, rates[dtype], findings)
        _measure_halves(place, networks, findings)
    return findings


def most_operations(place: Place, dtype: torch.dtype) -> float:
    """Floating point operations a second, of a convolution of 3x3 and of a product, whichever is more."""
    width, side = (64, 512) if place.is_rehearsal else (512, 8192)
    given = torch.rand(8, width, 64, 64, device=place.device, dtype=dtype)
    kernel = torch.rand(width, width, 3, 3, device=place.device, dtype=dtype)
    left, right = (torch.rand(side, side, device=place.device, dtype=dtype) for _ in range(2))
    rounds = 2 if place.is_rehearsal else ROUNDS
    convolution = best_seconds(lambda: torch.conv2d(given, kernel, padding=1), place.device, rounds)
    product = best_seconds(lambda: left @ right, place.device, rounds)
    return max(2 * 9 * width * width * 8 * 64 * 64 / convolution, 2 * side**3 / product)


def _measure_network(place: Place, name: str, dtype: torch.dtype, rate: float, findings: Findings) -> None:
    module = place.network(name).to(place.device, dtype)
    run = forward_of(name, module, dtype, place.device)
    for batch in BATCHES[:1] if place.is_rehearsal else BATCHES:
        what = f"{name}, {_name(dtype)}, batch {batch}"
        given = torch.rand(batch, 3, place.side(), place.side(), device=place.device)
        try:
            with FlopCounterMode(display=False) as counter:
                run(given)
            seconds = best_seconds(partial(run, given), place.device, 2 if place.is_rehearsal else ROUNDS)
        except torch.OutOfMemoryError:
            findings.rows[what] = "more memory than this card has"
            continue
        floor = counter.get_total_flops() / rate
        findings.rows[what] = f"{seconds / batch * 1e3:.2f} ms a face, floor {floor / batch * 1e3:.2f} ms"
        if not place.is_rehearsal:
            findings.bars.append(at_most(f"{what}, time against the floor", round(seconds / floor, 2), TIMES_FLOOR))


def _measure_halves(place: Place, networks: Mapping[str, torch.dtype], findings: Findings) -> None:
    """Half against full precision without TF32: the networks, and GFPGANs whose weights leave fp16's range.

    In bf16, which has eight bits, and with a codebook, which may choose another entry, the error has no bar.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        errors = {
            f"{name}, {_name(half)} from fp32, of 255": _half_error(place, name, half, place.network(name))
            for name, half in networks.items()
        }
        half = networks["GFPGAN"]
        errors |= {
            f"GFPGAN, weights x{scale:g}, {_name(half)} from fp32, of 255": _half_error(
                place, "GFPGAN", half, scaled_gfpgan(scale)
            )
            for scale in WEIGHT_SCALES
        }
    finally:
        torch.backends.cudnn.allow_tf32 = before
    for what, error in errors.items():
        if "fp16" in what:
            findings.bars.append(at_most(what, error, HALF_ERROR))
        else:
            findings.rows[what] = error


def _half_error(place: Place, name: str, half: torch.dtype, module: torch.nn.Module) -> float:
    """The largest difference of a network's half precision from its full one, of 255. module: in float32."""
    decoder = getattr(module, "stylegan_decoder", None)  # of GFPGAN, some of which are small
    side = 512 if decoder is None else 2**decoder.log_size
    given = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(2)).to(place.device)
    results = []
    for dtype in (torch.float32, half):
        run = forward_of(name, module.to(place.device, dtype), dtype, place.device)
        results.append(run(given))
    return round(float((results[0] - results[1]).abs().nan_to_num(torch.inf).max()) * 255, 4)


def _name(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype]
