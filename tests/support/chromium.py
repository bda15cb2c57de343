"""What the page's tests do in Chromium, and how they read what is there."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect
from pycocotools import mask as coco

Opener = Callable[..., Page]
"""Opens the page in a window of its own; takes the options of a browser context, ``url`` and ``fault`` (a script)."""


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def transfer(page: Page, name: str, kind: str, content: bytes) -> Any:
    """A DataTransfer with one file, as a drag from the desktop or the clipboard has it."""
    return page.evaluate_handle(
        """([name, type, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type }));
            return data;
        }""",
        [name, kind, base64.b64encode(content).decode()],
    )


def drop(page: Page, content: bytes, name: str = "astronaut.png", kind: str = "image/png") -> None:
    data = transfer(page, name, kind, content)
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("main", event, {"dataTransfer": data})


def answered(page: Page, act: Callable[[], object]) -> dict[str, Any]:
    """Do ``act`` and wait until its answer, which is given back, is on the page."""
    with page.expect_response("**/v1/parse?*") as response:
        act()
    answer: dict[str, Any] = response.value.json()
    expect(page.locator("#work")).to_have_attribute("aria-busy", "false")
    return answer


def labels_of(mask: dict[str, Any]) -> NDArray[np.uint8]:
    """What pycocotools reads from the answer's runs, uint8 (H, W)."""
    labels = np.zeros(mask["size"], np.uint8)
    for c in mask["classes"]:
        labels[coco.decode({"size": mask["size"], "counts": c["counts"].encode()}) > 0] = c["id"]
    return labels


def pixels_of(page: Page, canvas: str) -> NDArray[np.uint8]:
    url = page.evaluate("(id) => document.getElementById(id).toDataURL()", canvas)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def inner_point(labels: NDArray[np.uint8], class_id: int) -> tuple[int, int]:
    """x, y of a pixel of the class whose neighbours are of it too."""
    mask = labels == class_id
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        mask = mask & np.roll(mask, (dy, dx), (0, 1))
    ys, xs = np.nonzero(mask)
    middle = int(np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2))
    return int(xs[middle]), int(ys[middle])


def downloaded(page: Page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def class_called(page: Page, gateway_url: str, name: str) -> dict[str, Any]:
    classes = page.request.get(f"{gateway_url}/v1/labels").json()["classes"]
    return next(c for c in classes if c["name"] == name)
