"""`slimfusion export`: a torch network as an ONNX file, compared with torch before it is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..catalog.files import BUNDLED, model_path
from ..errors import OutputError, printable


def add(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a model file as ONNX, checked against torch")
    parser.add_argument("model", help=f"a model file, or {BUNDLED!r}")
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"), help="of what is inside")
    parser.add_argument("--batch", type=int, default=0, help="pictures at a time; 0 for any number")
    parser.add_argument("--fidelity", type=float, default=0.5, help="fixed in the file, where the network has it")


def run(args: argparse.Namespace) -> int:
    if args.out.suffix.lower() != ".onnx":
        raise OutputError(f"{args.out.name} does not end in .onnx: name the file that shall be written.")
    from ..engines.memory.budget import format_bytes
    from ..models.export import export
    from ..models.torch_model import torch_model

    model = torch_model(model_path(args.model, []), Path(args.model).name)
    done = export(model, args.precision, args.out, max(0, args.batch) or None, args.fidelity)
    size, difference = format_bytes(done.nbytes), f"{done.largest_difference:.2f}/255"
    print(f"{printable(str(done.path))}: {size}, {args.precision}, at most {difference} from torch")
    return 0
