"""Runs in MLflow, where `MLFLOW_TRACKING_URI` is set: settings as params, figures as metrics, files as artefacts.

What is wrong when a run begins is told at once. From then on the run matters more than its record: what a server does
not take is kept, told once, and sent later. `mlflow.json` in the run's folder says which MLflow run it is and how far
that has come, so that a run that is resumed goes on in the same one.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fpan.storage.files import write_whole

from fpan_training.errors import UserError

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
PICTURES = "FPAN_MLFLOW_PICTURES"
"""With 1, pictures go to MLflow as well. They show faces, so nobody gets them without having been asked for."""
DEFAULT_EXPERIMENT = "mask-fpan"
STATE_FILE = "mlflow.json"
_FILES = ("config.json", "log.jsonl", "curve.png")
_BEST = "best.pt"
_DEFAULTS = {
    # Without these a server that is gone holds up every epoch for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # MLflow tells its makers about its use unless it is told not to.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_NO_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)
"""What may not stand in the name of a param or metric."""
_PARAMS_AT_ONCE, _VALUE_LENGTH = 100, 500
"""Limits of MLflow's servers: params of a request, characters of a value."""
_MESSAGE_LENGTH = 200
_GONE = "RESOURCE_DOES_NOT_EXIST"
"""MLflow's code for a run that is not there."""


class TrackingError(UserError):
    """MLflow was asked for and cannot be used; the message says what to do."""


@dataclass
class Tracker:
    """One run's record in MLflow."""

    folder: Path
    client: Any
    """``mlflow.MlflowClient``."""
    run_id: str
    sent: int = 0
    """Rows of the history that MLflow has."""
    failing: bool = False
    """The last attempt failed, and that was told."""

    def epoch(self, history: Sequence[dict[str, float]]) -> None:
        """Sends the rows that MLflow does not have yet, and the files, where the last row has a validation's score."""
        with self.forgiving():
            self._send_rows(history)
            if "score" in history[-1]:
                self._send_files()

    def finish(self, history: Sequence[dict[str, float]], status: str) -> None:
        """Sends what is left, the best checkpoint too; ``status`` is ``FINISHED``, ``FAILED`` or ``KILLED``."""
        with self.forgiving():
            self._send_rows(history)
            self._send_files()
            if (best := self.folder / _BEST).is_file():
                self.client.log_artifact(self.run_id, str(best))
            self.client.set_terminated(self.run_id, status)
        if self.failing:
            print("MLflow lacks the end of this run: the same command, run again, sends it")

    def begin(self, params: dict[str, Any]) -> None:
        """Opens the record again and adds params. MLflow's cannot change: what a resumed run has otherwise is a tag."""
        from mlflow.entities import Param

        self.client.update_run(self.run_id, status="RUNNING")
        said = self.client.get_run(self.run_id).data.params
        given = flat(params)
        new = iter([Param(name, value) for name, value in given.items() if name not in said])
        while batch := list(islice(new, _PARAMS_AT_ONCE)):
            self.client.log_batch(self.run_id, params=batch)
        for name, value in given.items():
            if said.get(name, value) != value:
                self.client.set_tag(self.run_id, f"resumed.{name}", value)

    def keep_state(self) -> None:
        """Writes down which run this is and how far it has come."""
        state = {"run_id": self.run_id, "sent": self.sent}
        write_whole(self.folder / STATE_FILE, (json.dumps(state) + "\n").encode())

    def _send_rows(self, history: Sequence[dict[str, float]]) -> None:
        from mlflow.entities import Metric

        for row in history[self.sent :]:
            now = int(time.time() * 1000)
            metrics = [
                Metric(_NO_NAME.sub("_", name), value, now, int(row["epoch"]))
                for name, value in row.items()
                if name != "epoch"
            ]
            self.client.log_batch(self.run_id, metrics=metrics)
            self.sent += 1
            self.keep_state()

    def _send_files(self) -> None:
        pictures = sorted(self.folder.glob("*.png")) if os.environ.get(PICTURES) == "1" else []
        for path in {*(self.folder / name for name in _FILES), *pictures}:
            if path.is_file():
                self.client.log_artifact(self.run_id, str(path))

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Tells of the first failure of a row of them, and of nothing more until something has worked again."""
        try:
            yield
        except TrackingError:
            raise
        # A store may raise anything: its server's client, a cloud's, a full disk. None of it may end the run.
        except Exception as error:
            if not self.failing:
                print(f"MLflow takes nothing at present ({_short(error)}): training goes on, and it is sent later")
            self.failing = True
        else:
            self.failing = False


@contextmanager
def tracked(
    folder: Path, params: dict[str, Any], history: Callable[[], Sequence[dict[str, float]]]
) -> Iterator[Tracker | None]:
    """A block in which a run is recorded; None where MLflow is not asked for.

    Args:
        folder: of the run.
        params: its resolved settings, nested.
        history: gives the run's rows up to now.

    Raises:
        TrackingError: MLflow is not installed, or no run can be made where it is said to be.
    """
    if not os.environ.get(URI):
        yield None
        return
    tracker = _open(folder, params)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.finish(history(), status)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by dotted name, as MLflow takes them: ``{"loop": {"lr": 1}}`` is ``{"loop.lr": "1"}``."""
    found: dict[str, str] = {}
    for name, value in values.items():
        full = _NO_NAME.sub("_", f"{prefix}{name}")
        found |= flat(value, f"{full}.") if isinstance(value, dict) else {full: str(value)[:_VALUE_LENGTH]}
    return found


def _open(folder: Path, params: dict[str, Any]) -> Tracker:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise TrackingError(
            f"{URI} is set, but MLflow is not installed: pip install './training[mlflow]' in a checkout, or unset it"
        ) from error
    uri, state = os.environ[URI], folder / STATE_FILE
    try:
        client = MlflowClient(tracking_uri=uri)
        if not state.is_file():
            tracker = Tracker(folder, client, _new_run(client, folder))
            tracker.begin(params)
            tracker.keep_state()
            return tracker
        tracker = Tracker(folder, client, **json.loads(state.read_text(encoding="utf-8")))
    except Exception as error:  # see Tracker.forgiving
        raise TrackingError(
            f"MLflow cannot be used at {_without_user(uri)}: {_short(error)}. Mend {URI}, or unset it"
        ) from error
    # A run that goes on is not kept from it by a server that will be back, but told that there is no such record.
    with tracker.forgiving():
        try:
            tracker.begin(params)
        except MlflowException as error:
            if error.error_code == _GONE:
                raise TrackingError(
                    f"the record of this run is not at {_without_user(uri)} ({_short(error)}): mend {URI}, or remove "
                    f"{state} to begin a new one"
                ) from error
            raise
    return tracker


def _new_run(client: Any, folder: Path) -> str:
    name = os.environ.get(EXPERIMENT) or DEFAULT_EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    number = client.create_experiment(name) if experiment is None else experiment.experiment_id
    shown = folder.absolute()
    return str(client.create_run(number, run_name=f"{shown.parent.name}/{shown.name}").info.run_id)


def _without_user(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)


def _short(error: Exception) -> str:
    """The first line of a message, which may be pages long and name addresses with passwords."""
    return _without_user((str(error).strip() or type(error).__name__).splitlines()[0])[:_MESSAGE_LENGTH]
