"""A service that others can reach: keys, TLS and metrics of their own port, from the start to the page."""

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.client import Client
from playwright.sync_api import expect

from tests.support import service as services
from tests.support.chromium import Opener, drop, encoded

FOLLOWS_WITHIN_S = 60.0


def keys(file: Path, *words: str) -> str:
    """What `fpan keys` prints."""
    command = [sys.executable, "-m", "fpan.cli", "keys", *words, "--file", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Reachable:
    """A service that listens on every address."""

    service: services.Service
    file: Path
    key: str
    metrics_port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.service.port}"

    def status(self, key: str | None, path: str = "/v1/labels") -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(
            self.url + path, headers=headers, verify=ssl.create_default_context(cafile=self.ca)
        ).status_code


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    folder = tmp_path_factory.mktemp("keys")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    key = keys(folder / "keys.json", "add", "test")
    [metrics_port] = services.free_ports(1)
    settings = {
        "BIND_ADDRESS": "0.0.0.0",
        "KEYS_FILE": str(folder / "keys.json"),
        "METRICS_PORT": str(metrics_port),
        "TLS_CERTIFICATE": str(folder / "both.pem"),
        "TLS_KEY": str(folder / "both.pem"),
    }
    with services.running(settings) as service:
        yield Reachable(service, folder / "keys.json", key, metrics_port, folder / "ca.pem")


def test_the_first_lines_tell_what_callers_need(reachable):
    text = "\n".join(reachable.service.announced)
    assert f"page      https://0.0.0.0:{reachable.service.port}/" in text
    assert f"gRPC      0.0.0.0:{reachable.service.grpc_port} with TLS" in text
    assert "callers   need an API key" in text
    assert f"metrics   http://127.0.0.1:{reachable.metrics_port}/metrics" in text


def test_client_command_and_grpc_are_let_in_with_a_key_alone(reachable, astronaut_jpeg, tmp_path):
    with Client(reachable.url, api_key=reachable.key, verify=reachable.ca) as client:
        assert client.parse(astronaut_jpeg).faces
    assert reachable.status(None) == reachable.status("wrong") == 401
    (tmp_path / "photo.jpg").write_bytes(astronaut_jpeg)
    command = [sys.executable, "-m", "fpan.cli", "parse", str(tmp_path / "photo.jpg"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "FPAN_URL": reachable.url, "SSL_CERT_FILE": str(reachable.ca)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, "wants an API key" in done.stderr) == (1, True)
    done = subprocess.run(command, env={**environment, "FPAN_API_KEY": reachable.key}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "photo.labels.png").exists()
    trust = grpc.ssl_channel_credentials(reachable.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{reachable.service.grpc_port}", trust) as channel:
        stub, request = face_parsing_pb2_grpc.FaceParsingStub(channel), pb.ParseRequest(image=astronaut_jpeg)
        assert stub.Parse(request, metadata=(("authorization", f"Bearer {reachable.key}"),)).faces
        with pytest.raises(grpc.RpcError) as told:
            stub.Parse(request)
        assert told.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_metrics_are_on_their_own_port_alone(reachable):
    assert reachable.status(reachable.key, "/metrics") in (403, 404)
    told = httpx.get(f"http://127.0.0.1:{reachable.metrics_port}/metrics")
    assert "fpan_api_keys" in told.text
    assert 'fpan_file_in_use{file="certificate"} 1.0' in told.text
    assert httpx.get(f"http://127.0.0.1:{reachable.metrics_port}/v1/labels").status_code == 404


def test_a_key_works_and_stops_working_while_the_service_runs(reachable):
    key = keys(reachable.file, "add", "soon revoked")
    assert until(lambda: reachable.status(key) == 200) < FOLLOWS_WITHIN_S
    keys(reachable.file, "revoke", key.split("_")[1])
    assert until(lambda: reachable.status(key) == 401) < FOLLOWS_WITHIN_S
    assert reachable.status(reachable.key) == 200


def until(happened) -> float:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    return time.monotonic() - began


def test_the_page_asks_for_a_key_and_parses_with_it(reachable, open_page: Opener, astronaut):
    reader = keys(reachable.file, "add", "reader", "--scopes", "metrics")
    assert until(lambda: reachable.status(reader) == 200) < FOLLOWS_WITHIN_S
    page = open_page(url=reachable.url, ignore_https_errors=True)
    drop(page, encoded(astronaut))
    page.get_by_label("API key").fill(reader)
    page.keyboard.press("Enter")
    expect(page.locator("#problem-title")).to_have_text("Not allowed")
    page.get_by_role("button", name="Try again").click()  # with another one, for this one is forgotten
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(f"fpan_wrong_{'0' * 64}")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The key was not accepted")).to_be_visible()
    page.get_by_label("API key").fill(reachable.key)
    with page.expect_response(lambda answer: "/v1/parse" in answer.url and answer.status == 200) as response:
        page.keyboard.press("Enter")
    assert response.value.json()["faces"]
    expect(page.locator("#work")).to_have_attribute("aria-busy", "false")
    assert page.evaluate("sessionStorage.getItem('fpan-api-key')") == reachable.key


def test_no_key_is_in_the_log(reachable):
    assert not [line for line in reachable.service.lines if "fpan_" in line or reachable.key.split("_")[1] in line]


def test_a_service_that_others_could_reach_does_not_start_without_keys_and_says_how():
    port, grpc_port = map(str, services.free_ports(2))
    chosen = services.environment(PORT=port, GRPC_PORT=grpc_port, BIND_ADDRESS="0.0.0.0")
    done = subprocess.run(services.command(), env=chosen, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert re.search(r"BIND_ADDRESS=0\.0\.0\.0.*`fpan keys add NAME --file keys\.json`.*AUTH=off", said), said
