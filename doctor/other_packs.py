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
    asked = [*packs, *(each for name in (*cv2, *ort) for each in asked_in(name, metadata.requires(name) or []))]
    return [*unmet(asked, installed(SHARED)), *opencv_findings(packs, cv2)]


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are there."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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


def unmet(asked: Sequence[Asked], there: Mapping[str, str]) -> list[Finding]:
    """Advice for packages of which others take another version. there: versions by name."""
    findings = []
    for name, version in there.items():
        every = [each for each in asked if each.name == name]
        without = [each for each in every if not each.versions.contains(version, prereleases=True)]
        if without:
            told = ", ".join(f"{each.by} needs {name}{each.versions}" for each in without)
            together = SpecifierSet(",".join(sorted({str(each.versions) for each in every if str(each.versions)})))
            findings.append(
                Finding(f"{name} {version}", "advice", f"is installed; {told}", pip(f'install "{name}{together}"'))
            )
    return findings


def opencv_findings(asked: Sequence[Asked], wheels: Mapping[str, str]) -> list[Finding]:
    """Advice where two wheels bring cv2, or where somebody needs the modules that only contrib has."""
    contrib = sorted({each.by for each in asked if each.name in opencv.WHEELS and "contrib" in each.name})
    has_contrib = any("contrib" in name for name in wheels)
    if len(wheels) > 1:
        names = " and ".join(f"{name} {version}" for name, version in wheels.items())
        detail = f"{names} own the same module, cv2, and overwrite one another: which one runs is chance."
    elif wheels and contrib and not has_contrib:
        detail = f"{' and '.join(contrib)} asks for modules such as cv2.ximgproc, which {next(iter(wheels))} has not."
    else:
        return []
    return [Finding("OpenCV", "advice", detail, opencv.mend(list(wheels), contrib=has_contrib or bool(contrib)))]
