"""Files in and out: depth and alpha to the bit, and a sentence for everything that is no picture."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from slimfusion.errors import ImageError, OutputError
from slimfusion.faces.pictures.files import picture_paths, read_picture, write_picture

WHITE = {"uint8": 255, "uint16": 65535}


def random_pixels(depth: str, channels: int) -> np.ndarray:
    """(9, 6, channels) or (9, 6) for grey, RGB order, both ends of the range among them."""
    random = np.random.default_rng(4)
    pixels = random.integers(0, WHITE[depth], (9, 6, channels), depth, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, WHITE[depth]
    return pixels[..., 0] if channels == 1 else pixels


def save(path: Path, pixels: np.ndarray) -> Path:
    """Writes RGB(A) or grey as OpenCV does, whose order is BGR(A)."""
    swapped = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    path.write_bytes(cv2.imencode(path.suffix, swapped)[1].tobytes())
    return path


def png(width: int, height: int, kind: int, rows: bytes) -> bytes:
    """A PNG of 8 bit. kind: 2 is RGB, 4 grey with alpha. rows: each begins with a zero."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_picture_is_written_as_it_was_read(tmp_path, depth, channels, suffix):
    pixels = random_pixels(depth, channels)
    picture = read_picture(save(tmp_path / f"in{suffix}", pixels))
    rgb = np.repeat(pixels[..., None], 3, 2) if channels == 1 else pixels
    assert (picture.depth, picture.pixels.dtype) == (np.dtype(depth), torch.float32)
    assert np.array_equal(picture.pixels.numpy(), rgb.astype(np.float32) / WHITE[depth])
    out = tmp_path / f"out{suffix}"
    write_picture(out, picture.pixels, picture.depth)
    again = read_picture(out)
    assert again.depth == picture.depth and torch.equal(again.pixels, picture.pixels)


def test_grey_with_alpha_keeps_both(tmp_path):
    (tmp_path / "ga.png").write_bytes(png(2, 1, 4, b"\0\x10\x20\x30\xff"))
    pixels = read_picture(tmp_path / "ga.png").pixels * 255
    assert pixels.round().tolist() == [[[16, 16, 16, 32], [48, 48, 48, 255]]]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp"])
def test_kinds_that_hold_less_get_what_they_hold(tmp_path, suffix):
    pixels = torch.full((16, 16, 4), 0.4)
    write_picture(tmp_path / f"out{suffix}", pixels, np.dtype(np.uint16))
    read = read_picture(tmp_path / f"out{suffix}")
    assert read.depth == np.uint8 and read.pixels.shape == (16, 16, 4 if suffix == ".webp" else 3)
    assert (read.pixels - 0.4).abs().max() < 0.01


def test_lossless_webp_keeps_alpha_to_the_bit(tmp_path):
    alpha = torch.linspace(0, 255, 64).round() / 255
    pixels = torch.cat([torch.rand(2, 64, 3), alpha.expand(2, 64)[..., None]], 2)
    write_picture(tmp_path / "out.webp", pixels, np.dtype(np.uint8))
    assert torch.equal(read_picture(tmp_path / "out.webp").pixels[..., 3], pixels[..., 3])


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path):
    """The result carries no EXIF, so what is turned only by it would lie on its side."""
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:16] = 200
    orientation = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # to be turned right by a quarter when shown
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + orientation + b"\0\0\0\0"
    content = cv2.imencode(".jpg", np.rot90(upright))[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "photo.jpg").write_bytes(content[:2] + segment + content[2:])
    pixels = read_picture(tmp_path / "photo.jpg").pixels * 255
    assert pixels.shape == upright.shape
    assert (pixels - torch.from_numpy(upright)).abs()[[0, 31]].max() < 8


@pytest.mark.parametrize("name", ["broken.png", "broken.jpg", "broken.tif"])
@pytest.mark.parametrize("content", [b"", b"not a picture, only text\n" * 9, None])
def test_what_cannot_be_read_is_named(tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        whole = save(path, random_pixels("uint8", 3)).read_bytes()
        content = whole[: len(whole) // 3]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name} is not a picture that can be read"):
        read_picture(path)


def test_a_picture_larger_than_any_memory_is_refused(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000, 2, b"\0"))
    with pytest.raises(ImageError, match=r"bomb\.png has 60000 x 60000 px, more than the \d+ million .*--max-pixels"):
        read_picture(tmp_path / "bomb.png")
    small = save(tmp_path / "small.png", random_pixels("uint8", 3))
    assert read_picture(small, 54).pixels.shape == (9, 6, 3)
    with pytest.raises(ImageError, match=r"small\.png has 6 x 9 px"):
        read_picture(small, 53)
    assert Image.MAX_IMAGE_PIXELS is not None  # the limit of other users of the library is as it was


def test_float_pictures_are_of_another_kind(tmp_path):
    path = save(tmp_path / "float.tif", np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match=r"float\.tif is not a picture that can be read; it may be .* another kind"):
        read_picture(path)


def test_a_file_that_is_gone_or_a_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png cannot be read: No such file"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_picture(tmp_path)


def test_folders_are_made_and_odd_names_written(tmp_path):
    out = tmp_path / "new folder" / "über" / "名前 1 [a].png"
    write_picture(out, torch.ones(2, 3, 3), np.dtype(np.uint8))
    assert read_picture(out).pixels.shape == (2, 3, 3)
    assert picture_paths(str(out)) == picture_paths(str(out.parent)) == [out]


def test_a_place_that_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be written .* Choose a folder that you may write to"):
        write_picture(tmp_path / "file" / "out.png", torch.ones(2, 3, 3), np.dtype(np.uint8))

    def refused(path, content):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refused)
    with pytest.raises(OutputError, match=r"out\.png cannot be written \(Permission denied\)"):
        write_picture(tmp_path / "out.png", torch.ones(2, 3, 3), np.dtype(np.uint8))


@pytest.mark.parametrize("name", ["out.gif", "out", "out.png.txt"])
def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(OutputError, match=r"has no ending of a picture; use one of \.png"):
        write_picture(tmp_path / "sub" / name, torch.ones(2, 3, 3), np.dtype(np.uint8))
    assert not (tmp_path / "sub").exists()


def test_a_picture_too_long_for_its_kind_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"could not be encoded: 70000 x 1 px may be too large"):
        write_picture(tmp_path / "long.jpg", torch.ones(1, 70000, 3), np.dtype(np.uint8))


def test_writing_says_nothing_on_the_terminal(tmp_path, capfd):
    for suffix in (".png", ".jpg", ".webp", ".bmp"):
        write_picture(tmp_path / f"out{suffix}", torch.ones(4, 4, 3), np.dtype(np.uint8))
    assert capfd.readouterr() == ("", "")


def test_a_folder_means_its_pictures_in_order_and_nothing_else(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden", "deeper/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in picture_paths(str(tmp_path))] == ["a.jpg", "b.PNG"]
    assert [path.name for path in picture_paths(str(tmp_path / "*"))] == ["a.jpg", "b.PNG"]
    assert [path.name for path in picture_paths(str(tmp_path / "**" / "*.png"))] == ["c.png"]


@pytest.mark.parametrize("source", ["", "nowhere", "*.png", "nowhere/*.jpg"])
def test_where_there_is_no_picture_it_is_said(tmp_path, source):
    with pytest.raises(ImageError, match=r"No picture was found at .* \(looked for \.png, \.jpg"):
        picture_paths(str(tmp_path / source))


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(ImageError, match="cannot be searched for pictures: Permission denied"):
        picture_paths(str(tmp_path))
