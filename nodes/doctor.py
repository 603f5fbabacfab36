"""Doctor: checks what works on this machine."""

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
            description="Checks torch, onnxruntime and its providers, memory and models. Says what does not work and "
            "which command repairs it. Installs and changes nothing.",
            search_aliases=["diagnose", "troubleshoot", "onnxruntime", "cuda not found", "check installation", "诊断"],
            inputs=[
                io.Boolean.Input(
                    "hash_models",
                    display_name="hash models",
                    default=False,
                    tooltip="Also compute the SHA-256 of every model file. Reads whole files, which takes a while.",
                )
            ],
            outputs=[io.String.Output(display_name="text", tooltip="The findings as text.")],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        return float("nan")  # never equal to itself, because the machine may have changed

    @classmethod
    def execute(cls, hash_models: bool) -> io.NodeOutput:
        from ..doctor.examine import as_text, examine
        from ..doctor.model_findings import model_findings

        findings = examine(lambda: model_findings(model_folders(), hash_models, ComfyHost()))
        text, listed = as_text(findings), json.dumps([asdict(finding) for finding in findings])
        return io.NodeOutput(text, ui={"text": [text], "slimfusion_findings": [listed]})
