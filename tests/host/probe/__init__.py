"""A second pack inside the host under test: it brings any tensor in, any tensor out, and says what is loaded.

Pictures that go through PNG files are rounded to 8 bits; these are not, so "bit-identical" can be checked.
"""

import sys
from pathlib import Path

import comfy.model_management
import folder_paths
import numpy as np
import torch
from aiohttp import web
from server import PromptServer


class ProbeIn:
    """An .npy file of the input folder as an IMAGE or MASK, untouched."""

    CATEGORY = "probe"
    FUNCTION = "read"
    RETURN_TYPES = ("IMAGE", "MASK")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"file": ("STRING", {"default": ""})}}

    def read(self, file):
        tensor = torch.from_numpy(np.load(Path(folder_paths.get_input_directory()) / file))
        return tensor, tensor


class ProbeOut:
    """Any tensor as an .npy file of the output folder; any other value as its repr."""

    CATEGORY = "probe"
    FUNCTION = "write"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"file": ("STRING", {"default": ""}), "value": ("*", {})}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs):
        """Never taken from the host's cache: another prompt may have overwritten the file."""
        return float("nan")

    def write(self, file, value):
        if isinstance(value, torch.Tensor):
            np.save(Path(folder_paths.get_output_directory()) / file, value.numpy())
        return {"ui": {"probe": [repr(value)]}}


def slimfusion_sessions():
    """The pack's sessions and how often one was opened; none before the first run imports the engines.

    ComfyUI names a pack's modules after its folder.
    """
    found = [module.SESSIONS for name, module in sys.modules.items() if name.endswith("slimfusion.engines.cache")]
    return (list(found[0]._sessions.values()), found[0].opened) if found else ([], 0)


@PromptServer.instance.routes.get("/probe/loaded")
async def loaded(request):
    """What ComfyUI and the pack hold in memory, and how often the pack has loaded a network."""
    sessions, opened = slimfusion_sessions()
    return web.json_response(
        {
            "host": [type(entry.model).__name__ for entry in comfy.model_management.current_loaded_models],
            "sessions": [repr(session) for session in sessions if session.is_open],
            "opened": opened,
        }
    )


@PromptServer.instance.routes.post("/probe/pressure")
async def pressure(request):
    """Asks ComfyUI's manager for room as another model would, on a device that seems to have `free` bytes left.

    On a CPU the manager sees plenty; here it sees `free` and what it has got back since.
    """
    manager = comfy.model_management
    wanted = await request.json()

    def held():
        return sum(entry.model_loaded_memory() for entry in manager.current_loaded_models)

    before, real = held(), manager.get_free_memory

    def seen(device=None, torch_free_too=False):
        free = wanted["free"] + before - held()
        return (free, free) if torch_free_too else free

    manager.get_free_memory = seen
    try:
        manager.free_memory(wanted["needed"], manager.get_torch_device())
    finally:
        manager.get_free_memory = real
    return web.json_response({"held": held()})


NODE_CLASS_MAPPINGS = {"ProbeIn": ProbeIn, "ProbeOut": ProbeOut}
