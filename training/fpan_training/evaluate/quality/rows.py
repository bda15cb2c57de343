"""All rows of the table of quality, over the data sets at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.evaluate.quality.agreement import Agreement
from fpan_training.evaluate.quality.calibration import TemperatureScaling
from fpan_training.evaluate.quality.occluders import Occluders
from fpan_training.evaluate.quality.parts import Parts
from fpan_training.evaluate.quality.photos import Masked, News, Street
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.posed import Posed
from fpan_training.evaluate.quality.row import Row
from fpan_training.evaluate.quality.strata import ByStratum, Grey, Size


@dataclass(frozen=True)
class QualityData:
    """The folders that the rows are measured on, all in one, and where what is made of them is kept."""

    root: Path
    """With ``celeba19``, ``celeba19_more``, ``ccp_wide``, ``lfw_parts``, ``maskedface500``, ``fasseg_posed``,
    ``occluders`` and ``backgrounds``."""
    work: Path
    """Covered faces and landmarks are made here once, for all networks."""

    @cached_property
    def faces(self) -> PictureSet:
        """``val`` of ``celeba19`` and ``celeba19_more`` together."""
        return PictureSet.open("val", self.root / "celeba19", self.root / "celeba19_more")

    @cached_property
    def makers(self) -> dict[str, Callable[[], Row]]:
        """The rows by name, in the order of the page; each opens its pictures when it is made."""
        root = self.root
        return {
            Parts.name: lambda: Parts(self.faces),
            Occluders.name: lambda: Occluders(
                self.faces, root / "occluders", root / "backgrounds", self.work / "covered"
            ),
            Posed.name: lambda: Posed(PictureSet.open("val", root / "fasseg_posed")),
            Street.name: lambda: Street(PictureSet.open("val", root / "ccp_wide")),
            News.name: lambda: News(PictureSet.open("val", root / "lfw_parts")),
            Masked.name: lambda: Masked(PictureSet.open("val", root / "maskedface500")),
            TemperatureScaling.name: lambda: TemperatureScaling(self.faces),
            Agreement.name: lambda: Agreement(self.faces),
            ByStratum.name: lambda: ByStratum(self.faces, self.work / "faces"),
            Size.name: lambda: Size(self.faces),
            Grey.name: lambda: Grey(self.faces),
        }

    def rows(self, only: tuple[str, ...] = ()) -> list[Row]:
        """Some of the rows, or all.

        Raises:
            DataError: there is no row of that name, or its pictures cannot be read.
        """
        if unknown := [name for name in only if name not in self.makers]:
            raise DataError(f"there is no row {', '.join(unknown)}; there are: {', '.join(self.makers)}")
        return [make() for name, make in self.makers.items() if name in (only or self.makers)]
