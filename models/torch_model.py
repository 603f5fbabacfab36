"""Networks under torch: recognised by spandrel, loaded part by part into memory of our own, probed without any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ..catalog.cards import card_for_architecture
from ..catalog.opening import Stamp
from ..catalog.spec import ModelSpec
from ..engines.live_peak import CountedModel, LivePeak, MetaModel
from ..engines.network import PRECISIONS, Forward, Network, Tensors
from ..engines.torch import weights_file
from ..engines.torch.architectures import FORWARDS, slim_unet
from ..engines.torch.architectures.halos import halos
from ..engines.torch.stored_tensors import StateDict, StoredTensors
from ..errors import DependencyError, ModelFileError, printable

try:
    import spandrel
except (ImportError, RuntimeError) as failure:  # RuntimeError: a torchvision that was built for another torch
    raise DependencyError(
        f"spandrel, which recognises model files, does not load ({failure}). Install it into the Python that runs "
        "this program: pip install spandrel. If torchvision is named above, it does not fit torch: install both "
        "from the same place."
    ) from failure


# What spandrel raises on tensors whose shapes do not belong together: its detection counts and divides them.
_SPOILT = (RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, AssertionError, AttributeError)


class SlimUnetArchitecture(spandrel.Architecture[slim_unet.SlimUnet]):  # type: ignore[misc]  # no types
    """The bundled network, made known to a registry of ours: other programs' registries stay as they are."""

    def __init__(self) -> None:
        super().__init__(id="SlimUnet", detect=slim_unet.detect)

    def load(self, state_dict: StateDict) -> spandrel.ImageModelDescriptor[slim_unet.SlimUnet]:
        module = slim_unet.load(state_dict, {})
        return spandrel.ImageModelDescriptor(
            module,
            module.state_dict(),
            architecture=self,
            purpose="Restoration",
            tags=[],
            supports_half=True,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            size_requirements=spandrel.SizeRequirements(multiple_of=module.multiple),
            call_fn=lambda model, image: model(image),
        )


@lru_cache(maxsize=1)
def registry() -> spandrel.ArchRegistry:
    """spandrel's architectures, the extra ones where the user has installed them, and ours."""
    architectures = spandrel.MAIN_REGISTRY.copy()
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:
        pass
    else:
        architectures.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    architectures.add(spandrel.ArchSupport.from_architecture(SlimUnetArchitecture()))
    return architectures


class TorchNetwork(Network):
    """A module on a device, called in its architecture's way."""

    def __init__(self, forward: Forward) -> None:
        self._forward: Forward | None = forward

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        assert self._forward is not None
        return (self._forward(inputs[0], fidelity),)

    def close(self) -> None:
        self._forward = None


@dataclass(frozen=True, eq=False)
class Layout:
    """A network's tensors without data, under the names that spandrel knows."""

    tensors: StateDict
    name: str

    @property
    def parameters(self) -> int:
        return sum(value.numel() for value in self.tensors.values() if isinstance(value, torch.Tensor))


@dataclass(frozen=True, eq=False)
class TorchModel(CountedModel):
    """A .safetensors, .pth, .pt, .ckpt or .bin file whose architecture spandrel knows."""

    spec: ModelSpec
    key: tuple[Any, ...]
    layout: Layout
    file: StoredTensors

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        dtype = PRECISIONS[precision]
        return self.spec.parameters * dtype.itemsize + constant_bytes(self.layout, dtype)

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        forward, mode, _ = meta_forward(self.layout, dtype)
        return lambda inputs, fidelity: (forward(inputs[0], fidelity),), mode

    def load(self, device: torch.device, precision: str, limit: int) -> TorchNetwork:
        dtype = PRECISIONS[precision]
        return TorchNetwork(forward_of(_filled(self.layout, self.file, device, dtype), device, dtype))


def torch_model(path: Path, name: str | None = None) -> TorchModel:
    """Describes a file; reads its shapes only. Raises ModelFileError."""
    return _torch_model(path, printable(name or path.name), Stamp.of(path))


@lru_cache(maxsize=16)
def _torch_model(path: Path, name: str, stamp: Stamp) -> TorchModel:
    file = weights_file.read(path)
    layout = _layout(file, name)
    descriptor, _ = _meta_descriptor(layout, torch.float32)
    return TorchModel(spec_of(descriptor, layout, path), (str(path), file.stamp), layout, file)


def _layout(file: StoredTensors, name: str) -> Layout:
    """Raises ModelFileError."""
    try:
        layout = spandrel.canonicalize_state_dict(file.content)
    except _SPOILT as error:
        raise _misfit(name) from error
    for key, value in layout.items():
        if isinstance(value, torch.Tensor) and value.dtype in (torch.int8, torch.uint8) and value.dim() > 1:
            kind = str(value.dtype).removeprefix("torch.")
            raise ModelFileError(
                f"{name} holds weights such as {str(key)[:80]!r} in 8 bits ({kind}): quantised networks are not run "
                "here. Get the model as fp16 or fp32."
            )
    return Layout(layout, name)


@lru_cache(maxsize=2)  # memory and constants are asked for one after the other, and making it takes a third of a second
def meta_forward(layout: Layout, dtype: torch.dtype) -> tuple[Forward, FakeTensorMode, int]:
    """How the network is called on tensors without data, their mode, and the bytes that preparing it leaves behind."""
    descriptor, mode = _meta_descriptor(layout, dtype)
    tracker = LivePeak([*descriptor.model.parameters(), *descriptor.model.buffers()])
    with mode, tracker:
        forward = forward_of(descriptor, torch.device("cpu"), dtype)
    return forward, mode, tracker.live


@lru_cache(maxsize=64)
def constant_bytes(layout: Layout, dtype: torch.dtype) -> int:
    """Bytes that loading works out from the weights and keeps beside them."""
    return meta_forward(layout, dtype)[2]


def _meta_descriptor(layout: Layout, dtype: torch.dtype) -> tuple[Any, FakeTensorMode]:
    """The network on tensors that have a shape and no data."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        empty = {
            key: torch.empty(value.shape, dtype=dtype if value.is_floating_point() else value.dtype)
            for key, value in layout.tensors.items()
            if isinstance(value, torch.Tensor)
        }
        descriptor = _descriptor(empty, layout.name)
        # Module.to does not work on tensors without data; handing over tensors of the right type does.
        _assign(descriptor, empty, layout.name)
        _retyped(descriptor.model, dtype)
    return descriptor, mode


def _retyped(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Gives a network without data its type where a file's names are not the network's own, as in Real-ESRGAN's."""
    for part in model.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter.is_floating_point() and parameter.dtype != dtype:
                empty = torch.empty(parameter.shape, dtype=dtype)
                setattr(part, name, torch.nn.Parameter(empty, requires_grad=False))


def _assign(descriptor: Any, weights: StateDict, name: str) -> None:
    try:
        descriptor.model.load_state_dict(weights, strict=False, assign=True)
    except _SPOILT as error:  # such as whole numbers where the network has floating ones
        raise _misfit(name) from error


def _descriptor(weights: StateDict, name: str) -> Any:
    try:
        descriptor = registry().load(weights)
    except spandrel.UnsupportedModelError as error:
        raise ModelFileError(
            f"{name} is a model, but of an architecture that is not supported ({len(weights)} tensors). "
            "Face restorers such as GFPGAN, RestoreFormer and CodeFormer and most upscalers are known; "
            "checkpoints, LoRAs and detectors are not restorers."
        ) from error
    except _SPOILT as error:
        raise _misfit(name) from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise ModelFileError(
            f"{name} is a {descriptor.architecture.name} network that does not take and give RGB pictures."
        )
    descriptor.model.train(False)
    return descriptor


def _misfit(name: str) -> ModelFileError:
    return ModelFileError(
        f"{name} looks like a known architecture but tensors are missing or of another size or type; "
        "the file is damaged or a variant that is not supported. Download it again from its author."
    )


def _filled(layout: Layout, file: StoredTensors, device: torch.device, dtype: torch.dtype) -> Any:
    """The network with its weights.

    A network that computes tensors of its own while it is made cannot be made without data: it is made the
    plain way, at the price of a second copy for a moment.
    """
    weights = file.load(_only_tensors(layout.tensors), device, dtype)
    descriptor, _ = _meta_descriptor(layout, dtype)
    _assign(descriptor, weights, layout.name)
    if _has_fakes(descriptor.model):
        descriptor = _descriptor(weights, layout.name)
        descriptor.model.to(device=device, dtype=dtype)
    for parameter in descriptor.model.parameters():
        parameter.requires_grad_(False)
    return descriptor


def _only_tensors(layout: StateDict) -> StateDict:
    return {key: value for key, value in layout.items() if isinstance(value, torch.Tensor)}


def _has_fakes(module: torch.nn.Module) -> bool:
    held = [value for part in module.modules() for value in vars(part).values()]
    named = [*module.parameters(), *module.buffers()]
    return any(isinstance(value, FakeTensor) for value in [*held, *named])


def forward_of(descriptor: Any, device: torch.device, dtype: torch.dtype) -> Forward:
    low_memory = FORWARDS.get(descriptor.architecture.id)
    if low_memory is None:
        return lambda batch, fidelity: descriptor(batch.to(dtype))
    prepared = low_memory.prepare(descriptor.model, device, dtype)
    taken = torch.float32 if low_memory.takes_float32 else dtype
    return lambda batch, fidelity: low_memory.forward(prepared, batch.to(taken), fidelity)


def spec_of(descriptor: Any, layout: Layout, path: Path | None) -> ModelSpec:
    architecture = str(descriptor.architecture.id)
    card = card_for_architecture(architecture)
    multiple = max(1, descriptor.size_requirements.multiple_of)
    halo, exact_halo = halos(card, descriptor.model)
    precisions = ["fp32"]
    if descriptor.supports_bfloat16:
        precisions.insert(0, "bf16")
    low_memory = FORWARDS.get(architecture)
    if descriptor.supports_half or (low_memory is not None and low_memory.half_safe):
        precisions.insert(0, "fp16")
    return ModelSpec(
        name=layout.name,
        path=path,
        card=card,
        architecture=architecture,
        licence=card.licence,
        parameters=layout.parameters,
        scale=descriptor.scale,
        multiple=multiple,
        halo=_round_up(halo, multiple),
        exact_halo=_round_up(exact_halo, multiple),
        precisions=tuple(precisions),
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
