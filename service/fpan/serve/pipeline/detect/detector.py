"""Finds the faces of a picture, by three looks.

The first goes over the whole picture, and over rolled tiles of it where it is large, and takes whatever might be a
face, with a low threshold: small and leaning faces score low there. The second shows every candidate upright and
leaning to either side, at the size that the network knows best: where the first look misjudged how a face leans, one
of these is nearly upright. The last look shows each upright, plain and mirrored, and decides: its scores tell faces
from other things, and the mean of its landmarks is what is given. An ordinary photo takes one input a look, and for the
later ones it is a small one.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.serve.api.context import RequestContext
from fpan.serve.pipeline.detect.candidates import Candidates, uncut
from fpan.serve.pipeline.detect.second_look import Pose, sheets
from fpan.serve.pipeline.detect.views import ViewPlan, ViewSpec, plan_views, render
from fpan.serve.pipeline.types import Detection

T = TypeVar("T")
Views = list[NDArray[np.uint8]]
"""RGB, uint8 (H, W, 3)."""
Answers = list[NDArray[np.float32]]
"""For each view its ``faces``, float32 (K, 15)."""
_Search = Generator[Views, Answers, list[Detection]]

IMAGE_INPUT = "image"
FACES_OUTPUT = "faces"
VIEWS_AT_ONCE = 16
"""Views of one picture that wait for the network at once; it bounds memory (1.2 MB each)."""
MAX_CANDIDATES = 300
"""Candidates of one picture that get a second look, the best scored ones of the first."""

UPRIGHT_LEANS = ((-8.0, 8.0), (0.0,))
"""Leans of the last looks in degrees: of one face, and of several, so that two faces still have a roomy input."""
LAST_LOOKS = 3
"""How often a face is looked at upright, each time where the one before found it: for portraits and their mirror
images, the mean distance of landmarks that should be the same falls from 3.5 % of the eyes' distance to 0.9 %."""


class ViewResult(Protocol):
    """What a network says of several views."""

    @property
    def items(self) -> Sequence[Mapping[str, NDArray[np.generic]]]:
        """For each view its outputs, without a batch dimension."""
        ...


class ViewNetwork(Protocol):
    """Computes views; whoever implements it gathers those of many callers into batches."""

    async def infer(
        self, items: Sequence[Mapping[str, NDArray[np.generic]]], outputs: Sequence[str], context: RequestContext
    ) -> ViewResult:
        """Computes the named outputs of every item, arrays without a batch dimension."""
        ...


class FaceDetector:
    """Finds faces by a served network whose graph ``fpan_training.release.detector.surgery`` describes."""

    def __init__(
        self, card: ModelCard, network: ViewNetwork, pool: Executor, threshold: float, plan: ViewPlan | None = None
    ) -> None:
        """A detector.

        Args:
            card: of the network, which takes inputs of several sizes: the first a square, the last a smaller one.
            network: computes views.
            pool: where views are cut and scaled, off the event loop.
            threshold: least score of a face in the last look, 0 to 1.
            plan: which views are taken.
        """
        self._network = network
        self._pool = pool
        self._sizes = card.sizes
        self._threshold = threshold
        self._plan = plan or ViewPlan()

    async def find(
        self, picture: NDArray[np.uint8], max_faces: int | None = None, context: RequestContext | None = None
    ) -> list[Detection]:
        """The faces of a picture, the largest first.

        Args:
            picture: RGB, uint8 (H, W, 3).
            max_faces: most faces to give; None for all.
            context: of the request in whose name the views wait for the network; None where there is none.

        Raises:
            GatewayError: whatever the network raises: down, over capacity, too late.
        """
        context, search = context or RequestContext(), self._search(picture, max_faces)
        views, found = await self._work(partial(_advance, search, None))
        while views is not None:
            answers = await self._look(views, context)
            views, found = await self._work(partial(_advance, search, answers))
        return found

    def _search(self, picture: NDArray[np.uint8], max_faces: int | None) -> _Search:
        """All that is computed here, look by look: yields views, is sent what the network says of them, and returns
        the faces. It runs off the event loop, from each look to the next in one go.
        """
        height, width = picture.shape[:2]
        specs = plan_views(width, height, self._sizes, self._plan)
        views = zip(specs, render(picture, specs), strict=True)
        found: list[Candidates] = []
        while part := list(islice(views, VIEWS_AT_ONCE)):
            answers = yield [pixels for _, pixels in part]
            found += [self._first(rows, spec, width, height) for (spec, _), rows in zip(part, answers, strict=True)]
        candidates = _likeliest(found)
        leaning = [Pose(lean) for lean in self._plan.second_leans]
        leant = yield from self._again(picture, candidates, leaning, self._plan.second_threshold)
        candidates = leant.merged()
        for look in range(LAST_LOOKS):
            # The first of them decides what is a face; the others move its points.
            least = self._plan.second_threshold if look else self._threshold
            seen = yield from self._again(picture, candidates, _upright(len(candidates)), least)
            candidates = seen.merged(blend=True)
        return candidates.detections(max_faces)

    def _again(
        self, picture: NDArray[np.uint8], candidates: Candidates, poses: Sequence[Pose], threshold: float
    ) -> Generator[Views, Answers, Candidates]:
        """Looks at candidates again, at one size and in these poses."""
        shown = sheets(picture, candidates, self._sizes, poses)
        seen: list[Candidates] = []
        while batch := list(islice(shown, VIEWS_AT_ONCE)):
            answers = yield [sheet.pixels for sheet in batch]
            seen += [sheet.read(rows, threshold) for sheet, rows in zip(batch, answers, strict=True)]
        return Candidates.join(seen)

    async def _look(self, views: Views, context: RequestContext) -> Answers:
        """What the network says of each view."""
        items = [{IMAGE_INPUT: view} for view in views]
        answer = await self._network.infer(items, (FACES_OUTPUT,), context)
        return [np.asarray(item[FACES_OUTPUT], np.float32) for item in answer.items]

    async def _work(self, function: Callable[[], T]) -> T:
        """Runs what computes in the pool, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def _first(self, rows: NDArray[np.float32], spec: ViewSpec, width: int, height: int) -> Candidates:
        """What might be a face in one view, without those that the view cuts though the picture goes on."""
        rows = rows[rows[:, 14] >= self._plan.first_threshold]
        if not spec.whole:
            rows = rows[uncut(rows, np.zeros(2), np.asarray(spec.size, np.float64))]
        return Candidates.of_view(rows, spec.to_picture(width, height)).merged()


def _upright(faces: int) -> tuple[Pose, ...]:
    """How so many faces are shown in the last looks. The mean over all poses is the same for a mirrored picture."""
    leans = UPRIGHT_LEANS[faces > 1]
    return tuple(Pose(lean, mirrored) for lean in leans for mirrored in (False, True))


def _likeliest(found: Sequence[Candidates]) -> Candidates:
    """What deserves a second look of all that the first one found."""
    candidates = Candidates.join(found).merged(same_inside=1.0)
    return candidates.take(np.arange(min(len(candidates), MAX_CANDIDATES)))


def _advance(search: _Search, answers: Answers | None) -> tuple[Views | None, list[Detection]]:
    """The next views of a search, or None and what it has found."""
    try:
        return (next(search) if answers is None else search.send(answers)), []
    except StopIteration as ended:
        return None, ended.value
