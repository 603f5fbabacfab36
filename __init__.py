"""SlimFusion: face restoration and fusion inside a memory budget that is kept.

As a ComfyUI pack this folder is loaded by the host, which calls `comfy_entrypoint`. As a library it is the
package `slimfusion`, whose public names are those of `api.py`:

    from slimfusion import MemoryBudget, open_model, restore_faces

Importing it imports neither the host nor torch; the first of these names does.
"""

from __future__ import annotations

from typing import Any

from .version import __version__ as __version__

__all__ = [
    "GIB",
    "Cropped",
    "Cropping",
    "Crops",
    "DetectionSettings",
    "MemoryBudget",
    "ModelLibrary",
    "Networks",
    "Opening",
    "Options",
    "Pasted",
    "Pasting",
    "Person",
    "Picture",
    "Report",
    "Restored",
    "Restoring",
    "SlimFusionError",
    "StandaloneHost",
    "Swapped",
    "Swapping",
    "crop_faces",
    "detect_faces",
    "networks_for",
    "open_model",
    "paste_faces",
    "person_from_picture",
    "read_picture",
    "restore_faces",
    "restore_image",
    "restore_together",
    "swap_faces",
    "write_picture",
]

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> Any:
    """What ComfyUI asks for the nodes (V3)."""
    from .nodes.extension import SlimFusionExtension

    return SlimFusionExtension()


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"slimfusion has no {name}. Its public names: {', '.join(__all__)}.")
    from . import api

    return getattr(api, name)
