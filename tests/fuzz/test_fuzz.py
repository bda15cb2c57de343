"""Whatever is sent, nobody gets a 500, waits for ever, or takes memory with them: some hundred inputs, or, with
``--full``, more than 50,000. docs/results/fuzz.md tells of the last full run.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fpan.client._options import query
from fpan.serve.api.errors import GatewayError
from fpan.serve.api.options import ParseOptions
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import by_contract, hostile, over_grpc, over_http, page
from tests.fuzz.corpus import broken, verdict
from tests.fuzz.tally import MIB, Fault, Part, Run
from tests.fuzz.target import Target, target
from tests.support.service import ROOT

pytestmark = pytest.mark.timeout(1800)
SHORT, WARM, FULL = "short", "warm", "full"
COUNTS: dict[str, tuple[int, int]] = {
    "decode": (1500, 20_000),
    "options": (100, 4000),
    "picture over HTTP": (100, 6000),
    "picture over gRPC": (100, 6000),
    "several": (20, 1000),
    "contract": (2, 150),
    "request": (100, 6000),
    "lookup": (60, 4000),
    "bytes over HTTP": (100, 4000),
    "message": (60, 4000),
    "bytes over gRPC": (100, 6000),
    "connection": (50, 2000),
}
"""Inputs of each part, in the short round and in the full one; of the contract, those of each route and phase."""
WARM_SHARE = 3
"""Before the full round comes one with a part of its inputs, whose number this divides. They do not count."""
LEAST_INPUTS = 50_000
MOST_KEPT_MIB = 8
"""What decoding may keep."""
MOST_GROWTH_MIB = {SHORT: 64.0, WARM: 128.0, FULL: 20.0}
"""What the service may take beyond what it had before the round."""
SEEDS = {SHORT: 1, WARM: 1, FULL: 1_000_000}
Asked = tuple[dict[str, Any], tuple[str, ...]]
ASKED: tuple[Asked, ...] = (
    ({"faces": "full"}, ()),
    ({"faces": "full"}, ("polygons", "alpha", "confidence")),
    ({"faces": "full", "frame": "crop"}, ("png", "npz")),
    ({"faces": "full", "orientation": "raw"}, ("overlay", "cutout")),
    ({"faces": "full", "abstain": 0.5}, ("polygons", "npz")),
    ({"faces": "full"}, ("redact",)),
    ({"faces": [[1.0, 1.0, 20.0, 20.0]], "classes": ["hair"]}, ()),
    ({"faces": "auto", "max_faces": 2}, ("redact", "png")),
)
"""What is asked of broken pictures: options, and outputs."""
_IMPOSSIBLE = 422
"""What else a picture that can be decoded may be answered with: a box may lie outside of it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Round by round: memory is measured in the full one, when the service has met all parts often enough."""
    if "run" in metafunc.fixturenames:
        rounds = [WARM, FULL] if metafunc.config.getoption("--full") else [SHORT]
        metafunc.parametrize("run", rounds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The service."""
    with target(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, fuzzed: Target) -> Iterator[Run]:
    """A round."""
    current = Run(request.param, SEEDS[request.param])
    with current.watching(lambda: fuzzed.resident):
        yield current


@pytest.fixture(scope="module")
def call(fuzzed: Target) -> Iterator[Callable[..., bytes]]:
    """`Parse` over gRPC, with bytes."""
    with over_grpc.channel(fuzzed.service.grpc_port) as channel:
        yield over_grpc.caller(channel)


@pytest.fixture(autouse=True)
def told(run: Run, fuzzed: Target, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The full round tells of each part at once."""
    before, resident = set(run.parts), fuzzed.resident
    yield
    if run.name == FULL:
        grown = (fuzzed.resident - resident) / MIB
        with capsys.disabled():
            for part in [part for name, part in run.parts.items() if name not in before]:
                print(f"\n  {part.told()}; the service's memory: {grown:+.1f} MiB", flush=True)


def count(run: Run, what: str) -> int:
    short, full = COUNTS[what]
    return {SHORT: short, WARM: max(short, full // WARM_SHARE), FULL: full}[run.name]


def numbers(run: Run, what: str) -> range:
    return range(run.seed, run.seed + count(run, what))


def made_up(run: Run, part: Part, what: str, strategy: st.SearchStrategy[Any], ask: Callable[[Any], str]) -> None:
    """Hands in what Hypothesis makes up; it finds the smallest input that meets a fault."""

    @seed(run.seed)
    @settings(max_examples=count(run, what), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def one(value: Any) -> None:
        part.meet(lambda: ask(value))

    with part.timed():
        one()


def same(status: int, data: bytes, options: dict[str, Any]) -> str:
    """The outcome of a picture.

    Raises:
        Fault: decoding by itself says something else.
    """
    alone = verdict(data, options.get("orientation", "exif"))
    if status != alone and not (alone == 200 and status == _IMPOSSIBLE):
        raise Fault(f"it is answered with {status}, and by itself decoded with {alone}")
    return str(status)


def test_broken_pictures_are_decoded_or_refused(run: Run) -> None:
    part = run.part("broken pictures, decoded")
    part.each(numbers(run, "decode"), lambda number: str(verdict(broken(number))), callers=1)
    part.check()


def test_decoding_keeps_no_memory(run: Run) -> None:
    words = map(str, (run.seed, count(run, "decode"), MOST_KEPT_MIB))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "tests.fuzz.kept", *words], check=True, env=environment, timeout=600)


def test_options_are_read_or_refused(run: Run) -> None:
    part = run.part("options, read")

    def read(members: dict[str, Any]) -> str:
        try:
            ParseOptions.read(members)
        except GatewayError as error:
            return str(error.status)
        return "200"

    made_up(run, part, "options", hostile.options() | hostile.options().map(hostile.query), read)
    part.check()
    assert {"200", "400"} <= part.outcomes.keys()


def test_broken_pictures_over_http_are_answered_as_they_are_decoded(run: Run, fuzzed: Target) -> None:
    part = run.part("broken pictures over HTTP")

    def ask(number: int) -> str:
        options, outputs = ASKED[number % len(ASKED)]
        data = broken(number)
        words = {**query(options), **({"output": ",".join(outputs)} if outputs else {})}
        return same(over_http.picture(fuzzed.http, number // len(ASKED), data, words), data, options)

    part.each(numbers(run, "picture over HTTP"), ask)
    part.check()


def test_broken_pictures_over_grpc_are_answered_as_they_are_decoded(run: Run, call: Callable[..., bytes]) -> None:
    part = run.part("broken pictures over gRPC")

    def ask(number: int) -> str:
        options, outputs = ASKED[number % len(ASKED)]
        data = broken(number)
        if not data:
            return over_grpc.ask(call, over_grpc.picture_message(data, options, outputs))
        code, status = over_grpc.told(call, over_grpc.picture_message(data, options, outputs))
        same(status, data, options)
        return code

    part.each(numbers(run, "picture over gRPC"), ask)
    part.check()


def test_a_broken_picture_spoils_neither_batch_nor_job(run: Run, fuzzed: Target) -> None:
    part = run.part("batches and jobs of broken pictures")
    part.each(numbers(run, "several"), lambda number: over_http.several(fuzzed.http, number))
    part.check()


def test_the_service_answers_as_its_openapi_document_says(run: Run, fuzzed: Target) -> None:
    part = run.part("requests along the OpenAPI document")
    phases = by_contract.QUICK if run.name == SHORT else by_contract.PHASES
    by_contract.fuzz(fuzzed.service.url, part, run.seed, count(run, "contract"), phases)
    part.check()


def test_requests_with_broken_bodies_are_refused(run: Run, fuzzed: Target) -> None:
    part = run.part("requests with broken options, JSON, forms and heads")
    made_up(run, part, "request", hostile.requests(), lambda request: over_http.send(fuzzed.http, request))
    part.check()


def test_whatever_is_looked_up_is_found_or_not(run: Run, fuzzed: Target) -> None:
    part = run.part("odd addresses, methods and heads")
    made_up(run, part, "lookup", hostile.lookups(), lambda request: over_http.send(fuzzed.http, request))
    part.check()


def test_bytes_that_are_hardly_http_are_answered_or_the_connection_ends(run: Run, fuzzed: Target) -> None:
    part = run.part("bytes on connections of HTTP")
    part.each(numbers(run, "bytes over HTTP"), lambda number: over_http.raw(fuzzed.service.port, number))
    part.check()


def test_messages_of_any_content_are_answered(run: Run, call: Callable[..., bytes]) -> None:
    part = run.part("messages of any content over gRPC")
    ask = over_grpc.ask
    made_up(run, part, "message", over_grpc.messages(), lambda message: ask(call, message.SerializeToString()))
    part.check()


def test_bytes_that_are_hardly_a_message_are_refused(run: Run, call: Callable[..., bytes]) -> None:
    part = run.part("broken messages over gRPC")
    part.each(numbers(run, "bytes over gRPC"), lambda number: over_grpc.ask(call, *over_grpc.hostile(number)))
    part.check()


def test_broken_connections_of_grpc_end(run: Run, fuzzed: Target) -> None:
    part = run.part("bytes on connections of gRPC")
    part.each(numbers(run, "connection"), lambda number: over_grpc.break_off(fuzzed.service.grpc_port, number))
    part.check()


def test_the_service_is_as_well_as_before(fuzzed: Target, run: Run) -> None:
    fuzzed.check_well()


def test_the_service_has_kept_no_memory(run: Run) -> None:
    assert run.grown_mib < MOST_GROWTH_MIB[run.name], f"slope: {run.slope_mib:.1f} MiB in 10,000 inputs"


def test_the_full_run_had_its_inputs_and_is_told(run: Run) -> None:
    if len(run.parts) < len(COUNTS):
        pytest.skip("not all parts have been run")
    assert run.inputs >= (LEAST_INPUTS if run.name == FULL else sum(count(run, what) for what in COUNTS))
    if run.name == FULL:
        page.PAGE.write_text(page.text(run, MOST_GROWTH_MIB[FULL]))
