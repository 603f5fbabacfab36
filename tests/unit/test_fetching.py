"""Downloads, against a server on this machine that cuts, lies, stalls and changes its mind."""

import ast
import errno
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import slimfusion
from filelock import FileLock
from slimfusion import cli
from slimfusion.catalog.card import ModelCard
from slimfusion.catalog.cards import CARDS
from slimfusion.catalog.known import KnownFile
from slimfusion.commands import fetching, models_get
from slimfusion.commands.fetching import Patience, Wanted, fetch
from slimfusion.errors import DownloadError, OutputError

BODY = bytes(range(256)) * 4000  # about a million bytes
OTHER = b"\1" + BODY[1:]
SIZE = len(BODY)
SHA = hashlib.sha256(BODY).hexdigest()
PATIENT = Patience(pause=lambda seconds: None)
NETWORK = {"urllib", "http", "requests", "httpx", "aiohttp", "socket", "ssl", "ftplib"}
ROOT = Path(slimfusion.__file__).parent


class Server(ThreadingHTTPServer):
    """Answers each request as the next of its ways says, the last one for good. asked: the ranges, in order."""

    daemon_threads = True

    def __init__(self, *ways):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ways, self.asked, self.paths, self.released = list(ways), [], [], threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_):
        """Whoever was served has left, as some tests do."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.onnx"

    def next_way(self):
        return self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        self.server.paths.append(self.path)
        self.server.next_way()(self)

    def log_message(self, *_):
        pass

    def start(self):
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0

    def answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)


def serves(body=BODY, upto=None, ranges=True):
    """The file, or as far as `upto` from where it was asked for, then the connection ends."""

    def way(handler):
        start = handler.start() if ranges else 0
        if start >= len(body):
            return handler.answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": 0})
        part = body[start:]
        headers = {"Content-Length": len(part)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.answer(206 if start else 200, headers, part[:upto])

    return way


def says(status, **headers):
    return lambda handler: handler.answer(status, {"Content-Length": 0} | headers)


def stalls(upto):
    def way(handler):
        handler.answer(200, {"Content-Length": len(BODY)}, BODY[:upto])
        handler.wfile.flush()
        handler.server.released.wait(20)

    return way


def drips(handler):
    """A byte at a time, each in time."""
    handler.answer(200, {"Content-Length": len(BODY)})
    for index in range(200):
        if handler.server.released.wait(0.05):
            return
        handler.wfile.write(BODY[index : index + 1])
        handler.wfile.flush()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve():
    servers = []

    def start(*ways):
        servers.append(Server(*ways))
        return servers[-1]

    yield start
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


def wanted_from(folder, *servers, size=SIZE, sha256=SHA):
    urls = tuple(each if isinstance(each, str) else each.url for each in servers)
    return Wanted(folder / "models" / "file.onnx", urls, sha256, size)


def got(wanted):
    return fetch(wanted, patience=PATIENT)


def names(folder):
    return sorted(path.name for path in (folder / "models").iterdir())


def test_a_file_gets_its_name_when_its_hash_is_right(serve, tmp_path):
    seen = []
    wanted = wanted_from(tmp_path, server := serve(serves()))
    assert fetch(wanted, lambda done, total: seen.append((done, total)), PATIENT)
    assert wanted.target.read_bytes() == BODY and names(tmp_path) == ["file.onnx"]
    assert seen[-1] == (len(BODY), len(BODY)) and server.asked == [None]
    assert not fetch(wanted, patience=PATIENT) and len(server.asked) == 1, "it was there already"


@pytest.mark.parametrize("size", [len(BODY), None])
def test_what_was_cut_goes_on_where_it_ended(serve, tmp_path, size):
    server = serve(serves(upto=300_000), serves(upto=300_000), serves())
    assert got(wanted_from(tmp_path, server, size=size))
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"] and names(tmp_path) == ["file.onnx"]


def test_another_run_goes_on_too(serve, tmp_path):
    server = serve(serves(upto=300_000), says(404), serves())
    with pytest.raises(DownloadError, match=r"file\.onnx could not be downloaded\. 127\.0\.0\.1:\d+: it answers 404"):
        got(wanted_from(tmp_path, server))
    assert names(tmp_path) == ["file.onnx.part"]
    assert got(wanted_from(tmp_path, server)) and server.asked[2] == "bytes=300000-"


def test_a_server_without_ranges_begins_again(serve, tmp_path):
    server = serve(serves(upto=300_000), serves(ranges=False))
    assert got(wanted_from(tmp_path, server)) and server.asked == [None, "bytes=300000-"]


def test_a_file_that_changed_between_tries_is_begun_again(serve, tmp_path):
    server = serve(serves(OTHER, upto=300_000), serves())
    assert got(wanted_from(tmp_path, server))
    assert server.asked == [None, "bytes=300000-", None] and names(tmp_path) == ["file.onnx"]


def test_a_file_that_changes_each_time_is_given_up(serve, tmp_path):
    server = serve(*[serves(OTHER, upto=300_000), serves()] * 3)
    wanted = wanted_from(tmp_path, server, sha256="0" * 64)
    with pytest.raises(DownloadError, match="its hash is wrong"):
        got(wanted)
    assert len(server.asked) < 6 and names(tmp_path) == []


def test_another_file_is_thrown_away(serve, tmp_path):
    server = serve(serves(OTHER))
    with pytest.raises(DownloadError, match="what it gives is another file: its hash is wrong"):
        got(wanted_from(tmp_path, server))
    assert len(server.asked) == 1 and names(tmp_path) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_part_that_is_whole_or_too_long_already(serve, tmp_path, size):
    wanted = wanted_from(tmp_path, server := serve(serves()), size=size)
    part = wanted.target.with_name("file.onnx.part")
    part.parent.mkdir()
    part.write_bytes(BODY)
    assert got(wanted) and server.asked == ([] if size else [f"bytes={len(BODY)}-"])
    wanted.target.unlink()
    part.write_bytes(BODY + b"more")
    assert got(wanted) and wanted.target.read_bytes() == BODY


def test_a_server_of_another_length_is_left_before_anything_is_read(serve, tmp_path):
    server = serve(serves(BODY[:-1]))
    with pytest.raises(DownloadError, match=f"a file of {len(BODY) - 1} bytes instead of {len(BODY)}"):
        got(wanted_from(tmp_path, server))
    assert names(tmp_path) == []


def test_more_than_was_promised_is_no_file(serve, tmp_path, monkeypatch):
    def endless(handler):
        handler.answer(200, {}, BODY + BODY)

    with pytest.raises(DownloadError, match=f"sends more than {len(BODY)} bytes"):
        got(wanted_from(tmp_path, serve(endless)))
    monkeypatch.setattr(fetching, "LONGEST", 1000)
    with pytest.raises(DownloadError, match="sends more than 1000 bytes"):
        got(wanted_from(tmp_path, serve(endless), size=None))


@pytest.mark.parametrize("given", ["bytes 7-99/100", "bytes 0-1/2", "nonsense", ""])
def test_a_part_that_was_not_asked_for_is_not_taken(serve, tmp_path, given):
    def lies(handler):
        handler.answer(206, {"Content-Range": given, "Content-Length": 5}, b"lies!")

    server = serve(serves(upto=300_000), lies, serves())
    assert got(wanted_from(tmp_path, server)) and server.asked == [None, "bytes=300000-", None]


@pytest.mark.parametrize("way", [stalls(0), stalls(2000), drips])
def test_a_server_that_stalls_is_left_after_some_tries(serve, tmp_path, way):
    bad, good = serve(way), serve(serves())
    assert fetch(wanted_from(tmp_path, bad, good), patience=Patience(0.5, pause=lambda seconds: None))
    assert 1 <= len(bad.asked) <= fetching.TRIES and good.asked


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 4), (503, 4), (416, 1), (204, 1)])
def test_statuses(serve, tmp_path, status, tries):
    server = serve(says(status))
    with pytest.raises(DownloadError, match=f"it answers {status}"):
        got(wanted_from(tmp_path, server))
    assert len(server.asked) == tries


def test_the_next_address_goes_on_where_the_first_one_ended(serve, tmp_path):
    first, second = serve(serves(upto=300_000), says(404)), serve(serves())
    assert got(wanted_from(tmp_path, first, second)) and second.asked == ["bytes=300000-"]


def test_a_machine_that_does_not_answer(serve, tmp_path):
    server = serve(serves())
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"the connection failed \(Connection refused\), 4 times in a row"):
        got(wanted_from(tmp_path, server))


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://a/b", "file:///etc/passwd", "https://", "a", "http://["]
)
def test_an_address_that_is_not_encrypted_is_refused(tmp_path, url):
    with pytest.raises(DownloadError, match="must begin with https://"):
        got(wanted_from(tmp_path, url))


@pytest.mark.parametrize("place", ["http://example.org/a", "file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_a_server_may_not_lead_elsewhere(serve, tmp_path, place):
    with pytest.raises(DownloadError, match=r"not encrypted|it answers 302"):
        got(wanted_from(tmp_path, serve(says(302, Location=place))))


def test_a_server_may_lead_on(serve, tmp_path):
    last = serve(serves(upto=300_000), serves())
    first = serve(says(302, Location=last.url))
    assert got(wanted_from(tmp_path, first)) and last.asked == [None, "bytes=300000-"]


def test_a_proxy_of_the_environment_is_asked(serve, tmp_path, monkeypatch):
    proxy = serve(serves())
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/file.onnx"))
    assert got(wanted_from(tmp_path, "http://localhost:9/file.onnx"))
    assert proxy.paths == ["http://localhost:9/file.onnx"]


def test_a_full_disk_is_said_and_what_is_there_stays(serve, tmp_path, monkeypatch):
    server = serve(serves(upto=300_000), serves())
    real = fetching.shutil.disk_usage
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: type(real(path))(10**9, 10**9, 10))
    with pytest.raises(OutputError, match="bytes are missing and the disk has not as many free"):
        got(wanted_from(tmp_path, server))

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching.shutil, "disk_usage", real)
    monkeypatch.setattr(fetching.os, "fsync", full)
    with pytest.raises(
        OutputError, match=r"No space left on device\. What is there stays in .*\.part: free some space"
    ):
        got(wanted_from(tmp_path, server))
    assert names(tmp_path) == ["file.onnx.part"]


def test_a_file_of_this_name_is_not_replaced(serve, tmp_path):
    wanted = wanted_from(tmp_path, server := serve(serves()))
    wanted.target.parent.mkdir()
    wanted.target.write_bytes(b"mine")
    with pytest.raises(OutputError, match="is there and is another file: move it away"):
        got(wanted)
    assert wanted.target.read_bytes() == b"mine" and not server.asked


def test_one_file_is_downloaded_once_at_a_time(serve, tmp_path):
    wanted = wanted_from(tmp_path, server := serve(serves()))
    wanted.target.parent.mkdir()
    with FileLock(f"{wanted.target}.part.lock"), pytest.raises(OutputError, match="by another process"):
        got(wanted)
    assert not server.asked


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "models").write_bytes(b"a file")
    with pytest.raises(OutputError, match="cannot be written"):
        got(wanted_from(tmp_path, "https://example.org/a"))


@pytest.fixture
def known(serve, monkeypatch):
    """Two known files of one name, and one with neither address nor hash; the server of the first."""
    server = serve(serves())
    card: ModelCard = CARDS["gfpgan"]
    files = (
        KnownFile("net.onnx", card, card.licence, "https://example.org/page", len(BODY), SHA, (server.url,)),
        KnownFile("net.onnx", card, card.licence, "https://example.org/other", None, "1" * 64),
        KnownFile("plain.onnx", card, card.licence, "https://example.org/page", 5, "2" * 64),
        KnownFile("unsure.onnx", card, card.licence, "https://example.org/page", 5, "", (server.url,)),
    )
    monkeypatch.setattr(models_get, "KNOWN", files)
    return server


def test_nothing_is_downloaded_without_the_users_word(known, tmp_path, capsys):
    words = ["models", "get", "NET.onnx", "--to", str(tmp_path), "--sha256", SHA[:6].upper()]
    assert cli.main(words) == cli.NOTHING_DONE
    shown = capsys.readouterr()
    assert "Licence: Apache-2.0" in shown.out and "add --accept-licence" in shown.err
    assert not known.asked and not list(tmp_path.iterdir())
    assert cli.main([*words, "--accept-licence"]) == 0
    assert (tmp_path / CARDS["gfpgan"].folder / "net.onnx").read_bytes() == BODY
    assert "its hash is right" in capsys.readouterr().out
    assert cli.main([*words, "--accept-licence"]) == 0 and "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.onnx"], "No known file is called 'nothing.onnx'"),
        (["net.onnx"], "2 known files are called 'net.onnx'. Choose one with --sha256: "),
        (["net.onnx", "--sha256", "3"], "11111111 from https://example.org/other"),
        (["net.onnx", "--sha256", "1"], "has no address of its own. Get it from https://example.org/other (Apache"),
        (["plain.onnx"], "and put it into models/facerestore_models."),
        (["unsure.onnx"], "has no hash that a download could be checked by"),
        (["net.onnx", "--sha256", SHA, "--to", "nowhere"], "There is no folder nowhere"),
        (["net.onnx", "--sha256", SHA], "Name a folder of models with --to"),
    ],
)
def test_what_cannot_be_got_is_said(known, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.setattr(models_get, "COMFYUI_MODELS", tmp_path / "no ComfyUI")
    assert cli.main(["models", "get", *words, "--accept-licence"]) == cli.NOTHING_DONE
    assert sentence in capsys.readouterr().err
    assert not known.asked


def test_a_mirror_of_the_user_comes_first_and_its_word_is_not_taken(known, serve, tmp_path, capsys):
    liar = serve(serves(OTHER))
    words = ["models", "get", "net.onnx", "--sha256", SHA, "--to", str(tmp_path), "--accept-licence"]
    assert cli.main([*words, "--mirror", liar.url]) == 0
    assert len(liar.asked) == len(known.asked) == 1
    (tmp_path / CARDS["gfpgan"].folder / "net.onnx").unlink()
    words[4] = "1"
    assert cli.main([*words, "--mirror", liar.url]) == cli.NOTHING_DONE
    assert "its hash is wrong" in (said := capsys.readouterr().err) and "Get it from https://example.org/other" in said


def test_the_archive_without_network_code_says_how_to_get_a_file(known, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "slimfusion.commands.fetching", None)
    words = ["models", "get", "net.onnx", "--sha256", SHA, "--to", str(tmp_path), "--accept-licence"]
    assert cli.main(words) == cli.NOTHING_DONE
    assert "has no code that uses the network" in capsys.readouterr().err


def test_one_file_uses_the_network_and_the_registrys_archive_has_it_not():
    """Benches and tests, which are no part of a copy that a user runs, use what they like."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    users = []
    for name in listed.stdout.split():
        path = Path(name)
        if path.parts[0] in ("bench", "tests") or path.name == "dev.py" or not (ROOT / path).exists():
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level
        }
        if NETWORK & {each.split(".")[0] for each in imported}:
            users.append(path.as_posix())
    assert users == ["commands/fetching.py"]
    assert "commands/fetching.py" in (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
