"""The shell's door: `python -m slimfusion ...`, or `python path/to/this/folder ...` without an installation."""

import importlib.util
import pkgutil
import sys
from pathlib import Path


def package_name() -> str:
    """The name under which this folder can be imported; inside ComfyUI's folders it has no fixed one."""
    if __package__:
        return __package__
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "slimfusion", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slimfusion"] = module
    spec.loader.exec_module(module)
    return "slimfusion"


if __name__ == "__main__":
    pkgutil.resolve_name(f"{package_name()}.cli:shell")()
