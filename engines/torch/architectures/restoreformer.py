"""RestoreFormer (Wang et al., CVPR 2022), on spandrel's module: fixed 512 px faces, -1..1 inside.

spandrel keeps the features of every level although its decoder reads two small ones, and holds each block's input,
normalised copy and activation together. Here only the two are kept, and activations are done in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import vqgan

ARCHITECTURE = "RestoreFormer"


@dataclass(frozen=True)
class Prepared:
    """folded: of the decoder's upsampling layers, first to last."""

    module: Any
    folded: vqgan.Folded


@torch.no_grad()
def prepare(module: Any, device: torch.device, dtype: torch.dtype) -> Prepared:
    """The module's constants, worked out once; its weights stay where they are."""
    blocks = [level.upsample for level in reversed(module.decoder.up) if hasattr(level, "upsample")]
    return Prepared(module, vqgan.folded_upsamplers(blocks, module.encoder.resolution))


def forward(prepared: Prepared, batch: Tensor, fidelity: float) -> Tensor:
    """(n, 3, 512, 512) in 0..1 RGB, float32 of the same size out. It has no fidelity control."""
    module = prepared.module
    h, at_attention, at_middle = _encoded(module.encoder, vqgan.from_picture(batch))
    h = vqgan.nearest_code(module.quantize.embedding.weight, module.quant_conv(h))
    h = module.post_quant_conv(h)
    return vqgan.to_picture(_decoded(module.decoder, prepared.folded, h, at_attention, at_middle))


def _block(block: Any, held: list[Tensor]) -> Tensor:
    return vqgan.res_block(block, getattr(block, "nin_shortcut", None), held)


def _encoded(encoder: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is to be quantised, and the two features that the decoder attends to."""
    held = [encoder.conv_in(x)]
    for level in encoder.down:
        for i, block in enumerate(level.block):
            held.append(_block(block, held))
            if len(level.attn) > 0:
                held.append(level.attn[i](held.pop()))
        if hasattr(level, "downsample"):
            held.append(level.downsample(held.pop()))
    at_attention = _block(encoder.mid.block_1, held)
    h = _block(encoder.mid.block_2, [encoder.mid.attn_1(at_attention)])
    return encoder.conv_out(vqgan.norm_silu(encoder.norm_out, h)), at_attention, h


def _decoded(decoder: Any, folded: vqgan.Folded, z: Tensor, at_attention: Tensor, at_middle: Tensor) -> Tensor:
    h = _block(decoder.mid.block_1, [decoder.conv_in(z)])
    held = [_block(decoder.mid.block_2, [decoder.mid.attn_1(h, at_middle)])]
    ups = iter(folded)
    for level in reversed(decoder.up):
        for i, block in enumerate(level.block):
            held.append(_block(block, held))
            if len(level.attn) > 0:
                held.append(level.attn[i](held.pop(), at_attention))
        if hasattr(level, "upsample"):
            held.append(vqgan.upsample(level.upsample, next(ups), held.pop()))
    result: Tensor = decoder.conv_out(vqgan.norm_silu_(decoder.norm_out, held.pop()))
    return result
