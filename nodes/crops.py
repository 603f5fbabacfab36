"""Crop Faces and Paste Faces: faces around any sampler."""

from __future__ import annotations

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.crops.geometry import MASKS, MOST_CONTEXT, MOST_MARGIN, MOST_SIZE, SQUARES, STEP, Cropping, Crops
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from .host import ComfyHost, CropsType, FaceList, frames_in, frames_out, io, rare, schema
from .restore import report_output
from .shared.networks import automatic_budget_input, detection_inputs, library, network_inputs
from .shared.page import compare_ui, report_ui

USUAL = Cropping()


def _cropping_inputs() -> list[io.Input]:
    """What is cut out of the image, and what of it is pasted."""
    return [
        io.Combo.Input(
            "square",
            options=list(SQUARES),
            default=USUAL.square,
            tooltip="loose: the box of the face with a margin. ffhq: as face restorers want it, with hair. "
            "arcface: as swap models want it, close.",
        ),
        io.Int.Input(
            "size",
            display_name="size (px)",
            default=USUAL.size,
            min=STEP,
            max=MOST_SIZE,
            step=STEP,
            tooltip="Side of every crop: 512 for Stable Diffusion 1.5, 1024 for SDXL, FLUX and Qwen. Smaller "
            "faces are enlarged.",
        ),
        io.Float.Input(
            "context",
            default=USUAL.context,
            min=1.0,
            max=MOST_CONTEXT,
            step=0.05,
            tooltip="How much more of the picture the model sees than is pasted. 2 = twice as wide.",
        ),
        io.Combo.Input(
            "mask",
            options=list(MASKS),
            default=USUAL.mask,
            tooltip="What is pasted. face: the hair stays as it was. face and hair: the whole head. square: "
            "all of it, with a soft edge.",
        ),
        io.Boolean.Input(
            "upright",
            default=USUAL.upright,
            tooltip="Turn every face so that it stands upright. If off, crops lie as the image does.",
        ),
        *rare(
            io.Float.Input(
                "margin",
                default=USUAL.margin,
                min=0.0,
                max=MOST_MARGIN,
                step=0.05,
                tooltip="Only for loose: what the square has around the face at each side, as a fraction of the face.",
            ),
            io.Float.Input(
                "feather",
                default=USUAL.feather,
                min=0.0,
                max=0.5,
                step=0.01,
                tooltip="Width of the soft edge of the mask, as a fraction of the square.",
            ),
        ),
    ]


class CropFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionCropFaces",
            display_name="Crop Faces",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Cuts every face out as a square picture of one size, for a sampler, an edit model, an "
            "upscaler or any other node. Paste Faces puts the result back.",
            search_aliases=[
                "face crop",
                "crop face",
                "face detailer",
                "adetailer",
                "inpaint crop",
                "crop and stitch",
                "face align",
                "face warp",
                "裁剪人脸",
                "人脸裁剪",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                FaceList.Input(
                    "faces",
                    optional=True,
                    tooltip="Optional, from Detect Faces or Select Faces. If not connected, faces are detected here.",
                ),
                *_cropping_inputs(),
                *network_inputs(),
                *detection_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="crops", tooltip="The faces of all frames, one after the other."),
                io.Mask.Output(
                    display_name="masks", tooltip="White where a crop is pasted. Fits ComfyUI's Set Latent Noise Mask."
                ),
                CropsType.Output(display_name="geometry", tooltip="Where the crops lie. Connect it to Paste Faces."),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        square: str,
        size: int,
        context: float,
        mask: str,
        upright: bool,
        margin: float,
        feather: float,
        faces: Faces | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from ..faces.crops.cut import crop_faces

        detection = DetectionSettings(turned=turned, min_face=min_face)
        cropping = Cropping(faces, square, size, context, margin, upright, mask, feather, detection)
        models = library(budget, commercial_only)
        cropped = crop_faces(frames_in(image), cropping, models.budget, models.host, models)
        outputs = frames_out(cropped.images), frames_out(cropped.masks), cropped.crops, cropped.report
        return io.NodeOutput(*outputs, ui=report_ui(cropped.report))


class PasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionPasteFaces",
            display_name="Paste Faces",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Puts the crops of Crop Faces back, whatever was done to them. Only what was changed is added: "
            "pixels outside the masks do not change.",
            search_aliases=[
                "paste face",
                "face paste",
                "paste back",
                "uncrop",
                "stitch",
                "crop and stitch",
                "inpaint stitch",
                "face composite",
                "粘贴人脸",
                "贴回人脸",
            ],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The image that went into Crop Faces. It may have been enlarged or changed since.",
                ),
                io.Image.Input("crops", tooltip="The crops as they came back, at any size, in the same order."),
                CropsType.Input("geometry", tooltip="From Crop Faces."),
                io.Mask.Input(
                    "masks", optional=True, tooltip="Optional. Used instead of the masks that Crop Faces has made."
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="0 = original face, 1 = new face.",
                ),
                io.Float.Input(
                    "colour_match",
                    display_name="colour match",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 = the new face gets the brightness, contrast and colours of the original inside the "
                    "mask. 0 = off.",
                ),
                automatic_budget_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The frames with the new faces."),
                io.Mask.Output(display_name="mask", tooltip="Where crops were put."),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        crops: torch.Tensor,
        geometry: Crops,
        strength: float,
        colour_match: float,
        masks: torch.Tensor | None = None,
        budget: MemoryBudget | None = None,
    ) -> io.NodeOutput:
        from ..faces.crops.paste import Pasting, paste_faces

        frames, pasting = frames_in(image), Pasting(masks, strength, colour_match)
        pasted = paste_faces(frames, crops, geometry, pasting, budget or MemoryBudget(), ComfyHost())
        shown = report_ui(pasted.report) | compare_ui(frames, pasted.frames)
        return io.NodeOutput(frames_out(pasted.frames), frames_out(pasted.mask), pasted.report, ui=shown)
