"""Every command of `fpan-train`, in the groups in which `--help` lists them. Nothing is imported until it is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command by the place of its class."""

    where: str
    """``module:Class`` beneath this package."""
    about: str
    """What it does, in a line."""

    def load(self) -> Any:
        """The class: what the command line gives are its fields; calling it does the work."""
        module, _, name = self.where.partition(":")
        return getattr(import_module(f"fpan_training.{module}"), name)


GROUPS: Mapping[str, Mapping[str, Command]] = {
    "Data": {
        "import": Command("data.importers.command:Import", "bring in a published data set or a tool's export"),
        "check": Command("data.check:Check", "read every picture and mask, and list all that is wrong"),
        "align": Command("landmarks.align_folder:Align", "cut aligned faces out of photos, with their masks"),
        "merge": Command("data.merge:Merge", "several data sets of one label space as one"),
        "audit": Command("audit.command:Audit", "list what is probably wrong with labels, to look at"),
        "split": Command("data.split:Split", "divide a data set into train and val"),
        "shard": Command("data.shards:Sharding", "write a data set as tar shards, for an object store"),
        "landmarks": Command("landmarks.build:LandmarkBuild", "264 landmarks, 3D mesh and pose of every face"),
        "build-occluded": Command("occlusion.build:BuildOccluded", "labelled faces with things in front of them"),
        "parts": Command("data.paste.build:PartsBuild", "cut earrings, hats, glasses out of pictures, to paste them"),
        "pose-augment": Command("modules.uvm.pose_folder:PoseAugmentFolder", "labelled faces turned to other poses"),
        "render": Command("face3d.rendered:Render", "a labelled data set of people who do not exist"),
    },
    "Training": {
        "recipe": Command("recipes.recipe:RunRecipe", "a whole run from raw folders to what is served"),
        "train segm": Command("modules.segm.train:SegmTraining", "SEGM: the segmentation network that is served"),
        "train lom": Command("modules.lom.train:LomTraining", "LOM: landmarks, and which of them are hidden"),
        "train dom": Command("modules.dom.train:DomTraining", "DOM: a face without what covers it"),
        "train uvm": Command("modules.uvm.train:UvmTraining", "UVM: the half of a face that a pose hides"),
        "train ppm": Command("modules.ppm.train:PpmTraining", "PPM: yaw, pitch and roll"),
        "finetune": Command("modules.segm.finetune:Finetune", "a registered version goes on with your own pictures"),
        "resume-point": Command("engine.resume_point:ResumePoint", "a run as a small file, to go on from elsewhere"),
        "soft-labels": Command("modules.segm.soft_labels:SoftLabels", "what a teacher says of every picture"),
        "predictions": Command("modules.predictions:PredictionsBuild", "what LOM and PPM say of every picture"),
        "route": Command("paper.routing.route:RouteData", "labels for occluded pictures that have none, by DOM"),
        "report segm": Command("modules.segm.report:SegmReport", "trained networks side by side on val"),
        "report lom": Command("modules.lom.report:LomReport", "landmark errors, and hidden ones told"),
        "report dom": Command("modules.dom.report:DomReport", "what is recovered, beside inpainting"),
        "report uvm": Command("modules.uvm.report:UvmReport", "parts, colours and poses after completion"),
        "report ppm": Command("modules.ppm.report:PpmReport", "degrees that poses are off"),
    },
    "Release": {
        "gate": Command("release.gate:Gate", "measure a run against the gates, and publish nothing"),
        "register": Command("release.register:Register", "publish a run as the next version, if it passes its gates"),
        "measure": Command("release.quality:Measure", "every row of the table of quality, of a served version"),
        "card-page": Command("release.quality:CardPage", "the model card as a page, from card and figures"),
        "export-phone": Command("release.phone:ExportPhone", "a version for phones: LiteRT and ONNX Runtime, int8"),
        "deploy": Command("release.deploy:Deploy", "train the paper, publish its SEGM, bring it into traffic"),
        "cost": Command("release.cost:Cost", "processor time of exported networks, beside each other"),
        "detector": Command("release.detector.build:DetectorBuild", "a version of the face detector"),
    },
    "Paper": {
        "paper": Command("paper.pipeline:Paper", "all modules in the paper's order, from pictures to SEGM"),
        "paper-report": Command("paper.report:PaperReport", "measure every module of such a run, as a page"),
        "ablate": Command("paper.ablation.ablate:Ablation", "the paper's tables: what each module does for SEGM"),
        "figures": Command("paper.figures.make:Figures", "the paper's figures, of your pictures"),
    },
    "Tools": {
        "weights": Command("modules.segm.draw_weights:DrawWeights", "draw the pixel weights of SEGM's loss"),
        "face3d": Command("face3d.export:Face3d", "the 3D face fitted to a photo, as a GLB file"),
        "face-model": Command("face3d.ict.build:FaceModelBuild", "make the 3D face model from ICT-FaceKit"),
        "landmark-scheme": Command("landmarks.picture:LandmarkScheme", "draw the 264 landmarks with their names"),
        "alignment": Command("landmarks.alignment:AlignmentFit", "fit the aligned frame to a data set"),
    },
}
"""Commands by the words that call them."""

COMMANDS: Mapping[str, Command] = {words: command for group in GROUPS.values() for words, command in group.items()}
