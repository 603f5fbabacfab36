"""Makes the repository's root folder importable as the package `slimfusion`, as an installed copy is."""

import importlib.util
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent


def load_package() -> None:
    if "slimfusion" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "slimfusion", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slimfusion"] = module
    spec.loader.exec_module(module)


load_package()
settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")
sys.path.insert(0, str(ROOT / "tests"))  # what several tests share
