"""The pipeline: bytes of a picture in, every face's parts out. It knows no transport."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import NamedTuple, TypeVar

from fpan.contract.face import Box
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import BadRequest, GatewayError, Impossible
from fpan.serve.api.options import ParseOptions
from fpan.serve.inference.batcher import Arrays, InferenceResult
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.align.targets import SAME_FACE, Cutter, Target, overlap
from fpan.serve.pipeline.classes import check_order, kept_classes
from fpan.serve.pipeline.decode import read_header
from fpan.serve.pipeline.memory_budget import MemoryBudget
from fpan.serve.pipeline.paste.assembly import Assembled, Assembly
from fpan.serve.pipeline.segment.drift import Bins
from fpan.serve.pipeline.segment.observation import Observation, Observer, observing, unobserved
from fpan.serve.pipeline.segment.routing import Detector, ModelRouter, RoutingTable, Segmenter
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import Detection, ParseResult, Photo
from fpan.serve.telemetry.stopwatch import Stopwatch

T = TypeVar("T")
STAGES = ("decode", "detect", "queue", "infer", "paste")
"""What is timed, always all of it and in this order."""


class Parsed(NamedTuple):
    """What is known of a picture, and what transports need beside it."""

    result: ParseResult
    photo: Photo
    """The decoded picture, for answers that show it."""
    segmenter: Segmenter
    """What has parsed it."""
    held: AbstractContextManager[object] = nullcontext()
    """The picture's place among all that are decoded, to be left with this once neither is of use any more."""


class FaceParser:
    """Parses pictures with the models that are served."""

    def __init__(
        self,
        model_router: ModelRouter,
        settings: PipelineSettings,
        pool: Executor,
        ended: Observer = unobserved,
        told: Observer = unobserved,
    ) -> None:
        """Makes one of its parts.

        Args:
            model_router: the networks.
            settings: what a picture may ask for.
            pool: where what computes runs.
            ended: hears how each question to a version ended.
            told: hears of each whose answer the caller is about to get.
        """
        self._model_router = model_router
        self._settings = settings
        self._pool = pool
        self._budget = MemoryBudget(settings.max_pixels_in_flight)
        self._ended = ended
        self._told = told

    async def parse(self, data: bytes, options: ParseOptions, context: RequestContext | None = None) -> Parsed:
        """Parses every face of a picture. Whoever awaits it limits its time (:meth:`Deadline.limit`).

        Args:
            data: the picture's file.
            options: what is asked of it.
            context: in whose name, and until when the answer is of use; None where there is no request.

        Raises:
            GatewayError: what is wrong with the picture or the options, or why it could not be done now.
        """
        context = context or RequestContext()
        try:
            with self._model_router.using() as routing_table, ExitStack() as held:
                segmenter = routing_table.segmenter(options.model, context.caller)
                parsed = await self._parse(routing_table, segmenter, data, options, context, held)
                return parsed._replace(held=held.pop_all())
        except BaseException:
            context.deadline.abandon()  # threads that still work for it stop
            raise

    async def _parse(
        self,
        routing_table: RoutingTable,
        segmenter: Segmenter,
        data: bytes,
        options: ParseOptions,
        context: RequestContext,
        held: ExitStack,
    ) -> Parsed:
        kept = kept_classes(options, segmenter.taxonomy)
        check_order(options.taxonomy, segmenter.taxonomy)
        watch = Stopwatch()
        for stage in STAGES:
            watch.add(stage, 0.0)
        with watch("decode"):
            header = await self._work(partial(read_header, data, max_pixels=self._settings.max_pixels))
        full = self._budget.full(header.pixels, context.background)
        with watch("queue") if full else nullcontext(), context.deadline.queueing():
            held.enter_context(await self._budget.take(header.pixels, context.background))
        with watch("decode"):
            photo = await self._work(partial(header.decode, options.orientation))
        detector = routing_table.careful if "redact" in options.output else routing_table.detector
        targets, unparsed, notes = await self._targets(photo, options, segmenter, detector, context, watch)
        asked = await self._segment(segmenter, targets, options, context, watch)
        with watch("paste"):
            most = self._settings.max_alpha_bytes
            assembly = Assembly(
                photo, segmenter.taxonomy, segmenter.card.alignment, kept, options, most, context.deadline.check
            )
            # A caller's boxes, and a whole picture, are not what the reference was made of.
            window = segmenter.window if options.faces == "auto" else None

            def finished() -> tuple[Assembled, list[Bins]]:
                answers = asked.answers
                return assembly(targets, answers), window.bins_of(targets, answers) if window else []

            (labels, confidence, faces), bins = await self._work(finished)
        if window:
            window.add(bins)
        if photo.frames > 1:
            notes = (f"only the first of {photo.frames} frames was read", *notes)
        result = ParseResult(
            width=photo.width,
            height=photo.height,
            labels=labels,
            confidence=confidence,
            faces=faces,
            reason=None if faces else "no face was found; faces=full takes the whole picture as one",
            notes=notes,
            unparsed=unparsed,
            frame=options.frame,
            timing_ms=watch.milliseconds,
        )
        if targets:
            self._told(asked)
        return Parsed(result, photo, segmenter)

    async def _targets(
        self,
        photo: Photo,
        options: ParseOptions,
        segmenter: Segmenter,
        detector: Detector,
        context: RequestContext,
        watch: Stopwatch,
    ) -> tuple[list[Target], tuple[Box, ...], tuple[str, ...]]:
        """The faces to parse, the boxes of those that cannot be, and what the caller should know of the choice."""
        size, most_pixels = segmenter.card.input_size, self._settings.max_face_pixels
        cutter = Cutter(photo, segmenter.template, size, most_pixels, context.deadline.check)
        if options.faces == "full":
            return await self._work(cutter.whole), (), ()
        most = min(options.max_faces or self._settings.max_faces, self._settings.max_faces)
        if options.faces != "auto":
            if len(options.faces) > most:
                raise BadRequest(f"{len(options.faces)} boxes are more than the {most} faces that may be asked for")
            for box in options.faces:
                align.inside(photo, box)
        redacts = "redact" in options.output
        with watch("detect"):
            found = await detector.find(photo.pixels, None, context)
            if options.faces != "auto":
                targets = await self._work(partial(cutter.boxed, options.faces, found))
                return targets, (), _left_alone(options.faces, found) if redacts else ()
            if redacts and len(found) > most:
                raise Impossible(
                    f"{len(found)} faces were found, but {most} at most may be parsed: redact leaves no face out; "
                    "allow more with max_faces, or cut the picture up"
                )
            notes = (f"{len(found)} faces were found, the largest {most} were parsed",) if len(found) > most else ()
            targets = await self._work(partial(cutter.found, found[:most]))
            parsed = {target.box for target in targets}
            return targets, tuple(face.box for face in found[:most] if face.box not in parsed), notes

    async def _segment(
        self,
        segmenter: Segmenter,
        targets: list[Target],
        options: ParseOptions,
        context: RequestContext,
        watch: Stopwatch,
    ) -> Observation:
        """Answers in the order of the targets. Faces larger than the crop, and soft masks, need logits too."""
        if not targets:
            return Observation(segmenter, ())
        answers: list[Arrays] = [{} for _ in targets]
        crops: list[Arrays] = [{"images": target.crop.pixels} for target in targets]

        async def ask(indices: list[int], outputs: tuple[str, ...]) -> InferenceResult:
            answer = await segmenter.batcher.infer([crops[i] for i in indices], outputs, context)
            for i, arrays in zip(indices, answer.items, strict=True):
                answers[i] = arrays
            return answer

        needed = [options.wants_alpha or (options.frame == "image" and t.crop.enlargement > 1) for t in targets]
        large = [i for i, logits in enumerate(needed) if logits]
        small = [i for i, logits in enumerate(needed) if not logits]
        wanted = ((large, ("labels", "confidence", "logits")), (small, ("labels", "confidence")))
        with observing(segmenter, crops, context.deadline, self._ended) as asked:
            try:
                async with asyncio.TaskGroup() as group:  # which ends the one when the other fails
                    tasks = [group.create_task(ask(indices, outputs)) for indices, outputs in wanted if indices]
            except ExceptionGroup as failed:
                told = (error for error in failed.exceptions if isinstance(error, GatewayError))
                raise next(told, failed.exceptions[0]) from None
            said = [task.result() for task in tasks]
            asked.answered(answers, said)
        # Both wait and compute at the same time, so their times do not add up.
        watch.add("queue", max(answer.queued_s for answer in said))
        watch.add("infer", max(answer.infer_s for answer in said))
        return asked

    async def _work(self, function: Callable[[], T]) -> T:
        """Runs what computes in the bounded pool, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


def _left_alone(boxes: Sequence[Box], found: Sequence[Detection]) -> tuple[str, ...]:
    """Notes of faces that a caller's boxes do not name."""
    others = sum(all(overlap(face.box, box) < SAME_FACE for box in boxes) for face in found)
    return (f"{others} faces outside the boxes were found and left as they are",) if others else ()
