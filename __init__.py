"""SlimFusion: face restoration and fusion inside a memory budget that is kept.

As a ComfyUI pack this folder is loaded by the host, which calls `comfy_entrypoint`. As a library it is the
package `slimfusion`. Importing it imports neither the host nor torch.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> Any:
    """What ComfyUI asks for the nodes (V3)."""
    from .nodes.extension import SlimFusionExtension

    return SlimFusionExtension()
