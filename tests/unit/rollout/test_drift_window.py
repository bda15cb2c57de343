"""The gateway's window over the newest faces: what it counts, what it forgets, and what it tells of it."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
import yaml
from fpan.contract import ReferenceHistogram
from fpan.contract.drift import count, grid_of, quantities
from fpan.serve.api.options import ParseOptions
from fpan.serve.config import Settings
from fpan.serve.pipeline.align.pose import FACE as HEAD
from fpan.serve.pipeline.align.targets import Target
from fpan.serve.pipeline.segment.drift import DriftRules, FaceWindow, face_figures
from fpan.serve.transports.http.app import create_app
from fpan_training.face3d.pose import rotation
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.known_face import (
    BOX,
    CARD,
    FACE,
    OCCLUSION,
    POINTS,
    TAXONOMY,
    Detection,
    drawn,
    file_of,
    known_gateway,
    photo,
)
from tests.support.service import ROOT

RULES = DriftRules(window_faces=400, min_faces=300, min_score=0.8)
DRAWN = drawn()[::4, ::4]
"""Small, so that many can be counted."""


class Crowd:
    """Faces of one kind: unlike each other in pose, size, hair and confidence."""

    def __init__(self, seed: int, yaw: float = 0.0, masked: bool = False) -> None:
        self.rng, self.yaw, self.masked = np.random.default_rng(seed), yaw, masked

    def face(self) -> tuple[Target, dict[str, np.ndarray]]:
        angles = self.rng.normal((self.yaw, 0, 0), (12, 8, 6))
        side = self.rng.lognormal(5, 0.5)
        points = ((HEAD @ rotation(tuple(angles)).T)[:, :2] * side / 2.5 + 300).astype(np.float32)
        labels = DRAWN.copy()
        labels[: self.rng.integers(8, 20)] = 0
        if self.masked:
            labels[40:][labels[40:] > 0] = OCCLUSION
        elif self.rng.random() < 0.05:
            labels[50:][labels[50:] > 0] = OCCLUSION
        sure = np.full(labels.shape, self.rng.integers(220, 250), np.uint8)
        box = (300.0, 300.0, 300.0 + side, 300.0 + 1.3 * side)
        return Target(None, (0, 0, 1, 1), box, 0.9, points), {"labels": labels, "confidence": sure}

    def faces(self, number: int):
        pairs = [self.face() for _ in range(number)]
        return [target for target, _ in pairs], [answer for _, answer in pairs]

    def reference(self, number: int) -> tuple[ReferenceHistogram, ...]:
        figures = [face_figures(*face, TAXONOMY) for face in zip(*self.faces(number), strict=True)]
        return tuple(
            ReferenceHistogram.of(name, grid_of(name), count(grid_of(name), [f[name] for f in figures]), "the crowd")
            for name in quantities(TAXONOMY)
        )


@pytest.fixture(scope="module")
def card():
    return CARD.model_copy(update={"reference": Crowd(1).reference(1000)})


def indices(window: FaceWindow, crowd: Crowd, number: int) -> dict[str, float | None]:
    window.add(window.bins_of(*crowd.faces(number)))
    return {name: observed.psi for name, observed in window.observed().items()}


def test_faces_like_the_reference_are_no_drift(card):
    found = indices(FaceWindow(card, RULES), Crowd(2), 400)
    assert set(found) == set(quantities(TAXONOMY))
    for histogram in card.reference:
        # Thrice what chance gives on average: no quantity of 26 reaches that.
        chance = (len(histogram.shares) - 1) * (1 / 400 + 1 / 1000)
        assert found[histogram.quantity] < 3 * chance < 0.15, histogram.quantity


def test_turned_faces_are_told_by_their_yaw_alone(card):
    found = indices(FaceWindow(card, RULES), Crowd(3, yaw=35.0), 400)
    assert {name for name, value in found.items() if value > 0.25} == {"yaw"}


def test_masked_faces_are_told_by_what_is_covered(card):
    found = indices(FaceWindow(card, RULES), Crowd(4, masked=True), 400)
    told = {name for name, value in found.items() if value > 0.25}
    assert {"occluded", "area_occlusion", "area_skin"} <= told
    assert not told & {"yaw", "pitch", "roll", "face_size", "confidence", "area_background", "area_hat"}


def test_old_faces_are_forgotten(card):
    window = FaceWindow(card, RULES)
    assert indices(window, Crowd(3, yaw=35.0), 400)["yaw"] > 0.25
    assert indices(window, Crowd(2), 440)["yaw"] < 0.1


def test_nothing_is_told_before_there_are_enough_faces_nor_without_a_reference(card):
    window = FaceWindow(card, RULES)
    assert set(indices(window, Crowd(2), 299).values()) == {None}
    assert None not in indices(window, Crowd(2), 1).values()
    assert window.faces == 300
    bare = FaceWindow(CARD.model_copy(update={"reference": card.reference[:1]}), RULES)
    told = {name for name, value in indices(bare, Crowd(2), 300).items() if value is not None}
    assert told == {card.reference[0].quantity}
    assert bare.observed()["yaw"].counts.sum() == 300


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=60), st.integers(1, 95))
def test_what_is_counted_are_the_newest_faces_and_no_others(batches, size):
    window = FaceWindow(CARD.model_copy(update={"reference": ()}), DriftRules(size, 1, 0.8))
    kinds = [window.bins_of(*Crowd(seed, yaw=20.0 * seed).faces(1)) for seed in range(3)]
    seen: list[int] = []
    empty_slice = sum(slice_.nbytes for slice_ in window._slices)
    for batch in batches:
        window.add([kinds[kind][0] for kind in batch])
        seen += batch
        assert min(size, len(seen)) <= window.faces <= -(-size // 10) * 11
        assert sum(slice_.nbytes for slice_ in window._slices) <= 11 * empty_slice
        newest = seen[len(seen) - window.faces :]
        expected = np.bincount([bin_ for kind in newest for bin_ in kinds[kind][0]], minlength=window._places)
        counts = np.concatenate([observed.counts for observed in window.observed().values()])
        assert (counts == expected).all()


def test_a_card_of_other_edges_is_compared_on_its_own():
    own = ReferenceHistogram(quantity="yaw", edges=(1.25, 7.0), shares=(0.2, 0.6, 0.2), faces=500, source="elsewhere")
    window = FaceWindow(CARD.model_copy(update={"reference": (own,)}), RULES)
    window.add(window.bins_of(*Crowd(2).faces(300)))
    yaws = [face_figures(*face, TAXONOMY)["yaw"] for face in zip(*Crowd(2).faces(300), strict=True)]
    assert window.observed()["yaw"].psi == pytest.approx(own.psi(own.edges, count(own.edges, yaws)))


@pytest.fixture
def gateway(card):
    with known_gateway() as gateway:
        window = FaceWindow(card, replace(RULES, window_faces=10, min_faces=2))
        model_router = gateway.rollout.model_router
        counted = replace(model_router.now.segmenters["segm"], window=window)
        model_router.exchange(replace(model_router.now, segmenters={"segm": counted}))
        gateway.metrics.drift.watch(window)
        gateway.window = window
        yield gateway


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        (ParseOptions(), 1),
        (ParseOptions(classes=("nose",), abstain=1.0, frame="crop"), 1),
        (ParseOptions(output=("redact",)), 1),
        (ParseOptions(faces="full"), 0),
        (ParseOptions(faces=(BOX,)), 0),
    ],
)
async def test_faces_that_were_found_count_whatever_is_shown_of_them(gateway, options, counts):
    await gateway.parser.parse(file_of(photo()), ParseOptions())
    plain = {name: observed.counts.copy() for name, observed in gateway.window.observed().items()}
    await gateway.parser.parse(file_of(photo()), options)
    assert gateway.window.faces == 1 + counts
    for name, observed in gateway.window.observed().items():
        assert (observed.counts == (1 + counts) * plain[name]).all(), name


async def test_faces_that_only_redact_looks_for_do_not_count(gateway):
    gateway.careful.faces = [FACE, Detection(BOX, 0.7, POINTS.astype(np.float32))]
    result, *_ = await gateway.parser.parse(file_of(photo()), ParseOptions(output=("redact",)))
    assert len(result.faces) == 2
    assert gateway.window.faces == 1


async def test_http_tells_gauges_and_counts(gateway):
    app = create_app(gateway)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        labels = f'{{model="segm",version="{CARD.version}"}}'
        for number in (0, 1, 2):
            told = (await client.get("/metrics")).text
            assert f"fpan_drift_faces{labels} {number}.0" in told
            assert ("fpan_drift_psi{" in told) == (number >= 2)
            (version,) = (await client.get("/v1/drift")).json()["versions"]
            assert (version["model"], version["version"], version["faces"]) == ("segm", CARD.version, number)
            assert version["quantities"]["yaw"]["counts"] == gateway.window.observed()["yaw"].counts.tolist()
            await client.post("/v1/parse", content=file_of(photo()))


async def test_the_alert_asks_for_what_is_exported_and_points_to_what_explains_it(gateway):
    await gateway.parser.parse(file_of(photo()), ParseOptions())
    await gateway.parser.parse(file_of(photo()), ParseOptions())
    (group,) = yaml.safe_load((ROOT / "deploy/prometheus/rules/drift.yml").read_text())["groups"]
    (sample,) = [s for m in gateway.metrics.drift.collect() for s in m.samples if s.labels.get("quantity") == "yaw"]
    for rule in group["rules"]:
        assert re.findall(r"fpan_\w+", rule["expr"]) == [sample.name]
        (by,) = re.findall(r"by \((.*?)\)", rule["expr"])
        assert set(by.split(", ")) == set(sample.labels)
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= set(sample.labels)
        assert (ROOT / rule["annotations"]["runbook"]).is_file()


def test_bins_may_be_told_in_many_threads_at_once(card):
    window = FaceWindow(card, RULES)
    targets, answers = Crowd(2).faces(8)
    alone = [window.bins_of([t], [a])[0] for t, a in zip(targets, answers, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: window.bins_of(targets, answers), range(16))) == [alone] * 16


def test_more_faces_than_the_window_holds_cannot_be_waited_for():
    with pytest.raises(ValueError, match="DRIFT_WINDOW_FACES"):
        Settings(drift_window_faces=100)
    assert Settings(drift_window_faces=100, drift_min_faces=100).drift_min_faces == 100
