"""`slimfusion engine build`: a TensorRT engine for a face network, built ahead of its first run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..catalog.files import model_path


def add(commands: Any) -> None:
    parser = commands.add_parser("engine", help="build TensorRT engines")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build an engine for a face network; takes minutes")
    build.add_argument("model", help="a model file with torch's weights, such as GFPGANv1.4.pth")
    build.add_argument("--precision", default="auto", choices=("auto", "fp16", "fp32"))
    build.add_argument("--device", default="auto", help="auto, cuda, cuda:1")
    build.add_argument("--folder", type=Path, required=True, help="where the engine is kept; ComfyUI's own is "
                       "user/__slimfusion")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import format_bytes
    from ..models.tensorrt_model import tensorrt_model
    from ..models.torch_model import torch_model
    from .progress import ProgressBar

    bar = ProgressBar(1)
    bar.begin(Path(args.model).name)
    host = StandaloneHost(args.device, bar, args.folder)
    model = torch_model(model_path(args.model, []), Path(args.model).name)
    built = tensorrt_model(model, args.precision, host)
    bar.clear()
    memory = format_bytes(built.activations(args.precision, "cuda").bytes_for(0))
    print(f"{built.key[-1]}: {built.spec.precisions[0]}, takes {memory} beside its weights")
    return 0
