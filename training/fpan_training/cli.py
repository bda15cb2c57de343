"""The command `fpan-train`. What goes wrong is told in one line; with FPAN_TRACEBACK=1 also where it was found."""

import os
import sys
from collections.abc import Callable

import tyro
from fpan.contract import RepositoryError

from fpan_training.data.check import Check
from fpan_training.data.folder import DataError
from fpan_training.data.importers.command import Import
from fpan_training.data.shards import Sharding
from fpan_training.engine.tracking import TrackingError
from fpan_training.face3d.export import Face3d
from fpan_training.face3d.ict.build import FaceModelBuild
from fpan_training.face3d.rendered import Render
from fpan_training.landmarks.aligned import Align
from fpan_training.landmarks.alignment import AlignmentFit
from fpan_training.landmarks.build import LandmarkBuild
from fpan_training.landmarks.picture import LandmarkScheme
from fpan_training.modules.dom.report import DomReport
from fpan_training.modules.dom.train import DomTraining
from fpan_training.modules.lom.report import LomReport
from fpan_training.modules.lom.train import LomTraining
from fpan_training.modules.ppm.report import PpmReport
from fpan_training.modules.ppm.train import PpmTraining
from fpan_training.modules.predictions import PredictionsBuild
from fpan_training.modules.segm.compare import Compare
from fpan_training.modules.segm.draw_weights import DrawWeights
from fpan_training.modules.segm.finetune import Finetune
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.modules.uvm.pose_folder import PoseAugmentFolder
from fpan_training.modules.uvm.report import UvmReport
from fpan_training.modules.uvm.train import UvmTraining
from fpan_training.occlusion.build import BuildOccluded
from fpan_training.paper.ablation.ablate import Ablation
from fpan_training.paper.figures.make import Figures
from fpan_training.paper.pipeline import Train
from fpan_training.paper.report import Report
from fpan_training.paper.routing.route import RouteData
from fpan_training.release.deploy import Deploy
from fpan_training.release.detector.build import DetectorBuild
from fpan_training.release.gate import Gate
from fpan_training.release.gates import GateError
from fpan_training.release.phone import ExportPhone
from fpan_training.release.register import Register
from fpan_training.release.service import ServiceError

COMMANDS: dict[str, Callable[..., object]] = {
    "train": Train,
    "deploy": Deploy,
    "report": Report,
    "import": Import,
    "check": Check,
    "shard": Sharding,
    "segm": SegmTraining,
    "finetune": Finetune,
    "weights": DrawWeights,
    "ablate": Ablation,
    "figures": Figures,
    "align": Align,
    "landmarks": LandmarkBuild,
    "build-occluded": BuildOccluded,
    "landmark-scheme": LandmarkScheme,
    "lom": LomTraining,
    "lom-report": LomReport,
    "dom": DomTraining,
    "dom-report": DomReport,
    "ppm": PpmTraining,
    "ppm-report": PpmReport,
    "uvm": UvmTraining,
    "uvm-report": UvmReport,
    "pose-augment": PoseAugmentFolder,
    "route": RouteData,
    "predictions": PredictionsBuild,
    "render": Render,
    "face3d": Face3d,
    "face-model": FaceModelBuild,
    "compare": Compare,
    "gate": Gate,
    "register": Register,
    "export-phone": ExportPhone,
    "detector": DetectorBuild,
    "alignment": AlignmentFit,
}

_EXPECTED = (DataError, RepositoryError, GateError, ServiceError, TrackingError, ValueError, FileNotFoundError)
"""What is wrong with data, options or paths; their messages say what to do."""


def main() -> None:
    """Reads the command line and runs what it names; what is wrong with data or options is told in words."""
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, description=__doc__)
    try:
        command()
    except _EXPECTED as error:
        if os.environ.get("FPAN_TRACEBACK") == "1":
            raise
        sys.exit(f"fpan-train: {error}")


if __name__ == "__main__":
    main()
