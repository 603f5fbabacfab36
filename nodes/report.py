"""Memory Report and Release Models: what the memory was used for, and giving it back."""

from __future__ import annotations

from typing import Any

from ..engines.memory.report import Report
from .host import ReportType, io, schema, ui
from .page import line_ui


class MemoryReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionMemoryReport",
            display_name="Memory Report",
            category="SlimFusion",
            description="Draws a run's memory over time against its budget, and says what was given up.",
            search_aliases=["vram usage", "memory chart"],
            inputs=[ReportType.Input("report")],
            outputs=[io.Image.Output(display_name="picture"), io.String.Output(display_name="text")],
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
            description="Gives back the memory of all SlimFusion networks when its input has arrived, and passes "
            "the input on.",
            search_aliases=["free memory", "unload models", "free vram"],
            inputs=[io.AnyType.Input("anything", tooltip="What is to be done first.")],
            outputs=[io.AnyType.Output(display_name="anything"), io.String.Output(display_name="text")],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        return float("nan")  # never equal to itself: releasing is done anew in every run

    @classmethod
    def execute(cls, anything: Any) -> io.NodeOutput:
        from ..engines.cache import SESSIONS
        from ..engines.memory.budget import format_bytes

        freed = SESSIONS.release()
        text = f"released {format_bytes(freed)}"
        return io.NodeOutput(anything, text, ui={"text": [text]} | line_ui("released", bytes=freed))
