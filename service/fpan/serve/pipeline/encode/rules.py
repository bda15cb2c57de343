"""How answers are encoded, as the operator set it."""

from dataclasses import dataclass
from typing import Self

from fpan.serve.settings import Settings


@dataclass(frozen=True)
class EncodeRules:
    """Limits and strengths of encodings. :class:`~fpan.serve.settings.Settings` has each under the same name."""

    polygon_tolerance_px: float
    max_outline_steps: int
    max_alpha_bytes: int
    redact_cells: int
    redact_margin: float
    redact_min_confidence: float
    redact_min_share: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The operator's."""
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})
