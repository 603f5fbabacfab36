"""Two frontends, each with both of its renderers; a frontend's pages share a host."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from slimfusion.bench.host_driver import Host, booted

sys.path.insert(0, str(Path(__file__).parent))
from pages import PAGES

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000  # of an expectation: a page without a card, beside other tests on two cores, is slow


def missing(what: str) -> None:
    """A skip on a developer's machine, a failure where the page must be tested."""
    if os.environ.get("SLIMFUSION_BROWSER") == "required":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("There is no chromium: install your system's package to test the page.")
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


def flags_of(frontend: str) -> list[str]:
    """What a host is started with to serve a frontend: the host's own, or the newest."""
    if frontend == "bundled":
        return []
    folder = os.environ.get("SLIMFUSION_FRONTEND")
    if not folder:
        missing("SLIMFUSION_FRONTEND is not set to a frontend's static files; dev.py test sets it.")
    return ["--front-end-root", str(folder)]


@pytest.fixture(scope="session")
def host_with() -> Iterator[Callable[[str], Host]]:
    """A running host by the name of its frontend: started when it is first asked for, and kept."""
    with ExitStack() as running:
        yield cache(lambda frontend: running.enter_context(booted(flags_of(frontend))))


@pytest.fixture(scope="session", params=PAGES)
def editor(request: pytest.FixtureRequest, browser: object, host_with: Callable[[str], Host]) -> Iterator[object]:
    from editor import opened

    frontend, renderer = request.param.split("-")
    opened_page = opened(browser, host_with(frontend), request.param, renderer == "nodes2")
    opened_page.quiet()
    yield opened_page
    opened_page.page.close()


@pytest.fixture
def first_editor(editor: object) -> object:
    """The page before its first workflow, where it matters: as who opens one template has it.

    1.32.9 in Nodes 2.0 spreads the first workflow of a page by a fifth. Of later ones it enlarges the nodes alone,
    core's too, so that they come to lie over one another.
    """
    if editor.name == "bundled-nodes2":
        editor.reopen()
    return editor
