"""The card of a model version: all that somebody who serves or retrains it must know."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fpan.contract.alignment import AlignmentTemplate
from fpan.contract.drift import ReferenceHistogram
from fpan.contract.gate import GateResult
from fpan.contract.taxonomy import Taxonomy

CARD_FILE = "card.json"
DIGEST = "digest"
"""Member of ``card.json`` beside the card's own: the sha256 of all the others, so that a changed card is told."""

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
"""Name of a folder in the repository, and of a model in requests: neither path nor version nor alias."""
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Precision = Literal["fp32", "int8", "bf16"]
"""What a network is computed in. ``int8`` is written into its graph (QuantizeLinear, DequantizeLinear) and the same on
every processor. ``bf16`` is computed where the processor has it and OpenVINO is the runtime, in fp32 elsewhere."""

ANY = -1
"""A dimension of a tensor that the card leaves open."""


class Tensor(BaseModel):
    """An input or output of the network. The first dimension is the batch and is not part of ``shape``."""

    model_config = ConfigDict(frozen=True)

    name: str
    dtype: Literal["UINT8", "FP32"]
    shape: tuple[int, ...]

    def sized(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The shape with its open dimensions, in order, as ``size`` has them."""
        sides = iter(size)
        return tuple(next(sides) if side == ANY else side for side in self.shape)


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

    name: ModelName
    version: Annotated[int, Field(ge=1)]
    task: Literal["segmentation", "detection"]
    title: str
    """One line for people: what network this is."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    on_demand: tuple[str, ...] = ()
    """Outputs that are computed for the asking only."""
    input_size: int
    """Side of the square input in pixels; of the largest one, where there are several."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Heights and widths, in pixels, of the inputs that it takes where their dimensions are open; no others. The first
    is a square, and the largest in both; the last is the smallest."""
    precision: Precision = "fp32"
    """What the version is computed in: its answers and its figures are of that. Weights are stored once, as
    ``model.onnx`` has them."""
    temperature: float = 1.0
    """The graph divides its logits by it, so that confidences are as often right as they say (Guo et al. 2017)."""
    taxonomy: Taxonomy | None = None
    alignment: AlignmentTemplate | None = None
    code_licence: str = "Apache-2.0"
    weights_licence: str
    training_data: tuple[TrainingData, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    gates: tuple[GateResult, ...] = ()
    """What the version had to pass to be published; none in cards from before there were gates."""
    reference: tuple[ReferenceHistogram, ...] = ()
    """What faces are like, one histogram a quantity: the gateway tells drift against it."""
    parameters: int = 0
    macs: int = 0
    """Multiply-accumulates of one input."""
    source: str = ""
    """Where weights that were not trained here come from: package, version, file, sha256."""
    checkpoint: str = ""
    """sha256 of the checkpoint that training chose: by it a run that has been published is known again."""
    git_commit: str = ""
    """The commit of the code that made the version, with ``+`` where the tree differed from it. The commit that carries
    the version comes after it: no file can hold the hash of the commit that it is in."""
    created: str = ""
    """UTC date and time, ISO 8601."""
    files: dict[FileName, Sha256]
    """sha256 of every file of the version but the card itself."""

    @model_validator(mode="after")
    def _says_how_large_open_inputs_are(self) -> Self:
        if any(ANY in tensor.shape for tensor in self.inputs) != bool(self.sizes):
            raise ValueError("sizes are listed of inputs whose dimensions are open, and of no others")
        if self.sizes and self.sizes[0] != (self.input_size, self.input_size):
            raise ValueError("the first of the sizes is the square of input_size")
        return self

    @property
    def interface(self) -> tuple[object, ...]:
        """What a caller of the network must know: where it is the same, versions are served side by side."""
        return self.name, self.inputs, self.sizes, self.outputs

    @property
    def input_sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths of all inputs that it takes, in pixels, the largest first."""
        return self.sizes or ((self.input_size, self.input_size),)

    @property
    def sha256(self) -> str:
        """The sha256 of the network, which names this version's answers."""
        return self.files["model.onnx"]


class CardError(ValueError):
    """The bytes are no card, or not those that were written. The message is the end of a sentence about the file."""


def write_card(card: ModelCard) -> bytes:
    """The bytes of ``card.json``: the card's members and their digest."""
    members = card.model_dump(mode="json")
    return (json.dumps({**members, DIGEST: _digest(members)}, indent=2, ensure_ascii=False) + "\n").encode()


def read_card(data: bytes) -> ModelCard:
    """The card that :func:`write_card` wrote. Cards older than the digest have none, which is no fault.

    Raises:
        CardError: it is no card, or was changed after it was written.
    """
    try:
        members = json.loads(data)
    except ValueError as error:
        raise CardError("is no JSON: it was cut off or changed") from error
    digest = members.pop(DIGEST, None) if isinstance(members, dict) else None
    if digest is not None and digest != _digest(members):
        raise CardError("was changed after it was written: its digest is another")
    try:
        return ModelCard.model_validate_json(data)
    except ValidationError as error:
        raise CardError(f"is not a model card: {error.errors()[0]['msg']}") from error


def _digest(members: dict[str, Any]) -> str:
    """Of the members, however they are laid out in the file."""
    text = json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
