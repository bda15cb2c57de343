"""What training and the gateway must agree on, as data: taxonomy, alignment, cards and the model repository.

Training writes these files into a version's own folder in the model repository, the gateway reads them from there.
This package imports neither of the two.
"""

from fpan.contract.alignment import FIVE_POINTS, AlignmentTemplate, similarity
from fpan.contract.card import CARD_FILE, Evaluation, ModelCard, TrainingData
from fpan.contract.repository import ModelRepository, RepositoryError, sha256_of
from fpan.contract.taxonomy import FaceClass, Taxonomy

__all__ = [
    "CARD_FILE",
    "FIVE_POINTS",
    "AlignmentTemplate",
    "Evaluation",
    "FaceClass",
    "ModelCard",
    "ModelRepository",
    "RepositoryError",
    "Taxonomy",
    "TrainingData",
    "sha256_of",
    "similarity",
]
