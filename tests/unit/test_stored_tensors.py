"""Weights off the disk: every form of them, in memory of our own, from the file that was described."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from networks import save_upscaler
from safetensors.torch import save_file
from slimfusion.engines.session import Session
from slimfusion.engines.torch import stored_tensors, weights_file
from slimfusion.errors import ModelFileError
from slimfusion.models.torch_model import torch_model

CPU = torch.device("cpu")
FORMS = ("archive", "legacy", "safetensors")
UNDECODABLE = os.fsdecode(b"\xc4\xd0\xce\xc4.pth")  # Chinese in GBK: no UTF-8


def saved(form: str, tensors: dict, folder: Path) -> Path:
    """A file of these tensors in one of FORMS."""
    path = folder / ("net.safetensors" if form == "safetensors" else "net.pth")
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "archive")
    return path


def upscaler(form: str, folder: Path, change=lambda value: value) -> Path:
    """A small network in one of FORMS."""
    weights = weights_file.tensors(save_upscaler(folder / "made.safetensors"))
    return saved(form, {name: change(value) for name, value in weights.items()}, folder)


@pytest.mark.parametrize("form", FORMS)
def test_every_type_is_read_as_it_was_written(tmp_path, form):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        str(dtype): (torch.randn(7, 5, generator=generator) * 3).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    }
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 3)}
    read = weights_file.tensors(saved(form, tensors, tmp_path))
    assert set(read) == set(tensors)
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype and torch.equal(read[name], value)


@pytest.mark.parametrize("form", FORMS[:2])
def test_views_are_read_out_of_their_storage(tmp_path, form):
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {"turned": whole.T, "part": whole[1:3, 2:5], "again": whole, "last": whole.view(-1)[23:]}
    file = weights_file.read(saved(form, tensors, tmp_path))
    for dtype in (torch.float32, torch.float16):
        loaded = file.load(file.content, CPU, dtype)
        assert all(torch.equal(loaded[name], value.to(dtype)) for name, value in tensors.items())


@pytest.mark.parametrize("form", FORMS)
def test_conversion_goes_part_by_part(tmp_path, form, monkeypatch):
    monkeypatch.setattr(stored_tensors, "PART_BYTES", 64)
    value = torch.randn(101)
    file = weights_file.read(saved(form, {"w": value}, tmp_path))
    assert torch.equal(file.load(file.content, CPU, torch.bfloat16)["w"], value.bfloat16())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_byte_is_read_twice(tmp_path, form, precision, monkeypatch):
    path, reads = upscaler(form, tmp_path), []
    fill = stored_tensors.StoredTensors._fill
    monkeypatch.setattr(
        stored_tensors.StoredTensors, "_fill", lambda self, file, to: (reads.append(to.nbytes), fill(self, file, to))[1]
    )
    model = torch_model(path)
    assert not reads
    Session(model, CPU, precision).open()
    assert sum(reads) == 4 * model.spec.parameters


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ruin", ["overwrite", "truncate"])
def test_a_running_network_does_not_depend_on_its_file(tmp_path, form, ruin):
    path = upscaler(form, tmp_path)
    model, picture = torch_model(path), torch.rand(1, 3, 16, 16)
    session = Session(model, CPU, "fp32")
    before = session.run(picture, 0.5)
    with path.open("r+b") as file:
        if ruin == "overwrite":
            file.write(bytes(path.stat().st_size))
        else:
            file.truncate(10)
    assert torch.equal(session.run(picture, 0.5), before)
    session.close()
    with pytest.raises(ModelFileError, match="was changed while it was in use"):
        session.run(picture, 0.5)
    with pytest.raises(ModelFileError, match="damaged"):
        torch_model(path)


def test_another_file_under_the_same_name_has_another_key(tmp_path):
    path = upscaler("archive", tmp_path)
    first, stat = torch_model(path), path.stat()
    copy = path.with_name("copy.pth")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    copy.replace(path)  # as long, and of the same time
    assert torch_model(path).key != first.key
    assert torch_model(path).key == torch_model(path).key


def test_a_file_that_is_shortened_while_it_is_read_is_said(tmp_path, monkeypatch):
    path = upscaler("safetensors", tmp_path)
    file = weights_file.read(path)
    fill = stored_tensors.StoredTensors._fill

    def shortened(self, opened, to):
        os.truncate(path, 1000)
        fill(self, opened, to)

    monkeypatch.setattr(stored_tensors.StoredTensors, "_fill", shortened)
    with pytest.raises(ModelFileError, match="was changed"):
        file.load(file.content, CPU)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps names in Unicode")
@pytest.mark.parametrize("form", FORMS)
def test_names_that_are_no_utf8_open_and_are_printed(tmp_path, form):
    path = upscaler(form, tmp_path)
    odd = path.with_name(UNDECODABLE).with_suffix(path.suffix)
    path.rename(odd)
    model = torch_model(odd)
    assert model.spec.name == r"\xc4\xd0\xce\xc4" + path.suffix
    Session(model, CPU, "fp32").run(torch.rand(1, 3, 16, 16), 0.5)
    odd.write_bytes(b"noise")
    with pytest.raises(ModelFileError, match=r"^\\xc4\\xd0\\xce\\xc4\.\w+ \(5 bytes\) is damaged") as error:
        torch_model(odd)
    str(error.value).encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_floats_are_converted(tmp_path, form, dtype):
    narrow = torch_model(upscaler(form, tmp_path, lambda value: value.to(dtype)))
    picture = torch.rand(1, 3, 16, 16)
    result = Session(narrow, CPU, "fp32").run(picture, 0.5)
    wide = torch_model(upscaler("safetensors", tmp_path, lambda value: value.to(dtype).float()))
    assert torch.equal(result, Session(wide, CPU, "fp32").run(picture, 0.5))


def deflated(path: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8) if value.dim() > 1 else value


@pytest.mark.filterwarnings("ignore")  # torch on quantised and on sparse tensors
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: upscaler("archive", folder, lambda v: (v * 100).to(torch.int8)), r"in 8 bits \(int8\)"),
        (lambda folder: upscaler("safetensors", folder, lambda v: (v * 100).to(torch.int8)), r"in 8 bits \(int8\)"),
        (lambda folder: upscaler("archive", folder, lambda v: (v * 100).to(torch.int32)), "another size or type"),
        (lambda folder: upscaler("archive", folder, torch.Tensor.to_sparse), "sparse tensor"),
        (lambda folder: upscaler("archive", folder, quantised), "quantised"),
        (lambda folder: upscaler("archive", folder, lambda v: v.to(torch.complex64)), "complex"),
        (lambda folder: upscaler("archive", folder, lambda v: v.to("meta")), "without its numbers"),
        (lambda folder: deflated(upscaler("archive", folder)), "was compressed after torch"),
        (lambda folder: saved("safetensors", scaled(folder), folder), "FP8 weights with scales"),
    ],
)
def test_weights_in_forms_that_are_not_read_are_called_what_they_are(tmp_path, make, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        torch_model(make(tmp_path))


def scaled(folder: Path) -> dict:
    weights = weights_file.tensors(upscaler("safetensors", folder, lambda value: value.to(torch.float8_e4m3fn)))
    return weights | {f"{name}_scale": torch.ones(1) for name in weights if name.endswith("weight")}


def test_a_program_of_torchscript_is_not_opened(tmp_path):
    path = tmp_path / "script.pth"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(ModelFileError, match="TorchScript"):
        torch_model(path)


def test_a_tensor_that_is_larger_than_its_data_is_damage(tmp_path):
    torch.save({"w": torch.ones(1).expand(1 << 40)}, tmp_path / "wide.pth")
    with pytest.raises(ModelFileError, match="damaged"):
        weights_file.read(tmp_path / "wide.pth")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_pipes_and_links_in_circles_are_said(tmp_path):
    (tmp_path / "loop.pth").symlink_to(tmp_path / "loop.pth")
    with pytest.raises(ModelFileError, match="cannot be read"):
        torch_model(tmp_path / "loop.pth")
    for suffix in (".pth", ".safetensors"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(ModelFileError, match="is a pipe"):
            torch_model(tmp_path / f"pipe{suffix}")


def test_a_link_has_the_name_and_the_ending(tmp_path):
    real = upscaler("archive", tmp_path).rename(tmp_path / "0a1b2c")
    (tmp_path / "x4.pth").symlink_to(real)
    assert torch_model(tmp_path / "x4.pth").spec.name == "x4.pth"
