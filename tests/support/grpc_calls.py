"""gRPC over a real channel, with a small pipeline behind it that the tests can make fail."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.contract import FaceClass, ModelCard, Taxonomy
from fpan.contract.face import Part
from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.config import Settings
from fpan.serve.pipeline.align.pose import solve
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.pipeline.types import ParsedFace, ParseResult, Photo
from fpan.serve.service import ParseService
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.grpc import start_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from tests.support.parsed import face_facts

MAX_BODY_BYTES = 8 * 2**20
TAXONOMY = Taxonomy(
    name="two-eyes",
    classes=tuple(
        FaceClass(id=i, name=name, title=name, colour=(i * 80, 90, 200), partner=partner)
        for i, (name, partner) in enumerate([("background", 0), ("skin", 1), ("l_eye", 3), ("r_eye", 2)])
    ),
    groups={"eyes": ("l_eye", "r_eye")},
)
CARD = ModelCard(
    name="segm",
    version=3,
    task="segmentation",
    title="a square",
    inputs=(),
    outputs=(),
    input_size=64,
    taxonomy=TAXONOMY,
    weights_licence="none",
    files={"model.onnx": "ab" * 32},
)


class SquareParser:
    """A pipeline without networks: the middle of every picture is a face. What it was asked is kept."""

    def __init__(self):
        self.asked, self.contexts = [], []
        self.before = None
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()

    async def parse(self, data, options, context=None):
        self.asked.append(options)
        self.contexts.append(context)
        self.started.set()
        try:
            if self.before is not None:
                await self.before()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        window = (width // 4, height // 4, width // 2, height // 2)
        face = np.ones((window[3] - window[1], window[2] - window[0]), np.uint8)
        face[0, :2] = 2
        labels = np.zeros((height, width), np.uint8)
        labels[window[1] : window[3], window[0] : window[2]] = face
        part = Part(2, "l_eye", 2, (window[0], window[1], window[0] + 2, window[1] + 1), 0.75)
        points = np.arange(10, dtype=np.float32).reshape(5, 2) if options.faces == "auto" else None
        facts = face_facts(
            box=(1.5, 2.5, 30.0, 31.0),
            score=None if points is None else 0.9,
            landmarks=points,
            pose=None if points is None else solve(points),
            occluded=0.125,
            sharpness=0.625,
            cut_by_crop=("skin",),
            cut_by_image=True,
            parts=(part,),
        )
        sure = np.full(face.shape, 200, np.uint8)
        found = ParsedFace(0, facts.box, facts.score, points, window, face, sure, lambda: facts)
        sure = np.full((height, width), 7, np.uint8)
        result = ParseResult(width, height, labels, sure, (found,), None, ("a note",), {"decode": 1.5})
        segmenter = SimpleNamespace(card=CARD, taxonomy=TAXONOMY, alias="champion")
        return Parsed(result, Photo(np.zeros((height, width, 3), np.uint8), "png"), segmenter)


def png(width=40, height=32):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 60, 30)).save(file, "PNG")
    return file.getvalue()


def error_info(error):
    status = rpc_status.from_call(
        SimpleNamespace(
            trailing_metadata=lambda: tuple(error.trailing_metadata()), code=error.code, details=error.details
        )
    )
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    has_retry = len(status.details) > 1 and status.details[1].Unpack(retry)
    assert status.details[0].Unpack(info)
    return info, retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@asynccontextmanager
async def serving(port):
    """A gateway over gRPC, with its ``parser`` and ``server``, and a ``channel`` and a ``stub`` to reach it by."""
    with ThreadPoolExecutor(1) as pool:
        settings = Settings(grpc_port=port, max_body_bytes=MAX_BODY_BYTES, max_concurrency=2)
        parser, metrics = SquareParser(), Metrics()
        parse_service = ParseService(parser, pool, settings, metrics)
        built = SimpleNamespace(
            settings=settings,
            parser=parser,
            parse_service=parse_service,
            metrics=metrics,
            admission=Admission(Capacity.of(settings), None, metrics),
            tls=None,
            healthy=True,
        )

        async def ready():
            return built.healthy and not built.admission.draining

        built.ready = ready
        built.server = await start_grpc(built)
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{built.server.port}", options=unlimited) as built.channel:
                built.stub = face_parsing_pb2_grpc.FaceParsingStub(built.channel)
                yield built
        finally:
            await built.server.drain(0)
