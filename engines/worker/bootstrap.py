"""The script that a child process is started with: it finds the package and the task, and hands over to `child`.

The package's name in the parent is of no use here (ComfyUI loads the folder under one of its own), so it is loaded
from its folder under a private name. Only Python's own modules are imported before the parent has said where the
others are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "slimfusion_in_worker"


def taken_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the parent, out of reach of libraries that read or print.

    What they print goes where errors go. A parent without a console has no such place.
    """
    inward, outward = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(nowhere, 1)
    return os.fdopen(inward, "rb"), os.fdopen(outward, "wb")


def load_package() -> None:
    """Puts the package under its private name."""
    spec = importlib.util.spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def member(place: str) -> Any:
    """Something of the package by its module and name, such as "engines.worker.child:serve"."""
    return pkgutil.resolve_name(f"{PACKAGE}.{place}")


def main() -> None:
    reader, writer = taken_pipes()
    first = reader.readline()
    if not first:  # the parent is gone already
        sys.exit()
    start = json.loads(first)
    sys.path[:] = start["path"]
    load_package()
    member("engines.worker.child:serve")(reader, writer, member(start["task"]))


if __name__ == "__main__":
    main()
