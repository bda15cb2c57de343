"""The pages of clients and of `/v2` say what is true: every example is run against the real service."""

import base64
import http.server
import io
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from fpan import Client
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.contract import Taxonomy
from google.protobuf import json_format
from PIL import Image

from tests.e2e.conftest import PATIENCE_MS
from tests.support.documented import aimed, example
from tests.support.service import ROOT, Service

ASTRONAUT = ROOT / "docs" / "astronaut.jpg"
EYES = {"l_eye", "r_eye"}
CLIENTS, OIP = "how-to/clients", "reference/oip"


def needed(tool: str, how: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool} here: {how}")
    return found


@pytest.fixture
def folder(tmp_path):
    """A folder to run in that has the picture, so that what an example writes stays out of the checkout."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


@pytest.fixture
def shell(service, folder):
    """Runs a shell example of a page."""

    def run(which: str, name: str = CLIENTS, status: int = 0) -> str:
        needed("curl", "get it with 'apt-get install curl'")
        command = aimed(example(name, which), service)
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=60, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout.decode()

    return run


@pytest.fixture
def python(service, folder, monkeypatch, capsys):
    """Runs a Python example of a page; what it printed, by line."""

    def run(which: str, name: str = CLIENTS) -> list[str]:
        monkeypatch.chdir(folder)
        exec(aimed(example(name, which), service), {"__name__": "__main__"})
        return capsys.readouterr().out.splitlines()

    return run


def test_python(python):
    first, *parts, error = python("python")
    assert first == "(512, 512) uint8 segm 2"
    assert error == "415 unsupported-image True"
    figures = {name: (area, pixels) for name, area, pixels in map(str.split, parts)}
    assert {*figures} == {"l_eye", "r_eye", "hair"}
    assert all(area == pixels for area, pixels in figures.values())


def test_several_pictures_in_one_call(python):
    assert python("many") == ["1", "unsupported-image"]


def test_asynchronous_python(python):
    assert python("async") == ["1 (512, 512)"] * 3


def test_python_over_grpc(python):
    parts, health = python("grpc")
    assert parts == "['u_lip', 'l_lip'] ['l_lip', 'u_lip']"
    assert "ready=True" in health


@pytest.mark.parametrize("which", ["raw", "multipart", "json"])
def test_curl_sends_the_picture_in_three_ways(shell, which):
    told = json.loads(shell(which))
    assert {part["name"] for part in told["faces"][0]["parts"]} == EYES
    assert ("polygons" in told) == (which == "multipart")


def test_curl_gets_a_picture(shell, folder, service):
    shell("png")
    assert re.search(r"(?mi)^face-count: 1\r?$", (folder / "headers.txt").read_text())
    with Image.open(folder / "labels.png") as image, Client(service.url) as client:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), client.parse(ASTRONAUT).labels)


def test_curl_tells_errors(shell):
    problem = json.loads(shell("error", status=22))
    assert (problem["status"], problem["type"]) == (415, "urn:mask-fpan:problem:unsupported-image")


def test_node(service, folder):
    node = needed("node", "get it with 'apt-get install nodejs'")
    (folder / "example.mjs").write_text(aimed(example(CLIENTS, "node"), service))
    done = subprocess.run([node, "example.mjs"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines() if line[0].isalpha()} == EYES
    with Image.open(folder / "labels.png") as image:
        assert (image.mode, image.size) == ("P", (512, 512))


@pytest.fixture
def other_origin(service: Service) -> Iterator[str]:
    """The page of the example, served by somebody else."""
    content = aimed(example(CLIENTS, "browser"), service).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_a_browser_of_another_origin_tints_the_photo(service, browser, other_origin):
    with Client(service.url) as client:
        result, taxonomy = client.parse(ASTRONAUT, groups=["head"]), client.labels()
    context = browser.new_context()
    try:
        opened = context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        with opened.expect_response("**/v1/labels"):
            opened.goto(other_origin)
        opened.wait_for_load_state("networkidle")
        opened.set_input_files("input", ASTRONAUT)
        opened.wait_for_selector("canvas[data-faces='1']", timeout=PATIENCE_MS)
        drawn = opened.evaluate("document.querySelector('canvas').toDataURL()")
        assert not faults
    finally:
        context.close()
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))).convert("RGB"), int)
    assert seen.shape == (512, 512, 3)
    assert np.abs(seen - tinted(result.labels, taxonomy)).mean() < 3  # decoders of JPEG differ a little


def tinted(labels: np.ndarray, taxonomy: Taxonomy) -> np.ndarray:
    photo = np.asarray(Image.open(ASTRONAUT).convert("RGB"), int)
    return np.where(labels[..., None] > 0, (photo + taxonomy.palette[labels]) // 2, photo)


def test_grpcurl(service, shell):
    needed("grpcurl", "https://github.com/fullstorydev/grpcurl has it")
    assert {part["name"] for part in json.loads(shell("grpcurl"))["faces"][0]["parts"]} == EYES


def test_what_grpcurl_is_given_is_a_request(service, folder):
    """The same without it: the JSON of the example, read as protobuf's own mapping reads it."""
    made = example(CLIENTS, "grpcurl").split(" |\n")[0]
    text = subprocess.run(["bash", "-c", made], cwd=folder, capture_output=True, check=True).stdout
    request = json_format.Parse(text, pb.ParseRequest())
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        answer = face_parsing_pb2_grpc.FaceParsingStub(channel).Parse(request, timeout=60)
    assert {part.name for part in answer.faces[0].parts} == EYES


def test_metadata_of_the_inference_protocol(shell):
    assert json.loads(shell("metadata", OIP)) == json.loads(example(OIP, "metadata answer"))


def test_tritonclient(python):
    [line] = python("tritonclient", OIP)
    shape, classes = line.rsplit(" ", 1)
    assert shape == "(1, 256, 256)"
    assert int(classes) > 3
