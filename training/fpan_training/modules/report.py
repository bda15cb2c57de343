"""What the reports of the modules share: which run is measured on which data, and where the page goes."""

from dataclasses import dataclass
from pathlib import Path

from fpan_training.landmarks.store import FaceStore
from fpan_training.modules.training import stores_in


@dataclass(frozen=True)
class Report:
    """Measures a trained module and writes a page about it."""

    run: Path
    """Folder of a run of `fpan-train train`; its ``best.pt`` is measured."""
    data: Path
    """Data set whose ``val`` split is measured."""
    out: Path
    """Folder for the page, its tables (CSV) and its pictures, all by the module's name."""
    faces: Path | None = None
    """Folder of stores of `fpan-train landmarks`, one for each data set by its name."""

    @property
    def checkpoint(self) -> Path:
        """What is measured."""
        return self.run / "best.pt"

    def store(self, data: Path) -> FaceStore:
        """The landmarks of a data set.

        Raises:
            ValueError: no folder of stores was named.
        """
        return FaceStore(stores_in(self.faces) / data.name)
