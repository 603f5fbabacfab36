"""What other packs ask for, beside what is installed: they share one environment with this one.

The files requirements.txt of the folders beside this pack are read, and what the wheels that overwrite one another ask
for themselves. Only packages that this pack uses too are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from .. import opencv
from ..engines.ort import runtime
from ..environment import pip
from .finding import Finding

FOLDER_OF_PACKS = "custom_nodes"
OURS = Path(__file__).absolute().parents[1]  # as ComfyUI names it: the folder may be a link
SHARED = (
    "av", "filelock", "mtcnn", "numpy", "packaging", "pillow", "psutil", "safetensors", "scipy", "spandrel", "torch",
    "torchvision",
)  # fmt: skip
LONGEST_FILE = 1 << 16  # bytes that are read of a list


@dataclass(frozen=True)
class Asked:
    """by: the pack or wheel. name: of the package, as the index has it. versions: those that it takes."""

    by: str
    name: str
    versions: SpecifierSet


def sharing_findings() -> list[Finding]:
    """What does not go together with the packs around this one."""
    folder = OURS.parent
    packs = list(asked_by_packs(folder)) if folder.name == FOLDER_OF_PACKS else []
    cv2, ort = opencv.owners(), {wheel.name: wheel.version for wheel in runtime.owners()}
    of_wheels = [request for name in (*cv2, *ort) for request in asked_in(name, metadata.requires(name) or [])]
    requests = [*packs, *of_wheels]
    return [*unmet(requests, installed(SHARED)), *opencv_findings(packs, cv2)]


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are there."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def asked_by_packs(folder: Path) -> Iterator[Asked]:
    """What the packs in a folder ask for, but this one."""
    for path in sorted(folder.glob("*/requirements.txt")):
        if path.parent != OURS:
            try:
                with path.open(encoding="utf-8", errors="replace") as file:
                    lines = file.read(LONGEST_FILE).splitlines()
            except OSError:
                continue
            yield from asked_in(path.parent.name, lines)


def asked_in(by: str, lines: Iterable[str]) -> Iterator[Asked]:
    """The requirements of a list that hold here; addresses, options and what cannot be read are passed over."""
    for line in lines:
        try:
            wanted = Requirement(line.split(" #")[0].strip())
        except InvalidRequirement:
            continue
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield Asked(by, canonicalize_name(wanted.name), wanted.specifier)


def unmet(requests: Sequence[Asked], versions: Mapping[str, str]) -> list[Finding]:
    """Advice for packages of which others take another version. there: versions by name."""
    findings = []
    for name, version in versions.items():
        every = [request for request in requests if request.name == name]
        without = [request for request in every if not request.versions.contains(version, prereleases=True)]
        if without:
            told = ", ".join(f"{request.by} asks for {name}{request.versions}" for request in without)
            wanted = sorted({str(request.versions) for request in every if str(request.versions)})
            together = SpecifierSet(",".join(wanted))
            findings.append(
                Finding(f"{name} {version}", "advice", f"is installed; {told}", pip(f'install "{name}{together}"'))
            )
    return findings


def opencv_findings(requests: Sequence[Asked], wheels: Mapping[str, str]) -> list[Finding]:
    """Advice where two wheels bring cv2, or where somebody needs the modules that only contrib has."""
    for_cv2 = [request for request in requests if request.name in opencv.WHEELS]
    contrib = sorted({request.by for request in for_cv2 if "contrib" in request.name})
    has_contrib = any("contrib" in name for name in wheels)
    if len(wheels) > 1:
        names = " and ".join(f"{name} {version}" for name, version in wheels.items())
        detail = f"{names} own the same module, cv2, and overwrite one another: which one runs is chance."
    elif wheels and contrib and not has_contrib:
        detail = f"{' and '.join(contrib)} asks for modules such as cv2.ximgproc, which {next(iter(wheels))} has not."
    else:
        return []
    return [Finding("OpenCV", "advice", detail, opencv.mend(list(wheels), contrib=has_contrib or bool(contrib)))]
