"""Drift by real networks: what the gateway measures is what references are made of, and traffic can become one."""

import json
import re
import shutil
from dataclasses import asdict

import cv2
import httpx
from fpan import Client
from fpan.contract import ModelRepository, ReferenceHistogram
from fpan.registry import FolderStore
from fpan.serve.api.options import ParseOptions
from fpan.serve.app import open_gateway
from fpan.serve.config import Settings
from fpan_training.data.folder import FaceFolder
from fpan_training.release.reference import measure_reference

from tests.support import service as services

LIVE_ONLY = {"yaw", "pitch", "roll", "face_size"}


async def test_training_and_gateway_measure_the_same_of_the_same_crop(astronaut_jpeg, tmp_path):
    settings = Settings(
        backend="in-process", runtime="onnxruntime", model_repository=services.ROOT / "model_repository"
    )
    async with open_gateway(settings) as gateway:
        result, _, segmenter, _ = await gateway.parser.parse(astronaut_jpeg, ParseOptions(frame="crop"))
        window = segmenter.window
    (face,) = result.faces
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/one.png"), cv2.cvtColor(face.crop.pixels, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "masks/one.png"), face.labels)
    card = window.card
    model = ModelRepository(settings.model_repository).folder(card.name, card.version) / "model.onnx"
    trained = measure_reference(model, FaceFolder.open(tmp_path, "val"), card, "one")
    observed = window.observed()
    assert {histogram.quantity for histogram in trained} == set(observed) - LIVE_ONLY
    for histogram in trained:
        # Of one face a reference's edges are those of its bin, so that equal histograms mean the very same bin.
        seen = observed[histogram.quantity]
        assert ReferenceHistogram.of(histogram.quantity, seen.edges, seen.counts, "one") == histogram
    for axis, angle in asdict(face.facts.pose).items():
        below = sum(edge <= angle for edge in observed[axis].edges)
        assert observed[axis].counts[below] == 1


def test_traffic_becomes_the_reference_of_a_new_version(gateway_url, astronaut_jpeg, tmp_path, fpan_models):
    root = tmp_path / "models"
    shutil.copytree(services.ROOT / "model_repository", root)
    store = FolderStore(root)
    current = store.card("segm", store.current("segm"))
    with Client(gateway_url) as client:
        client.parse(astronaut_jpeg)
        client.parse(astronaut_jpeg)
    make = ("reference", "segm", "--url", gateway_url, "--repository", root, "--min-faces")
    status, _, err = fpan_models(*make, 10**6)
    assert (status, "fewer than the 1000000" in re.sub(r"\W+", " ", err)) == (2, True)
    status, out, _ = fpan_models(*make, 2)
    assert status == 0
    made = store.card("segm", current.version + 1)
    assert f"version {made.version} is version {current.version} with another reference" in out
    assert made.sha256 == current.sha256
    kept = {h.quantity: h for h in current.reference}
    added = {h.quantity: h for h in made.reference if h.quantity not in kept}
    assert set(added) == set(_told(gateway_url)) - set(kept) >= LIVE_ONLY
    assert all(h in made.reference for h in kept.values())
    assert all("live traffic" in h.source and h.faces >= 2 for h in added.values())
    status, out, _ = fpan_models("show", f"segm:{made.version}", "--repository", root)
    assert re.search(r"reference +live traffic .*yaw, pitch, roll, face_size", out)
    status, _, err = fpan_models("reference", f"segm:{made.version}", "--url", gateway_url, "--repository", root)
    assert status == 2
    assert "does not serve" in re.sub(r"\W+", " ", err)
    status, out, _ = fpan_models(
        "diff", f"segm:{current.version}", f"segm:{made.version}", "--repository", root, "--json"
    )
    assert {each["name"] for each in json.loads(out)} == {f"{name} (reference)" for name in added}


def _told(url: str) -> dict[str, object]:
    (version,) = httpx.get(f"{url}/v1/drift").json()["versions"]
    return version["quantities"]
