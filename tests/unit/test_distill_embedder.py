"""How the bundled recogniser is made: morphs that are faces, lessons that are crops, blocks that are fitted."""

import numpy as np
import pytest
import torch
from slimfusion.bench.portraits import astronaut
from slimfusion.distill.embedder import morphs, start
from slimfusion.distill.embedder.lessons import Pool, crop_of, lesson
from slimfusion.distill.embedder.make import Recipe
from slimfusion.distill.embedder.morphs import MIRRORED, SIDE, card_of, five, mirrored, morph
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.torch.architectures.slim_embedder import SlimEmbedder
from slimfusion.errors import SettingError


@pytest.fixture(scope="module")
def cards():
    card = card_of(np.rint(astronaut() * 255).astype(np.uint8))
    SESSIONS.release()
    assert card is not None
    return card, mirrored(card), morphs.Card(card.picture[..., ::-1] ** 0.7, card.points + np.array([2, -3]))


@pytest.fixture
def tiny():
    """A network of the layout with few channels and random weights."""
    torch.manual_seed(0)
    blocks = ((4, 4, 4, False), (4, 8, 8, True), (8, 8, 8, True), (8, 8, 8, True), (8, 8, 8, True))
    return SlimEmbedder(blocks).requires_grad_(False)


def test_a_card_has_its_face_in_the_recognisers_crop(cards) -> None:
    assert cards[0].picture.shape == (SIDE, SIDE, 3)
    assert np.abs(five(cards[0]) - morphs.CANVAS_POINTS).max() < 12
    assert crop_of(cards[0].picture, five(cards[0])).shape == (150, 150, 3)


def test_a_mirrored_card_has_its_left_on_the_left(cards) -> None:
    assert sorted(MIRRORED) == list(range(73))
    for card in cards[:2]:
        left, right, _, left_mouth, right_mouth = five(card)
        assert left[0] < right[0] and left_mouth[0] < right_mouth[0]
    assert np.abs(mirrored(cards[1]).points - cards[0].points).max() < 1e-6


def test_morphs_are_the_same_for_the_same_seed_and_else_differ(cards) -> None:
    one, same, other = (morph(cards, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.picture, same.picture) and np.array_equal(one.points, same.points)
    assert np.abs(one.picture - other.picture).mean() > 0.01
    for made in (one, other):
        assert made.picture.min() >= 0 and made.picture.max() <= 1 and np.isfinite(made.points).all()


def test_a_face_stays_where_its_points_go(cards) -> None:
    """A warp to the card's own points changes nothing; one to others moves the face there."""
    (same,) = morphs._warped_to(cards[0].points, [cards[0]])
    assert np.abs(same - cards[0].picture).max() < 1e-3
    (shifted,) = morphs._warped_to(cards[0].points + np.array([6, 0]), [cards[0]])
    inner = slice(60, 140)
    assert np.abs(shifted[inner, 66:146] - cards[0].picture[inner, 60:140]).mean() < 0.02


def test_lessons_are_crops_of_any_damage(cards) -> None:
    rng = np.random.default_rng(4)
    crops = [lesson(cards[0], rng) for _ in range(12)]
    assert all(crop.shape == (150, 150, 3) and crop.min() >= 0 and crop.max() <= 1 for crop in crops)
    assert len({float(crop.mean()) for crop in crops}) == 12


def test_a_pool_asks_the_teacher_once_for_each_morph(cards, tiny) -> None:
    pool, rng = Pool(cards, [], tiny, most=6), np.random.default_rng(0)
    pool.add(4, rng)
    pool.add(4, rng)
    crops, told = pool.lessons(3, rng)
    assert (pool.made, len(pool.morphs)) == (8, 6)
    assert crops.shape == (3, 3, 150, 150) and told.shape == (3, 128)


def test_the_last_layer_learns_what_was_told(tiny) -> None:
    means = torch.randn(64, 8, generator=torch.Generator().manual_seed(2))
    told = 2 * tiny.embedding(means)
    before = (tiny.embedding(means) - told).norm()
    start.fit_last(tiny, means, told)
    assert (tiny.embedding(means) - told).norm() < 0.2 * before


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(SettingError, match="16 lessons or more"):
        Recipe(lessons=2)
