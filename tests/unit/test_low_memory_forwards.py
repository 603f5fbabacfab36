"""Our forwards of the face networks against spandrel's: the same picture, in fewer bytes, and nothing else touched."""

import copy

import pytest
import torch
import torch.nn.functional as F
from slimfusion.bench import twins
from slimfusion.catalog.cards import card_for_architecture
from slimfusion.engines.live_peak import live_peak
from slimfusion.engines.torch.architectures import FORWARDS, folding
from slimfusion.engines.torch.architectures.halos import halos
from slimfusion.engines.torch.architectures.modulation import styled_constants, styled_conv

pytest.importorskip("spandrel_extra_arches")

MIB = 2**20
SMALL_GFPGAN = {"out_size": 128, "narrow": 1 / 16, "num_style_feat": 32}
SMALL_RESTOREFORMER = {"ch": 32, "ch_mult": (1, 2, 2, 4), "resolution": 128}


def test_every_forward_of_ours_is_of_a_model_that_has_a_card():
    assert [name for name in FORWARDS if card_for_architecture(name).architecture != name] == []


def low_memory(name, module, batch, fidelity=0.5):
    with torch.inference_mode():
        prepared = FORWARDS[name].prepare(module, batch.device, batch.dtype)
        return FORWARDS[name].forward(prepared, batch, fidelity)


def picture(n, size, seed=1):
    torch.manual_seed(seed)
    return F.interpolate(torch.rand(n, 3, size // 8, size // 8), (size, size), mode="bilinear").clamp_(0, 1)


@pytest.mark.parametrize(("name", "limit"), [("GFPGAN", 1e-5), ("RestoreFormer", 5e-5), ("CodeFormer", 5e-5)])
def test_the_picture_is_spandrels_and_neither_batch_nor_weights_are_touched(name, limit):
    module, batch = twins.network(name), picture(1, 512)
    expected = twins.reference(name, module, batch)
    given, weights = batch.clone(), {key: value.clone() for key, value in module.state_dict().items()}
    result = low_memory(name, module, batch)
    assert expected.std() > 0.1  # a flat picture would agree with anything
    assert (result - expected).abs().max() <= limit
    assert torch.equal(batch, given)
    assert all(torch.equal(value, weights[key]) for key, value in module.state_dict().items())


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor convolves in bfloat16 for minutes"
)
def test_codeformer_runs_in_bfloat16():
    """spandrel's own forward mixes types there and fails. With one code for all, none can be chosen otherwise."""
    module, batch = twins.codeformer(), picture(1, 512)
    with torch.no_grad():
        module.quantize.embedding.weight.copy_(module.quantize.embedding.weight[:1].expand(1024, -1).clone())
    expected = low_memory("CodeFormer", module, batch)
    result = low_memory("CodeFormer", module.bfloat16(), batch.bfloat16())
    assert expected.std() > 0.1
    assert (result - expected).abs().mean() <= 0.02


@pytest.mark.parametrize(("name", "limit"), [("GFPGAN", 200), ("RestoreFormer", 270), ("CodeFormer", 340)])
def test_the_peak_is_low_and_grows_evenly_with_the_batch(name, limit):
    model = twins.blueprint(name)
    one, two, three = (live_peak(model, "fp32", n, 512, 512) for n in (1, 2, 3))
    assert one <= limit * MIB
    # Two probes stand for all batches: a third must lie on their line.
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert live_peak(model, "bf16", 1, 512, 512) <= 0.53 * one


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_gfpgan_in_half_precision_is_gfpgan(scale):
    module, batch = twins.scaled_gfpgan(scale), picture(1, 128)
    expected = twins.reference("GFPGAN", module, batch)
    result = low_memory("GFPGAN", module.half(), batch.half())
    assert expected.std() > 0.1
    assert (result - expected).abs().max() <= 2 / 255


@pytest.mark.parametrize(
    ("name", "module", "size"),
    [
        ("GFPGAN", lambda: twins.gfpgan(**SMALL_GFPGAN), 128),
        ("RestoreFormer", lambda: twins.restoreformer(**SMALL_RESTOREFORMER), 128),
    ],
)
def test_a_batch_is_its_pictures(name, module, size):
    network, batch = module(), picture(3, size)
    together = low_memory(name, network, batch)
    torch.testing.assert_close(together, twins.reference(name, network, batch), rtol=0, atol=2e-5)
    alone = torch.cat([low_memory(name, network, batch[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("GFPGAN", lambda: twins.gfpgan(**SMALL_GFPGAN)),
        ("RestoreFormer", lambda: twins.restoreformer(**SMALL_RESTOREFORMER)),
    ],
)
def test_an_exported_network_is_the_same_and_writes_into_no_slice(name, module):
    """onnxruntime would copy the whole tensor for each slice."""
    network, batch = module(), picture(1, 128)

    class Exportable(torch.nn.Module):
        def forward(self, batch):
            return FORWARDS[name].forward(prepared, batch, 0.5)

    with torch.inference_mode():
        prepared = FORWARDS[name].prepare(network, torch.device("cpu"), torch.float32)
        program = torch.export.export(Exportable(), (batch,), strict=False).run_decompositions()
        torch.testing.assert_close(program.module()(batch), low_memory(name, network, batch), rtol=0, atol=1e-5)
    assert not [node.name for node in program.graph.nodes if "scatter" in node.name]


def upscaler(scale=4, **changes):
    """A small RRDBNet with weights that make every layer count."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(3)
    network = ESRGAN(**{"num_filters": 16, "num_blocks": 2, "scale": scale, **changes})
    return network.train(False).requires_grad_(False)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (70, 45)),
        ({"scale": 1}, (33, 20)),
        ({"scale": 8}, (11, 9)),
        ({"plus": True}, (40, 40)),
        ({"scale": 4, "in_nc": 12, "shuffle_factor": 2}, (72, 36)),
    ],
)
def test_an_upscaler_in_bands_is_spandrels(changes, size):
    network, batch = upscaler(**changes), torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected, given = network(batch), batch.clone()
    assert expected.std() > 0.005
    torch.testing.assert_close(low_memory("ESRGAN", network, batch), expected, rtol=0, atol=1e-5)
    assert torch.equal(batch, given)


@pytest.mark.parametrize("size", [(128, 128), (64, 512), (300, 200)])
def test_an_upscalers_peak_is_its_blocks_and_even_in_pixels(size):
    """spandrel's forward peaks at full size, with 8 KiB for each pixel that goes in."""
    pixels = size[0] * size[1]
    peak = live_peak(twins.blueprint("ESRGAN"), "fp32", 1, *size)
    assert peak == pytest.approx(pixels * (6 * 64 + 3) * 4, rel=0.05)


def test_a_tiles_surroundings_are_as_wide_as_the_network_looks():
    from spandrel.architectures.Compact import Compact

    assert halos(card_for_architecture("Compact"), Compact(num_conv=16)) == (18, 18)
    esrgan = card_for_architecture("ESRGAN")
    assert halos(esrgan, upscaler()) == (34, 34)
    assert halos(esrgan, upscaler(num_blocks=23)) == (64, 96)
    assert halos(esrgan, upscaler(num_blocks=23, scale=4, in_nc=12, shuffle_factor=2)) == (128, 192)
    assert halos(card_for_architecture("SPAN"), torch.nn.Identity()) == (32, 32)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_nothing_beyond_an_upscalers_reach_changes_a_pixel(scale):
    network, side = upscaler(scale, num_blocks=1), 64
    batch = torch.rand(1, 3, side, side)
    reach, changed = halos(card_for_architecture("ESRGAN"), network)[1], batch.clone()
    changed[..., reach + 1 :] = 0
    first, other = (low_memory("ESRGAN", network, each)[..., :scale] for each in (batch, changed))
    assert torch.equal(first, other)


def test_spandrels_own_forward_stays_what_it_was():
    module, batch = twins.gfpgan(**SMALL_GFPGAN), picture(1, 128)
    before = twins.reference("GFPGAN", module, batch)
    low_memory("GFPGAN", module, batch)
    assert torch.equal(twins.reference("GFPGAN", module, batch), before)


@pytest.mark.parametrize("size", [(4, 4), (7, 12)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_folded_upsampling_is_upsampling(size, memory):
    torch.manual_seed(0)
    x = torch.randn(2, 6, *size, dtype=torch.float64).contiguous(memory_format=memory)
    weight, bias = torch.randn(5, 6, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)

    def enlarged(mode):
        return F.conv2d(F.interpolate(x, scale_factor=2, mode=mode), weight, bias, padding=1)

    result, kernels = torch.empty_like(enlarged("bilinear")), folding.folded_bilinear(weight)
    edges = folding.border(x, weight, bias)
    for phase in (0, 1):
        rows = folding.phase_rows(x, kernels[phase], bias.repeat(2), edges, phase)
        folding.every_second_row(result, phase).copy_(rows)
    torch.testing.assert_close(result, enlarged("bilinear"), rtol=0, atol=1e-5)
    nearest = folding.nearest_conv(x, folding.folded_nearest(weight), bias)
    torch.testing.assert_close(nearest, enlarged("nearest"), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "size", "way"), [(0, 8, (False, False)), (1, 64, (False, True)), (0, 64, (True, True))]
)
def test_a_styled_convolution_is_spandrels_in_each_of_its_ways(place, size, way):
    torch.manual_seed(2)
    module = copy.deepcopy(twins.gfpgan(out_size=32, narrow=1 / 32, num_style_feat=16)).stylegan_decoder
    layer = module.style_convs[place]
    out = size * 2 if place == 0 else size
    x, latent, noise = torch.randn(2, 16, size, size), torch.randn(2, 16), torch.randn(1, 1, out, out)
    constants = styled_constants(layer, noise)
    assert (constants.folded is not None, constants.by_sample) == way
    expected = layer(x, latent, noise=noise)
    result = styled_conv(constants, x.contiguous(memory_format=torch.channels_last).clone(), latent)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
