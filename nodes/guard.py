"""Memory Budget Guard: the one number that every other node keeps."""

from __future__ import annotations

from ..engines.memory.budget import MODES, ON_LOW_MEMORY, Mode, OnLowMemory, budget_from_gib
from .host import Budget, io, schema


class MemoryGuard(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionMemoryGuard",
            display_name="Memory Budget Guard",
            category="SlimFusion",
            description="Sets how much memory the SlimFusion nodes may add on the device, and what they give "
            "up when that is little.",
            search_aliases=["vram limit", "low vram", "memory limit"],
            inputs=[
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="auto",
                    tooltip="performance: half precision, large batches, whole images. quality: full precision, "
                    "tiles, never fewer pixels. compatibility: what runs everywhere. auto: by the device.",
                ),
                io.Float.Input(
                    "budget_gib",
                    default=0.0,
                    min=0.0,
                    max=1024.0,
                    step=0.05,
                    tooltip="GiB that may be added on the device. 0: 85 % of the device less what others hold.",
                ),
                io.Combo.Input(
                    "on_low_memory",
                    options=list(ON_LOW_MEMORY),
                    default="degrade",
                    tooltip="degrade: smaller batches and tiles, then lower precision. fail: stop with the numbers.",
                ),
                io.Boolean.Input(
                    "keep_loaded",
                    default=True,
                    tooltip="Keep the model in memory for the next run. ComfyUI may still evict it when it "
                    "needs the room.",
                ),
            ],
            outputs=[Budget.Output(display_name="budget")],
        )

    @classmethod
    def execute(cls, mode: Mode, budget_gib: float, on_low_memory: OnLowMemory, keep_loaded: bool) -> io.NodeOutput:
        return io.NodeOutput(budget_from_gib(budget_gib, mode, on_low_memory, keep_loaded))
