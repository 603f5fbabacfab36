"""Memory Report and Release Models."""

from __future__ import annotations

from typing import Any

from ..engines.memory.report import Report
from .host import ComfyHost, ReportType, io, rare, schema, ui
from .shared.page import line_ui


class MemoryReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionMemoryReport",
            display_name="Memory Report",
            category="SlimFusion",
            description="Draws the memory that a node used over time, with its budget, and lists what was reduced to "
            "keep the budget.",
            search_aliases=["vram usage", "memory chart", "memory profile", "peak memory", "显存"],
            inputs=[ReportType.Input("report", tooltip="The report of a restore or swap node.")],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The chart as an image."),
                io.String.Output(display_name="text", tooltip="The report as text."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, report: Report) -> io.NodeOutput:
        from ..engines.memory.picture import report_picture

        picture = report_picture(report)[None]
        return io.NodeOutput(picture, report.as_text(), ui=ui.PreviewImage(picture, cls=cls))


class ReleaseModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionReleaseModels",
            display_name="Release Models",
            category="SlimFusion",
            description="Unloads all SlimFusion models once its input has arrived, and passes the input on unchanged.",
            search_aliases=["free memory", "unload models", "free vram", "clear vram", "purge", "显存"],
            inputs=[
                io.AnyType.Input("anything", tooltip="Models are released after this input has arrived."),
                *rare(
                    io.Boolean.Input(
                        "forget_measurements",
                        display_name="forget measurements",
                        default=False,
                        optional=True,
                        tooltip="Also forget the memory that earlier runs measured. Use it once after a new driver.",
                    )
                ),
            ],
            outputs=[
                io.AnyType.Output(display_name="anything", tooltip="The input, unchanged."),
                io.String.Output(display_name="text", tooltip="How much memory was released."),
            ],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        return float("nan")  # never equal to itself, so the models are released in every run

    @classmethod
    def execute(cls, anything: Any, forget_measurements: bool = False) -> io.NodeOutput:
        from ..engines.cache import SESSIONS
        from ..engines.memory.budget import format_bytes
        from ..engines.memory.costs import COSTS

        freed = SESSIONS.release()
        text = f"released {format_bytes(freed)}"
        if forget_measurements:
            count = COSTS.forget(ComfyHost().state_folder())
            text += f", forgot {count} {'measurement' if count == 1 else 'measurements'} of memory"
        return io.NodeOutput(anything, text, ui={"text": [text]} | line_ui("released", bytes=freed))
