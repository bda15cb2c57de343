"""The stages of figure 2 in their order, each a command of its own that goes on where it stopped."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from fpan_training.engine.stages import Stage
from fpan_training.face3d.rendered import Render
from fpan_training.landmarks import FaceStore
from fpan_training.landmarks.build import LandmarkBuild
from fpan_training.modules.dom.train import DomTraining
from fpan_training.modules.lom.clean import CleanConfig
from fpan_training.modules.lom.train import LomTraining
from fpan_training.modules.ppm.train import PpmTraining
from fpan_training.modules.predictions import PredictionsBuild
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.modules.training import Preset
from fpan_training.modules.uvm.pose_folder import PoseAugmentFolder
from fpan_training.modules.uvm.train import UvmTraining
from fpan_training.occlusion.build import BuildOccluded
from fpan_training.paper.budget import BUDGETS, RENDERED, RENDERED_SIDE, TrainingBudget
from fpan_training.paper.routing.route import RouteData
from fpan_training.taxonomy import TAXONOMY


@dataclass(frozen=True)
class Sources:
    """What is there before anything is trained."""

    data: Path
    """Labelled, aligned faces with the splits ``train`` and ``val``."""
    unlabelled: Path
    """Aligned faces without labels; some of them occluded."""
    backgrounds: Path | None
    occluders: Path | None


@dataclass(frozen=True)
class Stages:
    """All stages of a run; what each leaves lies in the run's folder under the stage's name."""

    run: Path
    sources: Sources
    preset: Preset
    seed: int

    @property
    def depth(self) -> TrainingBudget:
        """Counts and shares."""
        return BUDGETS[self.preset]

    def all(self) -> tuple[Stage, ...]:
        """In order: the pre-trained stage of the figure up to ``ppm``, then its training stage."""
        return (
            Stage("landmarks", "264 landmarks and the pose of every face", self.landmarks),
            Stage("occluded", "CelebAMaskOcc-HQ: labelled faces, covered", self.occluded),
            Stage("lom", "LOM: landmarks and which of them are hidden", self.lom),
            Stage("dom", "DOM: the face without what covers it", self.dom),
            Stage("uvm", "UVM: the half of a face that a pose hides", self.uvm),
            Stage("posed", "labelled faces, turned to other poses", self.posed),
            Stage("ppm", "PPM: yaw, pitch and roll", self.ppm),
            Stage("routed", "F(landmark, occlusion, mask): what goes to DOM, and its labels", self.routed),
            Stage("predictions", "what LOM and PPM say of SEGM's pictures, for Eq. 2", self.predictions),
            Stage("segm", "SEGM, on all of it", self.segm),
        )

    def folder(self, name: str) -> Path:
        """What a stage leaves."""
        return self.run / name

    def landmarks(self) -> None:
        """The teacher's, where a store does not have them yet."""
        for data in (self.sources.data, self.sources.unlabelled):
            LandmarkBuild(data, self._faces / data.name)()

    def occluded(self) -> None:
        """With landmarks: they are those of the picture beneath."""
        s = self.sources
        store = FaceStore(self._faces / s.data.name)
        out = BuildOccluded(
            s.data,
            self.folder("occluded"),
            faces=store.folder,
            occluders=s.occluders,
            backgrounds=s.backgrounds,
            variants=self.depth.variants,
            seed=self.seed,
        )()
        inherit_landmarks(out / "manifest.jsonl", store, FaceStore(self._faces / out.name))

    def lom(self) -> None:
        """On labelled faces, which count as clean, and for the landmarks on unlabelled ones too."""
        s = self.sources
        LomTraining(
            (s.data, s.unlabelled),
            self.folder("lom"),
            self._faces,
            seed=self.seed,
            settings=LomTraining.presets[self.preset],
            backgrounds=s.backgrounds,
            occluders=s.occluders,
            clean=CleanConfig(clean_data=(s.data.name,)),
        )()

    def dom(self) -> None:
        """On labelled faces, and on unlabelled ones that LOM finds clean."""
        s = self.sources
        DomTraining(
            (s.data, s.unlabelled),
            self.folder("dom"),
            self._faces,
            seed=self.seed,
            settings=DomTraining.presets[self.preset],
            backgrounds=s.backgrounds,
            occluders=s.occluders,
            clean=CleanConfig(clean_by=self.folder("lom") / "best.pt", clean_data=(s.data.name,)),
        )()

    def uvm(self) -> None:
        """On labelled and, where the preset says so, unlabelled faces."""
        s = self.sources
        UvmTraining(
            (s.data, s.unlabelled) if self.depth.unwrap_unlabelled else (s.data,),
            self.folder("uvm"),
            self._faces,
            seed=self.seed,
            settings=UvmTraining.presets[self.preset],
            occluders=s.occluders,
            lom=self.folder("lom") / "best.pt",
        )()

    def posed(self) -> None:
        """Of the labelled faces."""
        s = self.sources
        out = PoseAugmentFolder(
            s.data,
            self._faces / s.data.name,
            self.folder("posed"),
            self.folder("uvm") / "best.pt",
            poses=self.depth.poses,
            backgrounds=s.backgrounds,
            seed=self.seed,
        )()
        LandmarkBuild(out, self._faces / out.name)()

    def ppm(self) -> None:
        """On the faces as they are and turned."""
        s = self.sources
        PpmTraining(
            (s.data, s.unlabelled),
            self.folder("ppm"),
            self._faces,
            seed=self.seed,
            settings=PpmTraining.presets[self.preset],
            posed=self.folder("posed"),
        )()

    def routed(self) -> None:
        """The unlabelled faces."""
        faces = self._faces / self.sources.unlabelled.name
        lom, dom = self.folder("lom") / "best.pt", self.folder("dom") / "best.pt"
        RouteData(self.sources.unlabelled, faces, lom, dom, self.folder("routed"))()

    def predictions(self) -> None:
        """A store for each of SEGM's data sets, by the data set's name."""
        for name in ("occluded", *self._extra()):
            faces = self._faces / (self.sources.unlabelled.name if name == "routed" else name)
            lom, ppm = self.folder("lom") / "best.pt", self.folder("ppm") / "best.pt"
            PredictionsBuild(self.folder(name), faces, lom, ppm, self.folder("predictions") / name)()

    def segm(self, name: str = "segm", epochs: int | None = None) -> None:
        """On the occluded faces, the routed and the turned ones; ``epochs`` other than the preset's where given."""
        extra, settings = self._extra(), SegmTraining.presets[self.preset]
        if epochs is not None:
            settings = replace(settings, loop=replace(settings.loop, epochs=epochs))
        SegmTraining(
            tuple(self.folder(name) for name in ("occluded", *extra)),
            self.folder(name),
            seed=self.seed,
            settings=settings,
            backgrounds=self.sources.backgrounds,
            share=tuple(s for n, s in zip(_EXTRA, self.depth.extra_share, strict=True) if n in extra),
            predictions=self.folder("predictions"),
            weights=self.depth.weights,
            labelled_classes=len(TAXONOMY),
        )()

    @property
    def _faces(self) -> Path:
        """Landmark stores, one for each data set by its name."""
        return self.folder("faces")

    def _extra(self) -> tuple[str, ...]:
        """Those that have pictures: where nothing unlabelled is occluded, nothing is routed."""
        return tuple(name for name in _EXTRA if any((self.folder(name) / "images").glob("*")))


_EXTRA = ("routed", "posed")
"""Data sets that SEGM learns from besides the occluded one."""


def inherit_landmarks(manifest: Path, of: FaceStore, to: FaceStore) -> None:
    """Gives every covered picture the landmarks of the picture that it was made of: covering moves nothing."""
    to.folder.mkdir(parents=True, exist_ok=True)
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        source, target = of.path(row["picture"]), to.path(row["name"])
        if source.is_file() and not target.is_file():
            shutil.copyfile(source, target)


def render_sources(folder: Path, seed: int) -> Sources:
    """Data for those who have none: people who do not exist, labelled ones, and unlabelled ones that something covers.

    Their landmarks are known and lie where the run keeps them.
    """
    faces = folder / "faces"
    for name, number in (("rendered", seed), ("beneath", seed + 1)):
        Render(folder / name, RENDERED, number, RENDERED_SIDE)()
        shutil.copytree(folder / name / "faces", faces / name, dirs_exist_ok=True)
    covered = BuildOccluded(folder / "beneath", folder / "covered", faces=faces / "beneath", variants=1, seed=seed)()
    inherit_landmarks(covered / "manifest.jsonl", FaceStore(faces / "beneath"), FaceStore(faces / "unlabelled"))
    shutil.copytree(covered / "images", folder / "unlabelled", dirs_exist_ok=True)
    return rendered_sources(folder)


def rendered_sources(folder: Path) -> Sources:
    """What :func:`render_sources` leaves."""
    return Sources(folder / "rendered", folder / "unlabelled", None, None)
