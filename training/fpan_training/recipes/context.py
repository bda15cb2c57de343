"""What a recipe is done with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Budget = Literal["smoke", "full"]


@dataclass(frozen=True)
class Context:
    """Where a recipe reads and writes, and how far it goes."""

    run: Path
    """Folder of the run."""
    data_root: Path | None
    """Folder of the raw data sets; None under the budget ``smoke``, which renders its own."""
    budget: Budget
    repository: str
    """Model repository that it publishes in: a folder, or ``s3://BUCKET/PREFIX``."""
    seed: int

    @property
    def plan(self) -> dict[str, object]:
        """What tells one run from another: a run of another plan is not gone on with."""
        return {"budget": self.budget, "seed": self.seed}
