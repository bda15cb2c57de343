"""The recipe of the served networks: a teacher on all that is labelled, and two students that learn from both."""

from fpan_training.modules.segm.model import SegmConfig
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.recipes.segm import Phase, SegmSchedule

TEACHER = SegmSchedule(
    "teacher",
    SegmConfig(lite_fpn=LiteFpnConfig((48, 96, 128, 128, 192), encoder="lite2")),
    (Phase(128, 24, 3e-3, wild=False), Phase(256, 24, 1.5e-3), Phase(384, 6, 5e-4, batch_size=8)),
)
"""1.8 times the work of the network that is served."""
STUDENT = SegmSchedule("segm", SegmConfig(), (Phase(128, 40, 3e-3), Phase(256, 24, 1.5e-3), Phase(320, 6, 5e-4)))
"""What is served as ``segm``: one look at one size."""
