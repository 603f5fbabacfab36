"""The public names, and the README's example as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slimfusion
import torch
from skimage.data import astronaut
from slimfusion import api

ROOT = Path(slimfusion.__file__).parent


@pytest.mark.parametrize("name", slimfusion.__all__)
def test_every_public_name_is_one_import_away(name):
    assert getattr(slimfusion, name) is getattr(api, name)


def test_what_is_not_there_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = slimfusion.nothing_of_the_kind


def test_importing_the_package_loads_neither_torch_nor_the_host():
    code = "import slimfusion, sys; sys.exit('torch' in sys.modules or 'comfy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys, page):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    crop = torch.from_numpy(astronaut()[:256, 100:356] / np.float32(255))
    slimfusion.write_picture("portrait.jpg", crop)
    exec(compile(example, page, "exec"), {})
    assert (tmp_path / "restored.png").exists() and "1 face" in capsys.readouterr().out
