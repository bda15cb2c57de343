"""PPM's losses: Hopenet's cross-entropy with the error of the soft angle, or the geodesic distance of rotations."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fpan_training.engine.processes import mean_over_all
from fpan_training.modules.ppm.model import AXES, LIMIT_DEG, PoseOutput, bins_of, expectation

_LONGEST_CHORD = 1 - 1e-6
"""Of the half chord between two rotations: the arcsine has no finite slope at 1, which is a turn of 180 degrees."""


@dataclass(frozen=True)
class PoseLossConfig:
    """Weights of the parts."""

    alpha: float = 2.0
    """Of the squared error of the soft angle, in degrees squared, beside the cross-entropy. Hopenet's best on AFLW2000
    (table 1).
    """


def pose_loss(output: PoseOutput, angles_b3: Tensor, rotation_b33: Tensor, config: PoseLossConfig) -> dict[str, Tensor]:
    """The loss of either head.

    Args:
        output: what the network says.
        angles_b3: float (B, 3): true yaw, pitch and roll in degrees.
        rotation_b33: float (B, 3, 3): the same as matrices.
        config: weights.
    """
    if output.rotation is not None:
        return {"loss": geodesic(output.rotation, rotation_b33).mean()}
    assert output.logits is not None  # one of the two there is
    return hopenet_loss(output.logits, angles_b3, config)


def hopenet_loss(logits_b3k: Tensor, angles_b3: Tensor, config: PoseLossConfig) -> dict[str, Tensor]:
    """Sum over the axes of cross-entropy + alpha * mean squared error of the soft angle (Hopenet, section 3.2).

    Faces with an angle beyond the bins' +-99 degrees count for nothing, as in Hopenet's training. Means are over the
    faces of all processes.
    """
    known = (angles_b3.abs() < LIMIT_DEG).all(1).float()
    cross_entropy = F.cross_entropy(logits_b3k.flatten(0, 1), bins_of(angles_b3).flatten(), reduction="none")
    errors = torch.stack([cross_entropy.view_as(angles_b3), (expectation(logits_b3k) - angles_b3) ** 2])
    by_axis, squared = mean_over_all((errors * known[:, None]).sum(1), known.sum()).unbind()
    parts = {f"rmse_{axis}": squared[i].detach().sqrt() for i, axis in enumerate(AXES)}
    return {"loss": (by_axis + config.alpha * squared).sum(), "ce": by_axis.sum(), **parts}


def geodesic(a_b33: Tensor, b_b33: Tensor) -> Tensor:
    """The angle between rotations in radians, (B,) (6DRepNet, eq. 7).

    By the chord, |A - B| = 2 sqrt(2) sin(angle / 2), rather than by the arccosine of the trace: that has no slope where
    both are equal.
    """
    half_chord = torch.linalg.vector_norm(a_b33 - b_b33, dim=(1, 2)) / 8**0.5
    return 2 * torch.asin(half_chord.clamp(max=_LONGEST_CHORD))
