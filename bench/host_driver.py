"""Starts a real ComfyUI with this pack in it and talks to it as its page does: HTTP and a websocket.

The demo, the host tests and the measurements share it. The host's own folder is never written to: everything
it keeps lies under a base folder of ours.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

PACK = Path(__file__).resolve().parent.parent
BOOT_SECONDS = 180.0
RUN_SECONDS = 600.0
HISTORY_SECONDS = 30.0
ENDINGS = {"execution_success", "execution_error", "execution_interrupted"}
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", "output", "build", "*.egg-info")

Json = dict[str, Any]


class HostError(Exception):
    """The host did not start, refused a prompt or went away."""


@dataclass(frozen=True)
class Run:
    """How one prompt went. `events` are the websocket's messages for it, in order."""

    prompt_id: str
    ending: str
    events: list[Json]
    outputs: Json = field(default_factory=dict)

    @property
    def error(self) -> str:
        """What the user reads of a failed prompt, after the bare name of the error; else nothing."""
        failed = [event["data"] for event in self.events if event["type"] == "execution_error"]
        names = [data["exception_type"].rpartition(".")[2] for data in failed]
        said = [data["exception_message"].strip() for data in failed]
        return "".join(f"{name}: {text}" for name, text in zip(names, said, strict=True))

    @property
    def report(self) -> Json:
        """The report that the one restoring node of the prompt shows."""
        (shown,) = [output for output in self.outputs.values() if "slimfusion_report" in output]
        return dict(json.loads(shown["slimfusion_report"][0]))

    @property
    def executed(self) -> set[str]:
        """Ids of the nodes that ran, those taken from the cache left out."""
        return {event["data"]["node"] for event in self.events if event["type"] == "executing"} - {None}


@dataclass(frozen=True)
class Host:
    """A running ComfyUI."""

    address: str
    base: Path
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def request(self, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        """GET without a body, POST with one. Raises HostError with the host's own words."""
        request = urllib.request.Request(self.address + path, data=body, headers={"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as refused:
            said = refused.read().decode(errors="replace")
            raise HostError(f"{path} was answered with {refused.code}: {said}") from refused

    def get(self, path: str) -> Any:
        return json.loads(self.request(path))

    def post(self, path: str, value: Any) -> Any:
        answer = self.request(path, json.dumps(value).encode())
        return json.loads(answer) if answer else None

    def upload(self, name: str, content: bytes) -> None:
        """Puts a picture into the host's input folder, as the page's upload button does."""
        boundary = uuid.uuid4().hex
        part = f"--{boundary}\r\nContent-Disposition: form-data; name="
        head = f'{part}"overwrite"\r\n\r\ntrue\r\n{part}"image"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        self.request("/upload/image", body, f"multipart/form-data; boundary={boundary}")

    def view(self, picture: Json) -> bytes:
        """The bytes of a picture named in a run's outputs."""
        names = ("filename", "subfolder", "type")
        return self.request("/view?" + urllib.parse.urlencode({name: picture[name] for name in names}))

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def free(self) -> None:
        """Asks the host to unload all models and drop all results; it answers first and does it then."""
        self.post("/free", {"unload_models": True, "free_memory": True})

    @contextlib.contextmanager
    def started(self, prompt: Json, silent_seconds: float = RUN_SECONDS) -> Iterator[tuple[str, Iterator[Json]]]:
        """Queues a prompt; gives its id and its websocket messages, which end with the prompt.

        silent_seconds: how long no message may come. Raises websocket.WebSocketTimeoutException.
        """
        client = uuid.uuid4().hex
        connection = websocket.create_connection(
            f"{self.address.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=silent_seconds
        )
        try:
            prompt_id = self.post("/prompt", {"prompt": prompt, "client_id": client})["prompt_id"]
            yield prompt_id, prompt_events(connection, prompt_id)
        finally:
            connection.close()

    def run(self, prompt: Json, silent_seconds: float = RUN_SECONDS) -> Run:
        """Queues a prompt and waits for its end, whichever it is."""
        with self.started(prompt, silent_seconds) as (prompt_id, events):
            return self.finished(prompt_id, list(events))

    def finished(self, prompt_id: str, events: list[Json]) -> Run:
        """The run of a prompt that has ended, with what its nodes showed."""
        ends = time.monotonic() + HISTORY_SECONDS
        # The host says that a prompt has ended a moment before it writes the prompt's history.
        while not (history := self.get(f"/history/{prompt_id}")):
            if time.monotonic() > ends:
                raise HostError(f"ComfyUI keeps no history of prompt {prompt_id}:\n{self.log()[-4000:]}")
            time.sleep(0.02)
        return Run(prompt_id, events[-1]["type"], events, history[prompt_id]["outputs"])

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def prompt_events(connection: websocket.WebSocket, prompt_id: str) -> Iterator[Json]:
    """The text messages about one prompt, up to and including the one that ends it. Previews are left out."""
    while True:
        message = connection.recv()
        if not isinstance(message, str):
            continue
        event = json.loads(message)
        if event.get("data", {}).get("prompt_id") != prompt_id:
            continue
        yield event
        if event["type"] in ENDINGS:
            return


def known_flags(tree: Path) -> set[str]:
    """The command line flags of a ComfyUI, read from its parser: versions differ."""
    return set(re.findall(r'"(--[a-z0-9-]+)"', (tree / "comfy" / "cli_args.py").read_text(encoding="utf-8")))


def host_tree() -> Path:
    if "COMFYUI_PATH" not in os.environ:
        raise HostError("COMFYUI_PATH is not set: set it to a ComfyUI folder or start this through `dev.py`.")
    return Path(os.environ["COMFYUI_PATH"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def link_or_copy(source: Path, target: Path) -> None:
    """A link; a copy on systems that keep links to administrators. Replaces what an earlier call has left."""
    if target.is_symlink():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, ignore=NOT_COPIED)


def command_line(tree: Path, base: Path, port: int, flags: Sequence[str], on_cpu: bool) -> list[str]:
    """How the host is started: without paid nodes, with all that it writes in our base folder."""
    wanted = {
        "--base-directory": [str(base)],
        "--database-url": [f"sqlite:///{(base / 'comfyui.db').as_posix()}"],
        "--port": [str(port)],
        "--disable-api-nodes": [],
    }
    if on_cpu:
        wanted["--cpu"] = []
    known = known_flags(tree)
    given = [part for flag, values in wanted.items() if flag in known for part in (flag, *values)]
    return [sys.executable, "main.py", *given, *flags]


def wait_until_up(host: Host) -> None:
    """Raises HostError with the end of the log when the host dies or stays silent."""
    ends = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < ends:
        if host.process.poll() is not None:
            raise HostError(f"ComfyUI ended with {host.process.returncode} while starting:\n{host.log()[-4000:]}")
        with contextlib.suppress(OSError):
            host.request("/queue")
            return
        time.sleep(0.2)
    raise HostError(f"ComfyUI did not answer within {BOOT_SECONDS:.0f} s:\n{host.log()[-4000:]}")


def base_with(base: Path, packs: Sequence[Path]) -> None:
    """Makes a base folder ready for the host; pictures and settings that are there stay."""
    for name in ("custom_nodes", "input", "output", "models", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link_or_copy(PACK, base / "custom_nodes" / "slimfusion")
    for pack in packs:
        link_or_copy(pack, base / "custom_nodes" / pack.name)


@contextlib.contextmanager
def served(
    base: Path, flags: Sequence[str] = (), packs: Sequence[Path] = (), port: int | None = None, on_cpu: bool = True
) -> Iterator[Host]:
    """A ComfyUI with this pack and `packs` in it, on a base folder that stays."""
    tree, port = host_tree(), port or free_port()
    base_with(base, packs)
    log_file = base / "host.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command_line(tree, base, port, flags, on_cpu), cwd=tree, stdout=log, stderr=subprocess.STDOUT
        )
    host = Host(f"http://127.0.0.1:{port}", base, process, log_file)
    try:
        wait_until_up(host)
        yield host
    finally:
        host.stop()


@contextlib.contextmanager
def booted(
    flags: Sequence[str] = (), packs: Sequence[Path] = (), port: int | None = None, on_cpu: bool = True
) -> Iterator[Host]:
    """`served` on a temporary base folder that is removed at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="slimfusion-host-", ignore_cleanup_errors=True) as folder,
        served(Path(folder).resolve(), flags, packs, port, on_cpu) as host,
    ):
        yield host


def end_when_terminated() -> None:
    """Makes SIGTERM an exit like any other, so that the host is stopped and its folder removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def main() -> int:
    """Serves until Ctrl-C; further flags go to ComfyUI. Pictures, outputs and settings stay in the folder."""
    parser = argparse.ArgumentParser(prog="dev.py host", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--folder", type=Path, required=True, help="where input/, output/ and settings are kept")
    chosen, flags = parser.parse_known_args()
    end_when_terminated()
    base = chosen.folder.expanduser().resolve()
    print(
        f"Pictures go into {base / 'input'}, results into {base / 'output'}; the log is {base / 'host.log'}", flush=True
    )
    with served(base, flags, port=chosen.port) as host:
        print(f"ComfyUI with SlimFusion: {host.address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            host.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
