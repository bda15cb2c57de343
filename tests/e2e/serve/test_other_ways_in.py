"""The same faces over gRPC, by the Python client and by the command line, from the real networks."""

import json
import subprocess
import sys

import grpc
import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2, face_parsing_pb2_grpc
from fpan.client import Client
from PIL import Image

from tests.support import service as services


@pytest.fixture
def expected(service, astronaut_jpeg):
    with Client(service.url) as client:
        return client.parse(astronaut_jpeg)


def test_grpc_finds_the_same_parts(service, astronaut_jpeg, expected):
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
        answer = stub.Parse(face_parsing_pb2.ParseRequest(image=astronaut_jpeg), timeout=60)
    [face] = answer.faces
    assert {(p.name, p.area) for p in face.parts} == {(p.name, p.area) for p in expected.faces[0].parts}


@pytest.mark.parametrize("how", ["a running server", "a server of its own"])
def test_command_writes_the_same_label_map(service, astronaut_jpeg, expected, tmp_path, how):
    photo, out = tmp_path / "me.jpg", tmp_path / "out"
    photo.write_bytes(astronaut_jpeg)
    command = [sys.executable, "-m", "fpan.cli", "parse", str(photo), "--out", str(out)]
    if how == "a running server":
        command += ["--url", service.url]
    done = subprocess.run(command, env=services.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    maps = []
    for path in out.rglob("*.png"):
        with Image.open(path) as image:
            if image.mode == "P":
                maps.append(np.array(image))
    assert len(maps) == 1
    assert np.array_equal(maps[0], expected.labels)
    for path in out.rglob("*.json"):
        assert json.loads(path.read_text())["faces"]


def test_the_command_writes_covered_photos_soft_masks_and_arrays(gateway_url, tmp_path, astronaut_jpeg):
    photo, out = tmp_path / "photo.jpg", tmp_path / "out"
    photo.write_bytes(astronaut_jpeg)
    command = [sys.executable, "-m", "fpan.cli", "parse", str(photo), "--out", str(out), "--url", gateway_url]
    command += ["--output", "redact,alpha,npz,json", "--redact", "fill", "--classes", "hair"]
    subprocess.run(command, check=True, capture_output=True)
    names = ("alpha.png", "json", "npz", "redact.png")
    assert sorted(path.name for path in out.iterdir()) == [f"photo.{name}" for name in names]
    with Client(gateway_url) as client:
        asked = client.parse(photo, output=["redact", "npz"], redact="fill", classes=["hair"])
        soft, arrays = client.draw(photo, "alpha", classes=["hair"]), client.arrays(photo, classes=["hair"])
    assert (out / "photo.redact.png").read_bytes() == asked.pictures["redact"]
    assert (out / "photo.alpha.png").read_bytes() == soft
    with np.load(out / "photo.npz", allow_pickle=False) as found:
        assert found.files == list(arrays)
        # Whoever covers faces looks for them more carefully, so that the box is not quite that of other requests.
        assert np.array_equal(found["labels"], asked.labels)
    words = json.loads((out / "photo.json").read_text())
    assert "npz" not in words
    assert words["redact"] == {"faces": asked.raw["redact"]["faces"]}
