"""Tar shards: what comes out is what went in, wherever they lie and however many read them."""

import json
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data import EpochSampler, FaceFolder, SegmentationData
from fpan_training.data.folder import DataError, is_shards
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import MixedData, Part
from fpan_training.data.shards import ShardFolder, Sharding, name_of
from PIL import Image
from torch.utils.data import DataLoader


@pytest.fixture(scope="module")
def shards(faces_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn faces in shards."""
    out = tmp_path_factory.mktemp("shards")
    Sharding(faces_root, str(out))()
    return out


class _Ranges(SimpleHTTPRequestHandler):
    """Serves files as object stores do: with ranges of bytes."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, span = path.read_bytes(), self.headers.get("Range")
        if span:
            first, last = span.removeprefix("bytes=").split("-")
            data = data[int(first) : int(last) + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def url(shards: Path) -> Iterator[str]:
    """The shards behind HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(shards)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _same(one: SegmentationData, other: SegmentationData) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for i in range(len(one)) for a, b in zip(one[i], other[i], strict=True)
    )


def test_shards_give_what_the_folder_gives(faces_root: Path, shards: Path) -> None:
    for split in ("train", "val"):
        folder = FaceFolder.open(faces_root, split)
        from_shards = ShardFolder.open(str(shards), split)
        assert from_shards.names == folder.names
        assert _same(SegmentationData(folder, 64), SegmentationData(from_shards, 64))
        assert np.array_equal(from_shards.labels(3), folder.labels(3))


def test_shards_behind_a_url_give_the_same(faces_root: Path, url: str, tmp_path: Path) -> None:
    folder = FaceFolder.open(faces_root, "val")
    assert is_shards(url)
    assert _same(SegmentationData(folder, 64), SegmentationData(ShardFolder.open(url, "val"), 64))
    cached = ShardFolder.open(url, "val", tmp_path / "cache")
    assert _same(SegmentationData(folder, 64), SegmentationData(cached, 64))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["val-000000.tar"]


def test_what_is_in_the_cache_is_not_fetched_again(url: str, shards: Path, tmp_path: Path) -> None:
    ShardFolder.open(url, "val", tmp_path)[0]
    folder = ShardFolder.open(url, "val", tmp_path)
    object.__setattr__(folder, "location", "http://127.0.0.1:1")
    assert folder[1].name == folder.names[1]


def test_a_tar_is_of_the_form_that_webdataset_reads(shards: Path, faces_root: Path) -> None:
    with tarfile.open(shards / "val-000000.tar") as tar:
        members = tar.getnames()
        pairs = [members[i : i + 2] for i in range(0, len(members), 2)]
        assert all(a.partition(".")[0] == b.partition(".")[0] for a, b in pairs)
        assert {m.partition(".")[2] for m in members} == {"png", "mask.png"}
        assert {name_of(m) for m in members} == set(FaceFolder.open(faces_root, "val").names)
        first = tar.extractfile(members[0])
        assert first is not None
        assert first.read() == (faces_root / "images" / f"{name_of(members[0])}.png").read_bytes()


def test_the_same_pictures_give_the_same_bytes_in_shards_of_the_size_asked_for(
    tmp_path: Path, faces_root: Path
) -> None:
    big = tmp_path / "big"
    for part in ("images", "masks"):
        (big / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        # Noise does not compress: about 0.4 MB each.
        Image.fromarray(rng.integers(0, 256, (370, 370, 3), np.uint8)).save(big / "images" / f"v1.{i} ä.png")
        Image.new("L", (370, 370)).save(big / "masks" / f"v1.{i} ä.png")
    (big / "dataset.json").write_text(json.dumps({"labels": "figaro"}))
    for out in ("a", "b"):
        Sharding(big, str(tmp_path / out), megabytes=1)()
    a, b = (sorted((tmp_path / out).iterdir()) for out in ("a", "b"))
    assert [p.name for p in a] == ["all-000000.tar", "all-000001.tar", "shards.json"]
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]
    part = Part.open(tmp_path / "a", "train")
    assert part.space == LabelSpace.preset("figaro")
    assert part.pictures.names == FaceFolder.open(big, "train").names
    assert np.unique(MixedData((part,), 64)[2][1]).tolist() == [20]


def test_processes_and_workers_share_an_epoch_of_shards_as_they_share_a_folder(shards: Path, url: str) -> None:
    data = SegmentationData(ShardFolder.open(url, "train"), 64)
    alone = EpochSampler(len(data), 5)
    seen = []
    for rank in range(2):
        sampler = EpochSampler(len(data), 5, share=(rank, 2))
        for workers in (0, 2):
            batches = list(DataLoader(data, 4, sampler=sampler, num_workers=workers))
            images = np.concatenate([batch[0].numpy() for batch in batches])
            expected = np.stack([data[i][0].numpy() for i in sampler])
            assert np.array_equal(images, expected)
        seen += list(sampler)
    assert sorted(seen) == sorted(alone)


def test_what_cannot_be_read_is_said(tmp_path: Path, shards: Path, url: str) -> None:
    with pytest.raises(DataError, match="`fpan-train shard` writes it"):
        ShardFolder.open(str(tmp_path), "train")
    with pytest.raises(DataError, match=r"cannot be read.*`fpan-train shard`"):
        ShardFolder.open(f"{url}/nowhere", "train")
    with pytest.raises(DataError, match="no split 'test'; it has: train, val"):
        ShardFolder.open(str(shards), "test")
    with pytest.raises(DataError, match="nope://x cannot be opened"):
        ShardFolder.open("nope://x", "train")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "shards.json").write_bytes((shards / "shards.json").read_bytes())
    broken = ShardFolder.open(str(copy), "val")
    with pytest.raises(DataError, match=r"val-000000\.tar cannot be read"):
        broken[0]
    (copy / "val-000000.tar").write_bytes((shards / "val-000000.tar").read_bytes()[:700])
    with pytest.raises(DataError, match="bytes instead of"):
        list(DataLoader(broken, None))
    (copy / "shards.json").write_text("{}")
    with pytest.raises(DataError, match="no manifest"):
        ShardFolder.open(str(copy), "val")


def test_a_data_set_with_faults_is_not_sharded(tmp_path: Path, faces_root: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match="a: no mask"):
        Sharding(tmp_path, str(tmp_path / "out"))()
    assert not (tmp_path / "out").exists()
