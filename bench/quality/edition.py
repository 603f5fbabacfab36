"""What tells one edition of the bundled weights from the next: small faces, the weave, and pictures made worse.

`Weights` are measured alone or `against` those of another file; every row then has that file's figure beside its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...distill.degrade import SEVERITIES, Image, Severity, degrade
from ..faces import face_api
from ..metrics import lpips_distance, psnr
from ..result import at_least, at_most
from . import never_worse, weave

Restore = Callable[[Image, float], Image]  # (H, W, 3) float32 RGB 0..1 and a fidelity

SEED = 1
DEFAULT = 0.5  # fidelity
FIDELITIES = (0.0, DEFAULT, 1.0)
# A portrait of 512 px as a face of 170 and of 100 px arrives at the network: small, noisy, coded, then enlarged.
SHRUNK = {3: Severity(blur=0, scale=3, noise=5 / 255, jpeg=70), 5: Severity(blur=0, scale=5, noise=5 / 255, jpeg=70)}
MOST_LPIPS = {(3, 0.0): 0.15, (3, DEFAULT): 0.24, (5, 0.0): 0.21, (5, DEFAULT): 0.31}
SHRUNK_GAIN = 0.8  # dB at fidelity 1
MOST_WEAVE = 2.0
WORSE_SHARE = 0.02
WORSE_DB = 0.05
CLEAN_DB = 45.0
NEARER = 0.02  # distance of dlib's embedding at heavy damage, fidelity 1
SMALL_PEOPLE, WOVEN = 10, 20  # portraits

Rows = dict[str, float]


@dataclass(frozen=True)
class Limit:
    """The bar of a row. least: whether the value must reach it, or else not exceed it."""

    value: float
    least: bool = False


def shrunk_rows(people: list[Image], restore: Restore) -> Rows:
    """LPIPS at fidelity 0 and the default, gain in PSNR at 1, of portraits shrunk by 3 and 5."""
    rows: Rows = {}
    for scale, severity in SHRUNK.items():
        damaged = [degrade(clean, severity, SEED + index) for index, clean in enumerate(people)]
        pairs = list(zip(damaged, people, strict=True))
        rows[f"shrunk_{scale}_input_lpips"] = mean(lpips_distance(given, clean) for given, clean in pairs)
        for fidelity in (0.0, DEFAULT):
            values = (lpips_distance(restore(given, fidelity), clean) for given, clean in pairs)
            rows[f"shrunk_{scale}_lpips_at_{fidelity:g}"] = mean(values)
        gains = (psnr(restore(given, 1.0), clean) - psnr(given, clean) for given, clean in pairs)
        rows[f"shrunk_{scale}_psnr_gain_db_at_1"] = mean(gains)
    return rows


def mean(values: Any) -> float:
    return float(np.mean(list(values)))


def weave_rows(people: list[Image], restore: Restore) -> Rows:
    """The largest ratio of any picture at the grid at each fidelity, portraits damaged in five ways by turns."""
    ways = [*SEVERITIES.values(), *SHRUNK.values()]
    damaged = [degrade(clean, ways[index % len(ways)], SEED + index) for index, clean in enumerate(people)]
    rows: Rows = {}
    print(f"weave, worst input: {weave.described(weave.worst_ratios(damaged))}", flush=True)
    for fidelity in FIDELITIES:
        restored = [restore(picture, fidelity) for picture in damaged]
        worst, mean = weave.worst_ratios(restored), weave.mean_ratios(restored)
        print(f"weave, fidelity {fidelity:g}, mean: {weave.described(mean)}", flush=True)
        print(f"weave, fidelity {fidelity:g}, worst: {weave.described(worst)}", flush=True)
        rows[f"weave_at_{fidelity:g}"] = float(worst.max())
    return rows


def worse_rows(pictures: list[Image], restore: Restore) -> Rows:
    """Shares of randomly damaged pictures that the default makes worse; a clean one is judged by what it keeps."""
    worse_lpips, worse_psnr, kept = 0, 0, []
    for seed, clean in enumerate(pictures):
        given, damage = never_worse.randomly_damaged(clean, seed)
        restored = restore(given, DEFAULT)
        if damage.none:
            kept.append(psnr(restored, clean))
            continue
        seen = lpips_distance(given, clean), lpips_distance(restored, clean)
        lost = psnr(given, clean) - psnr(restored, clean)
        worse_lpips += seen[1] > seen[0]
        worse_psnr += lost > WORSE_DB
        if seen[1] > seen[0] or lost > WORSE_DB:
            print(f"worse, {seed}: LPIPS {seen[0]:.4f} -> {seen[1]:.4f}, {-lost:+.2f} dB; {damage}", flush=True)
    clean_db = min(kept) if kept else float("inf")
    print(f"of {len(pictures)} pictures {len(kept)} were left clean, the worst keeps {clean_db:.1f} dB", flush=True)
    return {
        "worse_lpips_share": worse_lpips / len(pictures),
        "worse_psnr_share": worse_psnr / len(pictures),
    }


def clean_rows(people: list[Image], restore: Restore) -> Rows:
    """What undamaged pictures keep at the default and at fidelity 1, the worst of them."""
    return {
        f"clean_psnr_db_at_{fidelity:g}": min(psnr(restore(clean, fidelity), clean) for clean in people)
        for fidelity in (DEFAULT, 1.0)
    }


def identity_rows(people: list[Image], restore: Restore, face_of: Callable[[Image], Any]) -> Rows:
    """How much nearer the embedding of heavily damaged faces comes to the clean one at fidelity 1."""
    nearer = []
    for index, clean in enumerate(people):
        face, given = face_of(clean), degrade(clean, SEVERITIES["heavy"], SEED + index)
        wanted = face_api.embedding(clean, face)
        before, after = (
            float(np.linalg.norm(face_api.embedding(picture, face) - wanted))
            for picture in (given, restore(given, 1.0))
        )
        nearer.append(before - after)
    return {"heavy_identity_nearer_at_1": mean(nearer)}


def limits() -> dict[str, Limit]:
    """The bar of each row that has one."""
    found = {f"shrunk_{scale}_lpips_at_{f:g}": Limit(most) for (scale, f), most in MOST_LPIPS.items()}
    found |= {f"shrunk_{scale}_psnr_gain_db_at_1": Limit(SHRUNK_GAIN, least=True) for scale in SHRUNK}
    found |= {f"weave_at_{f:g}": Limit(MOST_WEAVE) for f in FIDELITIES}
    found |= {name: Limit(WORSE_SHARE) for name in ("worse_lpips_share", "worse_psnr_share")}
    found |= {f"clean_psnr_db_at_{f:g}": Limit(CLEAN_DB, least=True) for f in (DEFAULT, 1.0)}
    return found | {"heavy_identity_nearer_at_1": Limit(NEARER, least=True)}


def rows_of(neutral: list[Image], smiling: list[Image], restore: Restore, face_of: Callable[[Image], Any]) -> Rows:
    """All rows of one file of weights. neutral, smiling: portraits of the same people, 512 px."""
    some = neutral[:SMALL_PEOPLE]
    rows = shrunk_rows(some, restore) | weave_rows(neutral[:WOVEN], restore)
    rows |= clean_rows(some, restore) | identity_rows(some, restore, face_of)
    return rows | worse_rows([*neutral, *smiling], restore)


def bars_of(rows: Rows, against: Rows | None) -> list[dict[str, Any]]:
    """Bars in the order of the rows, each with the other file's figure where there is one."""
    bars = []
    for name, limit in limits().items():
        bar = (at_least if limit.least else at_most)(name, round(rows[name], 4), limit.value)
        bars.append(bar if against is None else bar | {"against": round(against[name], 4)})
    return bars
