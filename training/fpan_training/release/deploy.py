"""`fpan-train deploy`, which is `make train-and-deploy`: from pictures to traffic, gated at every step."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from fpan.contract import ModelCard
from fpan.contract.aliases import CHAMPION
from fpan.registry import Registry, open_store
from fpan.registry.replicas import TIMEOUT_S

from fpan_training.paper.pipeline import Paper
from fpan_training.paper.stages import Stages
from fpan_training.release.gates import Gates
from fpan_training.release.gates.calibration import CalibrationLimit
from fpan_training.release.gates.int8 import Int8
from fpan_training.release.gates.metrics import Metrics
from fpan_training.release.register import Register
from fpan_training.release.traffic import Traffic, bring_detector

_COMMAND = "fpan-train deploy"
_FIRST, _FIRST_EPOCHS = "segm_first", 1
"""Folder and length of the training that gives a smoke run something to be better than."""
SMOKE_GATES = Gates(
    min_pictures=4,
    metrics=Metrics(margin=0.02),
    calibration=CalibrationLimit(1),
    int8=Int8(margin=1),
)
"""A minute of training on a few pictures makes no network that is fit to be served; that it is better than one that is
worse can be told all the same. Few of its pictures are occluded or turned: those gates are left out."""


@dataclass(frozen=True)
class Deploy:
    """Trains the paper whole, or takes a run that has been, publishes its SEGM, and brings it into traffic.

    A failed gate stops it, and the champion stays what it is. A promotion that one gateway does not follow is taken
    back. Stopped or killed anywhere, run it again: it goes on where it was. `fpan models rollback` takes it all back.

    With the preset ``smoke`` and an empty repository a lesser network is published first, so that there is a champion
    to be better than.
    """

    paper: Annotated[Paper, tyro.conf.arg(name="")]
    """The run."""
    repository: str = "model_repository"
    """The model repository: a folder, made where it is missing, or ``s3://BUCKET/PREFIX``."""
    name: str = "segm"
    """Model name to publish under."""
    url: tuple[str, ...] = ()
    """Running gateways that serve the repository, such as http://gateway:8000. Without any, one is started, and runs
    until it is stopped."""
    timeout_s: float = TIMEOUT_S
    """How long they may take to follow, in seconds."""
    detector_from: str = "model_repository"
    """Where a repository without a face detector gets it from."""
    data_licence: str = ""
    """Terms of all data sets, backgrounds and occluders of which nothing else tells them."""
    gates: Gates = field(default_factory=Gates)
    """What a version must pass; the preset ``smoke`` has looser ones of its own."""
    allow_unmeasured: bool = False
    """Publish a version of which a gate could not be measured, for want of pictures; the preset ``smoke`` does."""

    def __call__(self) -> ModelCard:
        """Does what is not done yet; returns the card of what is champion then.

        Raises:
            DataError: something is wrong with the pictures.
            GateError: a gate was failed, or could not be measured.
            NotFollowed: a gateway does not serve it.
        """
        self.prepare()
        card = self._register(self.paper.run / "segm")()
        Traffic(_COMMAND, self.repository, self.url, self.timeout_s).bring([card])
        return card

    def prepare(self) -> Registry:
        """Trains, and sees to it that the repository has what a gateway needs before it can start."""
        run = self.paper()
        registry = Registry(open_store(self.repository, create=True))
        bring_detector(registry, self.detector_from, run)
        if self.paper.preset == "smoke" and not registry.store.versions(self.name):
            self._publish_first(registry, run)
        return registry

    def _register(self, run: Path) -> Register:
        data = self.paper.sources.data
        register = Register(
            run,
            data,
            self.repository,
            self.name,
            data_licence=self.data_licence,
            gates=self.gates,
            allow_unmeasured=self.allow_unmeasured,
        )
        if self.paper.preset != "smoke":
            return register
        licence = self.data_licence or "none: nobody is shown"
        return replace(register, gates=SMOKE_GATES, allow_unmeasured=True, data_licence=licence)

    def _publish_first(self, registry: Registry, run: Path) -> None:
        Stages(run, self.paper.sources, self.paper.preset, self.paper.seed).segm(_FIRST, _FIRST_EPOCHS)
        card = self._register(run / _FIRST)()
        registry.promote(self.name, card.version, CHAMPION, f"{_COMMAND} (the first)")
