"""Golden pictures and gates in what training and the gateway share."""

import numpy as np
import pytest
from fpan.contract import (
    GOLDEN_FILE,
    GateResult,
    GoldenPictures,
    ModelRepository,
    RepositoryError,
    read_card,
    write_card,
)

from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"


def test_golden_pictures_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    labels = rng.integers(0, 20, (3, 16, 16), dtype=np.uint8)
    GoldenPictures(images, labels).write(tmp_path / GOLDEN_FILE)
    again = GoldenPictures.read(tmp_path / GOLDEN_FILE)
    assert (again.images == images).all()
    assert (again.labels == labels).all()


def test_what_is_no_golden_file_is_named(tmp_path):
    path = tmp_path / GOLDEN_FILE
    with pytest.raises(RepositoryError, match=r"golden\.npz is missing: fetch"):
        GoldenPictures.read(path)
    np.savez(path, images=np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(RepositoryError, match="holds no golden pictures"):
        GoldenPictures.read(path)
    whole = path.read_bytes()
    for content in (b"", b"none", whole[:100], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(RepositoryError, match="holds no golden pictures"):
            GoldenPictures.read(path)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4), np.uint8)),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 5), np.uint8)),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 4, 4), np.uint8)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)),
    ],
)
def test_pictures_and_labels_must_fit(tmp_path, images, labels):
    np.savez(tmp_path / GOLDEN_FILE, images=images, labels=labels)
    with pytest.raises(RepositoryError, match="golden pictures are"):
        GoldenPictures.read(tmp_path / GOLDEN_FILE)


def test_cards_from_before_there_were_gates_are_read_and_new_ones_come_back():
    card = ModelRepository(SHIPPED).card("segm", 2)
    assert card.gates == ()
    gates = (
        GateResult.of("size", 20.1, "at most", 100, "20,100,000 bytes", "MB"),
        GateResult.of("mIoU", float("nan"), "at least", -0.01, "no picture has the class"),
        GateResult.unmeasured("mIoU, turned faces", "not measured: no --gates.strata.posed given"),
    )
    judged = card.model_copy(update={"gates": gates})
    assert read_card(write_card(judged)) == judged


def test_a_figure_on_its_limit_passes():
    assert GateResult.of("a", 0.5, "at least", 0.5, "").verdict == "passed"
    assert GateResult.of("a", 0.5, "at most", 0.5, "").verdict == "passed"
    assert GateResult.of("a", 0.4999, "at least", 0.5, "").verdict == "failed"
    assert GateResult.of("a", 0.5001, "at most", 0.5, "").verdict == "failed"
