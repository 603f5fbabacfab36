"""Random-weight twins of GFPGAN, RestoreFormer and CodeFormer: real architectures, for parity, memory and speed.

Weights as the classes draw them give pictures without contrast and codebooks without distance, on which any error
would look small: both are brought to the size that trained weights have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

GFPGAN: dict[str, Any] = {
    "out_size": 512,
    "num_style_feat": 512,
    "channel_multiplier": 2,
    "decoder_load_path": None,
    "fix_decoder": False,
    "num_mlp": 8,
    "input_is_latent": True,
    "different_w": True,
    "narrow": 1,
    "sft_half": True,
}
NAMES = ("GFPGAN", "RestoreFormer", "CodeFormer")


def gfpgan(seed: int = 0, **changes: Any) -> torch.nn.Module:
    """At its real size; `changes` replace arguments of the class, for small ones."""
    from spandrel.architectures.GFPGAN import GFPGAN as Network

    torch.manual_seed(seed)
    network = Network(**{**GFPGAN, **changes})
    with torch.no_grad():
        for layer in network.stylegan_decoder.to_rgbs:
            layer.modulated_conv.weight.mul_(0.1)
        for layer in (network.stylegan_decoder.style_conv1, *network.stylegan_decoder.style_convs):
            layer.weight.fill_(0.1)
            layer.bias.normal_(0.0, 0.1)
    return _frozen(network)


def scaled_gfpgan(scale: float) -> torch.nn.Module:
    """A small GFPGAN (128 px) whose modulated weights are `scale` times as large, and its styles where that is more
    than 1: sizes at which the squares of half precision underflow or overflow."""
    network = gfpgan(out_size=128, narrow=1 / 16, num_style_feat=32)
    generator: Any = network.stylegan_decoder
    with torch.no_grad():
        for layer in (generator.style_conv1, *generator.style_convs):
            layer.modulated_conv.weight.mul_(scale)
            layer.modulated_conv.modulation.weight.mul_(max(1.0, scale))
            layer.modulated_conv.modulation.bias.mul_(max(1.0, scale))
    return network


def restoreformer(seed: int = 0, **changes: Any) -> torch.nn.Module:
    from spandrel.architectures.RestoreFormer import RestoreFormer as Network

    torch.manual_seed(seed)
    return _spread(Network(**changes))


def codeformer(seed: int = 0) -> torch.nn.Module:
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer as Network

    torch.manual_seed(seed)
    return _spread(Network())


def network(name: str, seed: int = 0) -> torch.nn.Module:
    """One of NAMES at its real size, float32, without gradients."""
    made = {"GFPGAN": gfpgan, "RestoreFormer": restoreformer, "CodeFormer": codeformer, "ESRGAN": esrgan}
    return made[name](seed)


def esrgan(seed: int = 0) -> torch.nn.Module:
    """RRDBNet x4 at the size of RealESRGAN_x4plus."""
    from spandrel.architectures.ESRGAN import ESRGAN as Network

    torch.manual_seed(seed)
    return _frozen(Network(in_nc=3, out_nc=3, num_filters=64, num_blocks=23, scale=4))


def save_twin(name: str, path: Path, legacy: bool = False) -> Path:
    """Writes a network's weights as users have them. legacy: as torch before 1.6 did, such as GFPGAN's own file."""
    torch.save({"params_ema": network(name).state_dict()}, path, _use_new_zipfile_serialization=not legacy)
    return path


def save_recogniser_twin(path: Path) -> Path:
    """Writes an ONNX file with the inputs and outputs of InsightFace's w600k_r50: a vector of the mean colour."""
    import onnx
    from onnx import TensorProto, helper

    weight = torch.randn(3, 512, generator=torch.Generator().manual_seed(5))
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["output"]),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])
    result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 512])
    values = helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.flatten().tolist())
    graph = helper.make_graph(nodes, "graph", [given], [result], [values])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def reference(name: str, module: Any, batch: torch.Tensor, fidelity: float = 0.5) -> torch.Tensor:
    """What spandrel's own forward makes of (n, 3, 512, 512) in 0..1, in 0..1."""
    options: dict[str, dict[str, Any]] = {
        "GFPGAN": {"return_rgb": False, "randomize_noise": False},
        "RestoreFormer": {},
        "CodeFormer": {"weight": fidelity},
    }
    with torch.inference_mode():
        return (module(batch * 2.0 - 1.0, **options[name])[0] + 1.0) / 2.0


def blueprint(name: str) -> Any:
    """The network as the engines know one that the host loaded, on tensors that have a shape and no data."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from ..models.borrowed_model import borrowed_model
    from ..models.torch_model import registry

    with FakeTensorMode(allow_non_fake_inputs=True):
        return borrowed_model(registry().load(network(name).state_dict()), name)


def _spread(network: Any) -> torch.nn.Module:
    with torch.no_grad():
        network.quantize.embedding.weight.normal_(0.0, 0.5)
    return _frozen(network)


def _frozen(network: torch.nn.Module) -> torch.nn.Module:
    return network.train(False).requires_grad_(False)
