"""The first tutorial does what it says: its commands are run against the real service."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fpan import Client
from PIL import Image

from tests.support.documented import aimed, example
from tests.support.service import ROOT

PAGE = "tutorials/first-parse"


@pytest.fixture
def folder(tmp_path):
    """A folder to run in that has the picture, so that what is written stays out of the checkout."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def test_the_request_finds_the_eyes(service, folder):
    if shutil.which("curl") is None:
        pytest.skip("no curl here: get it with 'apt-get install curl'")
    command = aimed(example(PAGE, "curl"), service)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=60, check=True)
    assert {part["name"] for part in json.loads(done.stdout)["faces"][0]["parts"]} == {"l_eye", "r_eye"}


def test_the_command_writes_the_label_map(service, folder):
    command = aimed(example(PAGE, "fpan"), service).replace(".venv/bin/fpan", f"{sys.executable} -m fpan.cli")
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (folder / "masks").iterdir()} == {
        "astronaut.labels.png",
        "astronaut.overlay.png",
        "astronaut.json",
    }
    with Image.open(folder / "masks/astronaut.labels.png") as image, Client(service.url) as client:
        np.testing.assert_array_equal(np.asarray(image), client.parse(ROOT / "docs/astronaut.jpg").labels)


def test_the_program_tells_every_part(service, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(aimed(example(PAGE, "python"), service), {})
    first, *parts = capsys.readouterr().out.splitlines()
    assert first == "label map: (512, 512) uint8"
    assert {"hair", "skin", "nose"} <= {line.split()[0] for line in parts}
