"""The rooms of bench/: small enough to look through, every measurement reached by its name and named in the README."""

import importlib.util
import re
from pathlib import Path

import pytest
import slimfusion

ROOT = Path(slimfusion.__file__).parent
MOST_FILES = 15


@pytest.fixture(scope="module")
def dev():
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    dev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dev)
    return dev


@pytest.fixture(scope="module")
def measurements(dev):
    return dev.measurements()


def test_no_room_has_too_many_files():
    rooms = {file.parent for file in (ROOT / "bench").rglob("*.py")}
    crowded = {room.name: count for room in rooms if (count := len(list(room.glob("*.py")))) > MOST_FILES}
    assert len(rooms) > 5 and crowded == {}


def test_every_measurement_is_a_module_that_is_there(measurements):
    assert {"attack", "backends", "faces", "gpu", "memory", "providers", "quality", "tiles"} <= measurements.keys()
    for name, module in measurements.items():
        assert module.endswith(f".{name}")
        assert (ROOT / Path(*module.split(".")[1:])).with_suffix(".py").is_file()


def test_the_readme_names_all_of_them_and_no_others(measurements):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"`python3 dev\.py bench (\w+)`", text)) == sorted(measurements)


def test_a_whole_test_leaves_no_folder_out(dev):
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(folders) == sorted((*dev.PAGE_TESTS, *dev.OTHER_TESTS))
