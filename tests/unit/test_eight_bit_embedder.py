"""The bundled recogniser in 8 bits: near the exact one, and never without an answer."""

import numpy as np
import pytest
import torch
from slimfusion.engines.torch.architectures import eight_bit_embedder
from slimfusion.engines.torch.architectures.eight_bit_embedder import (
    FURTHEST,
    EightBitEmbedder,
    in_eight_bits,
    largest,
    levels,
)
from slimfusion.engines.torch.architectures.slim_embedder import SIDE
from slimfusion.faces.identity.bundled import load_recogniser, vector_of


@pytest.fixture(scope="module")
def recogniser():
    return load_recogniser()


def crop(seed: int) -> np.ndarray:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return np.ascontiguousarray(fine[0].permute(1, 2, 0).numpy())


def test_it_says_nearly_what_the_exact_one_says(recogniser) -> None:
    if not isinstance(recogniser.quick, EightBitEmbedder):
        pytest.skip("this machine's torch has no convolutions in 8 bits")
    for seed in range(4):
        exact, quick = (vector_of(look, crop(seed)) for look in (recogniser.exact, recogniser.quick))
        other = vector_of(recogniser.exact, crop(seed + 1))
        assert 0 < np.linalg.norm(exact - quick) < FURTHEST
        assert np.linalg.norm(exact - quick) < np.linalg.norm(exact - other)


def test_one_picture_says_the_same_alone_and_among_others(recogniser) -> None:
    planes = torch.stack([torch.from_numpy(crop(seed)).permute(2, 0, 1) for seed in range(3)])
    with torch.inference_mode():
        together = recogniser.quick(planes.contiguous(memory_format=torch.channels_last))
        alone = torch.cat([recogniser.quick(one[None]) for one in planes])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("what", ["missing", "other results"])
def test_the_exact_one_stands_in_where_8_bits_do_not_work(recogniser, monkeypatch, what) -> None:
    class Wrong(EightBitEmbedder):
        def __init__(self, exact) -> None:
            if what == "missing":
                raise NotImplementedError("Could not run 'onednn::qconv_prepack'")

        def __call__(self, crops):
            return torch.full((len(crops), 128), 9.0)

    monkeypatch.setattr(eight_bit_embedder, "EightBitEmbedder", Wrong)
    assert in_eight_bits(recogniser.exact) is recogniser.exact


def test_levels_are_whole_numbers_within_their_limits() -> None:
    assert levels(torch.tensor([-1.0, 0.0, 0.26, 0.5, 99.0]), 0.25).tolist() == [0, 0, 1, 2, 255]
    x = torch.randint(0, 256, (2, 3, 9, 11), dtype=torch.uint8)
    assert torch.equal(largest(x).float(), torch.nn.functional.max_pool2d(x.float(), 3, 2))
