"""Process Video and its steps, and Scan Video: clips of any length, which never become a batch of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget, budget_from_gib
from ..errors import SettingError
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.identity.identity import Identity
from .host import (
    IdentityType,
    Model,
    StepsType,
    frames_in,
    io,
    schema,
    video_from_file,
)
from .load import FusionModel, model_from
from .restore import fidelity_input, report_output, strength_input, tile_inputs
from .shared.clips import ClipHost, clip_file, temporary_clip
from .shared.networks import automatic_budget_input, detection_inputs, library, network_inputs
from .shared.page import clip_ui, people_ui, work_ui
from .swap import boost_input, boost_px, weight_inputs

CODECS = ("source", "h264", "h265", "av1", "vp9", "prores", "ffv1")
SECONDS, FRAMES = "seconds", "frames"
AUTOMATIC_CRF = -1


def step_model_input() -> io.Input:
    return io.MultiType.Input(
        "model",
        types=[Model, io.UpscaleModel],
        tooltip="From Load Fusion Model or Load Upscale Model.",
        extra_dict={"forceInput": True},
    )


def steps_input() -> io.Input:
    return StepsType.Input("steps", optional=True, tooltip="Optional, the steps that come before this one.")


def steps_output() -> io.Output:
    return StepsType.Output(display_name="steps", tooltip="Connect it to Process Video or to the next step.")


def video_input() -> io.Input:
    return io.Video.Input("video", tooltip="A clip of any length, from Load Video for example.")


def range_inputs() -> list[io.Input]:
    return [
        io.Float.Input("start", default=0.0, min=0.0, max=1e6, step=0.1, tooltip="Where to begin."),
        io.Float.Input("stop", default=0.0, min=0.0, max=1e6, step=0.1, tooltip="Where to stop. 0: at the end."),
        io.Combo.Input("unit", options=[SECONDS, FRAMES], default=SECONDS, tooltip="What start and stop count."),
    ]


def steadiness_input() -> io.Input:
    return io.Float.Input(
        "steadiness",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="Keeps faces from trembling: their points are smoothed over the frames before and behind. 0: not at "
        "all.",
    )


def ram_input() -> io.Input:
    return io.Float.Input(
        "ram_gib",
        display_name="RAM (GiB)",
        default=0.0,
        min=0.0,
        max=1024.0,
        step=0.25,
        optional=True,
        tooltip="RAM for frames, and on the CPU for models too. 0: a quarter of what is free.",
    )


class RestoreStepNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionRestoreStep",
            display_name="Restore Step",
            category="SlimFusion/video",
            description="A step for Process Video: restores faces.",
            search_aliases=["video face restore", "gfpgan video", "codeformer video"],
            inputs=[
                step_model_input(),
                steps_input(),
                strength_input(),
                fidelity_input(),
                io.String.Input("tracks", default="", tooltip="Which tracks, such as 0, 2 (Scan Video). Empty: all."),
            ],
            outputs=[steps_output()],
        )

    @classmethod
    def execute(
        cls, model: Any, strength: float, fidelity: float, tracks: str, steps: tuple[Any, ...] = ()
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.restore import Restoring
        from ..video.steps import RestoreStep

        chosen = model_from(model)
        restoring = Restoring(strength=strength, options=Options(chosen.precision, fidelity=fidelity))
        return io.NodeOutput((*steps, RestoreStep(chosen.model, restoring, tracks)))


class SwapStepNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSwapStep",
            display_name="Swap Step",
            category="SlimFusion/video",
            description="A step for Process Video: puts a person's face into all faces, or into the tracks that are "
            "named. Without a model the two faces are blended. For people who agreed to it.",
            search_aliases=["video face swap", "inswapper video", "reactor video"],
            inputs=[
                steps_input(),
                IdentityType.Input("identity", optional=True, tooltip="Person A, from Face Identity."),
                io.Image.Input(
                    "source_image",
                    display_name="source image",
                    optional=True,
                    tooltip="Pictures with one face each. The first is person A, the next ones are B, C and so on.",
                ),
                Model.Input(
                    "model",
                    optional=True,
                    tooltip="Swap model, from Load Fusion Model. Leave empty to blend the two faces.",
                ),
                *weight_inputs(),
                boost_input(),
                io.String.Input(
                    "people",
                    default="",
                    tooltip="Which track becomes whom: 0:A, 2:B. Empty: all become A.",
                ),
                *network_inputs(),
            ],
            outputs=[steps_output()],
        )

    @classmethod
    def execute(
        cls,
        strength: float,
        colour: float,
        shape: float,
        texture: float,
        boost: str,
        people: str,
        steps: tuple[Any, ...] = (),
        identity: Identity | None = None,
        source_image: torch.Tensor | None = None,
        model: FusionModel | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.swap.networks import networks_for, people_from
        from ..faces.swap.task import Swapping
        from ..video.steps import SwapStep

        budget = budget or (MemoryBudget() if model is None else model.budget)
        files = library(budget, commercial_only)
        pictures = None if source_image is None else frames_in(source_image)
        everybody = people_from([identity], pictures, None, files)
        swapping = Swapping(
            options=Options() if model is None else Options(model.precision),
            strength=strength,
            colour=colour,
            boost=boost_px(boost),
            shape=shape,
            texture=texture,
            people=people,
        )
        networks = networks_for(None if model is None else model.model, files)
        return io.NodeOutput((*steps, SwapStep(tuple(everybody), networks, swapping)))


class ImageStepNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionImageStep",
            display_name="Image Step",
            category="SlimFusion/video",
            description="A step for Process Video: runs an image model such as an upscaler over whole frames.",
            search_aliases=["video upscale", "esrgan video"],
            inputs=[step_model_input(), steps_input(), *tile_inputs()],
            outputs=[steps_output()],
        )

    @classmethod
    def execute(cls, model: Any, tile: int, overlap: int, steps: tuple[Any, ...] = ()) -> io.NodeOutput:
        from ..engines.job import Options
        from ..video.steps import ImageStep

        chosen = model_from(model)
        return io.NodeOutput((*steps, ImageStep(chosen.model, Options(chosen.precision, tile, overlap))))


class ProcessVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionProcessVideo",
            display_name="Process Video",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion/video",
            description="Takes a clip of any length through steps, with one encoding, in a memory that does not "
            "grow with it. Sound, subtitles and all times stay. Stopped and run again, it goes on.",
            search_aliases=["video face restore", "video face swap", "long video", "restore video"],
            inputs=[
                video_input(),
                StepsType.Input("steps", tooltip="From Restore Step, Swap Step or Image Step."),
                io.Combo.Input("codec", options=list(CODECS), default=CODECS[0], tooltip="source: as the clip's own."),
                io.Int.Input(
                    "crf",
                    default=AUTOMATIC_CRF,
                    min=AUTOMATIC_CRF,
                    max=63,
                    tooltip="Quality: 0 is best. -1: the codec's usual one.",
                ),
                *range_inputs(),
                steadiness_input(),
                io.Boolean.Input("resume", default=True, tooltip="Go on where an earlier try was stopped."),
                automatic_budget_input(),
                ram_input(),
                *detection_inputs(unless=""),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The new clip, for Save Video."),
                report_output(),
                io.String.Output(display_name="text", tooltip="The report as text."),
            ],
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        steps: tuple[Any, ...],
        codec: str,
        crf: int,
        start: float,
        stop: float,
        unit: str,
        steadiness: float,
        resume: bool,
        budget: MemoryBudget | None = None,
        ram_gib: float = 0.0,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..video.formats import ending_for
        from ..video.pipeline import process_video, work_name
        from ..video.steps import needs_faces

        host = ClipHost()
        path, settings = clip_settings(video, (start, stop, unit), ram_gib, steadiness)
        settings = replace(
            settings,
            codec=codec,
            crf=None if crf == AUTOMATIC_CRF else crf,
            resume=resume,
            detection=DetectionSettings(turned=turned, min_face=min_face),
            preview=host.preview,
        )
        target = temporary_clip(work_name(path, steps, settings), ending_for(path, codec))
        report = process_video(path, target, steps, budget, host, settings)
        report.memory.notes = [*report.as_lines(), *report.memory.notes]
        shown = clip_ui(report, needs_faces(steps), host.compared())
        return io.NodeOutput(video_from_file(target), report.memory, report.as_text(), ui=shown)


class ScanVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionScanVideo",
            display_name="Scan Video",
            category="SlimFusion/video",
            description="Looks at a clip before it is worked on: its shots, who is in it (numbered tracks), and "
            "where a face is lost, appears twice or may change its person.",
            search_aliases=["video faces", "face tracks", "who is in the video"],
            inputs=[
                video_input(),
                *range_inputs(),
                automatic_budget_input(),
                ram_input(),
                *detection_inputs(unless=""),
            ],
            outputs=[
                io.Image.Output(display_name="people", tooltip="Everybody with the number of their track."),
                io.String.Output(display_name="table", tooltip="Shots, tracks and what is doubtful, as text."),
                io.String.Output(display_name="json", tooltip="The same for programs."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        start: float,
        stop: float,
        unit: str,
        budget: MemoryBudget | None = None,
        ram_gib: float = 0.0,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..video.scan import scan_video

        path, settings = clip_settings(video, (start, stop, unit), ram_gib, 0.5)
        settings = replace(settings, detection=DetectionSettings(turned=turned, min_face=min_face))
        result = scan_video(path, budget, ClipHost(), settings)
        sheet = torch.from_numpy(result.sheet()).float()[None] / 255
        text = result.as_text()
        counts = {"tracks": len(result.people), "shots": len(result.shots), "frames": len(result.times)}
        shown = work_ui("scanned", result.memory, result.seconds, "ok" if result.people else "warn", **counts)
        return io.NodeOutput(sheet, text, result.as_json(), ui=shown | people_ui(result) | {"text": [text]})


def clip_settings(video: Any, span: tuple[float, float, str], ram_gib: float, steadiness: float) -> tuple[Path, Any]:
    """A VIDEO's file, and the settings that the widgets and its own cut mean. Raises SettingError."""
    from ..video.pipeline import ClipSettings

    start, stop, unit = span
    if unit not in (SECONDS, FRAMES):
        raise SettingError(f"There is no unit {unit!r}; there are {SECONDS} and {FRAMES}.")
    path, begin, end = clip_file(video)
    if (begin or end is not None) and unit == FRAMES and (start or stop):
        raise SettingError("This video is cut already, by another node: set its range in seconds.")
    last = None if not stop else begin + stop
    if end is not None:
        last = end if last is None else min(last, end)
    ram = budget_from_gib(ram_gib, "auto", "degrade", True).limit
    in_frames = unit == FRAMES and bool(start or stop)
    return path, ClipSettings(start=begin + start, stop=last, in_frames=in_frames, steadiness=steadiness, ram=ram)
