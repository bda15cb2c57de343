"""F(landmark, Occlusion, Mask) and F(Mask): which training pictures go to which module (Mask-FPAN, figure 2).

LOM says whether a face is occluded and where; the labels say whether that is marked. Naked faces and marked occlusions
go to UVM and SEGM; unmarked occlusions go to DOM, which marks them. :mod:`.route` does it ahead of training,
:mod:`.folder` in the loop; :mod:`.predictions` keeps what LOM and PPM say for SEGM's loss.
"""

from fpan_training.paper.routing.decision import Decision, Kind, Route, RoutingConfig
from fpan_training.paper.routing.folder import RoutedPictures, routed
from fpan_training.paper.routing.log import DecisionLog
from fpan_training.paper.routing.merge import merge
from fpan_training.paper.routing.router import Router

__all__ = [
    "Decision",
    "DecisionLog",
    "Kind",
    "Route",
    "RoutedPictures",
    "Router",
    "RoutingConfig",
    "merge",
    "routed",
]
