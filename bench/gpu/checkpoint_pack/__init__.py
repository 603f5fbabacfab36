"""A pack for the host under measurement: a checkpoint of any size without meaning, and what the card holds.

The checkpoint is loaded through the host's own model management, as a diffusion model is, and multiplies a little.
"""

from typing import Any

import comfy.model_management
import comfy.model_patcher
import torch
from aiohttp import web
from server import PromptServer

WIDTH = 4096
LAYER_BYTES = WIDTH * WIDTH * 2  # in fp16
CHECKPOINTS: dict[float, Any] = {}


def checkpoint(gib: float) -> Any:
    """A stack of layers of so many GiB under the host's management; made once for each size."""
    if gib not in CHECKPOINTS:
        layers = max(1, round(gib * (1 << 30) / LAYER_BYTES))
        made = (torch.nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.float16) for _ in range(layers))
        module = torch.nn.Sequential(*made)
        management = comfy.model_management
        CHECKPOINTS[gib] = comfy.model_patcher.ModelPatcher(
            module.requires_grad_(False), management.get_torch_device(), management.unet_offload_device()
        )
    return CHECKPOINTS[gib]


class BenchUseCheckpoint:
    """Loads the checkpoint and runs its first layer where it lies."""

    CATEGORY = "bench"
    FUNCTION = "use"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"gib": ("FLOAT", {"default": 1.0}), "number": ("INT", {"default": 0})}}

    def use(self, gib: float, number: int) -> dict[str, Any]:
        patcher = checkpoint(gib)
        comfy.model_management.load_models_gpu([patcher])
        layer = patcher.model[0]
        given = torch.ones(1, WIDTH, dtype=layer.weight.dtype, device=layer.weight.device)
        return {"ui": {"sum": [float(layer(given).float().sum())]}}


@PromptServer.instance.routes.get("/bench/level")
async def level(request: web.Request) -> web.Response:
    """What the card has free, what torch holds of it in this process, and which models the host has loaded."""
    management = comfy.model_management
    device = management.get_torch_device()
    allocated = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    models = [type(entry.model).__name__ for entry in management.current_loaded_models]
    free = management.get_free_memory(device)
    return web.json_response({"free": free, "allocated": allocated, "models": models})


NODE_CLASS_MAPPINGS = {"BenchUseCheckpoint": BenchUseCheckpoint}
