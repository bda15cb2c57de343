"""`fpan-train measure`: the table of quality of a version, or of a run, row by row."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from fpan.contract import Reference, sha256_of

from fpan_training.data.folder import DataError
from fpan_training.engine.machine import machine
from fpan_training.evaluate.quality import Answer, ModelQuality, Network, QualityData, Service, Subject
from fpan_training.evaluate.quality.row import Row
from fpan_training.release.quality.networks import TorchNetwork, alone, network_of, serving
from fpan_training.release.quality.page import write_page


class _Measured(NamedTuple):
    network: Network
    service: Service | None
    quality: ModelQuality
    """Without rows."""


@dataclass(frozen=True)
class Measure:
    """Measures the graph of a version as it is served, on held-out pictures, row by row of the table of quality.

    Figures are kept as JSON, one file a version, beside the page, which is made of all of them and sets versions beside
    each other. Rows that are there for the same file are not measured again, so that a run that was cut off goes on.
    What people write about the figures stands in a file of its own, ``quality.prose.md``, which the page includes.
    """

    data_root: Path
    """Folder of the data sets: ``celeba19``, ``celeba19_more``, ``ccp_wide``, ``lfw_parts``, ``maskedface500``,
    ``fasseg_posed``, ``occluders``, ``backgrounds``."""
    repository: str = "model_repository"
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``."""
    model: str = "segm"
    """The version: ``NAME:VERSION``, ``NAME@ALIAS``, or ``NAME`` for the one that answers."""
    run: Path | None = None
    """Folder of a training run, whose ``best.pt`` is measured instead of a version. What needs a service is left out,
    and the figures go to ``work`` instead of the page."""
    mirrored: bool = False
    """Of a run: the mean over the picture and its mirror image, at twice the cost."""
    only: tuple[str, ...] = ()
    """Names of the rows to measure; none: all."""
    again: bool = False
    """Measure rows anew that are there."""
    out: Path = Path("docs/results/quality.md")
    """The page; the figures go to a folder of the same name."""
    work: Path = Path("runs/quality")
    """Folder for covered pictures, landmarks and, in a folder of each version, contact sheets: they show people, and
    are not for publication."""

    def __call__(self) -> ModelQuality:
        """Measures what is not measured yet and writes the page; returns all figures of the version.

        Raises:
            DataError: pictures are missing, or there is no such row.
            RepositoryError: there is no such version, or it is broken.
            ServiceError: the service did not start.
        """
        rows = QualityData(self.data_root, self.work).rows(self.only)
        with ExitStack() as stack:
            network, service, quality = self._opened(stack)
            folder = self.out.with_suffix("") if self.run is None else self.work
            known = folder / quality.file_name
            if known.is_file() and (before := ModelQuality.read(known)).sha256 == quality.sha256:
                quality = before
            subject = Subject(network, service, self.work / known.stem)
            for row in rows:
                if not self.again and _is_there(row, quality):
                    print(f"{row.name}: measured before")
                    continue
                quality = self._with(row, subject, quality)
                quality.write(folder)
        if self.run is None:
            print(write_page(self.out))
        else:
            print(known)
        return quality

    def _with(self, row: Row, subject: Subject, quality: ModelQuality) -> ModelQuality:
        began = time.monotonic()
        result = row(subject)
        result = result.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        print(f"{row.name}: {result.pictures} pictures in {result.seconds:.0f} s", flush=True)
        found = quality.with_row(row.name, result)
        return found.model_copy(update={"machine": machine()})

    def _opened(self, stack: ExitStack) -> _Measured:
        if self.run is not None:
            path = self.run / "best.pt"
            if not path.is_file():
                raise DataError(f"{path} is missing: name the folder of a run with --run")
            network = TorchNetwork.of_checkpoint(path, self.mirrored)
            name = self.run.name + ("-mirrored" if self.mirrored else "")
            quality = ModelQuality(model=name, sha256=sha256_of(path), input_size=network.input_size)
            return _Measured(network, None, quality)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        card = alone(self.repository, Reference.parse(self.model), folder)
        served = network_of(card, folder)
        quality = ModelQuality(
            model=f"{card.name}:{card.version}",
            sha256=sha256_of(served.path),
            title=card.title,
            input_size=card.input_size,
        )
        return _Measured(served, _Lazily(lambda: stack.enter_context(serving(card, folder))), quality)


@dataclass(frozen=True)
class _Lazily:
    """A service that is started when it is first asked."""

    start: Callable[[], Service]

    @cached_property
    def _service(self) -> Service:
        return self.start()

    def __call__(self, path: Path, faces: Literal["auto", "full"]) -> Answer:
        return self._service(path, faces)


def _is_there(row: Row, quality: ModelQuality) -> bool:
    known = quality.rows.get(row.name)
    return known is not None and known.definition == row.definition
