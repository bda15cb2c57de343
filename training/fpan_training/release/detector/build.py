"""`fpan-train detector`: makes the served face detector from its package's network."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from fpan.contract import ModelCard, TrainingData
from fpan.contract.card import ANY, Tensor
from fpan.registry import FolderStore, Registry

from fpan_training.data.packages import SOURCES, DetectorName
from fpan_training.release.detector.layouts import LAYOUTS
from fpan_training.release.detector.surgery import CANDIDATES, FACE_VALUES, macs, parameters, rebuild, sizes

MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class DetectorBuild:
    """Writes a version of the face detector into the model repository. The same settings give the same bytes."""

    repository: Path = Path("model_repository")
    """The model repository; made where it is missing."""
    network: DetectorName = "yunet"
    """Which of the detectors that were compared."""
    size: int = 640
    """Side of the largest input in pixels, a multiple of 32."""
    name: str = "detector"
    """Name of the model in the repository."""
    version: int = 1
    """Number of the version."""
    created: str = ""
    """UTC date and time for the card, ISO 8601; empty for none."""
    git_commit: str = ""
    """Commit for the card; empty for none."""

    def __call__(self) -> ModelCard:
        """Writes the version and returns its card.

        Raises:
            SourceError: the package is missing or holds another network than the one that was looked at.
            VersionExists: there is such a version.
            ValueError: no input can have that size.
        """
        source = SOURCES[self.network]
        model = rebuild(onnx.load_from_string(source.onnx_bytes()), LAYOUTS[self.network])
        card = ModelCard(
            name=self.name,
            version=self.version,
            task="detection",
            title=source.title,
            inputs=(Tensor(name="image", dtype="UINT8", shape=(ANY, ANY, 3)),),
            outputs=(Tensor(name="faces", dtype="FP32", shape=(CANDIDATES, FACE_VALUES)),),
            input_size=self.size,
            sizes=sizes(self.size),
            weights_licence=source.licence,
            training_data=(TrainingData(name="WIDER FACE", licence="non-commercial research", pictures=12880),),
            parameters=parameters(model),
            macs=macs(model, self.size),
            source=str(source),
            git_commit=self.git_commit,
            created=self.created,
            files={},
        )
        registry = Registry(FolderStore(self.repository, create=True))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MODEL_FILE
            path.write_bytes(model.SerializeToString(deterministic=True))
            return registry.publish(card, {MODEL_FILE: path}, version=self.version)
