"""The loss on who a face is: its chip lies where the face is, and it reaches what is trained and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data as pictures_of
from slimfusion.distill import data, face_api, identity, train
from slimfusion.distill.recipe import Recipe
from slimfusion.distill.training_run import new_run, save_weights
from slimfusion.errors import ImageError, SettingError

TINY = Recipe(steps=3, widths=(8, 8), depths=(1, 1), patch=32, batch=2, sharp_share=0.0, identity=0.5, rate=1e-2)


@pytest.fixture(autouse=True)
def recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knows a person by the colours of coarse cells."""
    monkeypatch.setattr(face_api, "embeddings", lambda chips: F.adaptive_avg_pool2d(chips, 5).flatten(1))


@pytest.fixture(scope="module")
def astronauts() -> data.Pictures:
    picture = np.ascontiguousarray(pictures_of.astronaut())
    group = data.Group((picture, picture[:, ::-1].copy()), 1.0, faces=True)
    return data.Pictures((group,), (picture[:128, :128],))


def test_a_chip_lies_where_its_five_points_are() -> None:
    y, x = np.mgrid[: identity.SIDE, : identity.SIDE].astype(np.float32)
    places = torch.from_numpy(np.stack([x, y]))[None]
    points = face_api.chip_points() * 1.3 + [20.0, 35.0]
    chip = F.grid_sample(places, identity.chip_grid(points.astype(np.float32)), align_corners=True)[0].numpy()
    for (column, row), expected in zip(np.rint(face_api.chip_points()).astype(int), points, strict=True):
        assert np.abs(chip[:, row, column] - expected).max() < 1.0  # half a pixel by rounding, enlarged


def test_faces_are_found_once_and_lessons_repeat(astronauts: data.Pictures) -> None:
    faces = identity.face_pictures(astronauts)
    assert len(faces) == 2
    one, same, other = (identity.face_lesson(faces, seed) for seed in ((1, 5), (1, 5), (1, 6)))
    assert torch.equal(one.damaged, same.damaged) and not torch.equal(one.damaged, other.damaged)
    assert one.original.shape == (1, 3, identity.SIDE, identity.SIDE)
    assert float(identity.distance(one.original, one)) == 0.0 < float(identity.distance(one.damaged * 0.9, one))


def test_most_faces_of_lessons_are_heavily_damaged(astronauts: data.Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    faces, kinds = identity.face_pictures(astronauts), list[str]()
    for name in ("degraded_heavily", "degraded_randomly"):
        monkeypatch.setattr(identity, name, lambda crop, _, name=name: (kinds.append(name), crop)[1])
    for step in range(60):
        identity.face_lesson(faces, (1, step))
    assert 35 <= kinds.count("degraded_heavily") <= 55 and len(kinds) == 60


def test_points_found_at_one_size_are_scaled_to_the_others(astronauts: data.Pictures) -> None:
    small = tuple(data.resized(picture, 256) for picture in astronauts.groups[0].pictures)
    both = replace(astronauts, groups=(data.Group(small, 0.5, faces=True), *astronauts.groups))
    first, second = identity.with_points(both).groups
    assert second.points[0] is not None and first.points[0] is not None
    assert np.allclose(first.points[0] * 2, second.points[0])
    faces = identity.face_pictures(data.Pictures((second,), ()))
    assert np.array_equal(faces[1].points, second.points[1])


def test_pictures_without_a_face_are_named() -> None:
    grey = data.Group((np.full((400, 400, 3), 128, np.uint8),), 1.0, faces=False)
    with pytest.raises(ImageError, match="No face was found in the training pictures"):
        identity.face_pictures(data.Pictures((grey,), ()))


def test_it_counts_in_the_loss_and_a_resting_encoder_stays(astronauts: data.Pictures, tmp_path: Path) -> None:
    judges = train.Judges(faces=identity.face_pictures(astronauts))
    first = new_run(TINY)
    save_weights(first, TINY, tmp_path / "start.safetensors")
    recipe = replace(TINY, start=tmp_path / "start.safetensors", rests=True)
    run, before = new_run(recipe), new_run(recipe)
    lesson = train.lesson_at(recipe, astronauts, judges, 0)
    assert lesson.face is not None
    without = train.loss_of(run, recipe, judges, replace(lesson, face=None), 0.0)
    assert train.loss_of(run, recipe, judges, lesson, 0.0).item() > without.item()
    for step in range(3):
        train.train_step(run, recipe, judges, train.lesson_at(recipe, astronauts, judges, step))
    now, then = dict(run.network.named_parameters()), dict(before.network.named_parameters())
    moved = {name for name in now if not torch.equal(now[name], then[name])}
    assert moved == {name for name in now if name.split(".")[0] in ("up", "decoder", "head")}


def test_an_encoder_without_a_start_cannot_rest() -> None:
    with pytest.raises(SettingError, match="needs weights to start from"):
        replace(TINY, rests=True)
