"""The demo: a damaged portrait, restored by the example workflow inside a real ComfyUI.

Leaves before.png, after.png, compare.png and report.json, and prints last one line of JSON with the figures.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..distill.degrade import degrade
from ..engines.memory.budget import format_bytes
from ..errors import ImageError, SlimFusionError
from ..faces.detect.mtcnn import Mtcnn
from .host_driver import Host, HostError, Json, Run, booted, end_when_terminated
from .metrics import psnr
from .portraits import DEMO_DAMAGE, astronaut, face_region
from .workflows import WorkflowError, nodes_of_class, ui_to_api

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "Restore a portrait.json"
SEED = 1
COMPARE_HEIGHT = 640
Picture = NDArray[np.float32]


def decoded(content: bytes, name: str) -> Picture:
    """(H, W, 3) float32 RGB 0..1 from a picture file's bytes. Raises ImageError."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if bgr is None:
        raise ImageError(f"{name} is not a picture that can be read: use a PNG, JPEG or WebP file.")
    return (bgr[..., ::-1] / 255).astype(np.float32)


def encoded(picture: Picture) -> bytes:
    """A PNG of (H, W, 3) float32 RGB 0..1."""
    levels = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", np.ascontiguousarray(levels[..., ::-1]))[1])


def before_and_clean(image: Path | None) -> tuple[Picture, Picture | None]:
    """The picture to restore and, for the astronaut, what it was before the damage. Raises ImageError."""
    if image is None:
        clean = astronaut()
        return decoded(encoded(degrade(clean, DEMO_DAMAGE, SEED)), "astronaut"), clean
    if not image.is_file():
        raise ImageError(f"There is no picture at {image}: give the path of a PNG, JPEG or WebP file.")
    return decoded(image.read_bytes(), str(image)), None


def caption(title: str, width: int) -> Picture:
    """A white strip with a title; OpenCV 5 writes on 8-bit pictures only."""
    strip = np.full((36, width, 3), 255, np.uint8)
    cv2.putText(strip, title, (10, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 1, cv2.LINE_AA)
    return (strip / 255).astype(np.float32)


def changed_slices(before: Picture, after: Picture) -> tuple[slice, slice]:
    """Rows and columns that hold every changed pixel; the whole picture where none is."""
    rows, columns = np.nonzero(np.abs(after - before).max(axis=2) > 0)
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def side_by_side(pictures: dict[str, Picture]) -> Picture:
    """The pictures, all of one size, beside one another at a height for the eye, each under its title."""
    columns = []
    for title, picture in pictures.items():
        width = round(picture.shape[1] * COMPARE_HEIGHT / picture.shape[0])
        column = cv2.resize(picture, (width, COMPARE_HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        column = cv2.copyMakeBorder(column, 0, 8, 8, 8, cv2.BORDER_CONSTANT, value=(1.0, 1.0, 1.0))
        columns.append(np.concatenate([caption(title, width + 16), column]))
    return np.concatenate(columns, axis=1)


def show_progress(event: Json, titles: dict[str, str]) -> None:
    """One line for each node that starts and, on a terminal, how far it is."""
    data = event["data"]
    if event["type"] == "executing" and data["node"]:
        print(f"  {titles[data['node']]}", flush=True)
    if event["type"] == "progress" and sys.stdout.isatty():
        print(f"    {data['value']} of {data['max']}", end="\r", flush=True)


def followed(host: Host, prompt: Json, info: Json) -> Run:
    """Runs a prompt and shows how it goes. Raises HostError with the host's words when it fails."""
    titles = {node_id: info[node["class_type"]]["display_name"] for node_id, node in prompt.items()}
    events = []
    with host.started(prompt) as (prompt_id, messages):
        for event in messages:
            show_progress(event, titles)
            events.append(event)
        run = host.finished(prompt_id, events)
    if run.ending != "execution_success":
        raise HostError(f"The workflow did not finish: {run.error or run.ending}")
    return run


def example_prompt(info: Json, image: str, budget_gib: float | None) -> Json:
    """The example as a user would run it: on that picture, under that budget."""
    prompt = ui_to_api(json.loads(EXAMPLE.read_text(encoding="utf-8")), info)
    for node_id in nodes_of_class(prompt, "LoadImage"):
        prompt[node_id]["inputs"]["image"] = image
    if budget_gib is not None:
        for node_id in nodes_of_class(prompt, "SlimFusionMemoryGuard"):
            prompt[node_id]["inputs"]["budget_gib"] = budget_gib
    return prompt


def saved_picture(host: Host, run: Run, prompt: Json) -> bytes:
    """The bytes of the picture that the workflow saved."""
    (saver,) = nodes_of_class(prompt, "SaveImage")
    return host.view(run.outputs[saver]["images"][0])


def restored_in_host(before: bytes, budget_gib: float | None) -> tuple[bytes, Json]:
    """The restored picture's bytes and the report, from a ComfyUI that is started for it."""
    print("starting ComfyUI", flush=True)
    with booted() as host:
        info = host.get("/object_info")
        host.upload("before.png", before)
        prompt = example_prompt(info, "before.png", budget_gib)
        run = followed(host, prompt, info)
        return saved_picture(host, run, prompt), run.report


def quality(clean: Picture, before: Picture, after: Picture) -> dict[str, float]:
    """PSNR inside the face, before and after, in dB."""
    face = face_region(clean, Mtcnn())
    first, second = psnr(before[face], clean[face]), psnr(after[face], clean[face])
    return {
        "psnr_before": round(first, 2),
        "psnr_after": round(second, 2),
        "psnr_gain": round(second - first, 2),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    report = figures["report"]
    budget = "automatic" if report["budget"] is None else format_bytes(report["budget"])
    rows = {"faces": str(report["faces"])}
    rows |= {stage: f"{spent:.2f} s" for stage, spent in report["seconds"].items()}
    rows["budget"] = f"{budget}: {format_bytes(report['allowed'])}, {report['enforcement']}"
    rows["predicted peak"] = format_bytes(report["predicted_peak"])
    rows["measured peak"] = format_bytes(report["measured_peak"])
    if "psnr_gain" in figures:
        rows["face PSNR"] = "{psnr_before} dB -> {psnr_after} dB ({psnr_gain:+} dB)".format(**figures)
    rows["all in all"] = f"{figures['seconds']} s"
    return "\n".join(f"{name:16}{value}" for name, value in rows.items())


def demo(out: Path, image: Path | None, budget_gib: float | None) -> dict[str, Any]:
    """Restores, leaves the files in `out` and returns the figures."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    before, clean = before_and_clean(image)
    saved, report = restored_in_host(encoded(before), budget_gib)
    after = decoded(saved, "ComfyUI's result")
    pictures = {"before": before, "after": after} | ({} if clean is None else {"clean": clean})
    figures: dict[str, Any] = {"demo": EXAMPLE.stem, "seconds": round(time.monotonic() - started, 1)}
    if clean is not None:
        figures |= quality(clean, before, after)
    figures |= {"report": report, "out": str(out)}
    (out / "before.png").write_bytes(encoded(before))
    (out / "after.png").write_bytes(saved)
    face = changed_slices(before, after)
    crops = {title: np.ascontiguousarray(picture[face]) for title, picture in pictures.items()}
    (out / "compare.png").write_bytes(encoded(side_by_side(crops)))
    (out / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("output/demo"), help="folder for the results")
    parser.add_argument("--image", type=Path, help="a picture of yours, taken as it is; else a damaged astronaut")
    parser.add_argument(
        "--budget", type=float, metavar="GIB", help="memory that the pack may add; else the example's 1 GiB"
    )
    chosen = parser.parse_args()
    end_when_terminated()
    try:
        figures = demo(chosen.out, chosen.image, chosen.budget)
    except (SlimFusionError, HostError, WorkflowError, OSError) as error:
        sys.exit(str(error))
    print(table(figures))
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
