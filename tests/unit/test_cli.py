"""The command line: pictures in, pictures out, and one line for whatever goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slimfusion
import torch
from slimfusion import cli
from slimfusion.commands import restore
from slimfusion.engines.cache import SESSIONS
from slimfusion.errors import BudgetError, OutputError
from slimfusion.faces.picture_files import read_picture, write_picture

ROOT = Path(slimfusion.__file__).parent


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


def picture(path: Path, depth: str = "uint8", channels: int = 3) -> Path:
    """A small picture without a face, its values exact in its depth."""
    pixels = torch.rand(30, 40, channels, generator=torch.Generator().manual_seed(2))
    write_picture(path, pixels, np.dtype(depth))
    return path


def run(*words) -> int:
    return cli.main(["restore", *map(str, words), "--device", "cpu"])


def same(first: Path, second: Path) -> bool:
    a, b = read_picture(first), read_picture(second)
    return a.depth == b.depth and torch.equal(a.pixels, b.pixels)


def said(capsys) -> str:
    """What was said on stderr: one line, and no traceback."""
    text = capsys.readouterr().err
    assert text.startswith("slimfusion: ") and text.count("\n") == 1
    return text


def test_one_picture_goes_to_the_file_that_is_named(tmp_path, capsys):
    source = picture(tmp_path / "in.png", "uint16", 4)
    out = tmp_path / "new" / "out.png"
    assert run(source, out) == 0
    assert same(source, out)
    printed = capsys.readouterr()
    assert f"{source} -> {out}" in printed.out and "no face was found" in printed.out and printed.err == ""


def test_a_whole_folder_goes_to_a_folder(tmp_path):
    for name in ("a b.png", "名前.jpg", "[1].webp"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["[1].webp", "a b.png", "名前.jpg"]
    assert same(tmp_path / "in" / "a b.png", tmp_path / "out" / "a b.png")


def test_a_pattern_takes_what_it_matches(tmp_path):
    for name in ("one.png", "two.png", "three.bmp"):
        picture(tmp_path / "in" / name)
    assert run(tmp_path / "in" / "t*", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["three.bmp", "two.png"]


def test_a_picture_can_be_restored_whole(tmp_path, capsys):
    source, out = picture(tmp_path / "in.png"), tmp_path / "out.png"
    assert run(source, out, "--whole", "--budget", "256MiB", "--precision", "fp32") == 0
    assert read_picture(out).pixels.shape == (30, 40, 3) and not same(source, out)
    assert "budget 256 MiB" in capsys.readouterr().out


def test_a_broken_picture_does_not_stop_the_others(tmp_path, capsys):
    picture(tmp_path / "in" / "a.png"), picture(tmp_path / "in" / "c.png")
    (tmp_path / "in" / "b.png").write_bytes(b"not a picture")
    assert run(tmp_path / "in", tmp_path / "out") == restore.SOME_FAILED
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    assert "b.png is not a picture that can be read" in said(capsys)


def test_a_picture_that_does_not_fit_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    picture(tmp_path / "in" / "a.png"), picture(tmp_path / "in" / "b.png")
    restore_one = restore.restore_one

    def tight(path, *rest):
        if path.name == "a.png":
            raise BudgetError("it needs more than there is", 2, 1)
        return restore_one(path, *rest)

    monkeypatch.setattr(restore, "restore_one", tight)
    assert run(tmp_path / "in", tmp_path / "out") == restore.SOME_FAILED
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]
    assert "needs more than there is" in said(capsys)


def test_the_report_tells_of_every_picture(tmp_path):
    sources = [picture(tmp_path / "in" / name) for name in ("a.png", "ü.png")]
    report = tmp_path / "reports" / "report.json"
    assert run(tmp_path / "in", tmp_path / "out", "--report", report, "--budget", "1.5g", "--mode", "quality") == 0
    content = json.loads(report.read_text())
    assert list(content) == [str(path) for path in sources]
    first = content[str(sources[0])]
    assert (first["budget"], first["mode"], first["frames"], first["faces"]) == (3 << 29, "quality", 1, 0)


def test_a_report_that_cannot_be_written_is_named(tmp_path, capsys):
    source = picture(tmp_path / "in.png")
    assert run(source, tmp_path / "out.png", "--report", tmp_path) == cli.NOTHING_DONE
    assert "The report" in said(capsys) and (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget", "lots"], "'lots' is no amount of memory. Write it like 1GiB"),
        (["--budget", "0"], "must be more than zero, not 0 bytes"),
        (["--budget", "1KiB", "--whole"], "but the memory budget gives 0 MiB (1024 bytes)"),
        (["--mode", "turbo"], "There is no mode 'turbo'"),
        (["--on-low-memory", "panic"], "the choice is degrade or fail, not 'panic'"),
        (["--device", "banana"], "The device 'banana' cannot be used"),
        (["--device", "cuda:77"], "The device 'cuda:77' cannot be used"),
        (["--precision", "fp8"], "There is no precision 'fp8'"),
        (["--strength", "nan"], "The strength goes from 0 to 1, not nan"),
        (["--overlap", "-4"], "0 px or more, not 0 and -4"),
        (["--model", "nowhere.pth"], "The model 'nowhere.pth' was not found"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(tmp_path, capsys, words, sentence):
    source = picture(tmp_path / "in.png")
    assert cli.main(["restore", str(source), str(tmp_path / "out.png"), "--device", "cpu", *words]) == cli.NOTHING_DONE
    assert sentence in said(capsys) and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("source", ["nowhere", "*.jpg", ""])
def test_where_nothing_is_found_it_is_one_line(tmp_path, capsys, source):
    assert run(tmp_path / source, tmp_path / "out") == cli.NOTHING_DONE
    assert "No picture was found at" in said(capsys)


def test_several_pictures_do_not_fit_into_a_file(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    out = picture(tmp_path / "out.png")
    content = out.read_bytes()
    assert run(tmp_path / "in", out) == cli.NOTHING_DONE
    assert "out.png is a file, but 2 pictures need a folder" in said(capsys) and out.read_bytes() == content


def test_an_unknown_ending_is_said_after_nothing_was_lost(tmp_path, capsys):
    assert run(picture(tmp_path / "in.png"), tmp_path / "out.gif") == cli.NOTHING_DONE
    assert "out.gif has no ending of a picture" in said(capsys)


def test_a_picture_is_never_written_over_itself(tmp_path, capsys):
    source = picture(tmp_path / "in" / "a.png")
    content = source.read_bytes()
    for out in (source, tmp_path / "in", tmp_path / "in" / "." / "a.png"):
        assert run(source, out) == cli.NOTHING_DONE
        assert "would be overwritten" in said(capsys)
    assert source.read_bytes() == content


def test_where_each_picture_goes(tmp_path):
    one, other = Path("in/a.png"), Path("else/a.png")
    assert restore.targets([one], tmp_path / "b.jpg") == [tmp_path / "b.jpg"]
    assert restore.targets([one], tmp_path / "folder") == [tmp_path / "folder" / "a.png"]
    (tmp_path / "v1.5").mkdir()
    assert restore.targets([one], tmp_path / "v1.5") == [tmp_path / "v1.5" / "a.png"]
    with pytest.raises(OutputError, match=r"Several pictures are called a\.png"):
        restore.targets([one, other], tmp_path / "folder")


def test_stopping_says_that_what_was_finished_is_written(tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "restore_one", stopped)
    assert run(picture(tmp_path / "in.png"), tmp_path / "out.png") == 130
    assert "stopped; what was finished is written" in capsys.readouterr().err


def test_the_bar_is_for_people_alone(capsys, monkeypatch):
    silent = restore.ProgressBar(2)
    silent.begin("a.png")
    silent("restore", 1, 2), silent.clear()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = restore.ProgressBar(2)
    bar.begin("a.png")
    bar("restore", 1, 2), bar("detect", 0, 0)
    lines = capsys.readouterr().err.split("\r")
    assert lines[1].startswith("[############............] 1/2 restore a.png") and "detect" in lines[2]
    assert all(len(line) <= 79 for line in lines)


def in_python(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a fresh Python where nothing helps it to find the package."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", *words],
        capture_output=True,
        cwd=Path(sys.executable).anchor,
        env=clean | environment,
    )


def test_the_folder_itself_can_be_started(tmp_path):
    """Without an installation, on a terminal that knows ASCII only."""
    (tmp_path / "名前.png").write_bytes(b"not a picture")
    words = ["restore", str(tmp_path), str(tmp_path / "out"), "--device", "cpu"]
    done = in_python(str(ROOT), *words, PYTHONIOENCODING="ascii")
    assert done.returncode == cli.NOTHING_DONE and done.stdout == b""
    text = done.stderr.decode("ascii")
    assert text.startswith("slimfusion: ") and "??.png is not a picture" in text and text.count("\n") == 1


def test_importing_the_package_brings_in_nothing_heavy():
    code = f"""
import importlib.util, sys
place = importlib.util.spec_from_file_location("slimfusion", {str(ROOT / "__init__.py")!r},
                                               submodule_search_locations=[{str(ROOT)!r}])
module = importlib.util.module_from_spec(place)
sys.modules["slimfusion"] = module
place.loader.exec_module(module)
import slimfusion.cli
print(sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    done = in_python("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.decode()
    assert "'slimfusion'" in loaded
    assert not [name for name in ("torch", "numpy", "cv2", "comfy", "comfy_api", "spandrel") if f"'{name}'" in loaded]
