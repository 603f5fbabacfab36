"""Files are told by their content: damaged, half, changed, linked away, of unknown hash and known shapes."""

import hashlib
import os
from dataclasses import replace

import pytest
from slimfusion.catalog import found as catalogue
from slimfusion.catalog.cards import CARDS
from slimfusion.catalog.files import model_path, offered_model
from slimfusion.catalog.found import best, identified, missing, search
from slimfusion.catalog.hashes import HashCache
from slimfusion.catalog.known import KNOWN
from slimfusion.catalog.signatures import Signature
from slimfusion.errors import ModelFileError

CONTENT = b"a detector's weights" * 10
SCRFD = next(file for file in KNOWN if file.name == "det_10g.onnx")
GHOST = next(file for file in KNOWN if file.name == "ghost_1_256.onnx")
RECOGNISER = Signature((("input", "float32", (None, 3, 112, 112)),), (("output", "float32", (None, 512)),))


@pytest.fixture
def known(monkeypatch):
    """A world with one detector, whose content is CONTENT, and one swapper of which only the size is known."""
    detector = replace(SCRFD, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    files = (detector, replace(GHOST, size=77))
    monkeypatch.setattr(catalogue, "KNOWN", files)
    monkeypatch.setattr(catalogue, "BY_HASH", {detector.sha256: detector})
    monkeypatch.setattr(catalogue, "SIZES", frozenset(file.size for file in files))
    monkeypatch.setattr(catalogue, "SUFFIXES_OF_ANY_SIZE", frozenset())
    return detector


def no_signature(path):
    return None


def one(folder, signature=no_signature):
    (only,) = search([folder], HashCache(None), signature)
    return only


def test_a_known_hash_is_known_under_any_name_and_is_not_opened(known, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "GPEN-BFR-512.onnx").write_bytes(CONTENT)

    def read(path):
        raise AssertionError("the hash tells enough")

    only = one(tmp_path, read)
    assert (only.state, only.known_file, only.card) == ("verified", known, CARDS["scrfd"])
    assert only.commercial is False


def test_only_files_of_a_known_length_are_hashed(known, tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(CONTENT)
    (tmp_path / "b.onnx").write_bytes(CONTENT + b"!")
    hashed = []
    monkeypatch.setattr(HashCache, "_computed", lambda self, path: hashed.append(path.name) or "")
    search([tmp_path], HashCache(None), no_signature)
    assert hashed == ["a.onnx"]


def test_a_hash_is_computed_once_until_the_file_changes(known, tmp_path, monkeypatch):
    file, state, read = tmp_path / "a.onnx", tmp_path / "state", []
    file.write_bytes(CONTENT)
    state.mkdir()
    honest = HashCache._computed
    monkeypatch.setattr(HashCache, "_computed", lambda self, path: read.append(path) or honest(self, path))
    for _ in range(2):
        assert identified(file, HashCache(state), no_signature).state == "verified"
    assert len(read) == 1
    file.write_bytes(CONTENT[::-1])
    assert identified(file, HashCache(state), no_signature).state == "unknown"
    assert len(read) == 2


@pytest.mark.parametrize("content", [b"{", b'{"format": 1, "hashes": {"a": [1]}}', b"\xff", b"[]"])
def test_a_spoilt_cache_is_written_anew(known, tmp_path, content):
    (tmp_path / "model_hashes.json").write_bytes(content)
    (tmp_path / "a.onnx").write_bytes(CONTENT)
    assert identified(tmp_path / "a.onnx", HashCache(tmp_path), no_signature).state == "verified"
    assert known.sha256 in (tmp_path / "model_hashes.json").read_text()


def test_unknown_content_of_known_shapes_works_and_is_unverified(known, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"x")
    only = one(tmp_path, lambda path: RECOGNISER)
    assert (only.state, only.card, only.known_file) == ("unverified", CARDS["arcface"], None)
    assert "unverified" in only.note and only.usable


def test_shapes_of_several_models_are_named_and_not_used(known, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"x")
    both = Signature(
        (("a", "float32", (1, 3, 256, 256)), ("b", "float32", (1, 512))), (("c", "float32", (1, 3, 256, 256)),)
    )
    only = one(tmp_path, lambda path: both)
    assert only.state == "unknown" and not only.usable
    assert "ghost" in only.note and "simswap_256" in only.note


def test_a_file_known_by_its_size_alone_needs_its_shapes_too(known, tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"g" * 77)
    ghost = Signature(
        (("a", "float32", (1, 3, 256, 256)), ("b", "float32", (1, 512))), (("c", "float32", (1, 3, 256, 256)),)
    )
    only = one(tmp_path, lambda path: ghost)
    assert (only.state, only.card) == ("unverified", CARDS["ghost"])
    assert only.licence == "Apache-2.0" and only.commercial is None  # which is not proven
    assert one(tmp_path, lambda path: RECOGNISER).card is CARDS["arcface"]


def test_another_content_of_a_known_length_is_said(known, tmp_path):
    (tmp_path / "det_10g.onnx").write_bytes(CONTENT[::-1])
    only = one(tmp_path)
    assert only.state == "unknown" and not only.usable
    assert "det_10g.onnx" in only.note and "hash is another" in only.note


@pytest.mark.parametrize("name", ["det_10g.onnx", "DET_10G.onnx.part", "det_10g.onnx.crdownload"])
def test_half_a_download_is_said_with_both_sizes(known, tmp_path, name):
    (tmp_path / name).write_bytes(CONTENT[:50])
    only = one(tmp_path)
    assert only.state == "damaged"
    assert f"50 of {len(CONTENT)} bytes" in only.note


def test_what_cannot_be_read_is_damaged(known, tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"")

    def read(path):
        raise ModelFileError("other.onnx (0 bytes) is damaged")

    only = one(tmp_path, read)
    assert (only.state, only.note) == ("damaged", "other.onnx (0 bytes) is damaged")


def test_other_files_are_left_out(known, tmp_path):
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "photo.png.part").write_text("x")
    assert search([tmp_path, tmp_path / "absent"], HashCache(None), no_signature) == ()


def test_links_are_followed_out_of_the_folder_as_comfyui_follows_them(known, tmp_path):
    """Among them those of Hugging Face's cache: the link has the name and the ending, the file has neither."""
    blobs, models = tmp_path / "blobs", tmp_path / "models"
    blobs.mkdir()
    models.mkdir()
    (blobs / "0a1b2c").write_bytes(CONTENT)
    (models / "det.onnx").symlink_to("../blobs/0a1b2c")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.onnx").write_bytes(b"x")
    (models / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = search([models], HashCache(None), lambda path: RECOGNISER)
    assert [(each.path, each.state) for each in found] == [
        (models / "det.onnx", "verified"),
        (models / "folder" / "mine.onnx", "unverified"),
    ]
    for choose in (model_path, offered_model):
        assert choose("det.onnx", [models]) == models / "det.onnx"


def test_links_that_lead_back_to_themselves_are_passed_over(known, tmp_path):
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "nowhere.onnx")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "det.onnx").write_bytes(CONTENT)
    found = {each.path.name: each for each in search([tmp_path], HashCache(None), no_signature)}
    assert found["det.onnx"].state == "verified" and len(found) == 3
    assert "leads back to itself" in found["loop.onnx"].note
    assert "does not exist" in found["gone.onnx"].note
    for name, sentence in (("loop.onnx", "links"), ("gone.onnx", "does not exist")):
        with pytest.raises(ModelFileError, match=sentence):
            offered_model(name, [tmp_path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_pipes_and_folders_are_not_opened(known, tmp_path):
    """Opening a pipe waits until somebody writes into it, which nobody does here."""
    for name in ("a.onnx", "b.pth", "c.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ModelFileError, match="is a pipe and no file"):
            identified(tmp_path / name, HashCache(None), no_signature)
        with pytest.raises(ModelFileError, match="is a pipe and no file"):
            offered_model(name, [tmp_path])
    (tmp_path / "d.onnx").mkdir()
    found = search([tmp_path], HashCache(None), lambda path: pytest.fail("opened"))
    assert [(each.path.name, each.state) for each in found] == [
        ("a.onnx", "refused"),
        ("b.pth", "refused"),
        ("c.safetensors", "refused"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.onnx", "a/../../secret.onnx", "..\\secret.onnx", "/etc/secret.onnx", "C:\\secret.onnx",
        "C:secret.onnx", "\\\\server\\share\\secret.onnx", "//server/share/secret.onnx", "~/secret.onnx",
        "secret.txt", "", " ", "a\0.onnx",
        "\udcc4.onnx", "x" * 5000 + ".onnx",
    ],
)  # fmt: skip
def test_nodes_open_no_file_but_those_in_the_model_folders(tmp_path, name):
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "secret.onnx").write_bytes(b"x")
    with pytest.raises(ModelFileError) as refusal:
        offered_model(name, [models])
    str(refusal.value).encode()
    with pytest.raises(ModelFileError):
        offered_model(str(tmp_path / "secret.onnx"), [models])
    assert model_path(str(tmp_path / "secret.onnx")) == tmp_path / "secret.onnx"


def test_names_of_paths_that_cannot_be_are_refused(tmp_path):
    for name in ("~nobody-of-this-name/x.pth", "a\0b.pth", "x" * 5000, str(tmp_path)):
        with pytest.raises(ModelFileError):
            model_path(name, [])


def test_links_inside_the_folders_are_one_file(known, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "det.onnx").write_bytes(CONTENT)
    (tmp_path / "b" / "link.onnx").symlink_to(tmp_path / "a" / "det.onnx")
    (tmp_path / "b" / "more").symlink_to(tmp_path / "a", target_is_directory=True)
    found = search([tmp_path / "a", tmp_path / "b"], HashCache(None), no_signature)
    assert [each.path.name for each in found] == ["det.onnx"]
    assert model_path("link.onnx", [tmp_path / "b", tmp_path / "a"]) == tmp_path / "b" / "link.onnx"


def test_a_model_folder_may_itself_be_a_link(known, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "det.onnx").write_bytes(CONTENT)
    (tmp_path / "models").symlink_to(tmp_path / "real", target_is_directory=True)
    assert one(tmp_path / "models").state == "verified"


def test_the_best_file_of_a_kind_is_the_verified_one(known, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "z.onnx").write_bytes(CONTENT)
    shapes = Signature(
        (("i", "float32", (1, 3, None, None)),),
        tuple((f"o{i}", "float32", (None, width)) for i, width in enumerate((1, 1, 1, 4, 4, 4, 10, 10, 10))),
    )
    found = search([tmp_path], HashCache(None), lambda path: shapes)
    assert [each.state for each in found] == ["verified", "unverified"]
    assert best(found, "detector").path.name == "z.onnx"
    assert missing(found)[0].name == "ghost_1_256.onnx" and len(missing(found)) == 1
    with pytest.raises(ModelFileError, match="free for commercial use"):
        best(found, "detector", commercial_only=True)
    with pytest.raises(ModelFileError, match=r"No swapper was found.*ghost_1_256\.onnx from https"):
        best(found, "swapper")
    for each in found:
        with pytest.raises(ModelFileError, match="commercial use"):
            each.check_commercial()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"absent\.onnx does not exist"):
        identified(tmp_path / "absent.onnx", HashCache(None), no_signature)


@pytest.mark.parametrize("name", [None, 7, []])
def test_what_is_no_name_is_no_model_of_the_list(tmp_path, name):
    with pytest.raises(ModelFileError, match="not the name of a model"):
        offered_model(name, [tmp_path])
