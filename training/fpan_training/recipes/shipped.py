"""The recipe of the served networks: a teacher on all that is labelled, and students that learn from both."""

from dataclasses import dataclass, replace
from functools import partial

from fpan_training.data.paste.build import PartsBuild
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.soft_labels import SoftLabels
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import RENDERED_SIDE, GateSets, TrainingSets, prepare
from fpan_training.recipes.segm import Phase, SegmSchedule, part_bank, soft_labels
from fpan_training.release.deploy import SMOKE_GATES
from fpan_training.release.gates import Gates
from fpan_training.release.gates.strata import Strata
from fpan_training.release.register import Register

TEACHER = SegmSchedule(
    "teacher",
    SegmConfig(lite_fpn=LiteFpnConfig((48, 96, 128, 128, 192), encoder="lite2")),
    (Phase(128, 16, 3e-3, wild=False), Phase(256, 24, 1.5e-3), Phase(384, 6, 5e-4, batch_size=8)),
)
"""1.8 times the work of the network that is served."""
STUDENTS = (
    SegmSchedule(
        "segm", SegmConfig(), (Phase(128, 40, 3e-3), Phase(256, 24, 1.5e-3), Phase(320, 8, 5e-4)), teacher=True
    ),
    SegmSchedule(
        "segm_fast",
        SegmConfig(lite_fpn=LiteFpnConfig((16, 32, 64, 64, 96), stride=4)),
        (Phase(128, 40, 3e-3), Phase(192, 24, 1.5e-3)),
        teacher=True,
    ),
)
"""What is served: one look at one size. In int8 they take a third and 0.13 of the time of version 2 or less."""
MODELS = tuple(student.name for student in STUDENTS)
LOOKS = (256, 384)
"""Sides in pixels at which the teacher looks at each picture, from both sides."""

TURNED_DEG = 12.0
"""Yaw from which on a validation face counts as turned: 107 of the 333 do, and gates ask for 100."""
SMOKE_PICTURES = 60
"""Of an epoch under the budget ``smoke``: so many that a network with wrong labels is told from one with right ones."""


@dataclass(frozen=True)
class Shipped:
    """What the recipe makes under a budget."""

    teacher: SegmSchedule
    students: tuple[SegmSchedule, ...]
    looks: tuple[int, ...]
    gates: Gates
    data_licence: str = ""
    """Of data sets that do not tell their terms."""

    @classmethod
    def under(cls, context: Context) -> "Shipped":
        """The networks in full, or small ones that go through the same stages."""
        if context.budget == "full":
            sets = GateSets.of(context)
            strata = Strata(occluded=sets.covered, faces=sets.faces, least_yaw_deg=TURNED_DEG)
            return cls(TEACHER, STUDENTS, LOOKS, Gates(strata=strata))
        return cls(
            _small(TEACHER, (1, 1)),
            tuple(_small(student, epochs) for student, epochs in zip(STUDENTS, ((2, 12), (1, 6)), strict=True)),
            (RENDERED_SIDE,),
            SMOKE_GATES,
            "none: nobody is shown",
        )

    def stages(self, context: Context) -> tuple[Stage, ...]:
        """In order."""
        sets = TrainingSets.of(context)

        def look() -> None:
            for data in sets.all:
                SoftLabels(self.teacher.run(context) / "best.pt", data, soft_labels(context) / data.name, self.looks)()

        stages = [
            Stage("data", "data sets, merged and aligned", lambda: prepare(context)),
        ]
        if self.teacher.paste:
            cut = PartsBuild((sets.full,), part_bank(context))
            stages.append(Stage("parts", "worn things, cut out of labelled pictures", cut))
        stages += self.teacher.stages(context)
        stages.append(Stage("soft-labels", "what the teacher says of every picture", look))
        if context.budget == "full":
            make = partial(GateSets.of(context).make, context)
            stages.append(Stage("gate-sets", "validation pictures, covered, and their poses", make))
        for student in self.students:
            stages += student.stages(context)
            register = Register(
                student.run(context),
                sets.full,
                context.repository,
                student.name,
                mirrored=False,
                precision="int8",
                data_licence=self.data_licence,
                gates=self.gates,
                allow_unmeasured=context.budget == "smoke",
            )
            stages.append(Stage(f"register-{student.name}", "gates, and a version in the repository", register))
        return tuple(stages)


def stages(context: Context) -> tuple[Stage, ...]:
    """The recipe."""
    return Shipped.under(context).stages(context)


def _small(schedule: SegmSchedule, epochs: tuple[int, int]) -> SegmSchedule:
    """The same stages within seconds, at the size of rendered faces."""
    network = SegmConfig(lite_fpn=LiteFpnConfig((16, 16, 16, 32, 32), dropout=0))
    loop = LoopConfig(ema_decay=0.9, workers=0, precision="32-true", accelerator="cpu", validate_every=4)
    sizes = (RENDERED_SIDE // 2, RENDERED_SIDE)
    phases = tuple(
        replace(phase, size=size, epochs=length, lr=5e-3, batch_size=8)
        for phase, size, length in zip(schedule.phases[:2], sizes, epochs, strict=True)
    )
    # Rendered people wear nothing that could be cut out.
    return replace(
        schedule,
        network=network,
        phases=phases,
        epoch_pictures=SMOKE_PICTURES,
        loop=loop,
        soft=0.1,  # of a teacher that has seen next to nothing
        rare=0.0,
        paste=False,
    )
