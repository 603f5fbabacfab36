"""CodeFormer (Zhou et al., NeurIPS 2022), on the module of spandrel_extra_arches: fixed 512 px faces, -1..1.

spandrel's forward looks codes up through a float32 one-hot product, which fails on weights of another type. Here
they are looked up directly, statistics are float32, and everything else stays in the type of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import vqgan

ARCHITECTURE = "CodeFormer"
EPS = 1e-5  # of the adaptive instance normalisation


@dataclass(frozen=True)
class Prepared:
    """folded: by the place of an upsampling layer among the generator's blocks."""

    module: Any
    folded: dict[int, tuple[Tensor, ...] | None]


@torch.no_grad()
def prepare(module: Any, device: torch.device, dtype: torch.dtype) -> Prepared:
    """The module's constants, worked out once; its weights stay where they are."""
    blocks = module.generator.blocks
    places = [i for i, block in enumerate(blocks) if _enlarges(block)]
    kernels = vqgan.folded_upsamplers([blocks[i] for i in places], module.resolution)
    return Prepared(module, dict(zip(places, kernels, strict=True)))


def forward(prepared: Prepared, batch: Tensor, fidelity: float) -> Tensor:
    """(n, 3, 512, 512) in 0..1 RGB, float32 of the same size out. fidelity: 0 trusts the codebook, 1 the input."""
    module = prepared.module
    sizes = module.connect_list if fidelity > 0 else []
    x, features = _encoded(module, vqgan.from_picture(batch), {module.fuse_encoder_block[size]: size for size in sizes})
    held = [_like(_coded(module, x), x)]
    fused_after = {module.fuse_generator_block[size]: size for size in sizes}
    for i, block in enumerate(module.generator.blocks):
        if i in prepared.folded:
            held.append(vqgan.upsample(block, prepared.folded[i], held.pop()))
        else:
            held.append(_run(block, held))
        if i in fused_after:
            size = fused_after[i]
            _fuse_(module.fuse_convs_dict[size], features.pop(size), held[0], fidelity)
    return vqgan.to_picture(held.pop())


def _enlarges(block: Any) -> bool:
    return hasattr(block, "conv") and block.conv.stride == (1, 1)


def _run(block: Any, held: list[Tensor]) -> Tensor:
    if hasattr(block, "norm2"):
        return vqgan.res_block(block, getattr(block, "conv_out", None), held)
    result: Tensor = block(held.pop())
    return result


def _encoded(module: Any, x: Tensor, kept_after: dict[int, str]) -> tuple[Tensor, dict[str, Tensor]]:
    """What the transformer reads, and the features after the named blocks."""
    features, held = {}, [x]
    for i, block in enumerate(module.encoder.blocks):
        held.append(_run(block, held))
        if i in kept_after:
            features[kept_after[i]] = held[0]
    return held.pop(), features


def _coded(module: Any, x: Tensor) -> Tensor:
    """(n, c, 16, 16): the codes that the transformer chooses for the features x of that shape."""
    positions = module.position_emb[:, None].expand(-1, len(x), -1)
    tokens = module.feat_emb(x.flatten(2).permute(2, 0, 1))
    for layer in module.ft_layers:
        tokens = layer(tokens, query_pos=positions)
    chosen = module.idx_pred_layer(tokens).argmax(2).t().flatten()
    return vqgan.picture_of_codes(module.quantize.embedding.weight, chosen, x)


def _like(content: Tensor, style: Tensor) -> Tensor:
    """`content` (n, c, h, w) with each channel's mean and deviation of `style` (Huang and Belongie, ICCV 2017)."""
    deviation, mean = torch.std_mean(content.float(), (2, 3), keepdim=True)
    wanted_deviation, wanted_mean = torch.std_mean(style.float(), (2, 3), keepdim=True)
    scale = torch.sqrt((wanted_deviation.square() + EPS) / (deviation.square() + EPS))
    return ((content.float() - mean) * scale + wanted_mean).to(style.dtype)


def _fuse_(block: Any, features: Tensor, x: Tensor, fidelity: float) -> None:
    """Moves the features x (n, c, h, w) towards those that the encoder found, in place."""
    joined = vqgan.res_block(block.encode_enc, block.encode_enc.conv_out, [torch.cat([features, x], 1)])
    change = block.scale(joined).mul_(x).add_(block.shift(joined))
    x.add_(change, alpha=fidelity)
