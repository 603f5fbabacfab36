"""Makes the repository's root folder importable as the package `slimfusion`, as an installed copy is."""

import importlib.util
import sys
from pathlib import Path

import pytest
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
STARTED = ("lab", "frontend_host", "editor")  # fixtures that take long to start: a ComfyUI, or its page


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those with the same ComfyUI go to one, and so do those of a file."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        chosen = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        started = [str(chosen[name]) for name in STARTED if name in chosen]
        item.add_marker(pytest.mark.xdist_group("-".join(started) or str(item.path.relative_to(ROOT))))
