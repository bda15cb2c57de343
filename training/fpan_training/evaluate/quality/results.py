"""What was measured of a model, as it is kept: one JSON file a version, a row of the table of quality in each entry."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fpan_training.data.folder import DataError
from fpan_training.evaluate.bootstrap import Interval
from fpan_training.files import write_whole

DECIMALS = 5


class Figure(NamedTuple):
    """A figure with its 95 % interval by bootstrap over pictures."""

    value: float | None
    """None where there is nothing to measure: neither truth nor prediction has the class."""
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, interval: Interval | None = None) -> "Figure":
        """Rounded to :data:`DECIMALS`; NaN becomes None."""
        low, high = (None, None) if interval is None else map(_known, interval)
        return cls(_known(value), low, high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), DECIMALS)


def figures_of(values: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, Figure]:
    """Figures by name, each with its interval where it has one."""
    return {name: Figure.of(value, intervals.get(name)) for name, value in values.items()}


class RowResult(BaseModel):
    """One row of the table of quality."""

    model_config = ConfigDict(frozen=True)

    definition: int
    """Number of the definition that it was measured by; another one is not compared."""
    pictures: int
    digest: str
    """sha256 of the pictures and their truth."""
    figures: dict[str, Figure]
    seconds: float = 0.0
    """It took so long."""

    def comparable(self, other: "RowResult") -> bool:
        """Whether both were measured in the same way on the same pictures."""
        return (self.definition, self.digest) == (other.definition, other.digest)


class ModelQuality(BaseModel):
    """All that was measured of one version."""

    model_config = ConfigDict(frozen=True)

    model: str
    """``NAME:VERSION``, or the name of a run."""
    sha256: str
    """Of the file that was measured."""
    title: str = ""
    input_size: int
    machine: str = ""
    """That the last row was measured on."""
    rows: dict[str, RowResult] = {}

    @property
    def file_name(self) -> str:
        """Of its JSON."""
        return f"{self.model.replace(':', '-')}.json"

    def with_row(self, name: str, row: RowResult) -> "ModelQuality":
        """The same with a row more, or another one."""
        return self.model_copy(update={"rows": {**self.rows, name: row}})

    def write(self, folder: Path) -> Path:
        """Writes ``MODEL-VERSION.json``, a line a figure, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file_name
        write_whole(path, self._text().encode())
        return path

    def _text(self) -> str:
        head = self.model_dump(exclude={"rows"})
        lines = ["{", *(f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()), ' "rows": {']
        for number, (name, row) in enumerate(self.rows.items()):
            told = json.dumps(row.model_dump(exclude={"figures"})).removesuffix("}")
            lines += [f'  {json.dumps(name)}: {told}, "figures": {{']
            figures = [f"   {json.dumps(key)}: {json.dumps(list(value))}" for key, value in row.figures.items()]
            lines += [",\n".join(figures), "  }}" + ("," if number < len(self.rows) - 1 else "")]
        return "\n".join([*lines, " }", "}"]) + "\n"

    @classmethod
    def read(cls, path: Path) -> "ModelQuality":
        """Reads what :meth:`write` wrote.

        Raises:
            DataError: it is not of this form.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise DataError(f"{path} holds no figures of quality: delete it and measure again ({error})") from error
