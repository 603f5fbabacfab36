"""Doctor: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from .host import ComfyHost, io, model_folders, schema


class Doctor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionDoctor",
            display_name="SlimFusion Doctor",
            category="SlimFusion",
            description="Looks at torch, onnxruntime and its providers, the memory and the models, and says what "
            "does not work, with the command that mends it. Installs and changes nothing.",
            search_aliases=["diagnose", "onnxruntime", "cuda not found", "check installation"],
            inputs=[
                io.Boolean.Input(
                    "hash_models", default=False, tooltip="Also read every model whole and give its SHA-256."
                )
            ],
            outputs=[io.String.Output(display_name="text")],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        return float("nan")  # never equal to itself: a machine may have changed since

    @classmethod
    def execute(cls, hash_models: bool) -> io.NodeOutput:
        from ..doctor.examine import as_text, examine
        from ..doctor.model_findings import model_findings

        findings = examine(lambda: model_findings(model_folders(), hash_models, ComfyHost()))
        text, listed = as_text(findings), json.dumps([asdict(each) for each in findings])
        return io.NodeOutput(text, ui={"text": [text], "slimfusion_findings": [listed]})
