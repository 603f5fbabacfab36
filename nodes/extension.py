"""The list of nodes, as ComfyUI asks for it."""

from __future__ import annotations

from .crops import CropFaces, PasteFaces
from .detect import DetectFaces
from .doctor import Doctor
from .guard import MemoryGuard
from .host import ComfyExtension, io, offer_example_pictures, register_model_folders
from .identity import BlendIdentities, Likeness, LoadIdentity, MakeIdentity, SaveIdentity
from .load import LoadModel
from .mask import FaceMask
from .report import MemoryReport, ReleaseModels
from .restore import RestoreFaces, RestoreImage
from .select import SelectFaces
from .shared.page import serve_page
from .swap import SwapFaces
from .video import ImageStepNode, ProcessVideo, RestoreStepNode, ScanVideo, SwapStepNode


class SlimFusionExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        register_model_folders()  # the loader's schema lists them; older hosts ask for it before on_load
        offer_example_pictures()
        serve_page()
        return [
            MemoryGuard,
            LoadModel,
            DetectFaces,
            RestoreFaces,
            RestoreImage,
            MemoryReport,
            ReleaseModels,
            Doctor,
            SelectFaces,
            FaceMask,
            MakeIdentity,
            SaveIdentity,
            LoadIdentity,
            BlendIdentities,
            Likeness,
            SwapFaces,
            ProcessVideo,
            RestoreStepNode,
            SwapStepNode,
            ImageStepNode,
            ScanVideo,
            CropFaces,
            PasteFaces,
        ]
