"""The page of the HTTP interface in a real browser: nothing comes from elsewhere, and everything can be found."""

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.chromium import Opener


def test_it_shows_every_operation_and_asks_no_other_host(open_page: Opener, gateway_url: str) -> None:
    document = httpx.get(f"{gateway_url}/openapi.json").json()
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{gateway_url}/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text("HTTP interface")
    assert len(asked) >= 3
    assert all(url.startswith(gateway_url) for url in asked)
    contents = page.get_by_role("navigation", name="Operations")
    for path, methods in document["paths"].items():
        for method in methods:
            expect(contents.get_by_role("link", name=f"{method.upper()} {path}", exact=True)).to_be_visible()
    assert page.evaluate("document.styleSheets.length") == 2


def test_a_link_leads_to_an_operation_that_opens(open_page: Opener, gateway_url: str) -> None:
    page = open_page()
    page.goto(f"{gateway_url}/docs")
    page.get_by_role("link", name="POST /v1/parse", exact=True).click()
    assert page.url.endswith("/docs#parse")
    operation = page.locator("details", has=page.locator("#parse"))
    expect(operation.locator("summary").first).to_be_in_viewport()
    expect(operation.get_by_role("cell", name="deadline_ms", exact=True)).to_be_visible()
    expect(operation.get_by_text("application/x-npz").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Opener, gateway_url: str, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(f"{gateway_url}/docs")
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
