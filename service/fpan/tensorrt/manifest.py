"""What a plan was built from and for: ``manifest.json`` beside it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fpan.contract import ModelCard
from fpan.contract.card import Sha256, Tensor

MANIFEST_FILE = "manifest.json"

Precision = Literal["fp16", "int8"]


class Target(BaseModel):
    """Where a plan runs: it fits one version of TensorRT and one type of GPU."""

    model_config = ConfigDict(frozen=True)

    tensorrt: str
    """Version, e.g. ``10.8.0``, with the build's number where TensorRT tells it: ``10.16.2.10``."""
    gpu: str
    """Name as ``nvidia-smi`` has it, e.g. ``NVIDIA L4``."""


class BatchProfile(BaseModel):
    """Batches that a plan takes, and the one that it is fastest with."""

    model_config = ConfigDict(frozen=True)

    min: int = 1
    opt: int = 8
    max: int = 32


class Manifest(BaseModel):
    """The manifest of a plan."""

    model_config = ConfigDict(frozen=True)

    name: str
    """The model."""
    version: int
    network: Sha256
    """sha256 of the version's ``model.onnx``."""
    plan: Sha256
    """sha256 of ``model.plan``."""
    precision: Precision
    target: Target
    compute_capability: str
    """Of the GPU, e.g. ``8.9``."""
    driver: str
    """Version of the GPU's driver."""
    profile: BatchProfile
    inputs: tuple[Tensor, ...]
    """Shapes without the batch, as in the card."""
    agreement: Annotated[float, Field(ge=0, le=1)]
    """Share of the pictures' pixels to which the plan gives the label that ONNX Runtime gives."""
    pictures: int
    """How many pictures that was measured on; INT8 was calibrated on the same."""
    created: str
    """UTC date and time, ISO 8601."""


class ManifestError(ValueError):
    """The bytes are no manifest. The message is the end of a sentence about the file."""


def write_manifest(manifest: Manifest) -> bytes:
    """The bytes of ``manifest.json``."""
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def read_manifest(data: bytes) -> Manifest:
    """The manifest that :func:`write_manifest` wrote.

    Raises:
        ManifestError: it is none.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestError(f"is not a plan's manifest: {error.errors()[0]['msg']}") from error


def misfits(manifest: Manifest, card: ModelCard, target: Target, precision: Precision, max_batch: int) -> list[str]:
    """Why a plan is not to be used for a version, each the end of a sentence about the plan; empty where it fits.

    Args:
        manifest: of the plan.
        card: of the version.
        target: where it is to run.
        precision: the one that is wanted.
        max_batch: largest batch that it will be given.
    """
    found = []
    if manifest.network != card.sha256:
        found.append(f"was built from another network ({manifest.network[:12]}, not {card.sha256[:12]})")
    if manifest.target.tensorrt != target.tensorrt:
        found.append(f"was built by TensorRT {manifest.target.tensorrt}, not {target.tensorrt}")
    if manifest.target.gpu != target.gpu:
        found.append(f"was built on {manifest.target.gpu}, not on {target.gpu}")
    if manifest.precision != precision:
        found.append(f"is in {manifest.precision.upper()}, not in {precision.upper()}")
    if manifest.inputs != card.inputs:
        found.append("takes other inputs than the card says")
    if not manifest.profile.min <= 1 <= max_batch <= manifest.profile.max:
        found.append(f"takes batches of {manifest.profile.min} to {manifest.profile.max}, not of 1 to {max_batch}")
    return found
