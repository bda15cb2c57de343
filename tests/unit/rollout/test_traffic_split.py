"""Which callers a challenger answers."""

from types import SimpleNamespace

import grpc.aio
import httpx
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.admission.caller import caller_of, host_of
from fpan.serve.pipeline.segment.routing import TrafficSplit, place
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.app import create_app
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.service import free_ports
from tests.support.traffic import NAME, PICTURE, ask, repository, sample, serving, until

CALLERS = [f"caller {i}" for i in range(4000)]


def split(share: float) -> TrafficSplit:
    return TrafficSplit(SimpleNamespace(card=SimpleNamespace(name=NAME)), share)


@settings(max_examples=50)
@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_takes_callers_from_the_champion(caller, one, other):
    low, high = sorted((one, other))
    assert split(low).takes(caller) <= split(high).takes(caller)
    assert not split(0).takes(caller)
    assert split(1).takes(caller)
    assert 0 <= place(NAME, caller) < 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
def test_the_share_is_that_of_many_callers(share):
    taken = sum(split(share).takes(caller) for caller in CALLERS) / len(CALLERS)
    assert abs(taken - share) < 4 * (share * (1 - share) / len(CALLERS)) ** 0.5


def test_other_models_try_out_other_callers():
    both = sum(place("a", caller) < 0.5 and place("b", caller) < 0.5 for caller in CALLERS)
    assert both / len(CALLERS) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.1:50312", "10.0.0.1"),
        ("ipv6:[::1]:50312", "::1"),
        ("ipv6:%5B2001:db8::7%5D:443", "2001:db8::7"),
        ("unix:/run/fpan.sock", "/run/fpan.sock"),
    ],
)
def test_a_peer_is_its_address_whatever_its_port(peer, host):
    assert host_of(peer) == host
    assert caller_of(None, None, host).identity == caller_of(None, "", host).identity == host
    assert caller_of(None, "me", host).identity == "me"


async def test_the_gateway_splits_those_who_name_no_version(tmp_path, monkeypatch):
    registry = repository(tmp_path / "models", 3)
    registry.promote(NAME, 1, "champion", "")
    registry.promote(NAME, 2, "challenger", "")
    callers = CALLERS[:30]
    async with serving(monkeypatch, tmp_path / "models") as gateway:

        async def versions(model: str = "") -> list[int]:
            answers = [(await ask(gateway, caller, model)).segmenter for caller in callers]
            assert all(a.alias == {1: "champion", 2: "challenger"}[a.card.version] for a in answers)
            return [a.card.version for a in answers]

        def share(now: float) -> bool:
            return sample(gateway, "fpan_split_share", model=NAME) == now

        assert share(0)
        assert set(await versions()) == {1}
        before: list[int] = [1] * len(callers)
        for percent in (20, 60):
            registry.promote(NAME, 2, "challenger", "", percent / 100)
            await until(lambda now=percent / 100: share(now))
            found = await versions()
            assert found == [2 if place(NAME, caller) < percent / 100 else 1 for caller in callers]
            assert found == await versions(NAME)
            assert all(now >= was for was, now in zip(before, found, strict=True))
            before = found
        for model, version in ((f"{NAME}:1", 1), (f"{NAME}@champion", 1), (f"{NAME}@challenger", 2)):
            assert set(await versions(model)) == {version}
        counted = {"model": NAME, "outcome": "ok"}
        asked = sample(gateway, "fpan_version_requests_total", version=2, alias="challenger", **counted)
        assert asked == sum(v == 2 for v in before) * 2 + len(callers) + sum(
            2 * (place(NAME, c) < 0.2) for c in callers
        )
        registry.promote(NAME, 3, "champion", "")
        await until(lambda: gateway.rollout.model_router.now.segmenters[NAME].card.version == 3)
        assert not gateway.rollout.model_router.now.splits


async def test_a_caller_is_who_it_says_over_http_and_grpc(tmp_path, monkeypatch, caplog):
    registry = repository(tmp_path / "models", 2)
    registry.promote(NAME, 1, "champion", "")
    registry.promote(NAME, 2, "challenger", "", 0.5)
    mine = next(caller for caller in CALLERS if place(NAME, caller) < 0.5)
    other = next(caller for caller in CALLERS if place(NAME, caller) >= 0.5)
    nobody = 2 if place(NAME, "127.0.0.1") < 0.5 else 1
    caplog.set_level("DEBUG", "fpan")
    [port] = free_ports(1)
    async with serving(monkeypatch, tmp_path / "models", grpc_port=port) as gateway:
        server = await start_grpc(gateway)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            request = pb.ParseRequest(image=PICTURE, options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))
            for caller, version in ((mine, 2), (other, 1), (None, nobody)):
                said = {"X-Client-Id": caller} if caller else {}
                answer = await client.post("/v1/parse?faces=full", content=PICTURE, headers=said)
                assert answer.json()["model"]["version"] == version
                told = await stub.Parse(request, metadata=[(k.lower(), v) for k, v in said.items()])
                assert told.model.version == version
        await server.drain(1)
        seen = caplog.text + gateway.metrics.exposition().decode()
    assert mine not in seen
    assert other not in seen
