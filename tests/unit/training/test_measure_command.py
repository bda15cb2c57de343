"""`fpan-train measure`: rows that are done stay, pages hold what people wrote, versions stand side by side."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan.contract import ModelRepository, Reference, RepositoryError
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.evaluate.quality import ModelQuality
from fpan_training.evaluate.quality.results import Figure
from fpan_training.evaluate.quality.table import TABLE
from fpan_training.modules.segm import SegmConfig, build
from fpan_training.nets.unet import UNetConfig
from fpan_training.release.quality import Measure, OnnxNetwork, TorchNetwork, networks
from fpan_training.release.quality.networks import alone, network_of, serving
from fpan_training.release.quality.page import OTHER_PICTURES, told, write_page
from fpan_training.release.service import Service as Started

from tests.support.networks import SHIPPED, SIZE, publish, publish_saying, saying
from tests.support.service import Service
from tests.unit.training.conftest import SIDE, write_pair

_CONFIG = SegmConfig(architecture="unet", input_size=SIDE, unet=UNetConfig(width=4))


@pytest.fixture
def measure(faces: FaceFolder, tmp_path: Path) -> Measure:
    """Of a network that has learnt nothing, on two pictures of each folder."""
    for name in ("celeba19", "celeba19_more"):
        for i in range(2):
            write_pair(tmp_path / "data" / name, f"{name}{i}", faces[i].image, faces[i].labels)
    run = tmp_path / "mine"
    run.mkdir()
    torch.manual_seed(0)
    stored = {"architecture": "unet", "classes": _CONFIG.classes, "input_size": SIDE, "unet": {"width": 4}}
    torch.save({"network": build(_CONFIG).state_dict(), "segm": stored, "epoch": 1}, run / "best.pt")
    return Measure(tmp_path / "data", run=run, out=tmp_path / "docs/quality.md", work=tmp_path / "work")


def test_rows_of_the_same_file_are_measured_once_and_rows_of_another_one_anew(
    measure: Measure, capsys: pytest.CaptureFixture[str]
) -> None:
    first = replace(measure, only=("grey",))()
    assert list(first.rows) == ["grey"]
    assert "grey: 4 pictures in" in capsys.readouterr().out
    both = replace(measure, only=("grey", "parts"))()
    said = capsys.readouterr().out
    assert "grey: measured before" in said
    assert "parts: 4 pictures in" in said
    assert ModelQuality.read(measure.work / "mine.json") == both
    assert both.rows["grey"] == first.rows["grey"]
    assert not measure.out.exists()  # a run is no version
    assert "4 pictures in" in _said(replace(measure, only=("grey",), again=True), capsys)
    assert measure.run is not None
    checkpoint = torch.load(measure.run / "best.pt", weights_only=True)
    torch.save({**checkpoint, "epoch": 2}, measure.run / "best.pt")
    assert list(replace(measure, only=("grey",))().rows) == ["grey"]


def _said(measure: Measure, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    measure()
    return capsys.readouterr().out


def test_a_run_without_a_checkpoint_says_what_is_missing(measure: Measure, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"best\.pt is missing"):
        replace(measure, run=tmp_path, only=("grey",))()


def test_a_network_of_pytorch_gives_the_logits_of_the_graph_that_would_be_served(measure: Measure) -> None:
    assert measure.run is not None
    network = TorchNetwork.of_checkpoint(measure.run / "best.pt", mirrored=False)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    assert network.logits(image).shape[0] == _CONFIG.classes
    both = TorchNetwork.of_checkpoint(measure.run / "best.pt", mirrored=True)
    turned = both.logits(np.ascontiguousarray(image[:, ::-1]))[:, :, ::-1]
    partners = [c.partner for c in network.taxonomy.classes]
    np.testing.assert_allclose(both.logits(image), turned[partners], atol=1e-4)


def test_a_version_is_served_alone_with_the_current_versions_of_other_models(tmp_path: Path) -> None:
    repository = tmp_path / "all"
    for label in (1, 2, 3):
        publish_saying(repository, label)
    publish(repository, "other", saying(4))
    card = alone(str(repository), Reference.parse("segm:2"), tmp_path / "alone")
    copy = ModelRepository(tmp_path / "alone")
    assert (copy.versions("segm"), copy.versions("other")) == ([2], [1])
    network = network_of(card, tmp_path / "alone")
    assert (network.logits(np.zeros((SIZE, SIZE, 3), np.uint8)).argmax(0) == 2).all()
    with pytest.raises(RepositoryError, match="no version 7"):
        alone(str(repository), Reference.parse("segm:7"), tmp_path / "none")


def test_a_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="name one for segmentation"):
        alone(str(SHIPPED), Reference.parse("detector"), tmp_path / "alone")


def test_the_service_is_asked_for_the_version_by_its_number(
    service: Service, astronaut_jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    @contextlib.contextmanager
    def started(repository: str, settings: dict[str, str]) -> Iterator[Started]:
        asked.append((repository, settings["SEGM_MODEL"], settings["PORT"] != settings["GRPC_PORT"]))
        yield Started(service.url, service.process)

    monkeypatch.setattr(networks, "started", started)
    card = ModelRepository(SHIPPED).card("segm", 2)
    path = tmp_path / "photo.jpg"
    path.write_bytes(astronaut_jpeg)
    with serving(card, SHIPPED) as ask:
        answer = ask(path, "auto")
    assert asked == [(str(SHIPPED), "segm", True)]
    assert answer.faces == 1
    assert answer.labels.shape == (512, 512)
    assert 13 in np.unique(answer.labels)
    assert isinstance(network_of(card, SHIPPED), OnnxNetwork)


def quality(model: str, digest: str = "same", **figures: float) -> ModelQuality:
    rows = {m.row: {"definition": 1, "pictures": 333, "digest": digest, "figures": {}} for m in TABLE}
    for measure in TABLE:
        value = figures.get(measure.figure, 0.5)
        rows[measure.row]["figures"][measure.figure] = (value, value - 0.01, value + 0.01)
    return ModelQuality.model_validate({"model": model, "sha256": "0", "title": "t", "input_size": 256, "rows": rows})


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "quality.md"
    quality("segm:10", miou=0.78).write(tmp_path / "quality")
    quality("segm:2", miou=0.72).write(tmp_path / "quality")
    return path


def row_of(page: Path, title: str) -> list[str]:
    (line,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_versions_stand_side_by_side_and_what_is_reached_is_bold(page: Path) -> None:
    write_page(page)
    assert row_of(page, "measure") == ["measure", "hold", "aim", "segm:2", "segm:10"]
    expected = ["mIoU over 19", "0.770", "0.800", "0.720 (0.710 to 0.730)", "**0.780 (0.770 to 0.790)**"]
    assert row_of(page, "mIoU over 19") == expected
    # Points, of which less is better.
    assert row_of(page, "held-out occluders: drop of mean F1, points")[-1] == "**0.5 (0.5 to 0.5)**"
    for measure in TABLE:
        assert len(row_of(page, measure.title)) == 5


def test_figures_of_other_pictures_are_not_set_beside_the_newest_ones(page: Path) -> None:
    quality("segm:2", digest="other", miou=0.99).write(page.with_suffix(""))
    write_page(page)
    assert row_of(page, "mIoU over 19")[3:] == [OTHER_PICTURES, "**0.780 (0.770 to 0.790)**"]


def test_what_people_wrote_is_included_and_stays(page: Path) -> None:
    prose = page.with_suffix(".prose.md")
    prose.write_text("Hats are few.\n")
    (page.with_suffix("") / "cost.md").write_text("| version | ms |\n")
    write_page(page)
    first = page.read_text()
    assert "Hats are few." in first
    assert "## Cost\n\n| version | ms |" in first
    write_page(page)
    assert page.read_text() == first
    assert prose.read_text() == "Hats are few.\n"


def test_a_page_without_figures_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fpan-train measure"):
        write_page(tmp_path / "quality.md")


@pytest.mark.parametrize(
    ("figure", "points", "text"),
    [
        (Figure(0.12345), False, "0.123"),
        (Figure(None), False, "-"),
        (Figure(3.26, 1.2, 4.31), True, "3.3 (1.2 to 4.3)"),
    ],
)
def test_figures_are_told_with_their_interval(figure: Figure, points: bool, text: str) -> None:
    assert told(figure, points) == text


def test_the_shipped_page_is_the_one_that_its_figures_make(tmp_path: Path) -> None:
    docs = SHIPPED.parent / "docs/results"
    shutil.copytree(docs / "quality", tmp_path / "quality")
    shutil.copy(docs / "quality.prose.md", tmp_path)
    assert write_page(tmp_path / "quality.md").read_text() == (docs / "quality.md").read_text()
