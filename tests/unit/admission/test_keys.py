"""API keys: their file, who is known by them, and what becomes of a file that changes."""

import asyncio
import hmac
import json
import logging
import stat
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from fpan.serve.admission import keys as rings
from fpan.serve.admission.keys import KeyFile, KeyFileError, KeyRing, edited, hash_of, id_of, load, new_key, open_keys
from fpan.serve.admission.settings import AdmissionSettings
from fpan.serve.api.errors import StartError, Unauthenticated
from fpan.serve.config import Settings
from fpan.serve.main import _announce, main
from fpan.serve.telemetry.metrics import Metrics

from tests.support.keys import NOW, made

DAY = timedelta(days=1)


def ring(*entries, now=NOW):
    return KeyRing(KeyFile(keys=entries), lambda: now)


def test_keys_are_random_and_their_hashes_tell_nothing_of_them():
    keys = {new_key() for _ in range(100)}
    assert len({identity for identity, _ in keys}) == len({key for _, key in keys}) == 100
    for identity, key in keys:
        assert id_of(key) == identity
        secret = key.rpartition("_")[2]
        assert len(bytes.fromhex(secret)) * 8 == 256
        assert secret not in hash_of(key)


def test_whoever_has_the_key_is_known():
    (mine, entry), (_, other) = made(), made()
    assert ring(other, entry).owner(mine) == entry


@pytest.mark.parametrize("spoil", ["secret", "id", "case", "longer", "shorter", "empty", "no key", "huge", "not ascii"])
def test_whatever_is_not_the_whole_key_is_refused_alike(spoil):
    (mine, entry), (_, other) = made(), made()
    head, identity, secret = mine.split("_")
    last = "0" if secret[-1] != "0" else "1"
    presented = {
        "secret": f"{head}_{identity}_{secret[:-1]}{last}",
        "id": f"{head}_{other.id}_{secret}",
        "case": mine.upper(),
        "longer": mine + "0",
        "shorter": mine[:-1],
        "empty": "",
        "no key": "Basic dXNlcjpwYXNz",
        "huge": "x" * 10**6,
        "not ascii": f"{head}_{identity}_{'é' * 64}",
    }[spoil]
    with pytest.raises(Unauthenticated, match="none of this server's") as told:
        ring(entry, other).owner(presented)
    assert entry.id not in str(told.value)


def test_an_unknown_id_is_compared_as_long_as_a_known_one(monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(rings, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    mine, entry = made()
    stranger, _ = made()
    for key in (mine[:-1] + ("0" if mine[-1] != "0" else "1"), stranger):
        with pytest.raises(Unauthenticated):
            ring(entry).owner(key)
    assert compared == [(64, 64)] * 2


def test_a_hash_moved_to_another_entry_opens_nothing():
    mine, entry = made()
    _, other = made()
    stolen = other.model_copy(update={"sha256": entry.sha256})
    with pytest.raises(Unauthenticated):
        ring(stolen).owner(mine.replace(entry.id, other.id))


def test_without_a_key_the_way_to_one_is_told():
    with pytest.raises(Unauthenticated, match=r"Authorization: Bearer.*fpan keys add"):
        ring().owner(None)


def test_revoked_and_expired_keys_are_refused_and_only_their_owner_is_told_why():
    (revoked, a), (expired, b), (fresh, c) = made(revoked=NOW - DAY), made(expires=NOW), made(expires=NOW + DAY)
    keys = ring(a, b, c)
    with pytest.raises(Unauthenticated, match="was revoked on 2029-12-31"):
        keys.owner(revoked)
    with pytest.raises(Unauthenticated, match="expired on 2030-01-01"):
        keys.owner(expired)
    assert keys.owner(fresh) == c
    assert keys.usable == 1
    with pytest.raises(Unauthenticated, match="none of this server's"):
        keys.owner(f"fpan_{a.id}_{'0' * 64}")


def test_the_file_is_written_whole_for_its_owner_alone_and_holds_no_key(tmp_path):
    path = tmp_path / "new" / "keys.json"
    mine, entry = made(requests_per_minute=60, expires=NOW)
    with edited(path) as entries:
        entries.append(entry)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path).keys == (entry,)
    text = path.read_text()
    assert mine not in text
    assert mine.rpartition("_")[2] not in text
    assert json.loads(text)["version"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]


def test_an_edit_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "keys.json"
    with edited(path) as entries:
        entries.append(made()[1])
    before = path.read_bytes()

    def fail():
        with edited(path) as entries:
            entries.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == before


def test_keys_that_are_made_at_once_are_all_there(tmp_path):
    path = tmp_path / "keys.json"

    def add():
        for _ in range(10):
            with edited(path) as entries:
                entries.append(made()[1])

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load(path).keys) == 40


def test_a_link_stays_one_and_its_file_is_written_anew(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "real" / "keys.json")
    with edited(link) as entries:
        entries.append(made()[1])
    assert link.is_symlink()
    assert len(load(link).keys) == 1


GOOD = {"id": "a", "name": "n", "sha256": "0" * 64, "scopes": ["parse"], "created": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"", "the file"),
        (b"[]", "the file"),
        (b"{", "the file"),
        ({"version": 2, "keys": []}, "version"),
        ({"keys": [{**GOOD, "sha256": "secret!"}]}, "keys.0.sha256"),
        ({"keys": [{**GOOD, "scopes": []}]}, "keys.0.scopes"),
        ({"keys": [{**GOOD, "scopes": ["admin"]}]}, "keys.0.scopes"),
        ({"keys": [{**GOOD, "created": "2030-01-01T00:00:00"}]}, "keys.0.created"),
        ({"keys": [{**GOOD, "requests_per_minute": 0}]}, "keys.0.requests_per_minute"),
        ({"keys": [{**GOOD, "secret": "secret!"}]}, "keys.0.secret"),
        ({"keys": [GOOD, GOOD]}, "the id a is there twice"),
    ],
)
def test_a_broken_file_is_told_by_its_place_and_never_by_its_contents(broken, says):
    with pytest.raises(KeyFileError) as told:
        KeyFile.parse(broken if isinstance(broken, bytes) else json.dumps(broken).encode())
    assert says in str(told.value)
    assert "secret!" not in str(told.value)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"bind_address": "::1"}, False),
        ({"bind_address": "localhost"}, False),
        ({"bind_address": "127.0.0.2"}, False),
        ({"bind_address": "0.0.0.0"}, True),
        ({"bind_address": "::"}, True),
        ({"bind_address": "10.0.0.1"}, True),
        ({"bind_address": "gateway.internal"}, True),
        ({"auth": "required"}, True),
        ({"keys_file": "keys.json"}, True),
        ({"bind_address": "0.0.0.0", "auth": "off"}, False),
        ({"keys_file": "keys.json", "auth": "off"}, False),
    ],
)
def test_keys_are_needed_where_others_can_reach_the_server_unless_they_are_switched_off(settings, needed):
    assert Settings(**settings).needs_keys is needed


@pytest.mark.parametrize("content", ["no file", "no key", "revoked", "broken"])
def test_a_server_that_needs_keys_does_not_start_without_and_says_how(tmp_path, content):
    path = tmp_path / "keys.json"
    if content == "broken":
        path.write_text("{")
    elif content != "no file":
        keys = (made(revoked=NOW)[1],) if content == "revoked" else ()
        path.write_bytes(KeyFile(keys=keys).dump())
    with pytest.raises(StartError) as told:
        open_keys(AdmissionSettings(keys_file=path), "0.0.0.0", Metrics().files)
    assert f"KEYS_FILE={path}" in str(told.value)
    if content != "broken":
        assert f"fpan keys add NAME --file {path}" in str(told.value)
        assert "AUTH=off" in str(told.value)


@pytest.mark.parametrize("settings", [{"bind_address": "0.0.0.0"}, {"auth": "required"}])
def test_a_server_that_needs_keys_and_is_told_no_file_says_what_to_do(settings):
    chosen = Settings(**settings)
    with pytest.raises(StartError, match=r"fpan keys add NAME --file keys\.json.*KEYS_FILE=keys\.json.*AUTH=off"):
        open_keys(chosen, chosen.bind_address, Metrics().files)


class Followed:
    def __init__(self, path):
        self.metrics = Metrics()
        settings = Settings(keys_file=path, files_poll_s=0.01)
        self.ring, (self.files,) = open_keys(settings, settings.bind_address, self.metrics.files)

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels)

    async def until(self, happened):
        async with asyncio.timeout(5):
            while not happened():
                await asyncio.sleep(0.005)

    def knows(self, key):
        try:
            self.ring.owner(key)
        except Unauthenticated:
            return False
        return True


@asynccontextmanager
async def following(path):
    followed = Followed(path)
    task = asyncio.create_task(followed.files.run())
    yield followed
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_keys_that_are_added_and_revoked_count_while_the_server_runs(tmp_path, caplog):
    path = tmp_path / "keys.json"
    (first, a), (second, b) = made(), made()
    path.write_bytes(KeyFile(keys=(a,)).dump())
    async with following(path) as followed:
        assert followed.knows(first)
        assert not followed.knows(second)
        with edited(path) as entries:
            entries.append(b)
        await followed.until(lambda: followed.knows(second))
        with edited(path) as entries:
            entries[0] = a.model_copy(update={"revoked": NOW})
        await followed.until(lambda: not followed.knows(first))
        assert followed.knows(second)
        assert followed.value("fpan_api_keys") == 1
    for told in (first, second, a.id, b.id, str(path)):
        assert told not in caplog.text


async def test_a_mounted_secret_is_followed_when_its_link_is_turned(tmp_path):
    """As Kubernetes does it: keys.json -> ..data/keys.json, ..data -> a folder with a date, exchanged by one rename."""
    (first, a), (second, b) = made(), made()
    for name, entry in (("..one", a), ("..two", b)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.json").write_bytes(KeyFile(keys=(entry,)).dump())
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    async with following(tmp_path / "keys.json") as followed:
        assert followed.knows(first)
        (tmp_path / "..data_tmp").symlink_to("..two")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await followed.until(lambda: followed.knows(second))
        assert not followed.knows(first)


def exchange(path, contents: bytes) -> None:
    """At once: a look between a file's cutting and its writing would see, and tell of, an empty one."""
    new = path.with_suffix(".new")
    new.write_bytes(contents)
    new.replace(path)


@pytest.mark.parametrize("fault", ["broken", "gone", "a folder"])
async def test_a_new_file_of_no_use_leaves_the_keys_that_were_and_is_told_once(tmp_path, caplog, fault):
    path = tmp_path / "keys.json"
    (first, a), (second, b) = made(), made()
    path.write_bytes(KeyFile(keys=(a,)).dump())
    caplog.set_level(logging.INFO, "fpan")
    async with following(path) as followed:
        assert followed.value("fpan_file_in_use", file="keys") == 1
        if fault == "broken":
            exchange(path, b'{"keys": [')
        else:
            path.unlink()
            if fault == "a folder":
                path.mkdir()
        await followed.until(lambda: followed.value("fpan_file_in_use", file="keys") == 0)
        await asyncio.sleep(0.1)  # many looks later
        assert followed.knows(first)
        if fault == "a folder":
            path.rmdir()
        exchange(path, KeyFile(keys=(b,)).dump())
        await followed.until(lambda: followed.knows(second))
        assert followed.value("fpan_file_in_use", file="keys") == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert str(path) not in caplog.text


async def test_a_file_that_revokes_the_last_key_is_believed(tmp_path):
    path = tmp_path / "keys.json"
    first, a = made()
    path.write_bytes(KeyFile(keys=(a,)).dump())
    async with following(path) as followed:
        path.write_bytes(KeyFile().dump())
        await followed.until(lambda: not followed.knows(first))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--url-hosts", "a b"], "URL_HOSTS: .*is no host"),
        (["--cors-origins", "example.com"], "CORS_ORIGINS: .*is no origin"),
        (["--url-private-networks", "10.0.0.1/8"], "URL_PRIVATE_NETWORKS"),
        (["--max-pixels", "1000000000"], "MAX_PIXELS_IN_FLIGHT.*would never fit"),
        (["--auth", "none"], "AUTH"),
    ],
)
def test_settings_that_mean_nothing_are_named_at_the_start(words, says):
    with pytest.raises(SystemExit, match=says):
        main(words)


@pytest.mark.parametrize(
    ("settings", "tells", "not_told"),
    [
        ({}, (), ("callers", "metrics")),
        ({"bind_address": "0.0.0.0", "auth": "off"}, ("need no API key (AUTH=off)", "metrics   nowhere"), ()),
        ({"auth": "required", "metrics_port": 9}, ("need an API key", "http://127.0.0.1:9/metrics"), ()),
        ({"metrics_port": 9, "metrics_address": "::1"}, ("http://[::1]:9/metrics",), ("callers",)),
    ],
)
def test_the_first_lines_tell_who_is_let_in_and_where_metrics_are(settings, tells, not_told, capsys):
    _announce(Settings(**settings), SimpleNamespace(tls=None, backend=SimpleNamespace(description="none")), 1)
    out = capsys.readouterr().out
    assert all(words in out for words in tells)
    assert not any(words in out for words in not_told)
