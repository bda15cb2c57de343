"""The card of a model version: all that somebody who serves or retrains it must know."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fpan.contract.alignment import AlignmentTemplate
from fpan.contract.taxonomy import Taxonomy

CARD_FILE = "card.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Tensor(BaseModel):
    """An input or output of the network. The first dimension is the batch and is not part of ``shape``."""

    model_config = ConfigDict(frozen=True)

    name: str
    dtype: Literal["UINT8", "FP32"]
    shape: tuple[int, ...]


class TrainingData(BaseModel):
    """A set of pictures that the weights were made from."""

    model_config = ConfigDict(frozen=True)

    name: str
    licence: str
    pictures: int
    note: str = ""


class Evaluation(BaseModel):
    """Figures of one evaluation. All shares are fractions of one."""

    model_config = ConfigDict(frozen=True)

    data: str
    pictures: int
    size: int
    """Side of the label maps that were compared, in pixels."""
    miou: float
    """Mean IoU over the classes, background included."""
    miou_interval: tuple[float, float]
    """95 % bootstrap interval over pictures."""
    mean_f1: float
    """Mean F1 over the foreground classes."""
    mean_f1_interval: tuple[float, float]
    iou: dict[str, float]
    f1: dict[str, float]


class ModelCard(BaseModel):
    """The card of a version, ``card.json`` in its folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: Annotated[int, Field(ge=1)]
    task: Literal["segmentation", "detection"]
    title: str
    """One line for people: what network this is."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    on_demand: tuple[str, ...] = ()
    """Outputs that are computed for the asking only."""
    input_size: int
    """Side of the square input in pixels."""
    taxonomy: Taxonomy | None = None
    alignment: AlignmentTemplate | None = None
    code_licence: str = "Apache-2.0"
    weights_licence: str
    training_data: tuple[TrainingData, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    parameters: int = 0
    macs: int = 0
    """Multiply-accumulates of one input."""
    source: str = ""
    """Where weights that were not trained here come from: package, version, file, sha256."""
    git_commit: str = ""
    """The commit of the code that made the version, with ``+`` where the tree differed from it. The commit that carries
    the version comes after it: no file can hold the hash of the commit that it is in."""
    created: str = ""
    """UTC date and time, ISO 8601."""
    files: dict[str, Sha256]
    """sha256 of every file of the version but the card itself."""

    @property
    def sha256(self) -> str:
        """The sha256 of the network, which names this version's answers."""
        return self.files["model.onnx"]
