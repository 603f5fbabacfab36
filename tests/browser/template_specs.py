"""What each template is: its nodes, how they are wired, and the words beside them. `make_templates.py` makes the files.

A title is the file's name, because that is what ComfyUI's template browser shows of a pack's templates.
"""

from dataclasses import dataclass, field
from typing import Any

PORTRAIT, SECOND = "slimfusion_portrait.jpg", "slimfusion_second_portrait.jpg"
CLIP = "slimfusion_clip.mp4"
LOAD, SAVE = "LoadImage", "SaveImage"
GUARD, MODEL, DETECT = "SlimFusionMemoryGuard", "SlimFusionLoadModel", "SlimFusionDetectFaces"
SELECT, SWAP, REPORT = "SlimFusionSelectFaces", "SlimFusionSwapFaces", "SlimFusionMemoryReport"
RESTORE, IMAGE = "SlimFusionRestoreFaces", "SlimFusionRestoreImage"
STEP, PROCESS, SCAN = "SlimFusionRestoreStep", "SlimFusionProcessVideo", "SlimFusionScanVideo"
CROP, PASTE = "SlimFusionCropFaces", "SlimFusionPasteFaces"

UPSCALER = {
    "name": "RealESRGAN_x4plus.pth",
    "url": "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth",
    "hash": "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
    "hash_type": "SHA256",
    "directory": "upscale_models",
}
CHECKPOINT = {
    "name": "v1-5-pruned-emaonly-fp16.safetensors",
    "url": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
    "v1-5-pruned-emaonly-fp16.safetensors",
    "directory": "checkpoints",
}
SWAPPER = {
    "name": "hyperswap_1a_256.onnx",
    "url": "https://huggingface.co/facefusion/models-3.3.0/resolve/main/hyperswap_1a_256.onnx",
    "hash": "c0e98a8a03a238f461ed3d2570e426b49f46745ee400854a60dceeb70c246add",
    "hash_type": "SHA256",
    "directory": "hyperswap",
}
RECOGNISER = {
    "name": "arcface_w600k_r50.onnx",
    "url": "https://huggingface.co/facefusion/models-3.0.0/resolve/main/arcface_w600k_r50.onnx",
    "hash": "f1f79dc3b0b79a69f94799af1fffebff09fbd78fd96a275fd8f0cbbea23270d1",
    "hash_type": "SHA256",
    "directory": "insightface",
}


FACE, UPPER, HELMET = (132, 22, 312, 202), (60, 0, 380, 320), (330, 290, 500, 460)  # places in the portrait
ALL = (0, 0, 0, 0)


@dataclass(frozen=True)
class Node:
    """values: of widgets, by name. models: files that the page offers to download where they are missing.

    height: px at least, for pictures.
    """

    type: str
    values: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    models: tuple[dict[str, str], ...] = ()
    width: int = 320
    height: int = 0


@dataclass(frozen=True)
class Template:
    """columns: the keys of nodes from left to right, each column from top to bottom; the note heads the first.

    links: "key.output > key.input". needs: what the user must have for it to run; "" where nothing is.
    shows: the thumbnail, a way and a box x0 y0 x1 y1 of the picture's px where the way has one: "split" is before and
    after in halves, "pair" the two source pictures, "boxes" the found faces, "people" who is in a clip, "report" the
    chart, "whole" the result.
    """

    title: str
    note: str
    nodes: dict[str, Node]
    columns: tuple[tuple[str, ...], ...]
    links: tuple[str, ...]
    needs: str = ""
    shows: tuple[str, tuple[int, int, int, int]] = ("split", FACE)


def load(picture: str = PORTRAIT, title: str = "") -> Node:
    return Node(LOAD, {"image": picture}, title, height=330)


def save(name: str) -> Node:
    return Node(SAVE, {"filename_prefix": f"SlimFusion/{name}"}, width=400, height=400)


TEMPLATES = (
    Template(
        "Restore a portrait",
        "Choose your picture and press **Run**. Every face is found, restored and blended back; all other pixels stay "
        "as they are.\n\nThe line under *Tiled Face Restore* says what was done. Click it for before and after.",
        {"load": load(), "restore": Node(RESTORE), "save": save("portrait")},
        (("load",), ("restore",), ("save",)),
        ("load.IMAGE > restore.image", "restore.image > save.images"),
    ),
    Template(
        "Restore a clip",
        "Choose your clip and press **Run**. Its frames are read, restored and written in small groups, so that a long "
        "clip takes no more memory than a short one; sound and times stay.\n\nStop it, run it again, and it goes on.",
        {
            "load": Node("LoadVideo", {"file": CLIP}, height=330),
            "guard": Node(GUARD, {"budget_gib": 1.0}),
            "model": Node(MODEL),
            "step": Node(STEP),
            "process": Node(PROCESS, width=340),
            "save": Node("SaveVideo", {"filename_prefix": "SlimFusion/clip"}, width=400, height=430),
        },
        (("load",), ("guard", "model"), ("step", "process"), ("save",)),
        (
            "load.VIDEO > process.video",
            "guard.budget > model.budget",
            "model.model > step.model",
            "step.steps > process.steps",
            "process.video > save.video",
        ),
    ),
    Template(
        "Scan a clip",
        "*Scan Video* looks at a clip before anything is rendered: its shots, who is in it, and where a face is lost "
        "or doubtful. Press **Run**, then click a person: the number of the track goes into *Restore Step*, and the "
        "next run restores that person alone.\n\nThe line under *Scan Video* opens the whole table.",
        {
            "load": Node("LoadVideo", {"file": CLIP}, height=330),
            "model": Node(MODEL),
            "scan": Node(SCAN, width=340),
            "step": Node(STEP),
            "process": Node(PROCESS, width=340),
            "save": Node("SaveVideo", {"filename_prefix": "SlimFusion/scanned"}, width=400, height=430),
        },
        (("load", "model"), ("scan",), ("step", "process"), ("save",)),
        (
            "load.VIDEO > scan.video",
            "load.VIDEO > process.video",
            "model.model > step.model",
            "step.steps > process.steps",
            "process.video > save.video",
        ),
        shows=("people", ALL),
    ),
    Template(
        "Choose a face in a group photo",
        "Press **Run** once. Then click the faces you want in *Select Faces*, and run again: only those are restored."
        "\n\nTwo portraits side by side stand for your group photo.",
        {
            "first": load(),
            "second": load(SECOND),
            "group": Node("ImageStitch", {"direction": "right", "match_image_size": True}),
            "detect": Node(DETECT),
            "select": Node(SELECT, {"numbers": "0"}),
            "restore": Node(RESTORE),
            "save": save("chosen"),
        },
        (("first", "second"), ("group", "detect"), ("select",), ("restore",), ("save",)),
        (
            "first.IMAGE > group.image1",
            "second.IMAGE > group.image2",
            "group.IMAGE > detect.image",
            "detect.faces > select.faces",
            "group.IMAGE > select.image",
            "group.IMAGE > restore.image",
            "select.faces > restore.faces",
            "restore.image > save.images",
        ),
        shows=("boxes", ALL),
    ),
    Template(
        "Find small faces in a large photo",
        "*Detect Faces* looks at large photos in tiles too. Lower **minimum confidence** finds more faces, also wrong "
        "ones; **min face** leaves out those that are too small to matter.",
        {
            "load": load(),
            "detect": Node(DETECT, {"score": 0.7, "min_face": 12, "tiled": True}),
            "restore": Node(RESTORE),
            "save": save("small faces"),
        },
        (("load",), ("detect",), ("restore",), ("save",)),
        (
            "load.IMAGE > detect.image",
            "load.IMAGE > restore.image",
            "detect.faces > restore.faces",
            "restore.image > save.images",
        ),
        shows=("boxes", ALL),
    ),
    Template(
        "Restore a 4K picture under 1 GiB",
        "*Memory Budget Guard* sets how much memory may be used: here 1 GiB. Tiles and batches are chosen so that it "
        "is kept. *Memory Report* shows what was really used.\n\nThe portrait is enlarged to 4K here; connect your own "
        "picture.",
        {
            "guard": Node(GUARD, {"budget_gib": 1.0}),
            "load": load(),
            "scale": Node("ImageScale", {"upscale_method": "lanczos", "width": 3840, "height": 2160, "crop": "center"}),
            "restore": Node(IMAGE),
            "save": save("4k"),
            "report": Node(REPORT, width=460, height=420),
        },
        (("load",), ("scale", "guard"), ("restore",), ("save", "report")),
        (
            "load.IMAGE > scale.image",
            "scale.IMAGE > restore.image",
            "guard.budget > restore.budget",
            "restore.image > save.images",
            "restore.report > report.report",
        ),
        shows=("report", ALL),
    ),
    Template(
        "Upscale, then restore the faces",
        "The upscaler runs in tiles within the memory budget; then every face is restored. An upscaler alone makes "
        "faces sharp, but not right.\n\nNeeds **RealESRGAN_x4plus.pth** in `models/upscale_models`.",
        {
            "load": load(),
            "upscaler": Node("UpscaleModelLoader", {"model_name": UPSCALER["name"]}, models=(UPSCALER,)),
            "upscale": Node(IMAGE),
            "restore": Node(RESTORE),
            "save": save("upscaled"),
        },
        (("load",), ("upscaler", "upscale"), ("restore",), ("save",)),
        (
            "load.IMAGE > upscale.image",
            "upscaler.UPSCALE_MODEL > upscale.model",
            "upscale.image > restore.image",
            "restore.image > save.images",
        ),
        needs=UPSCALER["name"],
        shows=("split", UPPER),
    ),
    Template(
        "Restore and scale",
        "The faces are restored at their own size first, then the whole picture is scaled: the restored face has the "
        "detail that scaling needs.",
        {
            "load": load(),
            "restore": Node(RESTORE),
            "scale": Node("ImageScale", {"upscale_method": "lanczos", "width": 1024, "height": 1024, "crop": "center"}),
            "save": save("scaled"),
        },
        (("load",), ("restore",), ("scale",), ("save",)),
        ("load.IMAGE > restore.image", "restore.image > scale.image", "scale.IMAGE > save.images"),
        shows=("split", UPPER),
    ),
    Template(
        "Restore faces around a sampler",
        "Samplers draw small faces badly. Here a picture is redrawn with a denoise of 0.4, and the faces are restored "
        "after decoding.\n\n*Release Models* gives the restorer's memory back before the next picture is sampled.\n\n"
        "Needs the checkpoint **v1-5-pruned-emaonly-fp16.safetensors**, or any other of yours.",
        {
            "checkpoint": Node("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT["name"]}, models=(CHECKPOINT,)),
            "load": load(),
            "good": Node("CLIPTextEncode", {"text": "portrait photo of an astronaut, film, detailed"}, "Positive"),
            "bad": Node("CLIPTextEncode", {"text": "blurry, drawing"}, "Negative"),
            "encode": Node("VAEEncode"),
            "sample": Node("KSampler", {"seed": 1, "steps": 20, "cfg": 7.0, "denoise": 0.4}),
            "decode": Node("VAEDecode"),
            "restore": Node(RESTORE),
            "release": Node("SlimFusionReleaseModels"),
            "save": save("sampled"),
        },
        (("checkpoint", "load"), ("good", "bad", "encode"), ("sample", "decode"), ("restore", "release"), ("save",)),
        (
            "checkpoint.CLIP > good.clip",
            "checkpoint.CLIP > bad.clip",
            "checkpoint.VAE > encode.vae",
            "load.IMAGE > encode.pixels",
            "checkpoint.MODEL > sample.model",
            "good.CONDITIONING > sample.positive",
            "bad.CONDITIONING > sample.negative",
            "encode.LATENT > sample.latent_image",
            "sample.LATENT > decode.samples",
            "checkpoint.VAE > decode.vae",
            "decode.IMAGE > restore.image",
            "restore.image > release.anything",
            "release.anything > save.images",
        ),
        needs=CHECKPOINT["name"],
        shows=("whole", ALL),
    ),
    Template(
        "Upscale only the faces",
        "*Crop Faces* cuts the faces out, core's upscaler makes them four times as large, and *Paste Faces* puts the "
        "new detail back at the picture's own size. Everything else stays as it is.\n\nChoose a **size** about as "
        "large as the faces in your picture. Needs **RealESRGAN_x4plus.pth** in `models/upscale_models`.",
        {
            "load": load(),
            "upscaler": Node("UpscaleModelLoader", {"model_name": UPSCALER["name"]}, models=(UPSCALER,)),
            "crop": Node(CROP, {"size": 256}),
            "upscale": Node("ImageUpscaleWithModel"),
            "paste": Node(PASTE),
            "save": save("upscaled faces"),
        },
        (("load", "upscaler"), ("crop", "upscale"), ("paste",), ("save",)),
        (
            "load.IMAGE > crop.image",
            "upscaler.UPSCALE_MODEL > upscale.upscale_model",
            "crop.crops > upscale.image",
            "load.IMAGE > paste.image",
            "upscale.IMAGE > paste.crops",
            "crop.geometry > paste.geometry",
            "paste.image > save.images",
        ),
        needs=UPSCALER["name"],
    ),
    Template(
        "Redraw only the faces with a sampler",
        "*Crop Faces* gives each face to the sampler at 512 px, with more of the picture around it than is pasted. The "
        "masks go to *Set Latent Noise Mask*. *Paste Faces* adds only what was changed.\n\nA lower **denoise** keeps "
        "people more like themselves. Needs the checkpoint **v1-5-pruned-emaonly-fp16.safetensors**, or any other of "
        "yours.",
        {
            "checkpoint": Node("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT["name"]}, models=(CHECKPOINT,)),
            "load": load(),
            "good": Node("CLIPTextEncode", {"text": "portrait photo of a face, film, detailed skin"}, "Positive"),
            "bad": Node("CLIPTextEncode", {"text": "blurry, drawing"}, "Negative"),
            "crop": Node(CROP, {"size": 512, "context": 1.5}),
            "encode": Node("VAEEncode"),
            "noise": Node("SetLatentNoiseMask"),
            "sample": Node("KSampler", {"seed": 1, "steps": 20, "cfg": 7.0, "denoise": 0.4}),
            "decode": Node("VAEDecode"),
            "paste": Node(PASTE),
            "save": save("redrawn faces"),
        },
        (
            ("checkpoint", "load"),
            ("good", "bad", "crop"),
            ("encode", "noise", "sample"),
            ("decode", "paste"),
            ("save",),
        ),
        (
            "checkpoint.CLIP > good.clip",
            "checkpoint.CLIP > bad.clip",
            "load.IMAGE > crop.image",
            "crop.crops > encode.pixels",
            "checkpoint.VAE > encode.vae",
            "encode.LATENT > noise.samples",
            "crop.masks > noise.mask",
            "checkpoint.MODEL > sample.model",
            "good.CONDITIONING > sample.positive",
            "bad.CONDITIONING > sample.negative",
            "noise.LATENT > sample.latent_image",
            "sample.LATENT > decode.samples",
            "checkpoint.VAE > decode.vae",
            "load.IMAGE > paste.image",
            "decode.IMAGE > paste.crops",
            "crop.geometry > paste.geometry",
            "paste.image > save.images",
        ),
        needs=CHECKPOINT["name"],
        shows=("whole", ALL),
    ),
    Template(
        "Swap a face, then restore it",
        "The person in **source image** comes into the picture; the restorer then brings back the detail that a swap "
        "model of 256 px loses. Use it only for people who agreed to it.\n\nNeeds **hyperswap_1a_256.onnx** in "
        "`models/hyperswap` and **arcface_w600k_r50.onnx** in `models/insightface`. Read their licences first.",
        {
            "target": load(title="The picture"),
            "source": load(SECOND, "The person"),
            "swapper": Node(MODEL, {"model": SWAPPER["name"]}, models=(SWAPPER, RECOGNISER)),
            "swap": Node(SWAP),
            "restore": Node(RESTORE),
            "save": save("swapped"),
        },
        (("target", "source"), ("swapper", "swap"), ("restore",), ("save",)),
        (
            "target.IMAGE > swap.image",
            "source.IMAGE > swap.source_image",
            "swapper.model > swap.model",
            "swap.image > restore.image",
            "swap.faces > restore.faces",
            "restore.image > save.images",
        ),
        needs=SWAPPER["name"],
        shows=("pair", FACE),
    ),
    Template(
        "Fuse two faces without a model",
        "No swap model, nothing to download: the shape and the texture of the two faces are blended. **shape** and "
        "**texture** say how much of the second person comes in. Use it only for people who agreed to it.",
        {
            "target": load(title="The picture"),
            "source": load(SECOND, "The person"),
            "swap": Node(SWAP),
            "restore": Node(RESTORE),
            "save": save("fused"),
        },
        (("target", "source"), ("swap",), ("restore",), ("save",)),
        (
            "target.IMAGE > swap.image",
            "source.IMAGE > swap.source_image",
            "swap.image > restore.image",
            "swap.faces > restore.faces",
            "restore.image > save.images",
        ),
    ),
    Template(
        "Let two people change places",
        "Each frame of **source image** is a person: the first is A, the second B. Press **Run** once, then click the "
        "faces in *Swap Faces* to say who becomes whom. Here A and B change places, without any model.",
        {
            "first": load(),
            "second": load(SECOND),
            "group": Node("ImageStitch", {"direction": "right", "match_image_size": True}),
            "people": Node("ImageBatch", title="Person A, person B"),
            "swap": Node(SWAP, {"people": "0:B, 1:A"}),
            "save": save("two people"),
        },
        (("first", "second"), ("group", "people"), ("swap",), ("save",)),
        (
            "first.IMAGE > group.image1",
            "second.IMAGE > group.image2",
            "first.IMAGE > people.image1",
            "second.IMAGE > people.image2",
            "group.IMAGE > swap.image",
            "people.IMAGE > swap.source_image",
            "swap.image > save.images",
        ),
        shows=("whole", ALL),
    ),
    Template(
        "Keep a person for later",
        "*Face Identity* makes a person from one picture or several; *Save Face Identity* keeps it as a small file "
        "that *Load Face Identity* and ReActor read. *Face Likeness* says how alike two people are.\n\n"
        "Needs a recogniser: **arcface_w600k_r50.onnx** in `models/insightface`, or InsightFace's buffalo_l.",
        {
            "first": load(),
            "second": load(SECOND),
            "one": Node("SlimFusionIdentity", {"name": "first person"}, models=(RECOGNISER,)),
            "other": Node("SlimFusionIdentity", {"name": "second person"}),
            "keep": Node("SlimFusionSaveIdentity", {"name": "first person", "overwrite": True}),
            "alike": Node("SlimFusionLikeness"),
        },
        (("first",), ("second",), ("one", "other"), ("keep", "alike")),
        (
            "first.IMAGE > one.image",
            "second.IMAGE > other.image",
            "one.identity > keep.identity",
            "one.identity > alike.identity_1",
            "other.identity > alike.identity_2",
        ),
        needs=RECOGNISER["name"],
        shows=("pair", FACE),
    ),
    Template(
        "Restore only a part of the face",
        "*Face Mask* says where a face may change. Here the lower third is left as it was, such as a beard; *areas* "
        "and *regions* choose the mouth, the skin, the eyes.",
        {
            "load": load(),
            "detect": Node(DETECT),
            "mask": Node("SlimFusionFaceMask", {"bottom_margin": 0.35}),
            "restore": Node(RESTORE),
            "save": save("upper face"),
        },
        (("load",), ("detect",), ("mask",), ("restore",), ("save",)),
        (
            "load.IMAGE > detect.image",
            "load.IMAGE > restore.image",
            "detect.faces > mask.faces",
            "detect.faces > restore.faces",
            "mask.mask > restore.mask",
            "restore.image > save.images",
        ),
    ),
    Template(
        "Restore a whole picture in tiles",
        "*Tiled Image Restore* runs over the whole picture, not the faces alone: noise, blur and JPEG blocks go. Tiles "
        "leave no seams.",
        {"load": load(), "restore": Node(IMAGE), "save": save("image")},
        (("load",), ("restore",), ("save",)),
        ("load.IMAGE > restore.image", "restore.image > save.images"),
        shows=("split", HELMET),
    ),
    Template(
        "Watch the memory",
        "The gauge on *Memory Budget Guard* shows live what SlimFusion uses, what others use and what is free. Try a "
        "budget of 0.05: smaller tiles are used, and the report says so.",
        {
            "guard": Node(GUARD, {"budget_gib": 0.5}, width=380),
            "load": load(),
            "restore": Node(IMAGE),
            "save": save("image"),
            "report": Node(REPORT, width=460, height=420),
        },
        (("load",), ("guard",), ("restore", "save"), ("report",)),
        (
            "load.IMAGE > restore.image",
            "guard.budget > restore.budget",
            "restore.image > save.images",
            "restore.report > report.report",
        ),
        shows=("report", ALL),
    ),
    Template(
        "Restore on any card",
        "**compatibility** uses what runs everywhere: AMD, Intel and Apple as well. *SlimFusion Doctor* says what "
        "works on this machine, with the command that helps where something does not.",
        {
            "doctor": Node("SlimFusionDoctor", width=420, height=480),
            "guard": Node(GUARD, {"mode": "compatibility"}),
            "load": load(),
            "restore": Node(RESTORE),
            "save": save("face"),
        },
        (("load",), ("guard", "restore"), ("save",), ("doctor",)),
        ("load.IMAGE > restore.image", "guard.budget > restore.budget", "restore.image > save.images"),
        shows=("split", (0, 0, 512, 512)),
    ),
)

# Blueprints: the nodes of a template that become one node of the user's library, and its name.
BLUEPRINTS = {
    "Find and restore faces (SlimFusion)": ("Find small faces in a large photo", ("detect", "restore")),
    "Swap and restore faces (SlimFusion)": ("Fuse two faces without a model", ("swap", "restore")),
}
