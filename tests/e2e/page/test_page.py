"""The page in a real Chromium: a photo in, parts seen, read and switched, downloads out."""

import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from skimage.data import astronaut

from tests.support.chromium import (
    Opener,
    answered,
    class_called,
    downloaded,
    drop,
    encoded,
    inner_point,
    labels_of,
    pixels_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decode

PHONE = {"width": 360, "height": 740}


def test_a_dropped_photo_is_overlaid_and_parts_can_be_switched(open_page: Opener, gateway_url: str) -> None:
    page = open_page()
    hair_id = class_called(page, gateway_url, "hair")["id"]
    answer = answered(page, lambda: drop(page, encoded(astronaut())))
    expect(page.locator("#found")).to_have_text("One face")
    expect(page.locator("#veil")).to_be_hidden()
    labels = labels_of(answer["mask"])

    before = pixels_of(page, "overlay")
    assert before.shape[:2] == labels.shape
    assert ((before[..., 3] > 0) == (labels > 0)).all()

    hair = page.get_by_role("checkbox", name="hair")
    hair.uncheck()
    after = pixels_of(page, "overlay")
    gone = (before[..., 3] > 0) & (after[..., 3] == 0)
    assert (gone == (labels == hair_id)).all()

    page.get_by_role("button", name="None").click()
    page.mouse.move(5, 5)
    assert not pixels_of(page, "overlay")[..., 3].any()
    expect(page.locator("#save-cutout")).to_be_disabled()
    page.get_by_role("button", name="All", exact=True).click()
    assert (pixels_of(page, "overlay") == before).all()


def test_the_list_says_each_part_and_its_share(open_page: Opener) -> None:
    page = open_page()
    answer = answered(page, lambda: drop(page, encoded(astronaut())))
    areas = {part["id"]: part["area"] for part in answer["faces"][0]["parts"]}
    shown = {
        int(row.get_attribute("data-id")): row.locator(".share").inner_text() for row in page.locator(".part").all()
    }
    assert shown.keys() == areas.keys()
    largest = max(areas, key=lambda i: areas[i])
    assert shown[largest] == f"{100 * areas[largest] / sum(areas.values()):.1f} %"


def test_hovering_reads_name_and_confidence(open_page: Opener, gateway_url: str) -> None:
    page = open_page(device_scale_factor=1.5, viewport={"width": 1280, "height": 920})
    answer = answered(page, lambda: drop(page, encoded(astronaut())))
    nose = class_called(page, gateway_url, "nose")
    x, y = inner_point(labels_of(answer["mask"]), nose["id"])
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["confidence"]["data"]))))
    box = page.locator("#overlay").bounding_box()
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / 512, box["y"] + (y + 0.5) * box["height"] / 512)
    expect(page.locator("#probe")).to_have_text(f"{nose['title']} · {int(grey[y, x] / 255 * 100 + 0.5)} %")
    expect(page.locator(".part.lit .name")).to_have_text(nose["title"])
    if path := os.environ.get("FPAN_SCREENSHOT"):
        page.screenshot(path=path)
    page.mouse.move(5, 5)
    expect(page.locator("#probe")).to_be_hidden()


def test_pointing_at_a_row_brings_its_part_out(open_page: Opener, gateway_url: str) -> None:
    page = open_page()
    answer = answered(page, lambda: drop(page, encoded(astronaut())))
    labels = labels_of(answer["mask"])
    hair, skin = (class_called(page, gateway_url, name)["id"] for name in ("hair", "skin"))
    (hx, hy), (sx, sy) = inner_point(labels, hair), inner_point(labels, skin)
    before = pixels_of(page, "overlay")
    page.locator(f".part[data-id='{hair}']").hover()
    lit = pixels_of(page, "overlay")
    assert lit[hy, hx, 3] > before[hy, hx, 3]
    assert lit[sy, sx, 3] < before[sy, sx, 3]


def test_the_slider_changes_the_overlay_alone(open_page: Opener) -> None:
    page = open_page()
    answered(page, lambda: drop(page, encoded(astronaut())))
    photo = pixels_of(page, "photo")
    page.locator("#opacity").fill("100")
    overlay = pixels_of(page, "overlay")
    assert set(np.unique(overlay[..., 3])) == {0, 255}
    assert (pixels_of(page, "photo") == photo).all()


def test_downloads_hold_what_the_answer_says(open_page: Opener, gateway_url: str) -> None:
    page = open_page()
    hair = class_called(page, gateway_url, "hair")
    photo = astronaut()
    answer = answered(page, lambda: drop(page, encoded(photo)))
    labels = labels_of(answer["mask"])

    name, content = downloaded(page, "#save-png")
    picture = Image.open(io.BytesIO(content))
    assert (name, picture.mode) == ("astronaut.labels.png", "P")
    assert (np.asarray(picture) == labels).all()
    assert picture.getpalette()[3 * hair["id"] :][:3] == hair["colour"]

    name, content = downloaded(page, "#save-json")
    assert name == "astronaut.json"
    assert json.loads(content) == answer

    page.get_by_role("checkbox", name="hair").uncheck()
    name, content = downloaded(page, "#save-cutout")
    rgba = np.asarray(Image.open(io.BytesIO(content)))
    kept = (labels > 0) & (labels != hair["id"])
    assert name == "astronaut.cutout.png"
    assert ((rgba[..., 3] == 255) == kept).all()
    assert (rgba[kept][:, :3] == photo[kept]).all()


def test_one_of_several_faces_is_looked_at_alone(open_page: Opener) -> None:
    page = open_page()
    answer = answered(page, lambda: drop(page, encoded(np.hstack([astronaut(), astronaut()])), "two.png"))
    expect(page.locator("#found")).to_have_text("2 faces")
    page.get_by_role("radio", name="Face 2").check(force=True)
    labels = labels_of(answer["faces"][1]["mask"])
    assert ((pixels_of(page, "overlay")[..., 3] > 0) == (labels > 0)).all()
    name, content = downloaded(page, "#save-png")
    assert name == "two.face2.labels.png"
    assert (np.asarray(Image.open(io.BytesIO(content))) == labels).all()


def test_all_can_be_done_with_the_keyboard(open_page: Opener) -> None:
    page = open_page()

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))

    def tab_to(wanted: str) -> None:
        for _ in range(12):
            page.keyboard.press("Tab")
            if focused() == wanted:
                return
        pytest.fail(f"Tab never came to {wanted!r}")

    page.on("filechooser", lambda chooser: None)  # Playwright takes choosers over only from here on, and not at once
    tab_to("Choose a photo")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    photo = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(astronaut())}
    answered(page, lambda: chooser.value.set_files([photo]))
    assert focused() == "found"

    tab_to("overlay")
    expect(page.locator("#probe")).to_be_visible()
    expect(page.locator("#reading")).to_contain_text("% sure")
    before = page.locator("#ring").bounding_box()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    after = page.locator("#ring").bounding_box()
    assert after["x"] > before["x"]
    assert after["y"] > before["y"] + 10

    tab_to("opacity")
    expect(page.locator("#probe")).to_be_hidden()
    tab_to("parts-none")
    page.keyboard.press("Tab")
    shown = pixels_of(page, "overlay")
    page.keyboard.press("Space")
    assert (pixels_of(page, "overlay") != shown).any()
    expect(page.get_by_role("checkbox").first).not_to_be_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll(open_page: Opener, scheme: str) -> None:
    page = open_page(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == PHONE["width"]
    answered(page, lambda: drop(page, encoded(np.hstack([astronaut(), astronaut()]))))
    assert page.evaluate(width) == PHONE["width"]
    box = page.locator("#overlay").bounding_box()
    page.touchscreen.tap(box["x"] + 0.44 * box["width"] / 2, box["y"] + 0.2 * box["height"])
    expect(page.locator("#probe")).to_be_visible()
    assert page.evaluate(width) == PHONE["width"]
