"""Evening out: a planted weave goes, the rest of what a network does stays, and files keep their story."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from slimfusion.bench.quality import weave
from slimfusion.distill import even
from slimfusion.distill.data import Group, Pictures
from slimfusion.engines.torch.architectures import slim_unet
from slimfusion.engines.torch.architectures.slim_unet import SlimUnet
from slimfusion.errors import ModelFileError, OutputError


def network() -> SlimUnet:
    torch.manual_seed(3)
    made = SlimUnet((8, 8, 8), (1, 1, 1)).requires_grad_(False)
    for layer in (made.head, *made.up):  # alike at each of the 2 x 2 places: without a weave
        same = torch.randn(layer.weight[::4].shape) / layer.weight[0].numel() ** 0.5
        layer.weight.copy_(same.repeat_interleave(4, 0))
        layer.bias.zero_()
    return made.train(False)


def woven(plain: SlimUnet) -> SlimUnet:
    """The same network with lines in it: offsets and weights that differ from place to place."""
    torch.manual_seed(4)
    made = copy.deepcopy(plain)
    for layer in (made.head, *made.up):
        layer.bias += 0.2 * torch.randn(layer.bias.shape)
        layer.weight += 0.02 * torch.randn(layer.weight.shape)
    return made


def pictures(count: int, first: int = 0) -> list[torch.Tensor]:
    """Smooth pictures with fine noise, as damaged photographs are."""
    found = []
    for seed in range(first, first + count):
        generator = torch.Generator().manual_seed(seed)
        coarse = F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), size=(288, 288), mode="bicubic")
        found.append((coarse + 0.02 * torch.randn(1, 3, 288, 288, generator=generator)).clamp(0, 1))
    return found


def ratio(made: SlimUnet, seen: list[torch.Tensor]) -> float:
    inner = [made(picture)[0, :, 48:240, 48:240].permute(1, 2, 0).numpy() for picture in seen]
    return float(weave.worst_ratios(inner).max())


def test_a_planted_weave_goes_from_pictures_never_seen() -> None:
    plain, seen = network(), pictures(4, first=50)
    spoilt = woven(plain)
    evened = copy.deepcopy(spoilt)
    even.even_out(evened, evened, pictures(12))
    assert ratio(plain, seen) < 2
    assert ratio(spoilt, seen) > 20
    assert ratio(evened, seen) < ratio(spoilt, seen) / 8


def test_the_more_detail_counts_the_less_of_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt, (picture,) = woven(network()), pictures(1, first=70)
    detail = 0.01 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(9))
    drawn, changed = spoilt(picture + detail) - spoilt(picture) - detail, []
    for weight in (0.0, 1.0, 100.0):
        monkeypatch.setattr(even, "DETAIL", weight)
        monkeypatch.setattr(even, "HEAD_DETAIL", weight)
        evened = copy.deepcopy(spoilt)
        even.even_out(evened, evened, pictures(12))
        still = evened(picture + detail) - evened(picture) - detail
        changed.append(float((still - drawn).norm() / drawn.norm()))
    assert changed == sorted(changed, reverse=True)
    assert changed[1] < 0.2 and changed[2] < changed[0] / 4


def test_the_encoder_and_another_decoder_are_left_alone() -> None:
    made = woven(network())
    made.delta = slim_unet.Decoder(made.widths, made.depths).requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    even.even_out(made, made, pictures(3))
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{layer}.{kind}" for layer in ("up.0", "up.1", "head") for kind in ("weight", "bias")}


def file_with_two_decoders(path: Path) -> Path:
    made = woven(network())
    tensors = {name: value.half() for name, value in made.state_dict().items()}
    own = slim_unet.Decoder(made.widths, made.depths).state_dict()
    tensors |= {f"delta.{name}": 0.01 * torch.randn(value.shape).half() for name, value in own.items()}
    save_file(tensors, path, {"training": "ten steps", "licence": "Apache-2.0"})
    return path


def training_pictures() -> Pictures:
    rows = tuple((picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8) for picture in pictures(2))
    large = tuple(np.tile(row, (2, 2, 1))[:500, :500] for row in rows)
    return Pictures((Group(large, 1.0, faces=False),), ())


def test_a_file_keeps_its_tensors_and_its_story(tmp_path: Path) -> None:
    start, out = file_with_two_decoders(tmp_path / "start.safetensors"), tmp_path / "out.safetensors"
    even.write_evened(start, training_pictures(), out, count=3)
    before, after = load_file(start), load_file(out)
    assert {name: (value.shape, value.dtype) for name, value in before.items()} == {
        name: (value.shape, value.dtype) for name, value in after.items()
    }
    assert torch.equal(before["stem.weight"], after["stem.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert not torch.equal(before["delta.head.bias"], after["delta.head.bias"])
    with safe_open(out, framework="pt") as file:
        assert file.metadata() == {"training": "ten steps, then evened out on 3 pictures", "licence": "Apache-2.0"}


def test_a_missing_start_and_an_unwritable_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="to start from do not exist"):
        even.write_evened(tmp_path / "none.safetensors", training_pictures(), tmp_path / "out.safetensors")
    start = file_with_two_decoders(tmp_path / "start.safetensors")
    with pytest.raises(OutputError, match="cannot be written"):
        even.write_evened(start, training_pictures(), tmp_path / "no" / "out.safetensors", count=2)
