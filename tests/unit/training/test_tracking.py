"""Runs recorded in MLflow, against its own file store; and runs without it."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fpan_training.engine import tracking
from fpan_training.engine.loop import fit
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.tracking import STATE_FILE, TrackingError, flat
from torch import Tensor, nn

from tests.unit.training.small_modules import small

_CONFIG = LoopConfig(
    epochs=3, batch_size=4, lr=3e-3, ema_decay=0.5, validate_every=1, workers=0, precision="32-true", accelerator="cpu"
)
_PER_EPOCH = 2
"""Batches."""


class _Step:
    """Calls ``before`` with the number of each batch."""

    def __init__(self, step: Any, before: Callable[[int], None]) -> None:
        self.step, self.before, self.batch = step, before, 0

    def train(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        self.before(self.batch)
        self.batch += 1
        return self.step.train(network, batch)


def _train(folder: Path, config: LoopConfig = _CONFIG, before: Callable[[int], None] = lambda batch: None) -> Run:
    module, run = small("segm"), Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"data": "faces", "augment": {"flip": 0.5}}))

    def validate(average: nn.Module) -> dict[str, float]:
        for name in ("curve.png", "contact.png"):
            (folder / name).write_bytes(b"a picture")
        return {"score": 0.5 + len(run.history), "f1/background+neck": 0.25}

    return fit(
        module.network, _Step(module.step, before), module.data, validate, run, config, module.collate, {"kind": "s"}
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file store that runs are recorded in."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for name in (tracking.EXPERIMENT, tracking.PICTURES):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "store"


def _records(store: Path) -> tuple[Any, list[Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.as_uri())
    found = client.get_experiment_by_name("mask-fpan")
    return client, client.search_runs([found.experiment_id])


def _losses(client: Any, record: Any) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client.get_metric_history(record.info.run_id, "loss")]


def _rows(run: Run) -> list[tuple[int, float]]:
    return [(int(row["epoch"]), pytest.approx(row["loss"])) for row in run.history]


def test_a_run_is_recorded_with_settings_figures_and_files_but_no_faces(store: Path, tmp_path: Path) -> None:
    run = _train(tmp_path / "runs" / "mine")
    client, (record,) = _records(store)
    assert record.info.status == "FINISHED"
    assert record.info.run_name == "runs/mine"
    params = record.data.params
    assert (params["data"], params["augment.flip"], params["loop.lr"], params["kind"]) == ("faces", "0.5", "0.003", "s")
    assert _losses(client, record) == _rows(run)
    assert record.data.metrics["f1/background_neck"] == 0.25
    files = {file.path for file in client.list_artifacts(record.info.run_id)}
    assert files == {"config.json", "log.jsonl", "curve.png", "best.pt"}


def test_pictures_go_to_mlflow_when_they_are_asked_for(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FPAN_MLFLOW_PICTURES", "1")
    _train(tmp_path / "mine", replace(_CONFIG, epochs=1))
    client, (record,) = _records(store)
    assert "contact.png" in {file.path for file in client.list_artifacts(record.info.run_id)}


def test_a_resumed_run_goes_on_in_the_same_record(store: Path, tmp_path: Path) -> None:
    def cut(batch: int) -> None:
        if batch == _PER_EPOCH + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "mine", before=cut)
    client, (record,) = _records(store)
    assert record.info.status == "KILLED"
    assert len(_losses(client, record)) == 1
    run = _train(tmp_path / "mine", replace(_CONFIG, epochs=4))
    client, (record,) = _records(store)
    assert record.info.status == "FINISHED"
    assert _losses(client, record) == _rows(run)
    # MLflow's params are written once; what was changed since is said beside them.
    assert record.data.params["loop.epochs"] == "3"
    assert record.data.tags["resumed.loop.epochs"] == "4"


def test_a_store_that_fails_meanwhile_is_told_once_and_gets_everything_later(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "away"

    def fail(batch: int) -> None:
        if batch == 1:
            shutil.move(store, away)
            store.write_text("in the way")
        if batch == 2 * _PER_EPOCH + 1:
            store.unlink()
            shutil.move(away, store)

    run = _train(tmp_path / "mine", before=fail)
    assert capsys.readouterr().out.count("MLflow takes nothing at present") == 1
    client, (record,) = _records(store)
    assert _losses(client, record) == _rows(run)
    assert len(run.history) == _CONFIG.epochs


def test_what_the_store_lacked_at_the_end_is_sent_by_the_same_command(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "away"

    def fail(batch: int) -> None:
        if batch == _PER_EPOCH:
            shutil.move(store, away)
            store.write_text("in the way")

    run = _train(tmp_path / "mine", before=fail)
    assert "MLflow lacks the end of this run: the same command, run again, sends it" in capsys.readouterr().out
    store.unlink()
    shutil.move(away, store)
    client, (record,) = _records(store)
    assert len(_losses(client, record)) == 1
    _train(tmp_path / "mine")
    client, (record,) = _records(store)
    assert _losses(client, record) == _rows(run)
    assert record.info.status == "FINISHED"


@pytest.mark.parametrize(
    "uri", ["http://user:secret@127.0.0.1:9", "sqlite:///mlflow.db", "nonsense://there"], ids=["gone", "sql", "scheme"]
)
def test_a_wrong_address_is_told_before_anything_is_trained(
    uri: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="Mend MLFLOW_TRACKING_URI, or unset it") as caught:
        _train(tmp_path / "mine")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "mine" / "last.pt").exists()


def test_a_record_that_was_deleted_is_told_before_the_run_goes_on(store: Path, tmp_path: Path) -> None:
    _train(tmp_path / "mine", replace(_CONFIG, epochs=1))
    _, (record,) = _records(store)
    shutil.rmtree(store / record.info.experiment_id / record.info.run_id)
    with pytest.raises(TrackingError, match=f"remove .*{STATE_FILE}"):
        _train(tmp_path / "mine")


def test_without_the_package_one_line_says_how_to_get_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackingError, match=r"pip install './training\[mlflow\]' in a checkout, or unset it"):
        _train(tmp_path / "mine")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(_train(tmp_path / "mine", replace(_CONFIG, epochs=1)).history) == 1
    assert not (tmp_path / "mine" / STATE_FILE).exists()


def test_settings_are_named_as_mlflow_takes_them() -> None:
    nested = {"loop": {"lr": 0.1, "shape": (1, 2)}, "a+b": None, "long": "x" * 900}
    assert flat(nested) == {"loop.lr": "0.1", "loop.shape": "(1, 2)", "a_b": "None", "long": "x" * 500}
