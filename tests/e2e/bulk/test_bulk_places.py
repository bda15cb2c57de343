"""Bulk labelling between object stores, and on a Ray cluster."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from fpan import cli

from tests.support import bulk
from tests.support.service import ROOT

FULL = ("--faces", "full")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def portraits(astronaut):
    return bulk.portraits(astronaut[30:270, 110:350], 6)


@pytest.fixture
def bucket(monkeypatch):
    boto3 = pytest.importorskip("boto3", reason="the extra [s3] is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="faces")
    yield client
    running.stop()


@pytest.fixture
def batch(monkeypatch, capsys):
    monkeypatch.delenv("FPAN_URL", raising=False)

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["fpan", "batch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    return go


def keys(client) -> set[str]:
    return {found["Key"] for found in client.list_objects_v2(Bucket="faces").get("Contents", ())}


def test_pictures_and_labels_lie_in_an_object_store(batch, bucket, portraits, gateway_url, tmp_path):
    for number, data in enumerate(portraits):
        bucket.put_object(Bucket="faces", Key=f"in/deep/p {number}.jpg", Body=data)
    words = ("s3://faces/in/", "s3://faces/out", *FULL, "--shard-size", "3", "--url", gateway_url)
    code, err = batch(*words)
    assert code == 0, err
    assert {key for key in keys(bucket) if key.startswith("out/")} == {
        "out/_failed.jsonl",
        "out/_fpan/plan.arrow",
        "out/_fpan/reports/shard-000000.json",
        "out/_fpan/reports/shard-000001.json",
        "out/shard-000000.parquet",
        "out/shard-000001.parquet",
    }
    bucket.download_file("faces", "out/shard-000001.parquet", str(tmp_path / "one.parquet"))
    assert [row["path"] for row in bulk.rows(tmp_path / "one.parquet")] == [f"deep/p {n}.jpg" for n in (3, 4, 5)]

    written = bucket.head_object(Bucket="faces", Key="out/shard-000001.parquet")["LastModified"]
    bucket.delete_object(Bucket="faces", Key="out/_fpan/reports/shard-000000.json")
    bucket.delete_object(Bucket="faces", Key="in/deep/p 2.jpg")
    code, err = batch(*words)
    assert code == 1
    assert "0 new, 1 gone, 0 altered" in err
    assert "file-not-found" in err
    assert bucket.head_object(Bucket="faces", Key="out/shard-000001.parquet")["LastModified"] == written
    code, err = batch("s3://faces/none", "s3://faces/out2", "--url", gateway_url)
    assert code == 1
    assert "s3://faces/none" in err


def test_a_cluster_writes_what_one_machine_writes(batch, portraits, gateway_url, tmp_path, full):
    if not full:
        pytest.skip("a cluster starts in 10 s, or 20: --full")
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    album = bulk.album(tmp_path / "album", portraits)
    words = (*FULL, "--shard-size", "2", "--url", gateway_url)
    code, err = batch(album, tmp_path / "here", *words)
    assert code == 0, err
    code, err = batch(album, tmp_path / "there", *words, "--ray", "local", "--workers", "2", "--worker-cpus", "0.5")
    assert code == 0, err
    assert "2 workers on Ray" in err
    assert bulk.rows(tmp_path / "there") == bulk.rows(tmp_path / "here")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_cluster_that_is_cut_off_leaves_no_server_and_goes_on(batch, portraits, tmp_path, full, monkeypatch, number):
    if not full:
        pytest.skip("takes a minute: --full")
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    monkeypatch.setenv("MODEL_REPOSITORY", str(ROOT / "model_repository"))
    monkeypatch.setenv("FPAN_TEST_MARK", str(tmp_path))
    album, out = bulk.album(tmp_path / "album", portraits * 20), tmp_path / "out"
    words = (album, out, *FULL, "--shard-size", "2", "--ray", "local")
    child = bulk.begin(*words)
    until = time.monotonic() + PATIENCE_S
    while len(list(out.glob("_fpan/reports/*.json"))) < 2:
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    assert "serve" in marked(tmp_path)
    child.send_signal(number)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[number]
    while "serve" in marked(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.1)
    done = {path.stem for path in out.glob("_fpan/reports/*.json")}
    before = {name: kept for name, kept in bulk.contents(out).items() if Path(name).stem in done}
    assert len(before) < 60
    code, err = batch(*words)
    assert code == 0, err
    assert len(bulk.rows(out)) == 120
    assert before.items() <= bulk.contents(out).items()


def marked(folder: Path) -> set[str]:
    """Words of the command lines of all processes that this test has started, or that those have."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        try:
            started = process.name.isdigit() and int(process.name) != os.getpid()
            if started and f"FPAN_TEST_MARK={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found |= set((process / "cmdline").read_text().split("\0"))
        except OSError:
            continue  # it has ended
    return found
