"""How far each preset goes, beside the modules' own presets of the same names: counts and shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.modules.training import Preset


@dataclass(frozen=True)
class TrainingBudget:
    """What a preset asks of the stages that are not a module's training."""

    variants: int = 3
    """Occluded pictures made of each labelled one."""
    poses: int = 1
    """Turned pictures made of each labelled one."""
    unwrap_unlabelled: bool = True
    """Whether UVM learns texture from the unlabelled faces too: unwrapping one takes a second or two."""
    weights: WeightConfig = field(default_factory=lambda: WeightConfig(lambda_o=1.0, lambda_p=1.0))
    """Eq. 2."""
    extra_share: tuple[float, float] = (0.25, 0.25)
    """What part of SEGM's epoch the routed and the turned pictures make up."""


RENDERED = 24
"""Pictures that the smoke preset renders for want of data, labelled and unlabelled ones each."""
RENDERED_SIDE = 64
"""Their side in pixels."""

BUDGETS: Mapping[Preset, TrainingBudget] = {
    "smoke": TrainingBudget(variants=1),
    "cpu": TrainingBudget(unwrap_unlabelled=False),
    "paper": TrainingBudget(),
}
