"""From a network to its plan: checked, typed, built, compared with ONNX Runtime, and kept whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from fpan.contract import ModelCard, ModelRepository, sha256_of
from fpan.contract.card import Tensor
from fpan.contract.network import full
from fpan.serve.inference.backends.runtime import Network
from fpan.serve.inference.triton_server.install import SHARED_MEMORY
from fpan.serve.inference.triton_server.profiles import MODEL_FILE, PLAN_FILE
from fpan.storage.files import sync
from fpan.tensorrt.manifest import MANIFEST_FILE, BatchProfile, Manifest, Precision, Target, write_manifest
from fpan.tensorrt.plans import Plans, plan_folder
from fpan.tensorrt.supported import findings, operator_list
from fpan.tensorrt.trtexec import EngineError, Gpu, Speed, Trtexec, gpu
from fpan.tensorrt.typed import typed

MIN_AGREEMENT = 0.995
"""Least share of the pictures' pixels that a plan must give the label of ONNX Runtime; below it none is kept."""
_LABELS = "labels"
_TYPED_FILE, _FULL_FILE = "typed.onnx", "float32.onnx"
_BUILDING, _REPLACED = ".building-", ".replaced-"
_FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Wanted:
    """A version of which a plan is to be built."""

    repository: ModelRepository
    card: ModelCard
    precision: Precision

    @property
    def network(self) -> Path:
        """Its ONNX file."""
        return self.repository.folder(self.card.name, self.card.version) / MODEL_FILE

    @property
    def labels(self) -> Tensor:
        """The output that a plan is judged by.

        Raises:
            EngineError: the network is of another kind.
        """
        found = [each for each in self.card.outputs if each.name == _LABELS]
        if self.card.task != "segmentation" or not found:
            raise EngineError(
                f"{self.card.name} is for {self.card.task}: plans are built of segmentation networks alone, since they "
                "are judged by their labels; ONNX Runtime's TensorRT accelerator computes the others"
            )
        return found[0]


def check_network(wanted: Wanted) -> None:
    """Looks at a network, as it is in the repository, without a GPU.

    Raises:
        EngineError: TensorRT would not take it; every finding is told.
        RepositoryError: a file of the version is missing or was changed.
    """
    wanted.repository.verify(wanted.card)
    _refuse_findings(wanted.card, full(onnx.load(wanted.network)))


def rehearse(wanted: Wanted, pictures: NDArray[np.uint8]) -> float:
    """What the precision alone costs: the typed network against the one of the repository, both by ONNX Runtime.

    Args:
        wanted: the version.
        pictures: uint8 (N, S, S, 3).

    Returns:
        The share of the pixels whose labels agree.

    Raises:
        EngineError: TensorRT would not take the typed network, or the version is no segmentation.
    """
    output = wanted.labels
    with tempfile.TemporaryDirectory(prefix="fpan-engine-") as folder:
        path = Path(folder) / _TYPED_FILE
        _write_typed(wanted, pictures, path)
        expected = _in_float32(wanted, output, pictures, Path(folder))
        return float(np.mean(expected == _by_runtime(path, wanted.card, output, pictures)))


def build(wanted: Wanted, pictures: NDArray[np.uint8], plans: Path, say: Callable[[str], None]) -> Manifest:
    """Builds the plan of a version for the GPU at hand.

    Args:
        wanted: the version and the precision.
        pictures: what INT8 is calibrated with and the plan is judged on, uint8 (N, S, S, 3).
        plans: the folder of plans; one of the same target and precision is replaced when the new one is proven.
        say: told what is going on, in one line.

    Returns:
        The manifest that lies beside the plan.

    Raises:
        EngineError: no plan was made, or it was too different; the folder of plans is as it was.
        RepositoryError: a file of the version is missing or was changed.
    """
    output = wanted.labels
    check_network(wanted)
    tool, device, profile = Trtexec.find(), gpu(), BatchProfile()
    target = Target(tensorrt=tool.version(), gpu=device.name)
    place = plan_folder(plans, wanted.card, target, wanted.precision)
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=place.parent))
    try:
        network, plan = beside / _TYPED_FILE, beside / PLAN_FILE
        _write_typed(wanted, pictures, network)
        say(f"building for {device.name} with TensorRT {target.tensorrt}; it takes some minutes")
        tool.build(network, plan, wanted.card.inputs, profile)
        network.unlink()
        say(f"comparing with ONNX Runtime on {len(pictures)} pictures")
        expected = _in_float32(wanted, output, pictures, beside)
        agreement = float(np.mean(expected == _by_plan(tool, plan, wanted.card, output, pictures, profile)))
        _refuse_disagreement(agreement, wanted.precision)
        manifest = _manifest(wanted, plan, device, target, profile, agreement, len(pictures))
        (beside / MANIFEST_FILE).write_bytes(write_manifest(manifest))
        _put(beside, place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return manifest


def speeds(wanted: Wanted, plans: Path) -> list[Speed]:
    """How fast the plan of a version is on the GPU at hand, with the batches that it was built for.

    Args:
        wanted: the version and the precision.
        plans: the folder of plans.

    Raises:
        EngineError: it fails.
        NoPlan: there is none for this GPU.
    """
    tool, profile = Trtexec.find(), BatchProfile()
    target = Target(tensorrt=tool.version(), gpu=gpu().name)
    plan = Plans(plans, target, wanted.precision).find(wanted.card, profile.max)
    batches = (profile.min, profile.opt, profile.max)
    return [tool.measure(plan, wanted.card.inputs, batch) for batch in batches]


def _refuse_findings(card: ModelCard, model: onnx.ModelProto) -> None:
    sizes = card.sizes or (None,)
    if found := dict.fromkeys(each for size in sizes for each in findings(model, size)):
        listed = "".join(f"\n  {each}" for each in found)
        raise EngineError(
            f"{card.name} version {card.version} has what TensorRT {operator_list().tensorrt} does not take:{listed}"
        )


def _refuse_disagreement(agreement: float, precision: Precision) -> None:
    if agreement < MIN_AGREEMENT:
        raise EngineError(
            f"the plan gives {agreement:.2%} of the pixels the label that ONNX Runtime gives, and {MIN_AGREEMENT:.1%} "
            f"is the least: it is not kept{'; try --precision fp16' if precision == 'int8' else ''}"
        )


def _write_typed(wanted: Wanted, pictures: NDArray[np.uint8], path: Path) -> None:
    model = typed(wanted.network, wanted.precision, pictures)
    _refuse_findings(wanted.card, model)
    onnx.save(model, path)


def _in_float32(wanted: Wanted, output: Tensor, pictures: NDArray[np.uint8], folder: Path) -> NDArray[np.generic]:
    """What the version says in float32, whatever it is served in: what every plan is held against."""
    path = folder / _FULL_FILE
    onnx.save(full(onnx.load(wanted.network)), path)
    found = _by_runtime(path, wanted.card, output, pictures)
    path.unlink()
    return found


def _by_runtime(network: Path, card: ModelCard, output: Tensor, pictures: NDArray[np.uint8]) -> NDArray[np.generic]:
    """An output by ONNX Runtime on the CPU, picture by picture."""
    computed = Network(network, "onnxruntime", threads=1)
    name = card.inputs[0].name
    return np.concatenate([computed.run({name: each[None]}, [output.name])[output.name] for each in pictures])


def _by_plan(
    tool: Trtexec, plan: Path, card: ModelCard, output: Tensor, pictures: NDArray[np.uint8], profile: BatchProfile
) -> NDArray[np.generic]:
    """An output by the plan, in batches of the size that it is fastest with."""
    name, parts = card.inputs[0].name, []
    for start in range(0, len(pictures), profile.opt):
        # In memory: what goes to trtexec are pictures of faces.
        with tempfile.TemporaryDirectory(prefix="fpan-engine-", dir=SHARED_MEMORY) as room:
            batch = pictures[start : start + profile.opt]
            parts.append(tool.run(plan, {name: batch}, card.inputs, output, Path(room)))
    return np.concatenate(parts)


def _manifest(
    wanted: Wanted, plan: Path, device: Gpu, target: Target, profile: BatchProfile, agreement: float, pictures: int
) -> Manifest:
    return Manifest(
        name=wanted.card.name,
        version=wanted.card.version,
        network=wanted.card.sha256,
        plan=sha256_of(plan),
        precision=wanted.precision,
        target=target,
        compute_capability=device.compute_capability,
        driver=device.driver,
        profile=profile,
        inputs=wanted.card.inputs,
        agreement=agreement,
        pictures=pictures,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _put(beside: Path, place: Path) -> None:
    """Puts a folder in its place by one rename, and takes away the one that was there."""
    for path in beside.iterdir():
        sync(path)
    beside.chmod(_FOLDER_MODE)
    sync(beside)
    old = place.with_name(f"{_REPLACED}{beside.name.removeprefix(_BUILDING)}")
    if place.exists():
        place.rename(old)
    beside.rename(place)
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)
