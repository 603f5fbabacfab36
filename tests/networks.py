"""Small networks for tests: real architectures with random weights, and a face network that is one conv."""

from __future__ import annotations

from pathlib import Path

import torch
from slimfusion.catalog.card import ModelCard, Port
from slimfusion.catalog.spec import ModelSpec
from slimfusion.engines.session import Blueprint
from torch._subclasses.fake_tensor import FakeTensorMode


def save_upscaler(path: Path, scale: int = 4) -> Path:
    """A small RRDBNet (ESRGAN) as users have them: a .pth with params_ema, or .safetensors."""
    from safetensors.torch import save_file
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(7)
    weights = ESRGAN(in_nc=3, out_nc=3, num_filters=16, num_blocks=1, scale=scale).state_dict()
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"params_ema": weights}, path)
    return path


class BrightFace(torch.nn.Module):
    """A face network of 64 px whose effect is known: it adds a tenth, by a convolution."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1, dtype=dtype)
        with torch.no_grad():
            torch.nn.init.dirac_(self.conv.weight)
            self.conv.bias.fill_(0.1)

    def forward(self, batch: torch.Tensor, fidelity: float) -> torch.Tensor:
        return self.conv(batch.to(self.conv.weight.dtype))


class Loaded:
    def __init__(self, module: torch.nn.Module) -> None:
        self.module: torch.nn.Module | None = module

    def __call__(self, batch: torch.Tensor, fidelity: float) -> torch.Tensor:
        assert self.module is not None
        return self.module(batch, fidelity)

    def close(self) -> None:
        self.module = None


class Measuring(torch.nn.Module):
    """Two inputs, two outputs: a picture's mean colour times a vector of three, and whether its first is positive."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1, dtype=dtype), requires_grad=False)

    def forward(self, picture: torch.Tensor, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = picture.to(self.scale.dtype).mean((2, 3)) * self.scale
        return mean * vector.to(self.scale.dtype), mean[:, 0] > 0


def measuring_blueprint(name: str = "measuring", largest_batch: int | None = None) -> Blueprint:
    """A network that is not picture to picture."""
    ports = (Port("picture", (3, 8, 8)), Port("vector", (3,)))
    card = ModelCard("measuring", "recogniser")
    spec = ModelSpec(
        name, None, card, "Measuring", "Apache-2.0", 1, 1, 1, 0, 0, ("fp32",), inputs=ports, largest_batch=largest_batch
    )

    class Running(Loaded):
        def __call__(self, *inputs):
            assert self.module is not None
            self.module.batches = [*getattr(self.module, "batches", []), len(inputs[0])]
            return self.module(*inputs)

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> Loaded:
        return Running(Measuring(dtype).to(device))

    def meta_model(dtype: torch.dtype):
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            module = Measuring(dtype)
        return module, mode

    return Blueprint(spec, (name,), build, meta_model)


def face_blueprint(name: str = "bright face", size: int = 64) -> Blueprint:
    card = ModelCard("bright_face", "restorer", size=size, template="ffhq_512")
    spec = ModelSpec(name, None, card, "BrightFace", "Apache-2.0", 84, 1, 1, 0, 0, ("fp16", "bf16", "fp32"))

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> Loaded:
        return Loaded(BrightFace(dtype).to(device))

    def meta_model(dtype: torch.dtype):
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            module = BrightFace(dtype)
        return module, mode

    return Blueprint(spec, (name,), build, meta_model)
