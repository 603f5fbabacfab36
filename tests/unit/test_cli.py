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
from networks import save_upscaler
from PIL import Image
from slimfusion import cli
from slimfusion.commands import batch
from slimfusion.commands.pictures import Chosen, Source, check_writable, targets
from slimfusion.commands.progress import ProgressBar
from slimfusion.engines.cache import SESSIONS
from slimfusion.errors import BudgetError, OutputError
from slimfusion.faces.pictures.files import read_picture, write_picture

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
    assert run(tmp_path / "in", tmp_path / "out") == batch.SOME_FAILED
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    assert "b.png is not a picture that can be read" in said(capsys)


def test_a_picture_that_does_not_fit_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    picture(tmp_path / "in" / "a.png"), picture(tmp_path / "in" / "b.png")
    run_one = batch.run_one

    def tight(path, *rest):
        if path.name == "a.png":
            raise BudgetError("it needs more than there is", 2, 1)
        return run_one(path, *rest)

    monkeypatch.setattr(batch, "run_one", tight)
    assert run(tmp_path / "in", tmp_path / "out") == batch.SOME_FAILED
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


def test_a_report_that_cannot_be_written_is_named_before_the_work(tmp_path, capsys):
    source = picture(tmp_path / "in.png")
    assert run(source, tmp_path / "out.png", "--report", tmp_path) == cli.NOTHING_DONE
    assert "is a folder, and a file is to be written there" in said(capsys) and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget", "lots"], "'lots' is not an amount of memory. Write it like 1GiB"),
        (["--budget", "0"], "must be more than zero, not 0 bytes"),
        (["--budget", "1KiB", "--whole"], "but the memory budget gives 0 MiB (1024 bytes)"),
        (["--mode", "turbo"], "There is no mode 'turbo'"),
        (["--on-low-memory", "panic"], "the choice is degrade or fail, not 'panic'"),
        (["--device", "banana"], "The device 'banana' cannot be used"),
        (["--device", "cuda:77"], "The device 'cuda:77' cannot be used"),
        (["--precision", "fp8"], "There is no precision 'fp8'"),
        (["--strength", "nan"], "The strength must be between 0 and 1, not nan"),
        (["--keep-identity", "always"], "Identity is kept off, auto, strong"),
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
    one, other = (Source(Path(place) / "a.png", Path("a.png")) for place in ("in", "else"))
    assert targets(Chosen((one,)), tmp_path / "b.jpg") == [tmp_path / "b.jpg"]
    assert targets(Chosen((one,)), tmp_path / "folder") == [tmp_path / "folder" / "a.png"]
    (tmp_path / "v1.5").mkdir()
    assert targets(Chosen((one,)), tmp_path / "v1.5") == [tmp_path / "v1.5" / "a.png"]
    with pytest.raises(OutputError, match=r"Several pictures are called a\.png"):
        targets(Chosen((one, other)), tmp_path / "folder")
    deeper = Source(Path("in/b/a.gif"), Path("b/a.gif"))
    assert targets(Chosen((one, deeper), True), tmp_path / "o")[1] == tmp_path / "o" / "b" / "a.png"
    moving = Source(Path("in/a.gif"), Path("a.gif"))
    assert [each.name for each in targets(Chosen((one, moving)), tmp_path / "o")] == ["a.png", "a.gif.png"]


def test_stopping_says_that_what_was_finished_is_written(tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run_one", stopped)
    assert run(picture(tmp_path / "in.png"), tmp_path / "out.png") == 130
    assert "stopped; what was finished is written" in capsys.readouterr().err


def test_the_bar_is_for_people_alone(capsys, monkeypatch):
    silent = ProgressBar(2)
    silent.begin("a.png")
    silent("restore", 1, 2), silent.clear()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = ProgressBar(2)
    bar.begin("a.png")
    bar("restore", 1, 2), bar("detect", 0, 0)
    lines = capsys.readouterr().err.split("\r")
    assert lines[1].startswith("[############............] 1/2 restore a.png") and "detect" in lines[2]
    assert all(len(line) <= 79 for line in lines)


def test_many_pictures_may_be_named_as_an_unquoted_star_does(tmp_path, capsys):
    names = [picture(tmp_path / "in" / name) for name in ("a.png", "b.jpg")]
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert run(*names, tmp_path / "in" / "notes.txt", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]
    assert "1 file passed over that is no picture" in said(capsys)


def test_subfolders_are_said_and_taken_on_request_with_their_tree(tmp_path, capsys):
    for name in ("a.png", "x/a.png", "x/y/b.png"):
        picture(tmp_path / "in" / name)
    out = tmp_path / "in" / "out"
    assert run(tmp_path / "in", out) == 0
    assert "1 subfolder passed over; --recursive takes them too" in said(capsys)
    for _ in range(2):  # the second time `out` lies in the folder, and is no source
        assert run(tmp_path / "in", out, "--recursive") == 0
    assert capsys.readouterr().err == ""
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert written == ["a.png", str(Path("x/a.png")), str(Path("x/y/b.png"))]


@pytest.mark.parametrize("several", [False, True])
def test_a_folder_does_not_become_a_file(tmp_path, capsys, several):
    sources = [picture(tmp_path / "in" / name) for name in ("a.png", "b.png")]
    assert run(*(sources if several else [tmp_path / "in"]), tmp_path / "o.png") == cli.NOTHING_DONE
    assert "looks like one picture" in said(capsys) and not (tmp_path / "o.png").exists()


def test_another_name_or_link_of_a_picture_is_the_picture_itself(tmp_path, capsys):
    source = picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "b.png")
    content = source.read_bytes()
    (tmp_path / "out").mkdir()
    os.link(source, tmp_path / "out" / "b.png")  # where b's result would go
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to(source)
    pairs = [(source, tmp_path / "hard.png"), (source, tmp_path / "soft.png"), (tmp_path / "in", tmp_path / "out")]
    for words in pairs:
        assert run(*words) == cli.NOTHING_DONE
        assert "would be overwritten" in said(capsys)
    assert source.read_bytes() == content and len(list((tmp_path / "out").iterdir())) == 1


def test_a_full_disk_leaves_the_good_result_and_nothing_half(tmp_path, capsys, monkeypatch):
    source, out = picture(tmp_path / "in.png"), tmp_path / "out.png"
    out.write_bytes(b"a good result of before")

    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run(source, out) == cli.NOTHING_DONE
    assert "out.png cannot be written (No space left on device)" in said(capsys)
    assert out.read_bytes() == b"a good result of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_a_result_that_is_there_is_passed_over_on_request(tmp_path, capsys, monkeypatch):
    for name in ("a.png", "b.gif"):
        Image.new("RGB", (20, 20)).save(picture(tmp_path / "in" / "x.png").with_name(name))
    (tmp_path / "in" / "x.png").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"done before")
    assert run(tmp_path / "in", tmp_path / "out", "--resume") == 0
    assert "1 result there already" in said(capsys)
    assert (tmp_path / "out" / "a.png").read_bytes() == b"done before" and (tmp_path / "out" / "b.png").exists()
    assert run(tmp_path / "in", tmp_path / "out", "--resume") == 0
    assert "2 results there already" in said(capsys)
    (tmp_path / "in" / "c.png").write_bytes(b"broken")
    assert run(tmp_path / "in", tmp_path / "out", "--resume") == batch.SOME_FAILED
    (tmp_path / "in" / "c.png").unlink()
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert read_picture(tmp_path / "out" / "a.png").pixels.shape == (20, 20, 3)


def test_places_that_cannot_be_written_to_are_named_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batch, "run_one", lambda *_: pytest.fail("the work was begun"))
    source = picture(tmp_path / "in.png")
    (tmp_path / "file").write_text("in the way")
    assert run(source, tmp_path / "file" / "out.png") == cli.NOTHING_DONE
    assert "takes no files (it is a file)" in said(capsys)
    (tmp_path / "o" / "in.png").mkdir(parents=True)
    assert run(source, tmp_path / "o") == cli.NOTHING_DONE
    assert "is a folder, and a file is to be written there" in said(capsys)

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(OutputError, match=r"takes no files \(Permission denied\)\. Choose a folder"):
        check_writable([tmp_path / "new" / "deeper" / "a.png"])
    assert not (tmp_path / "new").exists()


def test_a_write_protected_result_is_left_alone(tmp_path, capsys, monkeypatch):
    source, out = picture(tmp_path / "in.png"), picture(tmp_path / "out.png")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out)
    assert run(source, out) == cli.NOTHING_DONE
    assert "out.png is write-protected" in said(capsys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["~nobody-here/a.png", "out"], "there is no such home folder"),
        (["a.png", "~nobody-here/out"], "there is no such home folder"),
        (["a.png", "out", "--model", "~nobody-here/a.pth"], "The model '~nobody-here/a.pth' names a user's folder"),
        (["a.png", "out", "--models", "~nobody-here"], "There is no folder ~nobody-here"),
        (["a.png", "out", "--max-pixels", "nan"], "--max-pixels is a number of millions from 0"),
        (["a.png", "out", "--max-pixels", "0.001"], "has 40 x 30 px, more than the 0 million that are read"),
        (["a.png", "out", "--turned", "often"], "auto, always, never, not 'often'"),
        (["a.png", "out", "--score", "2"], "between 0 and 1, not 2.0"),
        (["a.png", "out", "--min-face", "-1"], "min_face must be 0 (no limit) or more"),
        (["a.png", "out", "--face-side", "50"], "must be 0 (automatic) or 64 to 2048 px, not 50"),
        (["a.png", "out", "--detector", "eyes"], "There is no detector 'eyes'"),
        (["a.png", "out", "--upscale", "3"], "1, 2, 4 times, not 3"),
        (["a.png", "out", "--upscale", "2", "--whole"], "choose one of the two"),
        (["a.png", "out", "--upscale", "4", "--upscaler", "none.pth"], "The model 'none.pth' was not found"),
    ],
)
def test_more_that_cannot_be_is_one_line(tmp_path, capsys, monkeypatch, words, sentence):
    picture(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert run(*words) == cli.NOTHING_DONE
    assert sentence in said(capsys) and not (tmp_path / "out").exists()


def test_a_picture_too_large_does_not_stop_the_others(tmp_path, capsys):
    picture(tmp_path / "in" / "a.png")
    Image.new("1", (4000, 3000)).save(tmp_path / "in" / "bomb.png")
    assert run(tmp_path / "in", tmp_path / "out", "--max-pixels", "11.9") == batch.SOME_FAILED
    assert "bomb.png has 4000 x 3000 px, more than the 12 million" in said(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_without_faces_only_that_is_said(tmp_path, capsys):
    source = picture(tmp_path / "a.png")
    assert run(source, tmp_path / "out.png") == 0
    first, *rest = capsys.readouterr().out.strip().split("\n")
    assert first == f"{source} -> {tmp_path / 'out.png'}" and len(rest) == 1 and "no face was found" in rest[0]


def test_a_grey_picture_stays_grey_and_keeps_what_it_says(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    image.save(tmp_path / "a.png", dpi=(300, 300))
    assert run(tmp_path / "a.png", tmp_path / "out.png", "--whole", "--fidelity", "0") == 0
    out = Image.open(tmp_path / "out.png")
    assert out.mode == "L" and round(out.info["dpi"][0]) == 300 and not same(tmp_path / "a.png", tmp_path / "out.png")


def test_pictures_are_enlarged_by_the_users_upscaler(tmp_path, capsys):
    source, models = picture(tmp_path / "a.png"), tmp_path / "models" / "upscale_models"
    models.mkdir(parents=True)
    save_upscaler(models / "small.safetensors")
    assert run(source, tmp_path / "out.png", "--upscale", "2", "--models", tmp_path / "models") == 0
    assert read_picture(tmp_path / "out.png").pixels.shape == (60, 80, 3)
    assert "enlarged 2 times by small.safetensors" in capsys.readouterr().out
    words = "--upscale", "4", "--upscaler", models / "small.safetensors"
    assert run(source, tmp_path / "out4.png", *words) == 0
    assert read_picture(tmp_path / "out4.png").pixels.shape == (120, 160, 3)


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


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path):
    """As `slimfusion ... | head -1` does."""
    shell = f'"{sys.executable}" "{ROOT}" --help | head -c 1; echo " ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, cwd=tmp_path)
    assert done.stderr == b""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        words = [sys.executable, str(ROOT), "models", str(tmp_path)]
        done = subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path)
    assert done.returncode == cli.PIPE_CLOSED and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux that is always full")
def test_output_that_cannot_be_written_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        words = [sys.executable, str(ROOT), "models", str(tmp_path)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path)
    assert done.returncode == cli.NOTHING_DONE
    assert done.stderr == b"slimfusion: the output cannot be written (No space left on device)\n"


def test_closed_streams_do_not_end_the_work(tmp_path):
    picture(tmp_path / "a.png")
    shell = f'"{sys.executable}" "{ROOT}" restore a.png b.png --device cpu >&- 2>&- <&-'
    assert subprocess.run(["bash", "-c", shell], cwd=tmp_path).returncode == 0
    assert same(tmp_path / "a.png", tmp_path / "b.png")


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


def test_the_program_ends_with_its_status_and_what_was_left_for_the_end():
    """Neither status nor output is lost by leaving at once."""
    words = "import atexit, sys; from slimfusion import cli; atexit.register(print, 'at the end'); "
    words += "sys.argv = ['slimfusion', 'restore', 'nowhere.png', 'out.png']; cli.shell()"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert done.returncode == cli.NOTHING_DONE
    assert done.stdout.splitlines()[-1] == "at the end" and "nowhere.png" in done.stderr
