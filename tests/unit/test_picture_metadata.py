"""What files say beside their pixels goes with them: profile, EXIF, XMP, resolution; and grey stays grey."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from slimfusion.errors import ImageError
from slimfusion.faces.pictures.files import read_picture, without_colour, write_picture
from slimfusion.faces.pictures.metadata import EXIF_IFD, GPS_IFD, Metadata, png_chunk, png_texts
from slimfusion.faces.pictures.notes import SOFTWARE, with_note
from slimfusion.faces.pictures.writing import encoded

KINDS = [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tif", "uint16"), (".jpg", "uint8")]
KINDS += [(".webp", "uint8")]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="1" title="\xc3\xbc"/></x:xmpmeta>'
TABLES = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud}
TABLES |= {5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p, 2).swapaxes(0, 1)}
TABLES |= {8: lambda p: np.rot90(p, -1)}


def exif(orientation: int = 1) -> bytes:
    content = Image.Exif()
    content[0x0112], content[0x010F], content[0x8298] = orientation, "Maker", "(c) somebody"
    content.get_ifd(EXIF_IFD).update({0x829A: 0.01, 0xA002: 4, 0xA003: 4})
    content.get_ifd(GPS_IFD).update({1: "N", 2: (1.0, 2.0, 3.0)})
    start = content.tobytes()
    return start if start.startswith(b"Exif\0\0") else b"Exif\0\0" + start


def seen(path):
    """An image of Pillow's, loaded, and its EXIF."""
    image = Image.open(path)
    found = image.getexif()
    image.load()
    return image, found


@pytest.mark.parametrize(("suffix", "depth"), KINDS)
def test_all_that_a_file_says_is_in_the_next_one(tmp_path, suffix, depth):
    said = Metadata(ICC, exif(), XMP, (300.0, 150.0))
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_picture(first, torch.rand(20, 30, 3), np.dtype(depth), metadata=said)
    picture = read_picture(first)
    write_picture(second, picture.pixels, picture.depth, picture.grey, picture.metadata)
    image, found = seen(second)
    assert picture.depth == np.dtype(depth) and image.info["icc_profile"] == ICC
    assert found[0x010F] == "Maker" and found[0x8298] == "(c) somebody"
    assert float(found.get_ifd(EXIF_IFD)[0x829A]) == pytest.approx(0.01)
    assert tuple(map(float, found.get_ifd(GPS_IFD)[2])) == (1.0, 2.0, 3.0)
    assert found.get_ifd(EXIF_IFD)[0xA002] == 30 and found.get_ifd(EXIF_IFD)[0xA003] == 20
    assert read_picture(second).metadata.xmp == XMP
    if suffix != ".webp":  # which has no field for it
        assert [round(float(each)) for each in image.info["dpi"]] == [300, 150]


def test_what_opencv_and_others_read_of_a_tiff_is_what_was_written(tmp_path):
    for depth, channels in (("uint8", 3), ("uint16", 3), ("uint16", 4)):
        pixels = torch.rand(300, 7, channels)
        write_picture(tmp_path / "a.tif", pixels, np.dtype(depth), metadata=Metadata(ICC, exif(), XMP, (72.0, 72.0)))
        read = cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3][:channels]]
        white = np.iinfo(read.dtype).max
        assert read.dtype == depth and np.array_equal(read, np.rint(pixels.numpy() * white).astype(depth))


def with_texts(path, *texts: bytes) -> None:
    """Lays text chunks behind the pixels of a PNG file, where some programs put them."""
    content = path.read_bytes()
    path.write_bytes(content[:-12] + b"".join(png_chunk(text[:4], text[4:]) for text in texts) + content[-12:])


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_the_texts_of_a_png_file_are_in_the_next_one(tmp_path, depth):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    write_picture(first, torch.rand(8, 8, 3), np.dtype(depth), metadata=Metadata(xmp=XMP))
    workflow = b"tEXtworkflow\0" + b'{"nodes": [1, "\xe9"]}' + b" " * (2 << 20)
    packed = b"zTXtprompt\0\0" + zlib.compress(b'{"3": {}}')
    unicode = b"iTXtparameters\0\0\0\0\0" + "Gesicht, schön, 面".encode()
    with_texts(first, workflow, packed, unicode, b"tEXtRaw profile type exif\0...", b"tIMEnot a text")
    picture = read_picture(first)
    write_picture(second, picture.pixels, picture.depth, picture.grey, picture.metadata)
    assert read_picture(second).metadata.texts == (workflow, packed, unicode)
    assert read_picture(second).metadata.xmp == XMP
    image = seen(second)[0]
    assert image.text["prompt"] == '{"3": {}}' and image.text["parameters"] == "Gesicht, schön, 面"


def test_texts_end_where_a_file_does():
    whole = b"\x89PNG\r\n\x1a\n" + png_chunk(b"tEXt", b"a\0b") + png_chunk(b"tEXt", b"c\0d")
    for length in range(len(whole) - 4):  # its checksum is not looked at
        assert list(png_texts(whole[:length])) in ([], [b"tEXta\0b"])
    assert list(png_texts(whole + b"\xff\xff\xff\xfftEXtno end")) == [b"tEXta\0b", b"tEXtc\0d"]


def note_in(path) -> list:
    image, found = seen(path)
    text = image.text["slimfusion"] if path.suffix == ".png" else found[SOFTWARE].removeprefix("slimfusion:")
    return json.loads(text)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_notes_follow_one_another_and_nothing_else_is_lost(tmp_path, suffix):
    path, kind = tmp_path / f"a{suffix}", {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".tif": "TIFF"}[suffix]
    metadata = with_note(Metadata(ICC, exif(), XMP), {"done": "面"}, kind)
    write_picture(path, torch.rand(8, 8, 3), np.dtype(np.uint8), metadata=metadata)
    again = with_note(read_picture(path).metadata, {"done": "more"}, kind)
    write_picture(path, torch.rand(8, 8, 3), np.dtype(np.uint8), metadata=again)
    assert note_in(path) == [{"done": "面"}, {"done": "more"}]
    image, found = seen(path)
    assert image.info["icc_profile"] == ICC and read_picture(path).metadata.xmp == XMP
    assert found[0x8298] == "(c) somebody" and tuple(found.get_ifd(GPS_IFD)[2]) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(("before", "first"), [(b"words", "words"), (b'{"a": 1}', {"a": 1}), (b"[" * 5000, "[" * 5000)])
def test_what_others_wrote_under_our_name_is_kept(before, first):
    metadata = with_note(Metadata(texts=(b"tEXtslimfusion\0" + before, b"tEXtprompt\0{}")), {"done": 1}, "PNG")
    (prompt, ours) = metadata.texts
    assert prompt == b"tEXtprompt\0{}" and json.loads(ours.partition(b"\0")[2]) == [first, {"done": 1}]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_kinds_without_room_for_a_note_and_damaged_exif():
    assert with_note(Metadata(), {"done": 1}, "BMP") is None
    noted = with_note(Metadata(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), {"done": 1}, "JPEG")
    content = Image.Exif()
    content.load(noted.exif)
    assert json.loads(content[SOFTWARE].removeprefix("slimfusion:")) == [{"done": 1}]


def turned_file(path, pixels: np.ndarray, orientation: int) -> None:
    """Writes pixels (H, W, C) as they are, with an orientation that says how they are to be turned."""
    said = Image.Exif()
    said[0x0112] = orientation
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(
            path, exif=said.tobytes(), **({"lossless": True} if path.suffix == ".webp" else {})
        )
        return
    content = cv2.imencode(path.suffix, pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])[1].tobytes()
    if path.suffix == ".png":
        block = said.tobytes()
        content = content[:33] + png_chunk(b"eXIf", block.removeprefix(b"Exif\0\0")) + content[33:]
    else:
        content = encoded("TIFF", pixels, Metadata(exif=exif(orientation)))
    path.write_bytes(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "depth", "channels"),
    [
        (".jpg", "uint8", 3),
        *((".png", depth, channels) for depth in ("uint8", "uint16") for channels in (3, 4)),
        *((".tif", depth, channels) for depth in ("uint8", "uint16") for channels in (3, 4)),
        (".webp", "uint8", 4),
    ],
)
def test_a_picture_of_any_kind_is_turned_once(tmp_path, orientation, suffix, depth, channels):
    """`upright` is seen; the file holds it as a camera that was held otherwise."""
    upright = np.zeros((16, 32, channels), depth)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = [np.iinfo(depth).max * part for part in (1, 0.7, 0.4)]
    held = np.ascontiguousarray(TABLES[orientation](upright))
    turned_file(tmp_path / f"a{suffix}", held, orientation)
    picture = read_picture(tmp_path / f"a{suffix}")
    read = picture.pixels.numpy() * np.iinfo(depth).max
    assert read.shape == upright.shape and abs(read - upright)[2:6, 2:14].max() < 8
    assert abs(read - upright)[2:6, 18:30].max() < 8 and abs(read - upright)[10:14].max() < 8
    write_picture(tmp_path / f"b{suffix}", picture.pixels, picture.depth, metadata=picture.metadata)
    assert seen(tmp_path / f"b{suffix}")[1].get(0x0112, 1) == 1
    assert read_picture(tmp_path / f"b{suffix}").pixels.shape == picture.pixels.shape


def test_an_xmp_packet_loses_its_rotation_too(tmp_path):
    xmp = XMP.replace(b'Orientation="1"', b'Orientation="6"')
    Image.new("RGB", (4, 2)).save(tmp_path / "a.webp", xmp=xmp, exif=exif(6))
    picture = read_picture(tmp_path / "a.webp")
    assert picture.pixels.shape == (4, 2, 3) and picture.metadata.xmp == XMP


def test_resolution_turns_with_the_picture(tmp_path):
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg", exif=exif(6), dpi=(300, 72))
    assert read_picture(tmp_path / "a.jpg").metadata.dpi == (72.0, 300.0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize(("mode", "bands"), [("L", 1), ("LA", 2), ("I;16", 1), ("1", 1)])
def test_grey_comes_back_as_grey(tmp_path, suffix, mode, bands):
    values = np.random.default_rng(3).integers(0, 256, (9, 7, bands), np.uint8)
    plain = values[..., 0] if bands == 1 else values
    image = Image.fromarray(plain.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(plain).convert(mode)
    image.save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    write_picture(tmp_path / f"out{suffix}", picture.pixels, picture.depth, picture.grey)
    deep = mode == "I;16" and suffix in (".png", ".tif")
    alpha = mode == "LA" and suffix in (".png", ".tif")
    back = Image.open(tmp_path / f"out{suffix}")
    assert picture.grey and back.mode == ("I;16" if deep else "LA" if alpha else "L")
    if suffix != ".jpg":
        assert torch.equal(read_picture(tmp_path / f"out{suffix}").pixels[..., :3], picture.pixels[..., :3])


def test_grey_with_alpha_of_16_bit_keeps_both(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">4H", 1000 + row, 65535, 513, 300 * row) for row in range(3))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 3, 16, 4, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.depth, picture.grey) == (np.uint16, True)
    assert (picture.pixels * 65535).round().tolist()[2] == [[1002, 1002, 1002, 65535], [513, 513, 513, 600]]
    write_picture(tmp_path / "b.png", picture.pixels, picture.depth, True, Metadata(exif=exif()))
    write_picture(tmp_path / "b.tif", picture.pixels, picture.depth, True)
    assert torch.equal(read_picture(tmp_path / "b.tif").pixels, picture.pixels)
    content = (tmp_path / "b.png").read_bytes()
    assert content[24:26] == b"\x10\x04" and torch.equal(read_picture(tmp_path / "b.png").pixels, picture.pixels)


def test_a_grey_file_that_got_colours_is_written_with_them_and_without_its_grey_profile(tmp_path):
    grey = b"\0" * 16 + b"GRAY" + b"\0" * 108
    pixels = torch.rand(5, 5, 3)
    write_picture(tmp_path / "a.png", pixels, np.dtype(np.uint8), True, Metadata(icc=grey))
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "RGB" and "icc_profile" not in image.info
    write_picture(tmp_path / "a.png", without_colour(pixels), np.dtype(np.uint8), True, Metadata(icc=grey))
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "L" and image.info["icc_profile"] == grey


def test_taking_colour_away_leaves_grey_and_alpha_alone():
    grey, alpha = torch.rand(4, 5, 1).repeat(1, 1, 3), torch.rand(4, 5, 1)
    plain = torch.cat([grey, alpha], 2)
    assert without_colour(plain) is plain
    coloured = plain.clone()
    coloured[0, 0, :3] = torch.tensor([1.0, 0.0, 0.0])
    done = without_colour(coloured)
    assert torch.allclose(done[1:], plain[1:]) and torch.equal(done[..., 3:], alpha)
    assert done[0, 0, :3].tolist() == pytest.approx([0.299] * 3)


def test_palettes_and_colour_keys_become_colours_with_alpha(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.pixels * 255).tolist() == [[[255, 0, 0, 255], [0, 255, 0, 0]]] and not picture.grey
    image.putpalette([9, 9, 9, 50, 50, 50])
    image.save(tmp_path / "b.gif")
    assert read_picture(tmp_path / "b.gif").grey
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "c.png", transparency=(1, 2, 3))
    assert (read_picture(tmp_path / "c.png").pixels * 255).tolist() == [[[1, 2, 3, 0]]]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_inks_become_colours_that_other_readers_see_too(tmp_path, suffix):
    """A file in CMYK has a profile of inks, which would be wrong for the RGB that is written."""
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image.save(tmp_path / f"a{suffix}", icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 108)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.pixels.shape == (8, 8, 3) and picture.metadata.icc is None
    assert (picture.pixels[4, 4] - torch.tensor([1.0, 0.0, 0.0])).abs().max() < 0.05


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_of_an_animation_the_first_frame_is_taken_and_said(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert "only the first of its 2 frames" in picture.notes[0] and picture.pixels[0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("damage", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_costs_the_exif_and_not_the_picture(tmp_path, damage):
    file = io.BytesIO()
    Image.new("RGB", (8, 4)).save(file, "JPEG")
    content = file.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(damage) + 2) + damage
    (tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
    picture = read_picture(tmp_path / "a.jpg")
    write_picture(tmp_path / "b.jpg", picture.pixels, picture.depth, metadata=picture.metadata)
    assert Image.open(tmp_path / "b.jpg").size == (8, 4)


def test_too_much_exif_for_a_jpeg_is_left_out(tmp_path):
    content = Image.Exif()
    content[0x010E] = "x" * 70000
    said = Metadata(exif=b"Exif\0\0" + content.tobytes().removeprefix(b"Exif\0\0"))
    for suffix in (".jpg", ".png"):
        write_picture(tmp_path / f"a{suffix}", torch.rand(4, 4, 3), np.dtype(np.uint8), metadata=said)
        assert (0x010E in Image.open(tmp_path / f"a{suffix}").getexif()) == (suffix == ".png")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_that_are_no_8_or_16_bit_are_of_another_kind(tmp_path, mode):
    Image.new(mode, (3, 3), 7).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="may be damaged or of another kind"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".jp2", ".ppm", ".gif", ".tga", ".bmp"])
def test_other_kinds_are_read(tmp_path, suffix):
    if suffix == ".avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow knows no AVIF")
    Image.new("RGB", (16, 8), (200, 100, 50)).save(tmp_path / f"a{suffix}")
    pixels = read_picture(tmp_path / f"a{suffix}").pixels
    assert pixels.shape == (8, 16, 3) and (pixels[4, 4] * 255 - torch.tensor([200.0, 100, 50])).abs().max() < 6


def test_16_bit_without_compression_keeps_its_values(tmp_path):
    values = np.random.default_rng(1).integers(0, 65536, (5, 4, 3), np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6 4 5 65535\n" + values.astype(">u2").tobytes())
    picture = read_picture(tmp_path / "a.ppm")
    assert picture.depth == np.uint16 and np.array_equal(np.rint(picture.pixels.numpy() * 65535), values)
    write_picture(tmp_path / "b.ppm", picture.pixels, picture.depth)
    assert torch.equal(read_picture(tmp_path / "b.ppm").pixels, picture.pixels)


def test_damaged_files_are_refused_with_our_error_or_read(tmp_path):
    """Some bytes of each kind of file changed, or its end cut off."""
    random, refused, said = np.random.default_rng(5), 0, Metadata(ICC, exif(), XMP, (72.0, 72.0))
    for suffix in (".png", ".jpg", ".webp", ".tif", ".jp2", ".bmp", ".ppm", ".tga"):
        for depth in ("uint8", "uint16"):
            path = tmp_path / f"a{suffix}"
            write_picture(path, torch.rand(12, 9, 3), np.dtype(depth), metadata=said)
            whole = path.read_bytes()
            for damage in range(12):
                content = bytearray(whole[: random.integers(len(whole))] if damage < 3 else whole)
                for place in random.integers(min(len(content), 150), size=4) if content else ():
                    content[place] = random.integers(256)
                path.write_bytes(content)
                try:
                    read = read_picture(path, 10**6)
                    write_picture(tmp_path / f"b{suffix}", read.pixels, read.depth, read.grey, read.metadata)
                except ImageError:
                    refused += 1
    assert refused > 20
