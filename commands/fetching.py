"""Downloading one file whose SHA-256 is known: the only code here that uses the network, and only when it is asked to.

It is no part of the archive for ComfyUI's registry (.comfyignore), whose packs leave downloads to ComfyUI itself.

The file grows beside its place under another name, `.part`, and gets its own name when its hash is right. What is there
of it is never fetched twice: a server is asked for the rest. Whatever a server says or does, its word is not taken: the
length and the hash that are known decide. A proxy is taken from the environment, as the standard library does.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import DownloadError, OutputError
from ..version import __version__

PART = ".part"
CHUNK = 1 << 18  # bytes read at a time
TRIES = 4  # in a row that bring less than PROGRESS bytes, until an address is given up
PROGRESS = 1 << 20
LONGEST = 8 << 30  # bytes of a file whose length nobody knows
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # statuses of a server that may answer later
LOCAL = {"127.0.0.1", "::1", "localhost"}  # reached without encryption: a mirror on this machine

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes in all


@dataclass(frozen=True)
class Patience:
    """seconds: without a byte, or with less than `least` bytes a second over as long, until a try ends.

    pause: called with seconds between two tries.
    """

    seconds: float = 30.0
    least: int = 1024
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Wanted:
    """One file.

    target: where it goes. urls: where it can be had, tried in this order. sha256: in hexadecimal. size: bytes, None
    where nobody knows.
    """

    target: Path
    urls: tuple[str, ...]
    sha256: str
    size: int | None = None


class _Failed(Exception):
    """A try ended. for_good: the address is no use."""

    def __init__(self, reason: str, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


def fetch(wanted: Wanted, progress: Progress = lambda done, total: None, patience: Patience | None = None) -> bool:
    """Puts a file into its place; False where it was there already.

    Raises DownloadError where no address gives it, OutputError where it cannot be written or another file has its name.
    """
    for url in wanted.urls:
        if not _is_safe(url, local=True):
            raise DownloadError(f"{url!r} is no address to download from. It must begin with https://.")
    try:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{_part_of(wanted)}.lock", timeout=0)
        with lock:
            try:
                return _fetched(wanted, progress, patience or Patience())
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(lock.lock_file)
    except Timeout as error:
        raise OutputError(f"{wanted.target} is being downloaded by another process: wait for that one.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"{reason}. What is there stays in {_part_of(wanted)}: free some space and start again"
        raise OutputError(f"{wanted.target} cannot be written: {reason}.") from error


def _fetched(wanted: Wanted, progress: Progress, patience: Patience) -> bool:
    part = _part_of(wanted)
    if _is_right_there(wanted):
        return False
    reasons = []
    for url in wanted.urls:
        try:
            _fetch_from(url, wanted, progress, patience)
        except _Failed as failure:
            reasons.append(f"{_host(url)}: {failure}")
            continue
        if _is_right_there(wanted):  # somebody else was faster
            part.unlink()
            return False
        os.replace(part, wanted.target)
        return True
    raise DownloadError(f"{wanted.target.name} could not be downloaded. {'; '.join(reasons)}.")


def _is_right_there(wanted: Wanted) -> bool:
    """Raises OutputError for another file of this name, which is left alone."""
    if not os.path.lexists(wanted.target):
        return False
    if wanted.target.is_file() and _hash_of(wanted.target) == wanted.sha256:
        return True
    raise OutputError(f"{wanted.target} is there and is another file: move it away, or choose another folder.")


def _fetch_from(url: str, wanted: Wanted, progress: Progress, patience: Patience) -> None:
    """Completes the part of a file from one address, its hash checked. Raises `_Failed`."""
    part = _part_of(wanted)
    failures = wrong = 0
    furthest = _length(part)
    while True:
        before = _length(part)
        try:
            if wanted.size is None or before != wanted.size:
                _try_once(url, wanted, progress, patience)
            if _hash_of(part) == wanted.sha256:
                return
            part.unlink()
            wrong += 1
            # What was begun at another time may have been another file: once more from the start.
            if not before or wrong == 2:
                raise _Failed("what it gives is another file: its hash is wrong", for_good=True)
        except _Failed as failure:
            if failure.for_good:
                raise
            # A server that ends each answer may go on, as long as the file grows.
            failures = failures + 1 if _length(part) < furthest + PROGRESS else 1
            furthest = max(furthest, _length(part))
            if failures >= TRIES:
                raise _Failed(f"{failure}, {failures} times in a row") from failure
            patience.pause(min(30.0, 2.0**failures))


def _try_once(url: str, wanted: Wanted, progress: Progress, patience: Patience) -> None:
    """Adds what one answer brings to the part of a file; returns when the answer says that it is whole."""
    part = _part_of(wanted)
    start = _length(part)
    headers = {"User-Agent": f"slimfusion/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        opened = opener.open(urllib.request.Request(url, headers=headers), timeout=patience.seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if _hash_of(part) != wanted.sha256:
                part.unlink()
                raise _Failed("it has nothing beyond what was there, which was no whole file") from error
            return
        raise _Failed(f"it answers {error.code} {error.reason}", error.code not in AGAIN) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Failed(_reason(error), _is_hopeless(error)) from error
    with opened as answer:
        start, total = _span(answer, start, wanted)
        _check_space(part, start, total)
        with open(part, "r+b" if start else "wb") as file:
            file.seek(start)
            _receive(answer, file, _Receipt(start, total, progress, patience))
            file.flush()
            os.fsync(file.fileno())


def _span(answer: Any, start: int, wanted: Wanted) -> tuple[int, int | None]:
    """Where what comes begins, and how long the file is in all, as far as is known.

    Raises `_Failed` for an answer that is about a file of another length.
    """
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if content_range is None or int(content_range[1]) != start:
            _part_of(wanted).unlink()
            raise _Failed("it sends another part than it was asked for")
        total = None if content_range[2] == "*" else int(content_range[2])
    elif answer.status == http.HTTPStatus.OK:
        start = 0  # it knows no parts
    else:
        raise _Failed(f"it answers {answer.status}", for_good=True)
    if wanted.size is not None and total not in (None, wanted.size):
        raise _Failed(f"it has a file of {total} bytes instead of {wanted.size}", for_good=True)
    return start, wanted.size or total


def _check_space(part: Path, start: int, total: int | None) -> None:
    if total is not None and shutil.disk_usage(part.parent).free < total - start:
        raise OSError(errno.ENOSPC, f"{total - start} bytes are missing and the disk has not as many free")


@dataclass
class _Receipt:
    """Where an answer begins in its file, and what is known and wanted of it."""

    start: int
    total: int | None
    progress: Progress
    patience: Patience


def _receive(answer: Any, file: Any, receipt: _Receipt) -> None:
    """Writes an answer's bytes as they come. Raises `_Failed` when it ends early, goes on too long, or stalls."""
    done, total, patience = receipt.start, receipt.total, receipt.patience
    most = LONGEST if total is None else total
    since, at_since = time.monotonic(), done
    while True:
        try:
            chunk = answer.read1(min(CHUNK, most - done + 1))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _Failed(_reason(error)) from error
        if not chunk:
            break
        if done + len(chunk) > most:
            file.truncate(0)
            raise _Failed(f"it sends more than {most} bytes", for_good=True)
        file.write(chunk)
        done += len(chunk)
        receipt.progress(done, total)
        now = time.monotonic()
        if now - since >= patience.seconds:
            if done - at_since < patience.least * (now - since):
                raise _Failed(f"it sends less than {patience.least} bytes a second")
            since, at_since = now, done
    if total is not None and done < total:
        raise _Failed(f"the connection ended after {done} of {total} bytes")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to encrypted addresses alone; one of this machine also to others of it."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _is_safe(newurl, local=_is_safe(req.full_url, local=True) and req.type == "http"):
            fp.close()
            raise _Failed(f"it sends us to {newurl}, which is not encrypted", for_good=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_safe(url: str, local: bool) -> bool:
    """Whether an address is encrypted. local: or of this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return (parts.scheme == "https" and bool(parts.hostname)) or (
        local and parts.scheme == "http" and parts.hostname in LOCAL
    )


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "it does not answer"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"the connection failed ({str(words).rstrip('.')})"


def _is_hopeless(error: Exception) -> bool:
    """Whether another try cannot help: the certificate is wrong."""
    return isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _part_of(wanted: Wanted) -> Path:
    return wanted.target.with_name(wanted.target.name + PART)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
