"""`fpan-train audit`: lists label faults of a data set for people to look at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from fpan_training.audit.faults import KINDS, SIDE, Compared, FaultConfig, faults_of, outliers, worst_box
from fpan_training.audit.sheet import sheet
from fpan_training.data.check import check_labelled
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.data.ignored import Box, Fault, FaultList
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.landmarks import FaceStore
from fpan_training.landmarks.build import LandmarkBuild
from fpan_training.modules.segm.step import to_size
from fpan_training.release.export.onnx_file import open_session
from fpan_training.release.quality.networks import OnnxNetwork, TorchNetwork

LIST = "audit.json"
Probabilities = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A square picture, RGB uint8 (H, W, 3), to the probabilities of the classes, float32 (classes, SIDE, SIDE)."""


@dataclass(frozen=True)
class Audit:
    """Lists what is probably wrong with the labels of aligned faces, the surest first, and draws it.

    audit.json has the name, kind, score and box of each fault; contact-KIND.png shows the surest. Look at the sheets,
    delete from the list what is right, and give it to a training as --ignore-list: boxes are unknown then, and pictures
    without a box are left out.
    """

    data: Path
    """Data set whose masks are ids of our classes."""
    out: Path
    """Folder to write."""
    model: Path | None = None
    """ONNX file of a served network that is held against the labels. It may have learnt from them: what is wrong only
    here and there it has not taken over."""
    run: Path | None = None
    """Instead of that, a run of SEGM."""
    faces: Path | None = None
    """The data set's store of `fpan-train landmarks`; without it, one is made in ``OUT/landmarks``."""
    split: str = "train"
    """What is looked at."""
    shown: int = 50
    """Faults of a kind on its contact sheet."""
    config: FaultConfig = field(default_factory=FaultConfig)

    def __call__(self) -> FaultList:
        """Writes list and sheets, prints how many faults there are of each kind, and returns the list.

        Raises:
            DataError: something is wrong with the data set, or its masks merge classes.
            ValueError: no network is named, or two are.
        """
        probabilities = self._network()
        check_labelled(self.data)
        folder = FaceFolder.open(self.data, self.split)
        store = FaceStore(self.faces) if self.faces else LandmarkBuild(self.data, self.out / "landmarks")()
        faults: list[Fault] = []
        losses: list[float] = []
        boxes: list[Box | None] = []
        for index in track(range(len(folder)), "pictures"):
            compared = compare(folder, index, probabilities, store)
            faults += faults_of(compared, self.config)
            losses.append(float(np.nanmean(compared.loss)))
            boxes.append(worst_box(compared))
        faults += outliers(list(folder.names), losses, boxes, self.config)
        kinds = list[str](KINDS)
        faults.sort(key=lambda fault: (kinds.index(fault.kind), -fault.score, fault.name))
        listed = FaultList(data=self.data.name, faults=tuple(faults))
        self.out.mkdir(parents=True, exist_ok=True)
        write_whole(self.out / LIST, (listed.model_dump_json(indent=1) + "\n").encode())
        where = {name: index for index, name in enumerate(folder.names)}
        for kind, about in KINDS.items():
            own = [fault for fault in faults if fault.kind == kind]
            print(f"{kind}: {len(own)} in {len({fault.name for fault in own})} of {len(folder)} pictures ({about})")
            if own:
                sheet(own[: self.shown], lambda name: folder[where[name]], self.out / f"contact-{kind}.png")
        return listed

    def _network(self) -> Probabilities:
        if (self.model is None) == (self.run is None):
            raise ValueError("name a network: --model FILE.onnx or --run RUN")
        if self.run is not None:
            checkpoint = self.run / "best.pt"
            if not checkpoint.is_file():
                raise DataError(f"{self.run} has no best.pt: it is no run of SEGM that has been validated")
            network: TorchNetwork | OnnxNetwork = TorchNetwork.of_checkpoint(checkpoint, mirrored=True)
        else:
            assert self.model is not None
            if not self.model.is_file():
                raise DataError(f"{self.model} does not exist")
            network = OnnxNetwork(self.model, int(open_session(self.model).get_inputs()[0].shape[1]))

        def probabilities(image: NDArray[np.uint8]) -> NDArray[np.float32]:
            logits = network.logits(to_size(image, network.input_size))
            large = [cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for each in logits]
            return np.asarray(softmax(np.stack(large), 0), np.float32)

        return probabilities


def compare(folder: FaceFolder, index: int, probabilities: Probabilities, store: FaceStore) -> Compared:
    """A picture's labels beside what the network says of it, with its landmarks if they are known.

    Raises:
        DataError: the picture is not square: faces are to be aligned.
    """
    sample, record = folder[index], store.get(folder.names[index])
    height, width = sample.labels.shape
    if height != width:
        raise DataError(f"{folder.root}: {sample.name} is not square: align it first (`fpan-train align`)")
    labels = cv2.resize(sample.labels, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
    points = None
    if record is not None:
        points = np.asarray((record.points264 + 0.5) * (SIDE / width) - 0.5, np.float32)
    return Compared(sample.name, np.asarray(labels, np.uint8), probabilities(sample.image), points)
