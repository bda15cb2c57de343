"""The page's own files: policy, reading of masks, accessibility."""

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from pycocotools import mask as coco
from skimage.data import astronaut

from tests.support.chromium import Opener, answered, drop, encoded


def test_runs_are_read_as_pycocotools_writes_them(open_page: Opener, gateway_url: str) -> None:
    page = open_page()
    rng = np.random.default_rng(7)
    masks = [np.zeros((3, 5), np.uint8), np.ones((4, 2), np.uint8), np.eye(9, dtype=np.uint8)]
    masks += [(rng.random((h, w)) < p).astype(np.uint8) for h, w, p in ((1, 1, 1), (17, 31, 0.5), (200, 90, 0.02))]
    blob = np.zeros((300, 200), np.uint8)
    blob[10:290, 5:180] = 1
    masks.append(blob)
    for mask in masks:
        counts = coco.encode(np.asfortranarray(mask))["counts"].decode()
        read = page.evaluate(
            "async ([url, size, counts]) => Array.from((await import(url)).labelMap("
            "{ size, classes: [{ id: 1, counts }] }))",
            [f"{gateway_url}/web/js/rle.js", list(mask.shape), counts],
        )
        assert (np.array(read, np.uint8).reshape(mask.shape) == mask).all()


def test_a_run_of_many_megapixels_is_read(open_page: Opener, gateway_url: str) -> None:
    counts = coco.encode(np.asfortranarray(np.ones((6000, 5000), np.uint8)))["counts"].decode()
    read = open_page().evaluate(
        "async ([url, counts]) => (await import(url)).runs(counts)", [f"{gateway_url}/web/js/rle.js", counts]
    )
    assert read == [0, 30_000_000]


@pytest.mark.parametrize("counts", ["`", "PPPPPPP", "01", "14", "!"])
def test_runs_that_fit_no_picture_are_refused(open_page: Opener, gateway_url: str, counts: str) -> None:
    said = open_page().evaluate(
        """async ([url, counts]) => {
            const { labelMap } = await import(url);
            try { return labelMap({ size: [2, 2], classes: [{ id: 1, counts }] }).join(); }
            catch (error) { return error.message; }
        }""",
        [f"{gateway_url}/web/js/rle.js", counts],
    )
    assert said.startswith("the mask")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(open_page: Opener, scheme: str) -> None:
    page = open_page(color_scheme=scheme)

    def check(view: str) -> None:
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"

    check("start")
    drop(page, b"words", "words.jpg", "image/jpeg")
    expect(page.locator("#problem")).to_be_visible()
    check("problem")
    answered(page, lambda: drop(page, encoded(np.hstack([astronaut(), astronaut()]))))
    check("work")
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#shutter")).to_be_enabled()
    check("camera")
    page.keyboard.press("Escape")
    page.route("**/v1/parse*", lambda route: route.fulfill(status=401, body="{}"))
    drop(page, encoded(astronaut()))
    expect(page.get_by_label("API key")).to_be_visible()
    check("key")


def test_files_come_with_a_strict_policy_and_are_not_sent_twice(gateway_url: str) -> None:
    with httpx.Client(base_url=gateway_url) as client:
        kinds = {
            "/": "text/html",
            "/web/js/main.js": "text/javascript",
            "/web/css/base.css": "text/css",
            "/web/icon.svg": "image/svg+xml",
        }
        for path, kind in kinds.items():
            first = client.get(path)
            assert first.headers["content-type"].split(";")[0] == kind
            policy = first.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert first.headers["x-content-type-options"] == "nosniff"
            again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
            head = client.head(path)
            assert (head.status_code, head.content) == (200, b"")
        assert client.get("/web/js/nothing.js").status_code == 404
        assert client.get("/web/../page.py").status_code == 404
