"""What training and the gateway must agree on, as data: taxonomy, alignment, cards and the model repository.

Training writes these files into a version's own folder in the model repository, the gateway reads them from there.
This package imports neither of the two.
"""

from fpan.contract.aliases import ALIASES, Aliases, AliasName, Change, History, Reference
from fpan.contract.alignment import FIVE_POINTS, AlignmentTemplate, similarity
from fpan.contract.card import CARD_FILE, Evaluation, ModelCard, TrainingData, read_card, write_card
from fpan.contract.gate import GateResult
from fpan.contract.golden import GOLDEN_FILE, GoldenPictures
from fpan.contract.repository import ModelRepository, RepositoryError, sha256_of
from fpan.contract.taxonomy import FaceClass, Taxonomy

__all__ = [
    "ALIASES",
    "CARD_FILE",
    "FIVE_POINTS",
    "GOLDEN_FILE",
    "AliasName",
    "Aliases",
    "AlignmentTemplate",
    "Change",
    "Evaluation",
    "FaceClass",
    "GateResult",
    "GoldenPictures",
    "History",
    "ModelCard",
    "ModelRepository",
    "Reference",
    "RepositoryError",
    "Taxonomy",
    "TrainingData",
    "read_card",
    "sha256_of",
    "similarity",
    "write_card",
]
