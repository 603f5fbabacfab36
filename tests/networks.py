"""Small networks for tests: real architectures with random weights, and a face network that is one conv."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from slimfusion.catalog.card import ModelCard
from slimfusion.catalog.spec import ModelSpec, Port
from slimfusion.engines.live_peak import CountedModel, MetaModel
from slimfusion.engines.network import PRECISIONS, Model, Network, Tensors, Traits
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


@dataclass(frozen=True, eq=False)
class MadeModel(CountedModel):
    """A model whose network is made, not read. made, meta: as `CountedModel` wants them, by type."""

    spec: ModelSpec
    key: tuple
    made: Callable[[torch.device, torch.dtype], Network]
    meta: Callable[[torch.dtype], MetaModel]
    traits: Traits = Traits()  # noqa: RUF009

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        return self.spec.parameters * PRECISIONS[precision].itemsize

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        return self.meta(dtype)

    def load(self, device: torch.device, precision: str, limit: int) -> Network:
        return self.made(device, PRECISIONS[precision])


class WrappedModel(CountedModel):
    """A model whose network is what `wrap` makes of the loaded one."""

    def __init__(self, model: CountedModel, wrap: Callable[[Network], Network]) -> None:
        self.spec, self.key, self.traits = model.spec, model.key, model.traits
        self._model, self._wrap = model, wrap

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        return self._model.weight_bytes(precision, device)

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        return self._model.meta_model(dtype)

    def load(self, device: torch.device, precision: str, limit: int) -> Network:
        return self._wrap(self._model.load(device, precision, limit))


class Around(Network):
    """A network around another."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        return self.network.run(inputs, fidelity)

    def close(self) -> None:
        self.network.close()


class Loaded(Network):
    def __init__(self, module: torch.nn.Module) -> None:
        self.module: torch.nn.Module | None = module

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        assert self.module is not None
        return (self.module(inputs[0], fidelity),)

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


def measuring_model(name: str = "measuring", largest_batch: int | None = None) -> Model:
    """A network that is not picture to picture."""
    ports = (Port("picture", (3, 8, 8)), Port("vector", (3,)))
    card = ModelCard("measuring", "recogniser")
    spec = ModelSpec(name, None, card, "Measuring", "Apache-2.0", 1, 1, 1, 0, 0, ("fp32",), ports, largest_batch)

    class Running(Loaded):
        def run(self, inputs, fidelity):
            assert self.module is not None
            self.module.batches = [*getattr(self.module, "batches", []), len(inputs[0])]
            return self.module(*inputs)

    def load(device: torch.device, dtype: torch.dtype) -> Loaded:
        return Running(Measuring(dtype).to(device))

    def meta_model(dtype: torch.dtype):
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            module = Measuring(dtype)
        return lambda inputs, fidelity: module(*inputs), mode

    return MadeModel(spec, (name,), load, meta_model)


def face_model(name: str = "bright face", size: int = 64) -> Model:
    card = ModelCard("bright_face", "restorer", size=size, template="ffhq_512")
    spec = ModelSpec(name, None, card, "BrightFace", "Apache-2.0", 84, 1, 1, 0, 0, ("fp16", "bf16", "fp32"))

    def load(device: torch.device, dtype: torch.dtype) -> Loaded:
        return Loaded(BrightFace(dtype).to(device))

    def meta_model(dtype: torch.dtype):
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            module = BrightFace(dtype)
        return lambda inputs, fidelity: module(inputs[0], fidelity), mode

    return MadeModel(spec, (name,), load, meta_model)
