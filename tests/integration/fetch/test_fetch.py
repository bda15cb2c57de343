"""Pictures from URLs, over real connections to servers that lie, redirect, drip and never end."""

import asyncio
import ssl
import time
from contextlib import asynccontextmanager

import httpcore
import httpx
import pytest
import trustme
from fpan.serve.api.errors import BadRequest, Forbidden, Impossible, TooLarge
from fpan.serve.fetch.fetcher import Fetcher, GuardedTransport, guarded_client
from fpan.serve.fetch.guard import Guard
from fpan.serve.fetch.host_pattern import Hosts
from pydantic import TypeAdapter
from pydantic.networks import IPvAnyNetwork

NAME = "images.example.com"
GOOD, EVIL = "127.0.0.1", "127.0.0.9"
MAX_BYTES = 100_000
TIMEOUT_S = 2.0
NETWORK = TypeAdapter(IPvAnyNetwork).validate_python


class Server:
    """Answers every request with what ``answer`` writes, and keeps what it was asked."""

    def __init__(self, answer=None):
        self.answer = answer or ok(b"picture")
        self.connections = 0
        self.requests = []
        self.names = []

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                await self.answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the caller, or the test, has ended
        finally:
            writer.close()


def ok(body, *headers, length=True):
    async def answer(writer):
        lines = ["HTTP/1.1 200 OK", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def redirect(where, status=302):
    async def answer(writer):
        writer.write(f"HTTP/1.1 {status} Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


@asynccontextmanager
async def listening(server, host=GOOD, port=0, context=None):
    running = await asyncio.start_server(server, host, port, ssl=context)
    async with running:
        yield running.sockets[0].getsockname()[1]
        running.close()


class Names:
    """A resolver whose answers are what ``answers`` holds, one after the other, and then the last of them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def fetching(*patterns, names=None, private=(f"{GOOD}/32",), verify=False, redirects=3):
    guard = Guard([Hosts.parse(p) for p in patterns], [NETWORK(n) for n in private], names or Names([GOOD]))
    async with guarded_client(guard, verify) as client:
        yield Fetcher(guard, client, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S, max_redirects=redirects)


async def test_a_picture_is_fetched_from_the_name_that_was_asked():
    server = Server()
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        assert await fetcher.fetch(f"http://{NAME}:{port}/a.jpg?x=1") == b"picture"
    [request] = server.requests
    assert request.startswith("GET /a.jpg?x=1 HTTP/1.1\r\n")
    assert f"Host: {NAME}:{port}" in request
    assert "Accept-Encoding: identity" in request


async def test_a_name_that_changes_its_mind_leads_to_the_address_that_was_looked_at():
    good, evil, names = Server(), Server(ok(b"secret")), Names([GOOD], [EVIL])
    async with (
        listening(good) as port,
        listening(evil, EVIL, port),
        fetching(f"http://{NAME}:{port}", names=names) as f,
    ):
        assert await f.fetch(f"http://{NAME}:{port}/") == b"picture"
        assert names.asked == [NAME]  # once: what was judged is what was connected to
        await f._client.aclose()
    async with fetching(f"http://{NAME}:{port}", names=names) as f:
        with pytest.raises(Forbidden):
            await f.fetch(f"http://{NAME}:{port}/")
    assert (good.connections, evil.connections) == (1, 0)


async def test_a_name_with_a_bad_address_among_good_ones_is_not_connected_to_at_all():
    good, evil = Server(), Server(ok(b"secret"))
    async with listening(good) as port, listening(evil, EVIL, port):
        for answers in ([GOOD, EVIL], [EVIL, GOOD], ["169.254.169.254", GOOD]):
            async with fetching(f"http://{NAME}:{port}", names=Names(answers)) as fetcher:
                with pytest.raises(Forbidden):
                    await fetcher.fetch(f"http://{NAME}:{port}/")
    assert (good.connections, evil.connections) == (0, 0)


async def test_the_next_address_is_tried_where_one_does_not_answer():
    server = Server()
    async with (
        listening(server) as port,
        fetching(f"http://{NAME}:{port}", names=Names(["127.0.0.3", GOOD]), private=["127.0.0.0/8"]) as fetcher,
    ):
        assert await fetcher.fetch(f"http://{NAME}:{port}/") == b"picture"


async def test_without_networks_of_ones_own_this_machine_is_not_reached():
    server = Server()
    async with listening(server) as port, fetching(f"http://{NAME}:{port}", f"http://{GOOD}:{port}", private=()) as f:
        for host in (NAME, GOOD):
            with pytest.raises(Forbidden):
                await f.fetch(f"http://{host}:{port}/")
    assert server.connections == 0


async def test_certificate_and_name_of_tls_are_those_of_the_url_and_not_of_the_address():
    authority = trustme.CA()
    server, seen = Server(), []
    context, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(NAME).configure_cert(context)
    authority.configure_trust(client)
    context.sni_callback = lambda sock, name, _: seen.append(name)
    async with (
        listening(server, context=context) as port,
        fetching(f"*.example.com:{port}", verify=client) as fetcher,
    ):
        assert await fetcher.fetch(f"https://{NAME}:{port}/") == b"picture"
        with pytest.raises(Impossible, match="certificate is not believed"):
            await fetcher.fetch(f"https://other.example.com:{port}/")
    assert seen == [NAME, "other.example.com"]


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:{evil}/",
        "http://127.0.0.9:{evil}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{evil}/",
        "http://[::ffff:127.0.0.1]:{evil}/",
        "http://2130706433:{evil}/",
        "http://0x7f.1:{evil}/",
        "//127.0.0.9:{evil}/",
        "https://elsewhere.example.com/",
        "file:///etc/passwd",
        "http://" + NAME + ":{evil}/",
        "http://user:password@" + NAME + ":{port}/",
        "gopher://" + NAME + "/",
    ],
)
async def test_redirects_to_elsewhere_are_not_followed(where):
    server, evil = Server(), Server(ok(b"secret"))
    async with (
        listening(server) as port,
        listening(evil, EVIL) as evil_port,
        fetching(f"http://{NAME}:{port}", private=["127.0.0.0/8"]) as fetcher,
    ):
        server.answer = redirect(where.format(evil=evil_port, port=port))
        with pytest.raises(Forbidden, match="redirects to where it may not"):
            await fetcher.fetch(f"http://{NAME}:{port}/")
    assert evil.connections == 0


async def test_redirects_to_a_name_that_means_a_bad_address_are_refused_when_they_connect():
    server, evil, names = Server(), Server(ok(b"secret")), Names([GOOD], [EVIL])
    async with listening(server) as port, listening(evil, EVIL) as evil_port:
        server.answer = redirect(f"http://inside.example.com:{evil_port}/")
        async with fetching(f"http://{NAME}:{port}", f"http://*.example.com:{evil_port}", names=names) as fetcher:
            with pytest.raises(Forbidden, match=r"inside\.example\.com"):
                await fetcher.fetch(f"http://{NAME}:{port}/")
    assert evil.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_within_what_is_allowed_are_followed_so_many_times(status):
    server = Server()
    left = []

    async def answer(writer):
        await (redirect(left.pop(), status)(writer) if left else ok(b"at last")(writer))

    server.answer = answer
    async with listening(server) as port, fetching(f"http://{NAME}:{port}", redirects=2) as fetcher:
        left[:] = ["/c", "b"]
        assert await fetcher.fetch(f"http://{NAME}:{port}/a") == b"at last"
        assert [r.split()[1] for r in server.requests] == ["/a", "/b", "/c"]
        left[:] = ["/"] * 3
        with pytest.raises(Impossible, match="more than 2 times"):
            await fetcher.fetch(f"http://{NAME}:{port}/a")


async def test_cookies_are_not_kept_from_one_caller_to_the_next():
    server = Server(ok(b"picture", "Set-Cookie: who=you; Path=/"))
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        for _ in range(2):
            await fetcher.fetch(f"http://{NAME}:{port}/")
    assert len(server.requests) == 2
    assert "ookie" not in "".join(server.requests)


async def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    server, proxy = Server(), Server(ok(b"from the proxy"))
    async with listening(server) as port, listening(proxy) as proxy_port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{GOOD}:{proxy_port}")
        async with fetching(f"http://{NAME}:{port}") as fetcher:
            assert await fetcher.fetch(f"http://{NAME}:{port}/") == b"picture"
    assert proxy.connections == 0


async def test_huge_files_are_refused_by_what_they_say_before_they_are_read():
    server = Server(ok(b"", f"Content-Length: {MAX_BYTES + 1}", length=False))
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        with pytest.raises(TooLarge, match=f"{MAX_BYTES} bytes"):
            await fetcher.fetch(f"http://{NAME}:{port}/")
        server.answer = ok(b"x" * MAX_BYTES)
        assert len(await fetcher.fetch(f"http://{NAME}:{port}/")) == MAX_BYTES


async def test_endless_files_are_refused_once_they_are_too_large():
    sent = []

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()
            sent.append(0x1000)

    server = Server(endless)
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        with pytest.raises(TooLarge):
            await fetcher.fetch(f"http://{NAME}:{port}/")
    assert sum(sent) < 100 * MAX_BYTES  # what the system's own buffers take, but no more


async def test_what_is_packed_is_not_unpacked():
    server = Server(ok(b"\x1f\x8b bomb", "Content-Encoding: gzip"))
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        with pytest.raises(Impossible, match="Content-Encoding"):
            await fetcher.fetch(f"http://{NAME}:{port}/")


@pytest.mark.parametrize("part", ["head", "body", "nothing"])
async def test_drips_end_with_the_time_for_all_of_it(part):
    async def drip(writer):
        if part == "body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while part != "nothing":
            writer.write(b"x" if part == "body" else b"H")
            await asyncio.sleep(0.05)
        await asyncio.sleep(30)

    server = Server(drip)
    async with listening(server) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        fetcher._timeout_s = 0.4
        began = time.monotonic()
        with pytest.raises(Impossible, match=r"within 0\.4 s|could not be fetched"):
            await fetcher.fetch(f"http://{NAME}:{port}/")
        assert time.monotonic() - began < 25  # it would go on for 30


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answers 204"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "to nowhere"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n", "connection broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "connection broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "connection broke"),
        (b"no HTTP at all\r\n\r\n", "connection broke"),
    ],
)
async def test_what_is_no_picture_is_told(answer, says):
    async def broken(writer):
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with listening(Server(broken)) as port, fetching(f"http://{NAME}:{port}") as fetcher:
        with pytest.raises((Impossible, Forbidden), match=says):
            await fetcher.fetch(f"http://{NAME}:{port}/")


async def test_nobody_there_is_told_without_the_address(unused_tcp_port):
    async with fetching(f"http://{NAME}:{unused_tcp_port}") as fetcher:
        with pytest.raises(Impossible, match="no connection could be made") as told:
            await fetcher.fetch(f"http://{NAME}:{unused_tcp_port}/")
    assert GOOD not in str(told.value)


async def test_the_client_for_others_checks_every_request_by_itself():
    """What webhooks use: whatever is asked of it, and wherever it is told to go on."""
    server = Server(redirect("http://169.254.169.254/"))
    guard = Guard([], [NETWORK(f"{GOOD}/32")])
    async with guarded_client(guard) as client:
        for method in ("GET", "POST", "PUT"):
            with pytest.raises(Forbidden):
                await client.request(method, "https://images.example.com/", content=b"x")
    async with listening(server) as port:
        guard = Guard([Hosts.parse(f"http://{GOOD}:{port}")], [NETWORK(f"{GOOD}/32")])
        async with guarded_client(guard) as client:
            assert (await client.post(f"http://{GOOD}:{port}/", content=b"x")).status_code == 302
            with pytest.raises(Forbidden):
                await client.get(f"http://{GOOD}:{port}/", follow_redirects=True)
            with pytest.raises(BadRequest):
                await client.get("http+unix://%2Frun%2Fdocker.sock/")
    assert len(server.requests) == 2


async def test_an_httpx_that_keeps_its_connections_elsewhere_is_refused_and_not_left_unguarded(monkeypatch):
    class Moved(httpcore.AsyncConnectionPool):
        pass

    monkeypatch.setattr(httpcore, "AsyncConnectionPool", Moved)
    made = httpx.AsyncHTTPTransport.__init__

    def elsewhere(self, **options):
        made(self, **options)
        self._pool = object()

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "__init__", elsewhere)
    with pytest.raises(RuntimeError, match="cannot be guarded"):
        GuardedTransport(Guard([]))
