"""Chromium for the page's tests, and a training of a minute for those of what comes of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fpan_training.paper.pipeline import Paper
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.chromium import Opener

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
]
DESKTOP = {"width": 1280, "height": 860}
PATIENCE_MS = 20_000
"""For an answer on a busy machine of two cores."""


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make train PRESET=smoke` leaves."""
    return Paper(tmp_path_factory.mktemp("paper") / "smoke", preset="smoke")()


@pytest.fixture(scope="module")
def browser(gateway_url: str) -> Iterator[Browser]:
    """Chromium; started after the server, so that an event loop of Playwright's is never below the server's."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium here: get one with 'apt-get install chromium'")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, gateway_url: str) -> Iterator[Opener]:
    """Opens the page in a window of its own; afterwards nothing may have gone wrong or have left this origin."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def opener(*, url: str = gateway_url, fault: str = "", **options: Any) -> Page:
        options = {"viewport": DESKTOP, "reduced_motion": "reduce", **options}
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if fault:
            context.add_init_script(fault)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
        page.on(
            "console",
            lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None,
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "blob:", "data:"))
                else faults.append(f"left the origin: {request.url}")
            ),
        )
        page.goto(url)
        return page

    yield opener
    for context in contexts:
        context.close()
    assert not faults
