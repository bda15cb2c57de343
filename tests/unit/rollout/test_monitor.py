"""A version that does badly in traffic is taken back by itself, here at once and in the registry once."""

import asyncio
from contextlib import contextmanager

import pytest
from fpan.contract import RepositoryError
from fpan.registry import FolderStore
from fpan.serve.api.errors import BadRequest, DeadlineExceeded, GatewayError, Overloaded, Unavailable
from fpan.serve.api.options import ParseOptions
from fpan.serve.rollout.canary import CanaryRules, TrafficRecord, TrafficWindow, fault_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.traffic import NAME, PICTURE, ask, repository, sample, serving, until

WATCHED = CanaryRules(window_s=60, min_requests=50, error_rate=0.05, latency_ratio=2, latency_floor_s=0.02)
CALLERS = [f"caller {i}" for i in range(30)]
RECORDS = st.builds(
    lambda requests, share, p95: TrafficRecord(requests, round(requests * share), p95),
    st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 10),
)  # fmt: skip


@settings(max_examples=50)
@given(RECORDS)
def test_a_version_is_never_worse_than_itself(record):
    assert fault_of(record, record, WATCHED) is None


@settings(max_examples=50)
@given(RECORDS, RECORDS)
def test_few_requests_tell_nothing_and_of_two_versions_one_at_most_is_worse(one, other):
    faults = [fault_of(a, b, WATCHED) for a, b in ((one, other), (other, one))]
    if one.requests < 50:
        assert faults[0] is None
    if None not in faults:  # the one by its errors, the other by its time
        assert {fault.reason for fault in faults} == {"errors", "latency"}


@pytest.mark.parametrize(
    ("record", "other", "reason"),
    [
        (TrafficRecord(230, 28, 0.1), TrafficRecord(4000, 0, 0.1), "errors"),
        (TrafficRecord(230, 28, 0.1), TrafficRecord(4000, 400, 0.1), None),
        (TrafficRecord(200, 10, 0.1), TrafficRecord(4000, 0, 0.1), None),
        (TrafficRecord(200, 0, 0.1), TrafficRecord(4000, 0, 0.04), "latency"),
        (TrafficRecord(200, 0, 0.1), TrafficRecord(4000, 0, 0.06), None),
        (TrafficRecord(200, 0, 0.01), TrafficRecord(4000, 0, 0.001), None),
        (TrafficRecord(200, 0, 9.0), TrafficRecord(40, 0, 0.001), None),
        (TrafficRecord(50, 50), TrafficRecord(), "errors"),
        (TrafficRecord(51, 17), TrafficRecord(47, 13), None),
    ],
)
def test_what_is_worse(record, other, reason):
    fault = fault_of(record, other, WATCHED)
    assert (fault and fault.reason) == reason
    if reason == "errors" and other.requests == 4000:
        assert fault.text == "error rate 12.2% of 230 requests, beside 0.0% of 4000"


def test_requests_are_forgotten_after_the_window():
    window = TrafficWindow()
    for second in range(100):
        window.add(second, None if second < 50 else 0.1)
    assert window.record(25) == TrafficRecord(75, 25, 0.1)
    assert window.record(60) == TrafficRecord(40, 0, 0.1)
    assert window.record(200) == TrafficRecord()


@pytest.fixture
def registry(tmp_path):
    """Four versions: 1 and 2 were champion, 3 is; 4 answers nobody yet."""
    registry = repository(tmp_path / "models", 4)
    for version in (1, 2, 3):
        registry.promote(NAME, version, "champion", f"promote {version}")
    return registry


@pytest.fixture
def root(registry, tmp_path):
    return tmp_path / "models"


def aliases(registry) -> dict[str, int]:
    return registry.store.aliases(NAME).aliases


def answering(gateway) -> int:
    return gateway.rollout.model_router.now.segmenters[NAME].card.version


def taken_back(gateway, alias: str, reason: str) -> float:
    return sample(gateway, "fpan_automatic_rollbacks_total", model=NAME, alias=alias, reason=reason)


async def all_ask(gateway, times: int = 1) -> list[GatewayError]:
    """Every caller asks; the errors that they get."""
    errors = []
    for _ in range(times):
        said = await asyncio.gather(*(ask(gateway, caller) for caller in CALLERS), return_exceptions=True)
        errors += [each for each in said if isinstance(each, BaseException)]
    return errors


async def promoted(gateway, registry, version: int) -> None:
    """Some traffic with the champion of now, then another one answers."""
    await all_ask(gateway)
    registry.promote(NAME, version, "champion", f"promote {version}")
    await until(lambda: answering(gateway) == gateway.met() == version)


@contextmanager
def read_only(monkeypatch):
    def refuse(*_):
        raise RepositoryError("the repository is read-only")

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "writer", refuse)
        yield


@pytest.mark.parametrize("error", [Unavailable("broken"), DeadlineExceeded("slow")])
async def test_a_challenger_that_fails_loses_its_share(registry, root, monkeypatch, error):
    registry.promote(NAME, 4, "challenger", "try", 0.5)
    async with serving(monkeypatch, root) as gateway:
        counter = {"model": NAME, "alias": "challenger", "reason": "errors"}
        value = gateway.metrics.registry.get_sample_value
        await until(lambda: value("fpan_automatic_rollbacks_total", counter) == 0)
        gateway.backend.errors[4] = error
        assert await all_ask(gateway)
        await until(lambda: not gateway.rollout.model_router.now.splits)
        assert await all_ask(gateway) == []
        await until(lambda: "challenger" not in aliases(registry))
        assert taken_back(gateway, "challenger", "errors") == 1
        assert aliases(registry) == {"champion": 3}
        last = registry.store.history(NAME).changes[-1]
        assert (last.action, last.before, last.share) == ("rollback", 4, 0)
        assert last.command.startswith("automatic: error rate 100.0% of ")


async def test_a_new_champion_that_is_slow_gives_way_to_the_former(registry, root, monkeypatch):
    async with serving(monkeypatch, root, watch_latency_floor_ms=100) as gateway:
        await promoted(gateway, registry, 4)
        gateway.backend.delays_s[4] = 0.8
        assert await all_ask(gateway) == []
        await until(lambda: answering(gateway) == 3)
        answer = await ask(gateway)
        assert (answer.segmenter.card.version, answer.segmenter.alias) == (3, "champion")
        await until(lambda: aliases(registry) == {"champion": 3})
        assert taken_back(gateway, "champion", "latency") == 1
        assert "a crop, beside" in registry.store.history(NAME).changes[-1].command
        await all_ask(gateway)
        await asyncio.sleep(0.2)
        assert answering(gateway) == 3


async def test_what_is_no_worse_is_left_alone(registry, root, monkeypatch):
    """Neither sound versions, nor what fails both alike, nor callers' own faults, nor too many of them."""
    registry.promote(NAME, 4, "challenger", "try", 0.5)
    before = registry.store.history(NAME)
    async with serving(monkeypatch, root) as gateway:
        assert await all_ask(gateway, 2) == []
        gateway.backend.errors |= dict.fromkeys((3, 4), Unavailable("the backend is down"))
        assert len(await all_ask(gateway)) == len(CALLERS)
        gateway.backend.errors = {4: Overloaded("full")}
        assert await all_ask(gateway, 2)
        for _ in range(30):
            with pytest.raises(BadRequest):
                await gateway.parser.parse(PICTURE, ParseOptions(model=f"{NAME}@challenger", classes=("nose",)))
        await asyncio.sleep(0.2)
        assert gateway.rollout.model_router.now.splits
        assert sample(gateway, "fpan_split_share", model=NAME) == 0.5
    assert registry.store.history(NAME) == before


async def test_a_champion_is_watched_while_it_is_new(registry, root, monkeypatch):
    async with serving(monkeypatch, root, watch_champion_s=0.3) as gateway:
        gateway.backend.errors[3] = Unavailable("since before this gateway began")
        await all_ask(gateway)
        await asyncio.sleep(0.2)
        assert answering(gateway) == 3
        gateway.backend.errors.clear()
        await promoted(gateway, registry, 4)
        await asyncio.sleep(0.4)
        gateway.backend.errors[4] = Unavailable("later")
        await all_ask(gateway)
        await asyncio.sleep(0.2)
        assert answering(gateway) == aliases(registry)["champion"] == 4
        registry.rollback(NAME, "champion", "by hand")
        await until(lambda: answering(gateway) == 3)
        gateway.backend.errors[3] = Unavailable("brought back by hand")
        await all_ask(gateway)
        await asyncio.sleep(0.2)
        assert answering(gateway) == aliases(registry)["champion"] == 3


async def test_of_two_gateways_one_moves_the_alias_back(registry, root, monkeypatch):
    async with serving(monkeypatch, root) as one, serving(monkeypatch, root) as other:
        both = (one, other)
        for gateway in both:
            await all_ask(gateway)
        registry.promote(NAME, 4, "champion", "promote 4")
        for gateway in both:
            await until(lambda gateway=gateway: answering(gateway) == gateway.met() == 4)
        for gateway in both:
            gateway.backend.errors[4] = Unavailable("broken")
        await asyncio.gather(*(all_ask(gateway) for gateway in both))
        for gateway in both:
            await until(lambda gateway=gateway: answering(gateway) == 3)
        await asyncio.sleep(0.3)
        assert [answering(gateway) for gateway in both] == [3, 3]
    changes = registry.store.history(NAME).changes
    assert [(c.action, c.version) for c in changes[3:]] == [("promote", 4), ("rollback", 3)]


async def test_where_the_registry_is_read_only_the_decision_stands_until_the_alias_moves(
    registry, root, monkeypatch, caplog
):
    unwritten = {"model": NAME, "version": 4}
    async with serving(monkeypatch, root) as gateway:
        await promoted(gateway, registry, 4)
        gateway.backend.errors[4] = Unavailable("broken")
        with read_only(monkeypatch):
            await all_ask(gateway)
            await until(lambda: sample(gateway, "fpan_rollback_unwritten", **unwritten) == 1)
            assert answering(gateway) == 3
        assert aliases(registry)["champion"] == 4
        assert "this gateway keeps to its decision: the repository is read-only" in caplog.text
        registry.promote(NAME, 1, "shadow", "another alias")
        await until(lambda: f"{NAME}@shadow" in gateway.rollout.model_router.now.segmenters)
        assert answering(gateway) == 3
        assert (await ask(gateway, model=f"{NAME}@champion")).segmenter.card.version == 3
        gateway.backend.errors.clear()
        registry.promote(NAME, 4, "champion", "mended")
        await until(lambda: answering(gateway) == 4)
        await until(lambda: not sample(gateway, "fpan_rollback_unwritten", **unwritten))
        assert await all_ask(gateway) == []
        assert answering(gateway) == 4
