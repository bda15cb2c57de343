"""All that a gate may look at, and what several of them measure, measured once."""

from dataclasses import dataclass, field
from pathlib import Path

from fpan.contract import TrainingData

from fpan_training.data.folder import FaceFolder
from fpan_training.evaluate.measure import Measured, measure
from fpan_training.evaluate.test_set import TestSet
from fpan_training.release.export.onnx_file import Agreement
from fpan_training.release.gates.contender import EvaluatedModel


@dataclass(frozen=True)
class GateInputs:
    """A candidate before its gates."""

    model: str
    """Name that it would be published under."""
    candidate: EvaluatedModel
    champion: EvaluatedModel | None
    """What predictions under that name now; None where nothing does."""
    agreement: Agreement
    """Of the candidate's file, in float32, with PyTorch."""
    val: TestSet
    """The pictures that figures are of."""
    train: FaceFolder
    """Pictures that may be looked at: none of ``val`` is among them."""
    sources: tuple[TrainingData, ...]
    """What the weights were made from."""
    work: Path
    """Folder for files that are not kept."""
    whole: EvaluatedModel | None = None
    """The candidate in float32, where it is served in another precision."""
    _counts: dict[tuple[Path, str], Measured] = field(default_factory=dict, repr=False, compare=False)

    @property
    def comparable(self) -> bool:
        """Whether there is a champion whose labels mean what the candidate's mean."""
        return self.champion is not None and self.champion.meanings == self.candidate.meanings

    def measured(self, who: EvaluatedModel, test: TestSet) -> Measured:
        """Counts of what one says of a set, at the candidate's input size whoever is asked."""
        key = who.path, test.name
        if key not in self._counts:
            self._counts[key] = measure(
                who.prediction,
                test.folder,
                f"{test.name}: {who.title}",
                self.candidate.input_size,
                test.classes,
                self.candidate.taxonomy,
                test.grouping,
                test.hidden,
            )
        return self._counts[key]
