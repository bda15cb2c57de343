"""The ways into the page, in a real Chromium: files, clipboard, camera, keys, and what goes wrong on them."""

import io
import json
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Route, expect
from skimage.data import astronaut

from tests.support.chromium import Opener, answered, downloaded, drop, encoded, pixels_of, transfer

KEY = "a-key-that-is-right"


def test_a_text_file_is_refused_in_words(open_page: Opener) -> None:
    page = open_page()
    drop(page, b"These are words, not a picture.", "words.jpg", "image/jpeg")
    banner = page.get_by_role("alert").filter(has_text="Request")
    expect(banner).to_contain_text("JPEG, PNG, WebP, AVIF, HEIC, GIF and TIFF")
    expect(banner.get_by_role("button", name="Try again")).to_be_visible()
    answered(page, lambda: drop(page, encoded(astronaut())))
    expect(page.locator("#problem")).to_be_hidden()


def test_a_picture_without_a_face_is_no_error(open_page: Opener) -> None:
    page = open_page()
    answer = answered(page, lambda: drop(page, encoded(np.full((64, 96, 3), 128, np.uint8))))
    assert answer["faces"] == []
    expect(page.locator("#found")).to_have_text("No face found")
    expect(page.locator("#found-more")).to_contain_text(answer["reason"])
    expect(page.locator("#parts-card")).to_be_hidden()
    _, content = downloaded(page, "#save-png")
    assert not np.asarray(Image.open(io.BytesIO(content))).any()


def test_a_photo_that_takes_long_can_be_cancelled(open_page: Opener) -> None:
    page = open_page()
    page.route("**/v1/parse*", lambda route: None)  # never answered
    drop(page, encoded(astronaut()))
    expect(page.locator("#status")).to_have_text("Reading the photo")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Choose a photo")).to_be_focused()
    expect(page.locator("#problem")).to_be_hidden()


def test_a_dead_service_is_told_and_tried_again(open_page: Opener) -> None:
    page = open_page()
    page.route("**/v1/parse*", lambda route: route.abort())
    drop(page, encoded(astronaut()))
    expect(page.locator("#problem-title")).to_have_text("No answer from the service")
    page.unroute("**/v1/parse*")
    answered(page, lambda: page.get_by_role("button", name="Try again").click())
    expect(page.locator("#found")).to_have_text("One face")


def test_a_photo_is_pasted_by_shortcut_and_by_button(open_page: Opener, gateway_url: str) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    data = transfer(page, "pasted.png", "image/png", encoded(astronaut()))
    paste = "(data) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))"
    answered(page, lambda: page.evaluate(paste, data))
    expect(page.locator("#found")).to_have_text("One face")

    page.goto(gateway_url)
    page.evaluate(
        "(data) => navigator.clipboard.write([new ClipboardItem({ 'image/png': data.files[0] })])",
        transfer(page, "pasted.png", "image/png", encoded(astronaut())),
    )
    answered(page, lambda: page.get_by_role("button", name="Paste").click())
    expect(page.locator("#found")).to_have_text("One face")


def test_an_empty_clipboard_is_told(open_page: Opener) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('words')")
    page.get_by_role("button", name="Paste").click()
    expect(page.locator("#problem-detail")).to_have_text("The clipboard holds no picture.")
    expect(page.locator("#retry")).to_be_hidden()


def test_the_camera_takes_a_photo(open_page: Opener) -> None:
    page = open_page()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#shutter")).to_be_focused()
    playing = page.evaluate("[video.videoWidth, video.srcObject.active]")
    answer = answered(page, lambda: page.keyboard.press("Enter"))
    assert playing == [answer["image"]["width"], True]
    expect(page.locator("#camera")).to_be_hidden()
    assert page.evaluate("video.srcObject") is None
    assert pixels_of(page, "photo")[..., :3].std() > 5


def test_the_camera_is_let_go_on_cancel(open_page: Opener) -> None:
    page = open_page()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#shutter")).to_be_enabled()
    track = page.evaluate_handle("video.srcObject.getTracks()[0]")
    page.keyboard.press("Escape")
    expect(page.locator("#start")).to_be_visible()
    page.wait_for_function("(track) => track.readyState === 'ended'", arg=track)
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()


def test_a_denied_camera_is_told(open_page: Opener) -> None:
    page = open_page(
        fault="navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };"
    )
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#camera-word")).to_contain_text("Allow it in the site’s settings")
    expect(page.locator("#shutter")).to_be_disabled()


def test_a_page_that_is_not_secure_says_why_there_is_no_camera(open_page: Opener, gateway_url: str) -> None:
    page = open_page(url=f"http://insecure.test:{urlsplit(gateway_url).port}")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#camera-word")).to_contain_text("https or on localhost")


def test_a_key_is_asked_for_and_kept_in_the_tab(open_page: Opener) -> None:
    page = open_page()

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == f"Bearer {KEY}":
            route.continue_()
        else:
            body = json.dumps({"title": "A key is needed", "status": 401, "detail": "No key.", "request_id": "r1"})
            route.fulfill(status=401, content_type="application/problem+json", body=body)

    page.route("**/v1/**", guard)
    drop(page, encoded(astronaut()))
    dialog = page.get_by_role("dialog")
    expect(page.get_by_label("API key")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#problem-title")).to_have_text("A key is needed")

    page.get_by_role("button", name="Try again").click()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("not accepted")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_have_text("One face")
    assert page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]") == [[KEY], 0, ""]


def test_a_format_the_browser_cannot_show_is_drawn_by_the_service(open_page: Opener) -> None:
    page = open_page()
    tiff = encoded(astronaut(), "TIFF")
    answered(page, lambda: drop(page, tiff, "astronaut.tiff", "image/tiff"))
    expect(page.locator("#found-more")).to_contain_text("drawn by the service")
    assert pixels_of(page, "photo").shape[:2] == (512, 512)
    expect(page.locator("#opacity")).to_be_disabled()
    _, content = downloaded(page, "#save-cutout")
    assert Image.open(io.BytesIO(content)).mode == "RGBA"


def test_a_photo_is_shown_as_its_exif_says(open_page: Opener) -> None:
    page = open_page()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(np.rot90(astronaut()[:, :400]).copy(), "JPEG", exif=exif, quality=95)
    answer = answered(page, lambda: drop(page, turned, "turned.jpg", "image/jpeg"))
    assert answer["image"] == {"width": 400, "height": 512}
    photo = pixels_of(page, "photo")[..., :3].astype(int)
    assert np.abs(photo - astronaut()[:, :400]).mean() < 5
