"""Clients that others' generators make from the OpenAPI document: they lack nothing, and they work."""

import base64
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.support.documented import aimed, example

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "reference" / "openapi.json"
PYTHON_TOOLS = Path(sys.prefix) / "openapi-tools"
"""Where `make test` installs tests/openapi_tools/requirements.lock."""
NODE_TOOLS = ROOT / "tests" / "openapi_tools"
OLDEST_NODE = (20, 19)
AWAY = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|E50\d")
"""What npm says where there is no registry."""
PACKAGE = "mask_fpan_serve_client"
"""What the generator makes of the title."""
KNOWN_WARNING = ("POST /v1/parse within parse.", "Unsupported content type image/*")
"""Which loses nothing: the same body is there as application/octet-stream."""


def tool(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What one of the tools answers, in Python, that want other versions of packages than the tests."""
    assert PYTHON_TOOLS.is_dir(), f"`make test` installs tests/openapi_tools/requirements.lock in {PYTHON_TOOLS}"
    environment = {**os.environ, "PYTHONPATH": str(PYTHON_TOOLS)}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(DOCUMENT.read_text())


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> tuple[Path, str]:
    """The folder of the Python client, and what its generator said."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.yml").write_text("post_hooks: []\n")
    told = tool(
        "openapi_python_client",
        "generate",
        *("--path", str(DOCUMENT), "--meta", "none", "--output-path", str(folder / PACKAGE), "--config", "config.yml"),
        folder=folder,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return folder, told.stdout + told.stderr


@pytest.fixture(scope="module")
def made(generated):
    """The Python client."""
    sys.path.insert(0, str(generated[0]))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(generated[0]))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def client(made, service):
    with made.Client(base_url=service.url) as client:
        yield client


def call(made: ModuleType, tag: str, operation: str) -> ModuleType:
    return importlib.import_module(f"{made.__name__}.api.{tag}.{operation}")


def types_of(made: ModuleType) -> ModuleType:
    return importlib.import_module(f"{made.__name__}.types")


def test_the_document_is_openapi_3_1():
    told = tool("openapi_spec_validator", "--schema", "3.1", str(DOCUMENT))
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_service_answers_with_the_document(service, document):
    assert httpx.get(f"{service.url}/openapi.json").json() == document


def test_the_generator_drops_nothing(generated, made, document):
    warnings = re.findall(r"WARNING parsing (.*)\n\n(.*)\n", generated[1])
    assert warnings == [KNOWN_WARNING], generated[1]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert callable(call(made, operation["tags"][0], snake(operation["operationId"])).sync)
    missing = [
        name
        for name, schema in document["components"]["schemas"].items()
        if (schema.get("type") == "object" or "enum" in schema) and not hasattr(made.models, name)
    ]
    assert not missing


@pytest.mark.parametrize("way", ["bytes", "form", "json"])
def test_parse_of_the_made_client_gives_faces(made, client, astronaut_jpeg, way):
    models, types = made.models, types_of(made)
    options = {}
    if way == "bytes":
        body = types.File(payload=io.BytesIO(astronaut_jpeg))
        options = {"output": "rle,polygons", "frame": models.Frame.IMAGE}
    elif way == "form":
        body = models.ImageForm(image=types.File(payload=io.BytesIO(astronaut_jpeg), file_name="astronaut.jpg"))
        options = {"output": "rle,polygons", "orientation": models.Orientation.RAW}
    else:
        body = models.ParseImageRequest(
            image=base64.b64encode(astronaut_jpeg).decode(),
            output=[models.Output.RLE, models.Output.POLYGONS],
            faces=[[180.0, 70.0, 290.0, 210.0]],
        )
    answer = call(made, "parse", "parse").sync(client=client, body=body, **options)
    assert isinstance(answer, models.ParseAnswer)
    (face,) = answer.faces
    assert isinstance(face, models.Face)
    assert {"skin", "nose", "hair"} <= {part.name for part in face.parts}
    assert answer.mask.size == [512, 512]
    assert isinstance(answer.polygons, models.Polygons)
    assert answer.model.precision in models.Precision


def test_a_refusal_is_a_problem_with_a_type(made, client):
    body = types_of(made).File(payload=io.BytesIO(b"no picture"))
    told = call(made, "parse", "parse").sync_detailed(client=client, body=body)
    assert told.status_code == 415
    assert isinstance(told.parsed, made.models.Problem)
    assert told.parsed.type_ == "urn:mask-fpan:problem:unsupported-image"
    assert told.parsed.status == 415


def test_several_pictures_have_answers_and_problems(made, client, astronaut_jpeg):
    models, types = made.models, types_of(made)
    files = [types.File(io.BytesIO(each), "picture") for each in (astronaut_jpeg, b"no picture")]
    answer = call(made, "parse", "parse_batch").sync(client=client, body=models.ImagesForm(image=files))
    good, bad = answer.results
    assert (good.status, len(good.answer.faces)) == (200, 1)
    assert (bad.status, type(bad.problem)) == (415, models.PictureProblem)


def test_cards_have_types_too(made, client):
    models = made.models
    served = call(made, "models", "list_models").sync(client=client)
    assert isinstance(served, models.ServedModels)
    names = {card.name for card in served.models}
    card = call(made, "models", "get_model").sync("segm", client=client)
    assert isinstance(card, models.ServedModel)
    assert card.name in names
    assert card.taxonomy.classes[0].name == "background"
    metadata = call(made, "v2", "get_model_version_metadata").sync("segm", str(card.version), client=client)
    assert isinstance(metadata, models.ModelMetadata)
    assert isinstance(call(made, "v2", "get_model_metadata").sync("nothing", client=client), models.Error)


def test_the_example_of_the_page_runs(generated, made, service):
    code = aimed(example("reference/http", "python"), service)
    environment = {**os.environ, "PYTHONPATH": str(generated[0])}
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, capture_output=True)
    assert told.returncode == 0, told.stderr
    assert "'nose'" in told.stdout


def node(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words], cwd=folder, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory) -> Path:
    """A folder with the tools of package-lock.json."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no Node.js here: the TypeScript client is not made ('apt-get install nodejs npm')")
    folder = tmp_path_factory.mktemp("typescript")
    version = node("node", "--version", folder=folder).stdout.strip()
    if tuple(map(int, version.lstrip("v").split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"Node.js {version} is older than the generator of the TypeScript client wants")
    for name in ("package.json", "package-lock.json", "tsconfig.json", "use.ts"):
        shutil.copy(NODE_TOOLS / name, folder)
    told = node("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
    if told.returncode and (away := AWAY.search(told.stderr)):
        pytest.skip(f"npm reaches no registry ({away[0]}): the TypeScript client is not made")
    assert told.returncode == 0, told.stderr
    return folder


def test_a_typescript_client_is_made_checked_and_used(node_folder, service, astronaut_jpeg):
    told = node("node_modules/.bin/openapi-ts", "-i", str(DOCUMENT), "-o", "client", "-s", folder=node_folder)
    assert told.returncode == 0, told.stdout + told.stderr
    checked = node("node_modules/.bin/tsc", folder=node_folder)
    assert checked.returncode == 0, checked.stdout
    (node_folder / "astronaut.jpg").write_bytes(astronaut_jpeg)
    used = node("node", "compiled/use.js", service.url, "astronaut.jpg", folder=node_folder)
    assert used.returncode == 0, used.stdout + used.stderr
    told = json.loads(used.stdout)
    assert {"skin", "nose", "hair"} <= set(told["parts"])
    assert told["outlines"] > 5
    assert told["statuses"] == [200, 200]
    assert told["licence"]
    assert told["problem"] == "urn:mask-fpan:problem:bad-request"
