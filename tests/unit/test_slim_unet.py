"""The bundled architecture: shapes, receptive field, half precision, reading from tensors alone."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from slimfusion.engines.torch.architectures import slim_unet
from slimfusion.engines.torch.architectures.slim_unet import SlimUnet
from slimfusion.errors import ImageError, ModelFileError

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "slim_restorer.safetensors"


def with_random_weights(network: SlimUnet, seed: int = 0) -> SlimUnet:
    """Non-negative weights cannot cancel, so an input that can reach an output pixel does change it."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        fan_in = max(1, parameter[0].numel())
        parameter.data = torch.rand(parameter.shape, generator=generator) * 2 / fan_in
    return network.double().train(False).requires_grad_(False)


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), images=st.integers(1, 2))
def test_output_has_the_shape_of_the_input(rows: int, columns: int, images: int) -> None:
    network = SlimUnet((8, 8, 8), (1, 1, 1))
    picture = torch.rand(images, 3, rows * network.multiple, columns * network.multiple)
    assert network(picture).shape == picture.shape


def test_a_new_network_returns_its_input() -> None:
    picture = torch.rand(1, 3, 32, 48)
    assert torch.equal(SlimUnet()(picture), picture)


def test_other_sizes_are_refused_with_the_multiple() -> None:
    with pytest.raises(ImageError, match="40 x 32 pixels: pad both sides to a multiple of 16"):
        SlimUnet()(torch.rand(1, 3, 32, 40))


@pytest.mark.parametrize(("widths", "depths"), [((4, 4), (1, 1)), ((4, 4, 4), (2, 1, 1)), ((4, 4, 4, 4), (1, 1, 1, 1))])
def test_receptive_radius_is_what_a_changed_pixel_reaches(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    network = with_random_weights(SlimUnet(widths, depths))
    multiple, radius = network.multiple, network.receptive_radius
    side = -(-(2 * radius + 2 * multiple) // multiple) * multiple
    picture = torch.rand(1, 3, multiple, side, dtype=torch.float64)
    plain, reached = network(picture), 0
    for pixel in range(side // 2, side // 2 + multiple):
        changed = picture.clone()
        changed[..., 0, pixel] += 1
        columns = (network(changed) != plain).any(dim=(0, 1, 2)).nonzero().flatten()
        reached = max(reached, int((columns - pixel).abs().max()))
    assert reached == radius


def test_halo_of_the_default_fits_ninety_six_pixels() -> None:
    assert SlimUnet().receptive_radius <= 96


@pytest.mark.parametrize(("widths", "depths"), [((8, 16), (2, 3)), ((8, 16, 24, 32), (1, 2, 1, 2))])
def test_widths_and_depths_are_read_from_the_tensors(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    made = with_random_weights(SlimUnet(widths, depths)).float()
    assert slim_unet.detect(made.state_dict())
    loaded = slim_unet.load(made.state_dict(), {})
    picture = torch.rand(1, 3, 16, 32)
    assert (loaded.widths, loaded.depths) == (widths, depths)
    assert torch.equal(loaded(picture), made(picture))


def test_other_networks_are_not_taken_for_it() -> None:
    tensors = SlimUnet((8, 8), (1, 1)).state_dict()
    assert not slim_unet.detect({"conv_first.weight": torch.zeros(64, 3, 3, 3)})
    assert not slim_unet.detect({**tensors, "stem.weight": torch.zeros(8, 3, 3, 3)})


@pytest.mark.parametrize("name", ["down.0.bias", "down.0.weight", "middle.0.second.weight"])
def test_missing_tensors_are_named(name: str) -> None:
    tensors = SlimUnet((8, 8, 8), (1, 1, 1)).state_dict()
    del tensors[name]
    with pytest.raises(ModelFileError, match=rf"(?s)version 7.*{name}"):
        slim_unet.load(tensors, {"version": "7"})


def with_two_decoders() -> SlimUnet:
    network = SlimUnet((8, 8, 8), (1, 1, 1), has_delta=True)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.train(False).requires_grad_(False)


def test_fidelity_one_is_the_networks_own_decoder_and_zero_adds_the_whole_difference() -> None:
    network, picture = with_two_decoders(), torch.rand(1, 3, 16, 16)
    prepared = slim_unet.prepare(network, torch.device("cpu"), torch.float32)
    sharp = SlimUnet((8, 8, 8), (1, 1, 1))
    weights = network.state_dict()
    sharp.load_state_dict({k: v + weights.get("delta." + k, 0) for k, v in weights.items() if k[:6] != "delta."})
    assert torch.equal(slim_unet.run(prepared, picture, 1.0), network(picture))
    assert torch.allclose(slim_unet.run(prepared, picture, 0.0), sharp(picture), atol=1e-6)
    assert torch.equal(slim_unet.run(prepared, picture, 1.0), network(picture))  # folding forgets what was before


def test_fidelity_moves_the_picture_smoothly_and_leaves_the_module_alone() -> None:
    network, picture = with_two_decoders(), torch.rand(1, 3, 16, 16)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    prepared = slim_unet.prepare(network, torch.device("cpu"), torch.float32)
    steps = [slim_unet.run(prepared, picture, fidelity / 50) for fidelity in range(51)]
    moves = [float((one - other).abs().mean()) for one, other in pairwise(steps)]
    assert max(moves) < 0.2 * float((steps[0] - steps[-1]).abs().mean())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_file_with_one_decoder_takes_any_fidelity() -> None:
    network, picture = with_random_weights(SlimUnet((4, 4), (1, 1))).float(), torch.rand(1, 3, 8, 8)
    prepared = slim_unet.prepare(network, torch.device("cpu"), torch.float32)
    assert torch.equal(slim_unet.run(prepared, picture, 0.0), network(picture))


def test_two_decoders_are_read_from_the_tensors() -> None:
    made = with_two_decoders()
    loaded = slim_unet.load(made.state_dict(), {})
    assert loaded.delta is not None
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in made.state_dict().items())


def shipped() -> SlimUnet:
    return slim_unet.load(load_file(WEIGHTS), {})


def test_shipped_weights_are_small_half_precision_and_documented() -> None:
    assert WEIGHTS.stat().st_size <= 8 * 2**20
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
        types = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118 - not a mapping
    assert types == {torch.float16}
    assert metadata["architecture"] == "SlimUnet" and metadata["licence"] == "Apache-2.0"
    assert {"version", "seed", "training"} <= metadata.keys()


def test_shipped_network_stays_far_from_the_half_precision_limit() -> None:
    network, peaks = shipped(), []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, given, output: peaks.append(float(output.abs().max())))
    checks = torch.zeros(1, 3, 64, 64)
    checks[..., ::2, ::2] = 1
    with torch.inference_mode():
        for picture in (
            torch.zeros(1, 3, 64, 64),
            torch.ones(1, 3, 64, 64),
            checks,
            torch.rand(1, 3, 64, 64),
        ):
            network(picture)
    assert max(peaks) < 65504 / 16


def test_shipped_network_in_half_precision_agrees_with_single() -> None:
    network = shipped()
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        single = network(picture)
        half = network.half()(picture.half())
    assert (half.float() - single).abs().max() < 0.01
