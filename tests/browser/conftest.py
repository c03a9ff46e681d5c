"""A real browser, headless: Debian's chromium or whatever Chrome is installed, driven by playwright."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

_CAMERA = "--use-fake-device-for-media-stream"  # a drawn picture that moves
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; they are skipped where none is installed."""
    executable = next((path for path in map(shutil.which, _NAMES) if path), None)
    if executable is None:
        pytest.skip("no chromium or Chrome is installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", _CAMERA])
        yield running
        running.close()


@contextmanager
def watched_page(browser: Browser, path: Path, screen: str) -> Iterator[Page]:
    """A page opened as a file; a script error, or a request outside its folder, fails the test.

    The screen is ``wide`` or ``phone``, and its colours ``light`` or ``dark``.
    """
    width, scheme = screen.split()
    size = {"width": 1280, "height": 800} if width == "wide" else {"width": 390, "height": 844}
    context = browser.new_context(
        viewport=size, color_scheme=scheme, has_touch=width == "phone", reduced_motion="reduce"
    )
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda failed: errors.append(failed.url))

    def stay(asked: Request) -> None:
        if not asked.url.startswith((path.parent.as_uri(), "data:", "blob:")):
            errors.append(f"asked for {asked.url}")

    page.on("request", stay)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not errors, errors


@pytest.fixture(scope="session")
def open_page(browser: Browser) -> Callable[[Path, str], AbstractContextManager[Page]]:
    """Open a file on a screen, as :func:`watched_page` does."""
    return partial(watched_page, browser)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page of 1280 by 800; an error thrown by its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, errors
