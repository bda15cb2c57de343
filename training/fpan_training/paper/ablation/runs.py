"""One run of the experiments: trained, then measured on every test set. Both go on where they were stopped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.data.folder import FaceFolder, read_splits
from fpan_training.data.label_space import DATASET_FILE, PRESETS, LabelSpace
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.measure import Measured, Prediction, measure
from fpan_training.evaluate.test_set import TestSet, hidden_shares
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.cost import macs
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.paper.ablation.inputs import Inputs
from fpan_training.paper.ablation.plan import Budget, Job, weights_of
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

TEST_SPLIT = "val"
HELDOUT = "heldout"
"""Split and test set: faces under things of a family that no training saw."""


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    parameters: int
    macs: int
    """Multiply-accumulates of a picture."""


def test_sets(inputs: Inputs) -> tuple[TestSet, ...]:
    """``occluded`` and ``clean``, and, where there are any, ``heldout`` and ``posed``."""
    hidden = hidden_shares(inputs.occluded)
    sets = [
        TestSet("occluded", FaceFolder.open(inputs.occluded, TEST_SPLIT), len(TAXONOMY), hidden=hidden),
        TestSet("clean", FaceFolder.open(inputs.clean, TEST_SPLIT), CELEBA19_CLASSES),
    ]
    if HELDOUT in (read_splits(inputs.occluded) or {}):
        sets.append(TestSet(HELDOUT, FaceFolder.open(inputs.occluded, HELDOUT), len(TAXONOMY), hidden=hidden))
    if inputs.posed_test is not None:
        grouping = Grouping(_space(inputs.posed_test))
        sets.append(TestSet("posed", FaceFolder.open(inputs.posed_test, TEST_SPLIT), len(grouping), grouping))
    return tuple(sets)


def _space(folder: Path) -> LabelSpace:
    """What a folder declares; where it declares nothing and bears the name of a public set, that set's."""
    known = folder.name in PRESETS and not (folder / DATASET_FILE).is_file()
    return LabelSpace.preset(folder.name) if known else LabelSpace.of_folder(folder)


def train(
    job: Job, inputs: Inputs, budget: Budget, lambdas: WeightConfig, shares: tuple[float, ...], run: Path
) -> None:
    """Trains a run to its end; at once where it has been.

    Args:
        job: which.
        inputs: data.
        budget: size and pace.
        lambdas: of Eq. 2, for the rows that have them.
        shares: of an epoch's pictures, for the routed and the posed set, where the row has them.
        run: folder of the run.
    """
    used = [share for share, has in zip(shares, (job.row.routed, job.row.posed), strict=True) if has]
    SegmTraining(
        data=tuple(inputs.training_sets(job.row)),
        run=run,
        seed=job.seed,
        backgrounds=inputs.backgrounds,
        share=tuple(used),
        epoch_pictures=budget.epoch_pictures,
        predictions=inputs.predictions,
        weights=weights_of(job.row, lambdas),
        labelled_classes=len(TAXONOMY),
        settings=SegmSettings(
            segm=budget.networks[job.architecture], augment=budget.augment, loop=budget.training_loop
        ),
    ).fit()


def measure_run(run: Path, sets: tuple[TestSet, ...]) -> tuple[dict[str, Measured], Cost]:
    """What a trained run says on every set, at its input size; counts are kept in the run's folder."""
    # The averaged weights after the last step: with one validation there is no other checkpoint to choose.
    checkpoint = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
    config = read_config(checkpoint["segm"])
    network = load_network(config, checkpoint["network"])
    step, size = SegmStep(TAXONOMY), config.input_size

    def prediction(image: NDArray[np.uint8]) -> Prediction:
        return step.prediction(network, image, size)

    measured = {}
    for test in sets:
        path = run / f"{test.name}.npz"
        # Counts of other pictures are stale: the set has been made anew.
        if not path.is_file() or Measured.load(path).names != test.folder.names:
            counts = measure(
                prediction, test.folder, test.name, size, test.classes, TAXONOMY, test.grouping, test.hidden
            )
            counts.save(path)
        measured[test.name] = Measured.load(path)
    return measured, Cost(sum(p.numel() for p in network.parameters()), macs(network, size))
