"""Bulk labelling by a real service: what is written, and what becomes of runs that are cut off."""

import hashlib
import io
import json
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fpan import cli
from fpan.bulk import parquet
from fpan.client import Client
from fpan.contract import Taxonomy
from PIL import Image

from tests.support import bulk
from tests.support.service import ROOT

fpan_training = pytest.importorskip("fpan_training.data.shards", reason="training is not installed")
webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")

FULL = ("--faces", "full")
LEAKS = pytest.mark.filterwarnings("ignore:unclosed file", "ignore:Exception ignored in")
"""WebDataset leaves the closing of its tars to the collector."""
PATIENCE_S = 60


@pytest.fixture
def batch(monkeypatch, capsys, gateway_url):
    """Runs the command with the service; gives exit status, standard output and standard error."""
    monkeypatch.delenv("FPAN_URL", raising=False)

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["fpan", "batch", *map(str, words), "--url", gateway_url])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return go


@pytest.fixture(scope="module")
def portraits(astronaut):
    return bulk.portraits(astronaut[30:270, 110:350], 12)


@pytest.fixture
def album(tmp_path, portraits):
    return bulk.album(tmp_path / "album", portraits)


def test_rows_hold_what_the_service_answers_and_why_a_picture_failed(batch, tmp_path, astronaut_jpeg, gateway_url):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "deep").mkdir(parents=True)
    (photos / "deep/a.jpg").write_bytes(astronaut_jpeg)
    Image.new("RGB", (64, 48)).save(photos / "a.png")
    (photos / "a.jpg").write_text("no picture")
    (photos / ".hidden.jpg").write_bytes(astronaut_jpeg)
    (photos / "note.txt").write_text("no picture either")
    code, _, err = batch(photos, out, "--confidence")
    assert code == 1
    assert "2 pictures labelled with 1 face, 1 failed" in err
    assert "unsupported-image" in err

    found = {row["path"]: row for row in bulk.rows(out)}
    assert {path: row["key"] for path, row in found.items()} == {
        "a.jpg": "a-jpg",
        "a.png": "a-png",
        "deep/a.jpg": "deep/a",
    }
    with Client(gateway_url) as client:
        result, taxonomy = client.parse(astronaut_jpeg, output=["png", "confidence"]), client.labels()
    row = found["deep/a.jpg"]
    assert (row["width"], row["height"], row["error"]) == (512, 512, None)
    assert row["sha256"] == hashlib.sha256(astronaut_jpeg).hexdigest()
    assert row["model"] == {"name": "segm", "version": 2, "sha256": result.model.sha256}
    with Image.open(io.BytesIO(row["labels"])) as labels, Image.open(io.BytesIO(row["confidence"])) as sure:
        assert labels.mode == "P"
        assert np.array_equal(np.asarray(labels), result.labels)
        assert np.array_equal(np.asarray(sure), result.confidence)
    [face], [told] = row["faces"], result.faces
    assert list(face["box"].values()) == pytest.approx(told.box)
    assert np.allclose([[p["x"], p["y"]] for p in face["landmarks"]], told.landmarks)
    assert [face[axis] for axis in ("yaw", "pitch", "roll")] == pytest.approx(
        [told.pose.yaw, told.pose.pitch, told.pose.roll]
    )
    assert {p["name"]: p["area"] for p in face["parts"]} == {p.name: p.area for p in told.parts}
    assert found["a.png"]["faces"] == []
    assert found["a.png"]["reason"]
    assert found["a.jpg"]["labels"] is None
    assert found["a.jpg"]["error"]["problem"] == "unsupported-image"
    assert bulk.failed(out) == {"a.jpg": "unsupported-image"}

    file = pq.ParquetFile(out / "shard-000000.parquet")
    assert file.schema_arrow.metadata[b"fpan.schema"] == b"2"
    assert Taxonomy.model_validate_json(file.schema_arrow.metadata[b"fpan.taxonomy"]) == taxonomy
    assert {file.metadata.row_group(0).column(n).compression for n in range(file.metadata.num_columns)} == {"ZSTD"}


def test_the_documentation_names_every_column_and_reads_them(batch, portraits, tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs/how-to/bulk.md").read_text()
    named = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall("`(\\w+)`", line)}
    assert set(_names(pa.struct(list(parquet.COLUMNS)))) <= named
    bulk.album(tmp_path / "photos", portraits[:2])
    assert batch(tmp_path / "photos", tmp_path / "labels", *FULL)[0] == 0
    monkeypatch.chdir(tmp_path)
    [code] = re.findall("```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    assert "deep.er/p.01.jpg 1 {'x0': 0.0" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_cut_off_goes_on_with_what_is_missing(batch, portraits, tmp_path, gateway_url, number, full):
    if number == signal.SIGTERM and not full:
        pytest.skip("much like Ctrl-C: --full")
    album, out, shards = bulk.album(tmp_path / "album", portraits * 4), tmp_path / "out", 24
    words = (album, out, *FULL, "--shard-size", "2", "--jobs", "1")
    child = bulk.begin(*words, "--url", gateway_url)
    until = time.monotonic() + PATIENCE_S
    while len(list(out.glob("_fpan/reports/*.json"))) < 2:
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.005)
    child.send_signal(number)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert (number == signal.SIGKILL) or "the same command goes on from there" in err

    done = {path.stem for path in out.glob("_fpan/reports/*.json")}
    assert 2 <= len(done) < shards
    before = {name: kept for name, kept in bulk.contents(out).items() if Path(name).stem in done}
    code, _, err = batch(*words)
    assert code == 0, err
    assert f"{len(done)} of them there" in err
    after = bulk.contents(out)
    assert len(after) == shards
    assert before.items() <= after.items()
    paths = [row["path"] for row in bulk.rows(out)]
    assert sorted(paths) == sorted(path.relative_to(album).as_posix() for path in album.rglob("*.jpg"))
    assert not list(out.rglob("*.new"))


def test_a_run_that_is_over_does_nothing_more_and_tells_what_has_changed(batch, album, tmp_path):
    out = tmp_path / "out"
    words = (album, out, *FULL, "--shard-size", "5")
    assert batch(*words)[0] == 0
    before = bulk.contents(out)
    (album / "p.00.jpg").rename(album / "p.99.jpg")
    (album / "p.03.jpg").write_bytes(b"other")
    code, _, err = batch(*words)
    assert code == 0
    assert "1 new, 1 gone, 1 altered" in err
    assert "3 shards, 3 of them there" in err
    assert bulk.contents(out) == before
    (out / "shard-000001.parquet").unlink()
    code, _, err = batch(*words)
    assert "3 shards, 2 of them there" in err
    assert bulk.contents(out).keys() == before.keys()


def test_pictures_that_failed_are_tried_again_on_request(batch, album, tmp_path):
    out = tmp_path / "out"
    hidden = (album / "p.00.jpg").read_bytes()
    (album / "p.00.jpg").write_bytes(b"damaged")
    words = (album, out, *FULL, "--shard-size", "5")
    assert batch(*words)[0] == 1
    before = bulk.contents(out)
    (album / "p.00.jpg").write_bytes(hidden)
    assert batch(*words)[0] == 1
    assert bulk.contents(out) == before
    assert batch(*words, "--retry-failed")[0] == 0
    changed = {name for name, kept in bulk.contents(out).items() if before[name] != kept}
    assert len(changed) == 1
    assert all(row["error"] is None for row in bulk.rows(out))
    assert bulk.failed(out) == {}


def test_a_destination_of_other_work_is_refused_untouched(batch, album, tmp_path):
    out = tmp_path / "out"
    assert batch(album, out, *FULL, "--limit", "2")[0] == 0
    before = bulk.contents(out)
    for words, says in (
        ((album, out, *FULL, "--limit", "3"), "limit is 3, there 2"),
        ((album, out, *FULL, "--limit", "2", "--classes", "hair"), "classes is hair, there none"),
        ((album / "deep.er", out, *FULL, "--limit", "2"), "source is"),
    ):
        code, _, err = batch(*words)
        assert code == 1
        assert f"{out} belongs to other work" in err
        assert says in err
    code, _, err = batch(album, album, *FULL)
    assert code == 1
    assert "is not empty and holds no plan" in err
    assert bulk.contents(out) == before


def test_a_dry_run_tells_and_writes_nothing(batch, album, tmp_path):
    out = tmp_path / "out"
    code, told, _ = batch(album, out, "--include", "deep.er/*", "--limit", "7", "--shard-size", "3", "--dry-run")
    assert code == 0
    assert "7 pictures" in told
    assert "3 shards would be written" in told
    assert not out.exists()


def test_names_that_are_none_are_told_once(batch, album, tmp_path):
    code, _, err = batch(album, tmp_path / "out", "--classes", "hair,beard")
    assert code == 2
    assert "'beard' is none of the classes" in err.replace("\n", " ").replace("│ ", "")
    code, _, err = batch(album, tmp_path / "out", "--model", "segm:99")
    assert code == 1
    assert "has no model 'segm:99'" in err


@LEAKS
def test_tars_are_read_by_webdataset_and_by_training(batch, album, tmp_path, gateway_url):
    out = tmp_path / "tars"
    Image.new("RGB", (40, 30)).save(album / "plain.gif")
    (album / "p.03.jpg").write_text("damaged")
    code, _, err = batch(
        album, out, *FULL, "--format", "webdataset", "--with-pictures", "--shard-size", "6", "--groups", "face"
    )
    assert code == 1, err
    tars = sorted(map(str, out.glob("shard-*.tar")))
    assert len(tars) == 3
    samples = {sample["__key__"]: sample for sample in webdataset.WebDataset(tars, shardshuffle=False)}
    assert len(samples) == 12
    with Client(gateway_url) as client:
        result = client.parse(album / "deep.er/p.01.jpg", faces="full", groups=["face"])
    sample = samples["deep%2Eer/p%2E01"]
    assert sample["jpg"] == (album / "deep.er/p.01.jpg").read_bytes()
    labels = np.asarray(Image.open(io.BytesIO(sample["labels.png"])))
    assert np.array_equal(labels, result.labels)
    words = json.loads(sample["json"])
    assert words["path"] == "deep.er/p.01.jpg"
    assert words["faces"] == result.raw["faces"]
    assert set(samples["plain"]) >= {"gif", "labels.png", "json"}

    train, val = (fpan_training.ShardFolder.open(str(out), split) for split in ("train", "val"))
    assert len({*train.names, *val.names}) == len(train) + len(val) == 11, "training reads no GIF"
    shards = train if "deep.er/p.01" in train.names else val
    read = shards[shards.names.index("deep.er/p.01")]
    assert np.array_equal(read.labels, result.labels)
    assert read.image.shape[:2] == labels.shape
    hair, background = (Taxonomy.id_of(shards.space.taxonomy, name) for name in ("hair", "background"))
    declared = dict(shards.space.declared)
    assert hair not in declared
    assert {hair, background} <= set(declared[0]), "what was not kept is not said to be background"


@LEAKS
def test_tars_hold_no_pictures_unless_they_shall(batch, album, tmp_path):
    out = tmp_path / "tars"
    assert batch(album, out, *FULL, "--format", "webdataset", "--limit", "2")[0] == 0
    [tar] = map(str, out.glob("shard-*.tar"))
    for sample in webdataset.WebDataset([tar], shardshuffle=False):
        assert {name for name in sample if not name.startswith("__")} == {"labels.png", "json"}
    assert not (out / "shards.json").exists()
    assert b"\xff\xd8\xff" not in Path(tar).read_bytes()
    code, _, err = batch(album, tmp_path / "other", "--with-pictures")
    assert code == 2
    assert "--format webdataset" in err


def _names(kind: pa.DataType):
    if pa.types.is_list(kind):
        yield from _names(kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind.fields:
            yield field.name
            yield from _names(field.type)
