"""ComfyUI, as seen from here: the only file that imports it.

It gives the nodes their building blocks (io, ui, schema), the engines their host, and the loader its folders.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.input_impl import VideoFromFile
from comfy_api.latest import ComfyExtension, io, ui
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer, web

from ..catalog.files import BUNDLED, SUFFIXES
from ..catalog.known import MODEL_SUBFOLDERS
from ..engines.memory import meter
from ..engines.session import Session
from ..errors import BudgetError, SlimFusionError
from ..faces.identity.identity import saved_identities

# Where users have face restorers, upscalers and swappers already.
MODEL_FOLDERS = ("facerestore_models", "upscale_models", "insightface", "hyperswap", "reswapper")

# What a user calls folders of identities in extra_model_paths.yaml.
IDENTITY_FOLDERS = "slimfusion_identities"

# What the templates in examples/ show: public domain, named so that a user knows whose they are.
PICTURES = ("slimfusion_portrait.jpg", "slimfusion_second_portrait.jpg", "slimfusion_clip.mp4")
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


PROGRESS_EVENT = "slimfusion.progress"
PROGRESS_SECONDS = 0.2  # between two of them, so that thousands of tiles do not keep the page busy


def socket_type(name: str) -> Any:
    """A ComfyUI type whose inputs are sockets in every frontend.

    Frontends have widgets for more types with every release (BOUNDING_BOX, COLOR, CURVE ...). They put one in place
    of an input of such a type and always send its value, unless the input carries `forceInput`.
    """
    kind: Any = io.Custom(name)
    plain: Any = kind.Input

    class Socket(plain):
        def __init__(self, id: str, display_name: str | None = None, **settings: Any) -> None:
            super().__init__(id, display_name, extra_dict={"forceInput": True}, **settings)

    kind.Input = Socket
    return kind


BoundingBox = socket_type("BOUNDING_BOX")
Budget = socket_type("SLIMFUSION_BUDGET")
CropsType = socket_type("SLIMFUSION_CROPS")
FaceLandmarks = socket_type("FACE_LANDMARKS")
FaceList = socket_type("SLIMFUSION_FACES")
IdentityType = socket_type("SLIMFUSION_IDENTITY")
Model = socket_type("SLIMFUSION_MODEL")
ReportType = socket_type("SLIMFUSION_REPORT")
StepsType = socket_type("SLIMFUSION_STEPS")

PREVIEW_SIDE = 512  # px of a picture of what is under way


def schema(**keywords: Any) -> io.Schema:
    """A node's schema; what this ComfyUI does not know yet is left out, in this one place."""
    fields = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in keywords.items() if name in fields})


def rare(*inputs: io.Input) -> list[io.Input]:
    """Marks inputs that few people change: pages that know of it show them on request only.

    Written into the input's own dictionary, because hosts before 0.10 have no keyword for it.
    """
    for rare_input in inputs:
        rare_input.extra_dict = {**(rare_input.extra_dict or {}), "advanced": True}
    return list(inputs)


def register_model_folders() -> None:
    """Adds our folder and endings to the lists that other packs share; nothing that is there is replaced."""
    for name in MODEL_FOLDERS:
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        paths, endings = folder_paths.folder_names_and_paths[name]
        if endings:  # an empty set lists every file already
            folder_paths.folder_names_and_paths[name] = (paths, set(endings) | set(SUFFIXES))


def offer_example_pictures() -> None:
    """Puts the templates' portraits into the host's input folder, where no files of these names are.

    ComfyUI's own example.png shows no face. A folder that cannot be written costs the templates their picture only.
    """
    folder = Path(folder_paths.get_input_directory())
    for name in PICTURES:
        try:
            with (folder / name).open("xb") as file:
                file.write((EXAMPLES / name).read_bytes())
        except FileExistsError:
            continue
        except OSError as error:
            logging.warning("SlimFusion: %s for the templates cannot be put into %s: %s", name, folder, error)


def catalogue_folders() -> list[Path]:
    """Where model files of any kind may lie: under ComfyUI's own folder, and where the user's settings say."""
    folders = []
    for name in MODEL_SUBFOLDERS:
        listed = folder_paths.get_folder_paths(name) if name in folder_paths.folder_names_and_paths else []
        folders += [Path(folder_paths.models_dir) / name, *map(Path, listed)]
    return list(dict.fromkeys(folders))


def identity_folders() -> list[Path]:
    """Where identities are kept: the user's folders of that name first, then ReActor's."""
    own = Path(folder_paths.models_dir) / "reactor" / "faces"
    named = folder_paths.folder_names_and_paths.get(IDENTITY_FOLDERS, ([], set()))[0]
    return list(dict.fromkeys([*map(Path, named), own]))


def identity_names() -> list[str]:
    """The identities that can be loaded, by name."""
    return sorted(saved_identities(identity_folders()), key=str.lower)


def model_folders() -> list[Path]:
    return [Path(path) for name in MODEL_FOLDERS for path in folder_paths.get_folder_paths(name)]


def model_names() -> list[str]:
    """What the loader offers: the bundled network first, then the user's files by name."""
    names = {
        name
        for folder in MODEL_FOLDERS
        for name in folder_paths.get_filename_list(folder)
        if name.lower().endswith(SUFFIXES)
    }
    return [BUNDLED, *sorted(names, key=str.lower)]


def said(check: Callable[[], object]) -> bool | str:
    """For validate_inputs: True, or the sentence of an error of ours that a check raises."""
    try:
        check()
    except SlimFusionError as error:
        return str(error)
    return True


def frames_in(image: torch.Tensor) -> torch.Tensor:
    """ComfyUI's IMAGE as frames: (B, H, W, C) float32 on the CPU."""
    return image.to("cpu", torch.float32)


def frames_out(frames: torch.Tensor) -> torch.Tensor:
    """Frames as ComfyUI wants an IMAGE or MASK: where and in which type it keeps what passes between nodes."""
    dtype = mm.intermediate_dtype() if hasattr(mm, "intermediate_dtype") else torch.float32
    return frames.to(mm.intermediate_device(), dtype)


def temporary_picture(frames: torch.Tensor) -> dict[str, str]:
    """Keeps the first of frames (B, H, W, C) float32 0..1 where the page can read it until the host is restarted.

    Returns what the page's /view wants to know. It is shrunk to what a page shows.
    """
    from ..faces.draw import Shown

    values = (Shown(frames)[0][..., :3].nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    name = f"slimfusion_{secrets.token_hex(8)}.webp"
    Image.fromarray(values.numpy()).save(temporary_folder() / name, quality=90, method=2)
    return {"filename": name, "subfolder": "", "type": "temp"}


def answer_at(path: str, answer: Callable[[Mapping[str, str]], dict[str, Any]]) -> None:
    """Serves what a function returns for an address's query as JSON to the page, where there is a server."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    @server.routes.get(path)
    async def answered(request: web.Request) -> web.Response:
        return web.json_response(answer(request.query))


def tell_page(event: str, data: dict[str, Any]) -> None:
    """Sends an event to whoever has queued what runs now."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_sync(event, data, server.client_id)


def temporary_folder() -> Path:
    """Where files may lie that the page or other nodes read until the host is restarted."""
    return Path(folder_paths.get_temp_directory())


def video_from_file(path: Path) -> VideoFromFile:
    return VideoFromFile(str(path))


class SessionHolder(torch.nn.Module):
    """What ComfyUI's model manager takes for the model: it knows the session and owns nothing."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = weakref.ref(session)


class SessionPatcher(comfy.model_patcher.ModelPatcher):
    """A session in ComfyUI's list of loaded models, counted and evicted like a checkpoint.

    The manager calls detach(False) before every reload, where nothing must be lost, and detach(True) to evict.
    A session cannot be unloaded in part.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(SessionHolder(session), session.device, mm.unet_offload_device(), session.weight_bytes)

    def _session(self) -> Session | None:
        return self.model.session()

    def model_size(self) -> int:
        return self.size

    def loaded_size(self) -> int:
        session = self._session()
        return session.resident_bytes if session is not None else 0

    def model_dtype(self) -> None:
        return None

    def current_loaded_device(self) -> torch.device:
        return self.load_device if self.loaded_size() else self.offload_device

    def partially_load(self, device_to: torch.device, extra_memory: int = 0, **_: Any) -> int:
        session = self._session()
        if session is not None:
            session.open()
        return self.loaded_size()

    def partially_unload(self, device_to: torch.device, memory_to_free: int = 0, **_: Any) -> int:
        return 0

    def detach(self, unpatch_all: bool = True) -> SessionHolder:
        session = self._session()
        if unpatch_all and session is not None:
            session.close()
            # The manager evicts until the free memory it sees has grown: what is freed must really go back.
            meter.release_unused(session.device)
        return self.model


def patcher_of(descriptor: Any, device: torch.device) -> Any:
    """The model manager's patcher of a network that core has loaded; it lives as long as the network.

    Newer hosts keep one on the descriptor; where there is none it is put there, in their way.
    """
    if getattr(descriptor, "patcher", None) is None:
        # Looked up when it is needed: hosts from 0.12 on replace the class after this file was imported.
        kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        descriptor.patcher = kind(descriptor.model, load_device=device, offload_device=mm.unet_offload_device())
    return descriptor.patcher


class ComfyHost:
    """The engines' host inside ComfyUI."""

    def __init__(self) -> None:
        self._bar: comfy.utils.ProgressBar | None = None
        self._stage = ""
        self._told = 0.0

    def device(self) -> torch.device:
        return mm.get_torch_device()

    def make_room(self, nbytes: int, device: torch.device) -> None:
        mm.free_memory(nbytes, device)
        mm.soft_empty_cache()

    def open(self, session: Session, working_bytes: int) -> None:
        if session.patcher is None:
            descriptor = session.model.descriptor  # of a network that core has loaded
            is_ours = descriptor is None
            session.patcher = SessionPatcher(session) if is_ours else patcher_of(descriptor, session.device)
        # Plain modules cannot run part-offloaded, so the whole of it has to be there.
        mm.load_models_gpu([session.patcher], memory_required=working_bytes, force_full_load=True)
        session.open()  # a borrowed network is on its device now, and only has to be called

    def progress(self, stage: str, done: int, total: int) -> None:
        self.show_progress(stage, done, total)

    def show_progress(
        self, stage: str, done: int, total: int, picture: np.ndarray | None = None, **values: float
    ) -> None:
        """picture: (h, w, 3) uint8 RGB, shown on the node. values: what else its line says."""
        if self._bar is None or stage != self._stage:
            self._bar, self._stage = comfy.utils.ProgressBar(total), stage
            self._told = 0.0
        preview = None if picture is None else ("JPEG", Image.fromarray(picture), PREVIEW_SIDE)
        self._bar.update_absolute(done, total, preview)
        context, now = get_executing_context(), monotonic()
        if context is not None and (done == total or now - self._told >= PROGRESS_SECONDS):
            self._told = now
            told = {"node": context.node_id, "stage": stage, "done": done, "total": total, **values}
            tell_page(PROGRESS_EVENT, told)

    def check_interrupt(self) -> None:
        mm.throw_exception_if_processing_interrupted()

    def out_of_memory(self, error: BudgetError) -> Exception:
        return mm.OOM_EXCEPTION(str(error))

    def state_folder(self) -> Path | None:
        folder = Path(folder_paths.get_system_user_directory("slimfusion"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logging.warning("SlimFusion: measurements are not kept, %s cannot be written: %s", folder, error)
            return None
        return folder


__all__ = [
    "BoundingBox",
    "Budget",
    "ComfyExtension",
    "ComfyHost",
    "CropsType",
    "FaceLandmarks",
    "FaceList",
    "IdentityType",
    "Model",
    "ReportType",
    "StepsType",
    "answer_at",
    "catalogue_folders",
    "frames_in",
    "frames_out",
    "identity_folders",
    "identity_names",
    "io",
    "model_folders",
    "model_names",
    "offer_example_pictures",
    "rare",
    "register_model_folders",
    "said",
    "schema",
    "temporary_folder",
    "temporary_picture",
    "ui",
    "video_from_file",
]
