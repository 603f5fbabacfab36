"""Networks under torch: recognised by spandrel, loaded part by part into memory of our own, probed without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ..catalog.cards import card_for_architecture
from ..catalog.opening import Stamp
from ..catalog.spec import ModelSpec
from ..engines.memory.costs import LivePeak
from ..engines.session import Blueprint, Forward
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


class SlimUnetArchitecture(spandrel.Architecture[slim_unet.SlimUnet]):
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
    known = spandrel.MAIN_REGISTRY.copy()
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:
        pass
    else:
        known.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    known.add(spandrel.ArchSupport.from_architecture(SlimUnetArchitecture()))
    return known


class TorchNetwork:
    """A module on a device, called in its architecture's way."""

    def __init__(self, forward: Forward) -> None:
        self._forward: Forward | None = forward

    def __call__(self, batch: torch.Tensor, fidelity: float) -> torch.Tensor:
        assert self._forward is not None
        return self._forward(batch, fidelity)

    def close(self) -> None:
        self._forward = None


class BorrowedNetwork(TorchNetwork):
    """A module that the host owns: on the device while it is open, back where it came from after."""

    def __init__(self, forward: Forward, module: torch.nn.Module, home: torch.device) -> None:
        super().__init__(forward)
        self._module, self._home = module, home

    def close(self) -> None:
        super().close()
        self._module.to(self._home)


def blueprint_from_file(path: Path, name: str | None = None) -> Blueprint:
    """Describes a .safetensors, .pth, .pt or .ckpt file; reads its shapes only. Raises ModelFileError."""
    return _blueprint_from_file(path, printable(name or path.name), Stamp.of(path))


@lru_cache(maxsize=16)
def _blueprint_from_file(path: Path, name: str, stamp: Stamp) -> Blueprint:
    file = weights_file.read(path)
    layout = _layout(file, name)
    descriptor, _ = _twin(layout, torch.float32, name)

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> TorchNetwork:
        return TorchNetwork(_forward_of(_filled(layout, file, device, dtype, name), device, dtype))

    meta_model, constants = _meta_models(layout, name)
    key = (str(path), file.stamp)
    return Blueprint(_spec(descriptor, name, path, layout), key, build, meta_model, constants=constants)


def _layout(file: StoredTensors, name: str) -> StateDict:
    """The file's tensors without data, under the names that spandrel knows. Raises ModelFileError."""
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
    return layout


def blueprint_from_descriptor(descriptor: Any, name: str) -> Blueprint:
    """Describes a network that somebody else loaded: a spandrel descriptor, ComfyUI's UPSCALE_MODEL."""
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ModelFileError(f"{name} is {type(descriptor).__name__}, not an image network that can be run here.")
    layout = {key: value.to("meta") for key, value in descriptor.model.state_dict().items()}

    def build(device: torch.device, dtype: torch.dtype, limit: int) -> TorchNetwork:
        home = descriptor.device
        descriptor.model.to(device)
        return BorrowedNetwork(_forward_of(descriptor, device, dtype), descriptor.model, home)

    meta_model, constants = _meta_models(layout, name)
    # In the type that its owner has it in: nobody else's network is converted.
    spec = replace(_spec(descriptor, name, None, layout), precisions=("fp32",))
    return Blueprint(spec, (name, id(descriptor)), build, meta_model, descriptor, constants=constants)


def _meta_models(
    layout: StateDict, name: str
) -> tuple[Callable[[torch.dtype], tuple[Forward, FakeTensorMode]], Callable[[torch.dtype], int]]:
    """For a type: how the network is called on tensors without data, and the bytes that preparing it leaves behind."""

    @lru_cache(maxsize=1)  # both are asked for one after the other, and a meta model takes a third of a second to make
    def made(dtype: torch.dtype) -> tuple[Forward, FakeTensorMode, int]:
        descriptor, mode = _twin(layout, dtype, name)
        tracker = LivePeak([*descriptor.model.parameters(), *descriptor.model.buffers()])
        with mode, tracker:
            forward = _forward_of(descriptor, torch.device("cpu"), dtype)
        return forward, mode, tracker.live

    return lambda dtype: made(dtype)[:2], lru_cache(lambda dtype: made(dtype)[2])


def _twin(layout: StateDict, dtype: torch.dtype, name: str) -> tuple[Any, FakeTensorMode]:
    """The network on tensors that have a shape and no data."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        empty = {
            key: torch.empty(value.shape, dtype=dtype if value.is_floating_point() else value.dtype)
            for key, value in layout.items()
            if isinstance(value, torch.Tensor)
        }
        descriptor = _descriptor(empty, name)
        # Module.to does not work on tensors without data; handing over tensors of the right type does.
        _assign(descriptor, empty, name)
    return descriptor, mode


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
            f"{name} is a model, but of an architecture that is not known here ({len(weights)} tensors). "
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
        "the file is damaged or a variant that is not known here. Get it from its maker again."
    )


def _filled(layout: StateDict, file: StoredTensors, device: torch.device, dtype: torch.dtype, name: str) -> Any:
    """The network with its weights.

    A network that computes tensors of its own while it is made cannot be made without data: it is made the
    plain way, at the price of a second copy for a moment.
    """
    weights = file.load(_only_tensors(layout), device, dtype)
    descriptor, _ = _twin(layout, dtype, name)
    _assign(descriptor, weights, name)
    if _has_fakes(descriptor.model):
        descriptor = _descriptor(weights, name)
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


def _forward_of(descriptor: Any, device: torch.device, dtype: torch.dtype) -> Forward:
    low_memory = FORWARDS.get(descriptor.architecture.id)
    if low_memory is None:
        return lambda batch, fidelity: descriptor(batch.to(dtype))
    prepared = low_memory.prepare(descriptor.model, device, dtype)
    kept = torch.float32 if low_memory.takes_float32 else dtype
    return lambda batch, fidelity: low_memory.forward(prepared, batch.to(kept), fidelity)


def _spec(descriptor: Any, name: str, path: Path | None, layout: StateDict) -> ModelSpec:
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
        name=name,
        path=path,
        card=card,
        architecture=architecture,
        licence=card.licence,
        parameters=sum(v.numel() for v in layout.values() if isinstance(v, torch.Tensor)),
        scale=descriptor.scale,
        multiple=multiple,
        halo=_round_up(halo, multiple),
        exact_halo=_round_up(exact_halo, multiple),
        precisions=tuple(precisions),
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
