"""The command against a small server of its own process: running already, or started by the command."""

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePath
from types import SimpleNamespace

import httpx
import pytest
from fpan import __version__, cli
from fpan.cli import _server
from fpan.cli._photos import Photo
from fpan.cli._work import Outcome, run
from PIL import Image

STUB = '''
"""A server that finds one face in every picture, and none in text."""
import argparse, base64, io, os, pathlib, sys, time
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

parser = argparse.ArgumentParser()
for flag in ("--bind-address", "--port", "--grpc-port"):
    parser.add_argument(flag)
flags = parser.parse_args()
began = time.monotonic()
if os.environ.get("STUB") == "broken":
    sys.exit("the model repository is missing: make models")
if folder := os.environ.get("STUB_PIDS"):
    pathlib.Path(folder, str(os.getpid())).touch()


async def parse(request):
    data = await request.body()
    try:
        size = Image.open(io.BytesIO(data)).size
    except OSError:
        body = {"type": "urn:mask-fpan:problem:unsupported-image", "title": "T", "status": 415, "request_id": "r-7"}
        return JSONResponse({**body, "detail": "not an image"}, 415, media_type="application/problem+json")
    mask = {"encoding": "coco_rle", "size": [size[1], size[0]], "classes": []}
    face = {"id": 0, "box": [0, 0, 4, 4], "score": None, "landmarks": None, "occluded": 0, "cut_by_crop": [],
            "cut_by_image": False, "parts": [], "mask": mask}
    body = {"request_id": "r", "image": {"width": size[0], "height": size[1]}, "taxonomy": "t", "reason": None,
            "model": {"name": "segm", "version": 1, "sha256": "00"}, "faces": [face], "mask": mask,
            "query": dict(request.query_params)}
    for output in request.query_params["output"].split(",")[1:]:
        body[output] = {"encoding": "png", "data": base64.b64encode(output.encode()).decode()}
    return JSONResponse(body)


async def labels(request):
    skin = {"id": 1, "name": "l_ear", "title": "left ear", "colour": [200, 10, 20], "partner": 2, "groups": ["ears"]}
    classes = [{**skin, "id": 0, "name": "background", "title": "background", "partner": 0}, skin,
               {**skin, "id": 2, "name": "r_ear", "title": "right ear", "partner": 1}]
    return JSONResponse({"taxonomy": "three", "classes": classes, "groups": {"ears": [1, 2]}, "remaps": {}})


async def health(request):
    ready = request.path_params["which"] == "live" or time.monotonic() - began > 0.3
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


routes = [Route("/v1/parse", parse, methods=["POST"]), Route("/v1/labels", labels), Route("/v1/health/{which}", health)]
uvicorn.run(Starlette(routes=routes), host=flags.bind_address, port=int(flags.port), log_level="warning")
'''


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    path = tmp_path_factory.mktemp("stub") / "stub.py"
    path.write_text(STUB)
    return path


@pytest.fixture(scope="module")
def url(stub):
    [port] = _server.free_ports(1)
    child = subprocess.Popen([sys.executable, stub, "--bind-address", "127.0.0.1", "--port", str(port)])
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"{address}/v1/health/live")
            break
        except httpx.TransportError:
            assert time.monotonic() < until
            time.sleep(0.05)
    yield address
    child.terminate()
    child.wait(10)


@pytest.fixture
def fpan(monkeypatch, capsys):
    """Runs the command; gives exit status, standard output and standard error."""
    monkeypatch.delenv("FPAN_URL", raising=False)

    def go(*arguments):
        monkeypatch.setattr(sys, "argv", ["fpan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return go


@pytest.fixture
def own_server(stub, monkeypatch, tmp_path):
    """Lets the command start the small server as its own; gives the folder with the ids of those that were started."""
    monkeypatch.setattr(_server, "SERVE", (sys.executable, str(stub)))
    monkeypatch.setattr(_server, "serve_main", lambda: None)
    pids = tmp_path / "pids"
    pids.mkdir()
    monkeypatch.setenv("STUB_PIDS", str(pids))
    return pids


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "a.gif", "deep/b.png"):
        Image.new("RGB", (8, 6)).save(folder / name)
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_photos_and_folders_get_their_answers(fpan, url, album, tmp_path):
    code, _, err = fpan(
        "parse", album, "--out", tmp_path / "out", "--url", url, "--output", "labels,json,overlay,cutout"
    )
    assert code == 0, err
    endings = ("cutout.png", "json", "labels.png", "overlay.png")
    assert files(tmp_path / "out") == sorted(
        f"{stem}.{end}" for stem in ("a-gif", "a-png", "deep/b") for end in endings
    )
    assert (tmp_path / "out/a-gif.labels.png").read_bytes() == b"png"
    assert (tmp_path / "out/deep/b.cutout.png").read_bytes() == b"cutout"
    assert "3 photos, 3 faces" in err


def test_json_is_the_servers_own_without_the_pictures(fpan, url, album, tmp_path):
    fpan("parse", album / "a.png", "--out", tmp_path / "out", "--url", url)
    body = json.loads((tmp_path / "out/a.json").read_text())
    assert body["image"] == {"width": 8, "height": 6}
    assert body["faces"][0]["box"] == [0, 0, 4, 4]
    assert not {"png", "overlay"} & set(body)


def test_one_request_serves_all_outputs_and_options_reach_the_server(fpan, url, album, tmp_path):
    options = ["--faces", "[[1, 2, 7, 5]]", "--max-faces", "2", "--classes", "hair,skin", "--groups", "lips"]
    options += ["--orientation", "raw", "--model", "segm:1"]
    fpan("parse", album / "a.png", "--out", tmp_path / "out", "--url", url, "--output", "json,labels", *options)
    assert json.loads((tmp_path / "out/a.json").read_text())["query"] == {
        "faces": "[[1.0, 2.0, 7.0, 5.0]]",
        "max_faces": "2",
        "classes": "hair,skin",
        "groups": "lips",
        "orientation": "raw",
        "model": "segm:1",
        "output": "rle,png",
    }


def test_bad_photos_stop_no_other_and_are_listed_at_the_end(fpan, url, album, tmp_path):
    (album / "text.jpg").write_text("no picture")
    code, _, err = fpan(
        "parse", album, tmp_path / "none.jpg", "--out", tmp_path / "out", "--url", url, "--output", "json"
    )
    assert code == 1
    assert files(tmp_path / "out") == ["a-gif.json", "a-png.json", "deep/b.json"]
    assert "3 photos, 3 faces" in err
    assert "2 photos failed" in err
    assert "text.jpg: not an image (request r-7)" in err
    assert "none.jpg: no such file or folder" in err


def test_answers_that_cannot_be_written_are_listed_too(fpan, url, album, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    code, _, err = fpan("parse", album / "a.png", "--out", tmp_path / "out", "--url", url)
    assert code == 1
    assert "1 photo failed" in err


def test_address_may_come_from_the_environment(fpan, url, album, tmp_path, monkeypatch):
    monkeypatch.setenv("FPAN_URL", url)
    assert fpan("parse", album / "a.png", "--out", tmp_path / "out")[0] == 0


def test_server_that_is_not_there_is_told_once(fpan, album, tmp_path):
    address = f"http://127.0.0.1:{_server.free_ports(1)[0]}"
    code, _, err = fpan("parse", album, "--out", tmp_path / "out", "--url", address)
    assert code == 1
    assert err.count(address) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--output", "labels,poster"), "poster"),
        (("--faces", "some"), "neither auto nor full"),
        (("--faces", "[1, 2]"), "neither auto nor full"),
        (("--jobs", "0"), "jobs"),
        (("--output", "redact,overlay"), "overlay shows the faces"),
        (("--output", "redact", "--orientation", "raw"), "redact drops EXIF"),
        (("--redact", "fill"), "--output redact"),
        (("--colour", "red"), "--colour"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(fpan, album, tmp_path, flags, says):
    code, _, err = fpan("parse", album, "--out", tmp_path / "out", "--url", "http://nowhere.invalid", *flags)
    assert code == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_server_of_its_own_is_started_awaited_and_stopped(fpan, own_server, album, tmp_path):
    code, _, err = fpan("parse", album, "--out", tmp_path / "out", "--output", "json")
    assert code == 0, err
    assert "server ready at http://127.0.0.1:" in err
    assert len(files(tmp_path / "out")) == 3
    [pid] = map(int, files(own_server))
    assert not running(pid)


def test_server_of_its_own_that_fails_is_told_with_its_last_words(fpan, own_server, album, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB", "broken")
    code, _, err = fpan("parse", album, "--out", tmp_path / "out")
    assert code == 1
    assert "the model repository is missing: make models" in err


def test_server_of_its_own_that_never_gets_ready_is_stopped(fpan, own_server, album, tmp_path, monkeypatch):
    monkeypatch.setattr(_server, "READY_TIMEOUT_S", 0.0)
    code, _, err = fpan("parse", album, "--out", tmp_path / "out")
    assert code == 1
    assert "not ready" in err
    assert not any(running(int(pid)) for pid in files(own_server))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_of_its_own_ends_with_the_command_when_that_is_stopped(stub, tmp_path, number):
    code = (
        "import signal, sys, time; from fpan.cli import _server; from pathlib import Path\n"
        # A shell starts what it puts in the background with SIGINT ignored, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"_server.SERVE = (sys.executable, {str(stub)!r}); _server.serve_main = lambda: None\n"
        "with _server.server(None, print):\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "STUB_PIDS": str(tmp_path)}
    command = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while (line := command.stdout.readline()) and "server ready" not in line:
        pass
    command.send_signal(number)
    command.communicate(timeout=20)
    [pid] = map(int, files(tmp_path))
    assert not running(pid)
    assert command.returncode != 0


def test_missing_extra_is_told_with_the_way_out(fpan, album, tmp_path, monkeypatch):
    def gone(name):
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")

    monkeypatch.setattr(_server.importlib, "import_module", gone)
    for arguments in (("serve",), ("parse", album, "--out", tmp_path / "out")):
        code, _, err = fpan(*arguments)
        assert code == 1
        assert "pip install './service[serve]'" in err
        assert "uvicorn" in err


def test_a_broken_installation_is_not_taken_for_a_missing_extra(monkeypatch):
    def gone(name):
        raise ModuleNotFoundError("No module named 'fpan.serve.main'", name="fpan.serve.main")

    monkeypatch.setattr(_server.importlib, "import_module", gone)
    with pytest.raises(ModuleNotFoundError):
        _server.serve_main()


def test_serve_hands_all_its_flags_over_help_too(fpan, monkeypatch):
    given = []
    monkeypatch.setitem(sys.modules, "fpan.serve.main", SimpleNamespace(main=given.append))
    assert importlib.import_module("fpan.serve.main").main == given.append
    assert fpan("serve", "--port", "9000", "--max-faces=3", "--help", "extra")[0] == 0
    assert given == [["--port", "9000", "--max-faces=3", "--help", "extra"]]


def test_labels_are_shown_as_a_table_and_as_json(fpan, url):
    code, out, _ = fpan("labels", "--url", url)
    assert code == 0
    assert "three" in out
    assert "left ear" in out
    assert "#c80a14" in out
    assert "ears: l_ear, r_ear" in out
    taxonomy = json.loads(fpan("labels", "--json", "--url", url)[1])
    assert taxonomy["classes"][1]["partner"] == 2


def test_version_is_the_packages(fpan):
    assert fpan("version")[1].strip() == f"fpan {__version__}"


def test_help_teaches_with_examples(fpan):
    code, out, _ = fpan("parse", "--help")
    assert code == 0
    assert "fpan parse photo.jpg --out parsed" in out
    assert "--faces" in out


def test_no_more_photos_are_under_way_than_jobs():
    now, most, lock = 0, 0, threading.Lock()

    def do(photo):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return Outcome(photo, faces=1)

    photos = [Photo(Path(str(i)), PurePath(str(i))) for i in range(20)]
    done = [outcome.photo for outcome in run(photos, 3, do)]
    assert sorted(done, key=lambda photo: int(photo.path.name)) == photos
    assert most == 3


def test_leaving_early_begins_no_more_photos():
    begun = []

    def do(photo):
        begun.append(photo)
        return Outcome(photo)

    outcomes = run([Photo(Path(str(i)), PurePath(str(i))) for i in range(50)], 2, do)
    next(outcomes)
    outcomes.close()
    assert len(begun) <= 4


def test_progress_is_shown_on_a_terminal_only(fpan, url, album, tmp_path):
    _, out, err = fpan("parse", album, "--out", tmp_path / "out", "--url", url, "--output", "json")
    assert out == ""
    assert "parsing" not in err
    from fpan.cli import _app

    file = io.StringIO()
    console = _app.Console(file=file, force_terminal=True, width=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_app, "_err", console)
        fpan("parse", album, "--out", tmp_path / "out", "--url", url, "--output", "json")
    assert "parsing" in file.getvalue()
    assert "3/3" in file.getvalue()
