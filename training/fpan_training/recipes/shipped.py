"""The recipe of the served networks: a teacher on everything that is labelled, and two students that learn from both."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fpan_training.data.folder import list_pictures
from fpan_training.engine.loop import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.soft_labels import SoftLabels
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import Prepared, SegmData
from fpan_training.recipes.segm import Phase, SegmSchedule
from fpan_training.release.gates import Gates
from fpan_training.release.register import Register

TEACHER = SegmSchedule(
    "teacher",
    SegmConfig(lite_fpn=LiteFpnConfig((48, 96, 128, 128, 192), encoder="lite2")),
    (Phase(128, 24, 3e-3, wild=False), Phase(256, 24, 1.5e-3), Phase(384, 6, 5e-4, batch_size=8)),
)
"""1.8 times the work of the network that is served."""
STUDENT = SegmSchedule("segm", SegmConfig(), (Phase(128, 40, 3e-3), Phase(256, 24, 1.5e-3), Phase(320, 6, 5e-4)))
"""What is served as ``segm``: one look at one size."""
