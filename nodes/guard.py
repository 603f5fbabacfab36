"""Memory Budget Guard: sets the memory limit of the other nodes."""

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
            description="Sets how much memory the SlimFusion nodes may use on the device, and what happens when "
            "that is too little.",
            search_aliases=["vram limit", "low vram", "memory limit", "vram budget", "out of memory", "oom", "显存"],
            inputs=[
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="auto",
                    tooltip="auto: chosen for the device. performance: half precision, large batches, whole images. "
                    "quality: full precision, tiles, never a lower resolution. compatibility: only what runs on every "
                    "device.",
                ),
                io.Float.Input(
                    "budget_gib",
                    display_name="budget (GiB)",
                    default=0.0,
                    min=0.0,
                    max=1024.0,
                    step=0.05,  # both frontends round to the step's digits: 0.25 became 0.3 with a step of 0.25
                    tooltip="Memory that SlimFusion may use on the device, in GiB. 0 = automatic: 85 % of the device, "
                    "minus what other programs use.",
                ),
                io.Combo.Input(
                    "on_low_memory",
                    display_name="on low memory",
                    options=list(ON_LOW_MEMORY),
                    default="degrade",
                    tooltip="degrade: use smaller batches and tiles, then lower precision. fail: stop and say how much "
                    "memory is missing.",
                ),
                io.Boolean.Input(
                    "keep_loaded",
                    display_name="keep loaded",
                    default=True,
                    tooltip="Keep models in memory for the next run. ComfyUI can still unload them when it needs the "
                    "memory.",
                ),
            ],
            outputs=[
                Budget.Output(
                    display_name="budget", tooltip="Connect it to Load Fusion Model or to any node that has a budget."
                )
            ],
        )

    @classmethod
    def execute(cls, mode: Mode, budget_gib: float, on_low_memory: OnLowMemory, keep_loaded: bool) -> io.NodeOutput:
        return io.NodeOutput(budget_from_gib(budget_gib, mode, on_low_memory, keep_loaded))
