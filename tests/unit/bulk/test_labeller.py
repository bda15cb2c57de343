"""What a bulk run makes of gateways that are full, away, broken or others than they were: doubles that do so."""

import base64
import io
import json
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fpan.bulk.errors import GatewayGone, Interrupted
from fpan.bulk.labeller import Effort, Labeller, Served
from fpan.bulk.place import Place
from fpan.bulk.plan import Picture, Shard
from fpan.bulk.shard import label_shard
from fpan.bulk.spec import LabelSpec, Model
from fpan.contract import FaceClass, Taxonomy
from PIL import Image

TAXONOMY = Taxonomy(name="two", classes=tuple(FaceClass(id=i, name=n, title=n, colour=(i, i, i), partner=i)
                                              for i, n in enumerate(("background", "skin"))))  # fmt: skip
MODEL = Model(name="segm", version=3, sha256="ab" * 32)
DROP = object()
"""Closes the connection without an answer."""


def problem(status: int, slug: str, **headers: str):
    body = {"type": f"urn:mask-fpan:problem:{slug}", "status": status, "detail": f"it is {slug}", "request_id": "r"}
    return status, "application/problem+json", body, headers


def answer(model: Model = MODEL):
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "PNG")
    mask = {"encoding": "coco_rle", "size": [4, 4], "classes": []}
    body = {
        "request_id": "r", "image": {"width": 4, "height": 4}, "taxonomy": "two", "reason": "no face",
        "model": model.model_dump(), "faces": [], "mask": mask,
        "png": {"encoding": "png", "data": base64.b64encode(file.getvalue()).decode()},
    }  # fmt: skip
    return 200, "application/json", body, {}


class Double:
    """A gateway whose answers to a parse are those that ``does`` gives, by number of the parse and picture."""

    def __init__(self, does=lambda number, data: answer(), model: Model = MODEL) -> None:
        self.parses: list[dict] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                told = {**MODEL.model_dump(exclude={"sha256"}), "task": "segmentation", "aliases": [], "default": True}
                told |= {"version": model.version, "files": {"model.onnx": model.sha256}}
                classes = [c.model_dump() for c in TAXONOMY.classes]
                bodies = {
                    "/v1/models": {"models": [told]},
                    "/v1/labels": {"taxonomy": "two", "classes": classes, "groups": {}, "remaps": {}},
                }
                self.say(200, "application/json", bodies.get(self.path.partition("?")[0], {"status": "live"}), {})

            def do_POST(self):
                data = self.rfile.read(int(self.headers["content-length"]))
                double.parses.append({"headers": dict(self.headers), "path": self.path, "at": time.monotonic()})
                what = does(len(double.parses), data)
                if what is DROP:
                    self.close_connection = True
                    return
                self.say(*what)

            def say(self, status, kind, body, headers):
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def gateways(monkeypatch):
    """Makes doubles, which end with the test; waits between tries are short."""
    monkeypatch.setattr("fpan.bulk.labeller._FIRST_WAIT_S", 0.01)
    with ExitStack() as stack:

        def make(*does, model: Model = MODEL) -> list[Double]:
            made = [Double(each, model) for each in does]
            for each in made:
                stack.callback(each.close)
            return made

        yield make


@pytest.fixture
def labeller():
    with ExitStack() as stack:

        def make(*urls: str, jobs: int = 2, patience_s: float = 20.0) -> Labeller:
            made = Labeller(urls, Effort(jobs, patience_s, 30_000), direct=True)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / f"in/{number:02}.jpg").write_bytes(str(number).encode())
    return Place(str(tmp_path / "in"))


def order(**changed) -> LabelSpec:
    members = {"source": "in", "shard_size": 9, "shard_mb": 1, "form": "parquet", "model": MODEL, "taxonomy": TAXONOMY}
    return LabelSpec(**members | changed)


def pictures(count: int) -> tuple[Picture, ...]:
    return tuple(Picture(f"{n:02}.jpg", f"{n:02}", 1) for n in range(count))


def fine(number, data):
    return answer()


def test_every_gateway_is_asked_for_the_same_version_as_background_work(gateways, labeller, source):
    doubles = gateways(fine, fine)
    asking = labeller(*(double.url for double in doubles))
    assert asking.served(None) == Served(MODEL, TAXONOMY)
    done = list(asking.label(source, pictures(20), order()))
    assert [each.picture.path for each in done] == [f"{n:02}.jpg" for n in range(20)]
    assert all(each.result is not None and each.data is None for each in done)
    assert [len(double.parses) for double in doubles] == [10, 10]
    for parse in doubles[0].parses + doubles[1].parses:
        assert parse["headers"]["priority"] == "u=7"
        assert "model=segm%3A3" in parse["path"]
    assert (asking.counts.pictures, asking.counts.failed) == (20, 0)


def test_gateways_of_other_versions_are_refused_before_anything_is_labelled(gateways, labeller):
    [one], [other] = gateways(fine), gateways(fine, model=MODEL.model_copy(update={"version": 4}))
    with pytest.raises(GatewayGone, match=r"segm:3 .* segm:4 .* one version"):
        labeller(one.url, other.url).served(None)


def test_a_full_gateway_is_left_for_another_and_both_are_waited_for(gateways, labeller, source):
    full, free = gateways(lambda number, data: problem(429, "overloaded", **{"retry-after": "30"}), fine)
    began = time.monotonic()
    done = list(labeller(full.url, free.url, jobs=1).label(source, pictures(3), order()))
    assert all(each.result is not None for each in done)
    assert time.monotonic() - began < 60, "the free one was asked at once"
    assert len(free.parses) == 3

    [busy] = gateways(lambda n, data: answer() if n > 2 else problem(503, "unavailable", **{"retry-after": "0.2"}))
    [done] = labeller(busy.url).label(source, pictures(1), order())
    assert done.result is not None
    first, second, third = (parse["at"] for parse in busy.parses)
    assert min(second - first, third - second) >= 0.2, "as long as it asked for"


def test_gateways_that_stay_full_or_away_end_the_run_once_patience_is_over(gateways, labeller, source):
    [full] = gateways(lambda number, data: problem(429, "overloaded"))
    with pytest.raises(GatewayGone, match=r"no answer within 0\.05 s: it is overloaded"):
        list(labeller(full.url, patience_s=0.05).label(source, pictures(3), order()))
    [gone] = gateways(fine)
    gone.server.socket.close()
    with pytest.raises(GatewayGone, match="no answer within"):
        list(labeller(gone.url, patience_s=0.05).label(source, pictures(1), order()))


def test_a_gateway_that_refuses_the_caller_ends_the_run_at_once(gateways, labeller, source):
    [closed] = gateways(lambda number, data: problem(401, "unauthorised"))
    with pytest.raises(GatewayGone, match="refuses: it is unauthorised"):
        list(labeller(closed.url, jobs=1).label(source, pictures(3), order()))
    assert len(closed.parses) <= 3


def test_an_answer_of_another_network_ends_the_run(gateways, labeller, source):
    [other] = gateways(lambda number, data: answer(MODEL.model_copy(update={"sha256": "cd" * 32})))
    with pytest.raises(GatewayGone, match="sha256 cdcdcdcd"):
        list(labeller(other.url).label(source, pictures(1), order()))


@pytest.mark.parametrize(
    ("does", "slug", "its_own", "tries"),
    [
        (lambda n, data: problem(415, "unsupported-image"), "unsupported-image", True, 1),
        (lambda n, data: problem(400, "bad-request"), "bad-request", False, 1),
        (lambda n, data: problem(500, "internal"), "internal", False, 3),
        (lambda n, data: problem(504, "deadline-exceeded"), "deadline-exceeded", False, 3),
        (lambda n, data: (200, "text/html", "hello", {}), "unexpected-answer", False, 3),
        (lambda n, data: DROP, "unreachable", False, None),
    ],
)
def test_a_picture_without_an_answer_says_why_and_is_tried_as_often_as_it_helps(
    gateways, labeller, source, does, slug, its_own, tries
):
    [bad] = gateways(does)
    [done] = labeller(bad.url, patience_s=0.2).label(source, pictures(1), order())
    assert (done.problem.slug, done.problem.its_own) == (slug, its_own)
    assert done.sha256 is not None
    assert len(bad.parses) == (tries or len(bad.parses)) >= 1


def test_an_error_that_passes_leaves_no_trace(gateways, labeller, source):
    [shaky] = gateways(lambda number, data: (problem(500, "internal"), DROP, answer())[min(number, 3) - 1])
    [done] = labeller(shaky.url).label(source, pictures(1), order())
    assert done.problem is None


def test_files_that_are_gone_or_closed_are_failures_of_their_own(gateways, labeller, source, tmp_path):
    [double] = gateways(fine)
    (tmp_path / "in/01.jpg").unlink()
    (tmp_path / "in/02.jpg").unlink()
    (tmp_path / "in/02.jpg").mkdir()
    done = list(labeller(double.url).label(source, pictures(3), order()))
    assert [each.problem and each.problem.slug for each in done] == [None, "file-not-found", "file-unreadable"]
    assert len(double.parses) == 1


def test_a_shard_whose_pictures_fail_without_fault_is_not_written(gateways, labeller, source, tmp_path):
    [broken] = gateways(lambda number, data: problem(500, "internal"))
    destination = Place(str(tmp_path / "out"))
    with pytest.raises(GatewayGone, match="20 of the 20 pictures of shard-000000 failed"):
        label_shard(Shard(0, pictures(20)), order(), source, destination, labeller(broken.url, jobs=8))
    assert destination.is_empty()

    [strict] = gateways(lambda number, data: problem(415, "unsupported-image"))
    report = label_shard(Shard(0, pictures(20)), order(), source, destination, labeller(strict.url, jobs=8))
    assert len(report.failed) == 20
    assert destination.names("") == ["shard-000000.parquet"]


def test_stopping_ends_the_waiting(gateways, labeller, source):
    asked = threading.Event()

    def full(number, data):
        asked.set()
        return problem(429, "overloaded", **{"retry-after": "60"})

    [double] = gateways(full)
    asking = labeller(double.url, patience_s=600.0)
    threading.Thread(target=lambda: asked.wait(10) and asking.stop()).start()
    with pytest.raises(Interrupted):
        list(asking.label(source, pictures(20), order()))
