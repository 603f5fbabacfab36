"""One running ComfyUI for each way of caching, and what tests need to drive it."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimfusion.bench.host_driver import Host, Json, Run, booted
from slimfusion.distill.degrade import degrade, severity

PROBE = Path(__file__).parent / "probe"
CACHES = {"default": (), "classic": ("--cache-classic",), "none": ("--cache-none",)}
FREED_SECONDS, PRESSED_AGAIN_SECONDS = 60.0, 3.0


@dataclass(frozen=True)
class Lab:
    """A running host whose inputs and outputs are arrays, not pictures."""

    host: Host
    info: Json

    def put(self, name: str, array: np.ndarray) -> str:
        """Lays an array into the input folder for ProbeIn: an IMAGE (B, H, W, C) or MASK (B, H, W), float32.

        The file is named after its content as well, because the host's cache knows it by its name alone.
        """
        content = np.ascontiguousarray(array)
        file = f"{name}-{hashlib.sha256(repr(array.shape).encode() + content.tobytes()).hexdigest()[:12]}.npy"
        np.save(self.host.base / "input" / file, content)
        return file

    def got(self, name: str) -> np.ndarray:
        """What ProbeOut wrote."""
        return np.load(self.host.base / "output" / f"{name}.npy")

    def node(self, class_type: str, **inputs: Any) -> Json:
        """A node of a prompt: inputs that are not given take the schema's default, as in the page."""
        defaults = {}
        for name, (kind, *settings) in self.info[class_type]["input"].get("required", {}).items():
            options = kind if isinstance(kind, list) else (settings or [{}])[0].get("options")
            if settings and "default" in settings[0]:
                defaults[name] = settings[0]["default"]
            elif options:
                defaults[name] = options[0]
        return {"class_type": class_type, "inputs": defaults | inputs}

    def restoring(self, file: str, node: str = "SlimFusionRestoreFaces", **inputs: Any) -> Json:
        """A prompt that restores an input array and writes `image` (and, for faces, `mask`)."""
        prompt = {
            "in": self.node("ProbeIn", file=file),
            "model": self.node("SlimFusionLoadModel"),
            "restore": self.node(node, image=["in", 0], model=["model", 0], **inputs),
            "image": self.node("ProbeOut", file="image", value=["restore", 0]),
        }
        if node == "SlimFusionRestoreFaces":
            prompt["mask"] = self.node("ProbeOut", file="mask", value=["restore", 1])
        return prompt

    def run(self, prompt: Json) -> Run:
        """Runs a prompt that must succeed."""
        run = self.host.run(prompt)
        assert run.ending == "execution_success", run.error
        return run

    def failed(self, prompt: Json) -> str:
        """Runs a prompt that must fail while it is executed; returns what the user reads."""
        run = self.host.run(prompt)
        assert run.ending == "execution_error", run.ending
        return run.error

    def loaded(self) -> Json:
        """What the host and the pack hold, and how often the pack has loaded a network."""
        return dict(self.host.get("/probe/loaded"))

    def free(self) -> None:
        """Presses the page's button that unloads models until the host and the pack hold none.

        Once may not do: the host tells its worker by waking it, which is lost while that collects garbage after a run.
        """
        ends = time.monotonic() + FREED_SECONDS
        while True:
            self.host.free()
            again = time.monotonic() + PRESSED_AGAIN_SECONDS
            while (held := self.loaded())["host"] or held["sessions"]:
                assert time.monotonic() < ends, f"still loaded after /free: {held}"
                if time.monotonic() > again:
                    break
                time.sleep(0.1)
            else:
                return


@pytest.fixture(scope="session", params=list(CACHES))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with booted(CACHES[request.param], packs=[PROBE]) as host:
        yield Lab(host, host.get("/object_info"))


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """scikit-image's astronaut, damaged: (1, 512, 512, 3) float32 RGB 0..1, one face at about (222, 110)."""
    from skimage import data

    return degrade((data.astronaut() / 255).astype(np.float32), severity("medium"), seed=1)[None]
