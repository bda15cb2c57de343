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

from tests import service as services


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
