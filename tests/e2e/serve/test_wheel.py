"""The wheel: what is in it, and that each way of installing it needs no more than it says."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from fpan.extras import how_to_install
from packaging.requirements import Requirement

from tests.support.service import ROOT

GUARD = """
import json, sys
refused, place, url, grpc_url, picture = json.loads(sys.argv[1])

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Guard())
sys.path.insert(0, place)
import fpan
assert fpan.__file__.startswith(place), fpan.__file__
"""
"""Runs before a program: the wheel comes first, and what was not asked for cannot be imported."""
EVERY_MODULE = """
import importlib, pkgutil
names = [m.name for m in pkgutil.walk_packages(fpan.__path__, "fpan.", onerror=lambda name: None)]
others = ("fpan.serve", "fpan._proto", "fpan.client._grpc", "fpan.bulk", "fpan.contract.network", "fpan.tensorrt")
mine = [name for name in names if not name.startswith(others) and not name.endswith("__main__")]
for name in mine:
    importlib.import_module(name)
print(len(mine))
"""
PARSE = """
with fpan.{kind}({url}) as client:
    result = client.parse(picture, faces="full")
    print(result.labels.shape, len(result.faces))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What `make wheel` names, in its order: the wheels of the service and of training."""
    place = tmp_path_factory.mktemp("wheel")
    command = ["make", "--no-print-directory", "wheel", f"DIST={place}", f"BUILD_PYTHON={sys.executable}"]
    made = subprocess.run(command, cwd=ROOT, check=True, timeout=240, capture_output=True, text=True)
    return [Path(line) for line in made.stdout.splitlines()]


@pytest.fixture(scope="module")
def wheel(wheels: list[Path]) -> Path:
    """The service's, as `make wheel` builds it, without the network."""
    service, _ = wheels
    return service


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel, unpacked."""
    place = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def asked_for(place: Path, extra: str) -> set[str]:
    """The distributions that an installation of the wheel brings, as their own metadata has it."""
    [metadata] = place.glob("*.dist-info/METADATA")
    todo = [(line, extra) for line in re.findall(r"(?m)^Requires-Dist: (.*)$", metadata.read_text())]
    found: set[str] = set()
    while todo:
        line, chosen = todo.pop()
        requirement = Requirement(line)
        name = canonical(requirement.name)
        if (requirement.marker and not requirement.marker.evaluate({"extra": chosen})) or name in found:
            continue
        found.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        todo += [(need, each) for need in needs for each in ("", *requirement.extras)]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def refused(place: Path, extra: str) -> list[str]:
    """The modules that are here and that such an installation would not have."""
    brought = asked_for(place, extra)
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if module != "fpan" and not brought & {canonical(owner) for owner in owners}
    )


@pytest.fixture
def run(installed, service, tmp_path):
    """Runs a program where nothing but the wheel, and what one extra brings, can be imported."""

    def go(program: str, extra: str = "") -> subprocess.CompletedProcess[str]:
        grpc_url = f"grpc://127.0.0.1:{service.grpc_port}"
        words = [refused(installed, extra), str(installed), service.url, grpc_url, str(ROOT / "docs" / "astronaut.jpg")]
        command = [sys.executable, "-I", "-c", GUARD + program, json.dumps(words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    return go


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_make_wheel_names_what_it_made(wheels):
    assert [wheel.name.split("-")[0] for wheel in wheels] == ["mask_fpan_serve", "mask_fpan_training"]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            assert any(name.endswith("dist-info/licenses/LICENSE") for name in archive.namelist())
            assert not [name for name in archive.namelist() if "__pycache__" in name]


def test_every_file_of_the_package_is_in_it(installed):
    """Generated code, types, the page: all that a checkout runs with."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "fpan"],
        cwd=ROOT / "service",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"fpan/py.typed", "fpan/_proto/faceparsing/v1/face_parsing_pb2.pyi", "fpan/serve/web/index.html"} <= {
        *tracked
    }
    assert [path for path in tracked if not (installed / path).is_file()] == []


def test_the_servers_packages_are_not_asked_for(installed):
    servers = {
        "fastapi",
        "grpcio",
        "opencv-python-headless",
        "openvino",
        "onnxruntime",
        "tritonclient",
        "uvicorn",
        "redis",
    }
    assert not servers & asked_for(installed, "")
    assert {"httpx", "numpy", "pydantic"} <= asked_for(installed, "")
    assert asked_for(installed, "grpc") & servers == {"grpcio"}
    assert servers <= asked_for(installed, "serve")


def test_the_base_install_parses(run):
    assert int(said(run(EVERY_MODULE))) > 20
    assert said(run(PARSE.format(kind="Client", url="url"))) == "(512, 512) 1"


def test_without_grpc_its_clients_say_what_to_install(run):
    for kind in ("GrpcClient", "AsyncGrpcClient"):
        done = run(f"from fpan.client import {kind}")
        assert done.stderr.splitlines()[-1] == (
            f"ImportError: {kind} needs the extra [grpc] (grpc is missing): {how_to_install('grpc')}"
        )


def test_with_grpc_they_parse(run):
    assert said(run(PARSE.format(kind="GrpcClient", url="grpc_url"), "grpc")) == "(512, 512) 1"
