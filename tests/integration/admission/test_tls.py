"""TLS of both ports over real connections: whose certificate, renewed while it runs, and callers who must show one."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
import trustme
import uvicorn
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.client import Client, FpanError, GrpcClient, Retry, ServerUnreachable
from fpan.serve.admission.tls import open_tls
from fpan.serve.api.errors import StartError
from fpan.serve.config import Settings
from fpan.serve.main import _configuration, _Server
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.app import create_app
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.known_face import file_of, known_gateway, photo
from tests.support.service import free_ports

NAME = "gateway.example.com"


def write(authority: trustme.CA, folder, name: str = NAME) -> None:
    issued = authority.issue_cert(name, "127.0.0.1", "localhost")
    (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "tls.key").write_bytes(issued.private_key_pem.bytes())


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def authority(folder):
    made = trustme.CA()
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    write(made, folder)
    return made


def chosen(folder, **more):
    return {"tls_certificate": folder / "tls.crt", "tls_key": folder / "tls.key", "files_poll_s": 0.02, **more}


@asynccontextmanager
async def serving(folder, **more):
    """The real servers of both transports over a small pipeline."""
    port, grpc_port = free_ports(2)
    with known_gateway(port=port, grpc_port=grpc_port, **chosen(folder, **more)) as gateway:
        gateway.tls, (files,) = open_tls(gateway.settings, gateway.metrics.files)
        following = asyncio.create_task(files.run())
        server = await start_grpc(gateway)
        config: uvicorn.Config = _configuration(gateway, create_app(gateway))
        config.host, config.port = "127.0.0.1", port
        http = _Server(config)
        running = asyncio.create_task(http.serve())
        await http.listening.wait()
        yield gateway
        http.should_exit = True
        following.cancel()
        await asyncio.gather(running, following, return_exceptions=True)
        await server.drain(0)


def trusting(authority, caller=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if caller is not None:
        caller.configure_cert(context)
    return context


async def live(gateway, context):
    """The certificate that HTTP shows, once it has answered."""
    url = f"https://127.0.0.1:{gateway.settings.port}/v1/health/live"
    async with httpx.AsyncClient(verify=context) as client, client.stream("GET", url) as answer:
        assert (await answer.aread(), answer.status_code) == (b'{"status":"live"}', 200)
        return answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert(True)


async def healthy(gateway, root: bytes, key=None, certificate=None):
    credentials = grpc.ssl_channel_credentials(root, key, certificate)
    async with grpc.aio.secure_channel(f"127.0.0.1:{gateway.settings.grpc_port}", credentials) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        return answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_both_ports_speak_tls_and_nothing_else(folder, authority):
    async with serving(folder) as gateway:
        assert await live(gateway, trusting(authority))
        assert await healthy(gateway, authority.cert_pem.bytes())
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await live(gateway, trusting(trustme.CA()))
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.HTTPError):
                await client.get(f"http://127.0.0.1:{gateway.settings.port}/v1/health/live")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.settings.grpc_port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


async def test_old_versions_of_tls_are_refused(folder, authority):
    async with serving(folder) as gateway:
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            await live(gateway, old)


async def test_the_python_client_trusts_an_authority_of_ones_own(folder, authority):
    async with serving(folder) as gateway:
        url = f"https://localhost:{gateway.settings.port}"

        def parse(**options):
            with Client(url, **options) as client:
                return client.parse(file_of(photo()), faces="full")

        for verify in (folder / "ca.pem", str(folder / "ca.pem"), trusting(authority), False):
            assert (await asyncio.to_thread(parse, verify=verify)).faces
        with pytest.raises(ServerUnreachable, match="certificate"):
            await asyncio.to_thread(parse)
        with pytest.raises(OSError):
            await asyncio.to_thread(parse, verify=folder / "none.pem")


async def test_a_renewed_certificate_is_shown_by_both_ports_without_a_start(folder, authority):
    async with serving(folder) as gateway:
        first = await live(gateway, trusting(authority))
        other = trustme.CA()
        write(other, folder)
        async with asyncio.timeout(10):
            while True:
                try:
                    second = await live(gateway, trusting(other))
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
        assert second != first
        assert await healthy(gateway, other.cert_pem.bytes())
        with pytest.raises(grpc.aio.AioRpcError):
            await healthy(gateway, authority.cert_pem.bytes())


@pytest.mark.parametrize("fault", ["the key of another", "half of a file", "gone"])
async def test_a_certificate_of_no_use_leaves_the_one_that_was(folder, authority, fault, caplog):
    async with serving(folder) as gateway:
        first = await live(gateway, trusting(authority))

        def in_use():
            return gateway.metrics.registry.get_sample_value("fpan_file_in_use", {"file": "certificate"})

        assert in_use() == 1
        if fault == "the key of another":
            (folder / "tls.key").write_bytes(authority.issue_cert("other").private_key_pem.bytes())
        elif fault == "half of a file":
            data = (folder / "tls.crt").read_bytes()
            (folder / "tls.crt").write_bytes(data[: len(data) // 2])
        else:
            (folder / "tls.crt").unlink()
        async with asyncio.timeout(10):
            while in_use():
                await asyncio.sleep(0.01)
        assert await live(gateway, trusting(authority)) == first
        assert await healthy(gateway, authority.cert_pem.bytes())
    assert str(folder) not in caplog.text


async def test_callers_must_show_a_certificate_where_an_authority_for_them_is_named(folder, authority):
    callers = trustme.CA()
    (folder / "callers.pem").write_bytes(callers.cert_pem.bytes())
    known, stranger = callers.issue_cert("app"), authority.issue_cert("app")
    async with serving(folder, tls_client_ca=folder / "callers.pem") as gateway:
        assert await live(gateway, trusting(authority, known))
        root = authority.cert_pem.bytes()

        def pems(issued):
            return issued.private_key_pem.bytes(), b"".join(pem.bytes() for pem in issued.cert_chain_pems)

        assert await healthy(gateway, root, *pems(known))
        for caller in (None, stranger):
            with pytest.raises(httpx.HTTPError):
                await live(gateway, trusting(authority, caller))
            with pytest.raises(grpc.aio.AioRpcError):
                await healthy(gateway, root, *(pems(caller) if caller else ()))


async def test_a_picture_is_parsed_over_grpc_with_tls(folder, authority):
    async with serving(folder) as gateway:
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with grpc.aio.secure_channel(f"localhost:{gateway.settings.grpc_port}", credentials) as channel:
            request = pb.ParseRequest(image=file_of(photo()), options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))
            assert (await face_parsing_pb2_grpc.FaceParsingStub(channel).Parse(request)).faces


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key"])
def test_one_of_certificate_and_key_is_not_enough(folder, authority, missing):
    settings = chosen(folder)
    del settings[missing]
    with pytest.raises(StartError, match="both TLS_CERTIFICATE and TLS_KEY"):
        open_tls(Settings(**settings), Metrics().files)
    with pytest.raises(StartError, match="both TLS_CERTIFICATE and TLS_KEY"):
        open_tls(Settings(tls_client_ca=folder / "ca.pem"), Metrics().files)


async def test_our_own_clients_show_the_certificate_that_the_environment_names(folder, authority, monkeypatch):
    callers = trustme.CA()
    callers.cert_pem.write_to_path(str(folder / "callers.pem"))
    known = callers.issue_cert("app")
    known.private_key_pem.write_to_path(str(folder / "me.key"))
    (folder / "me.crt").write_bytes(b"".join(pem.bytes() for pem in known.cert_chain_pems))
    files = {"root_certificates": "ca.pem", "certificate": "me.crt", "private_key": "me.key"}
    arguments = {argument: folder / name for argument, name in files.items()}
    async with serving(folder, tls_client_ca=folder / "callers.pem") as gateway:

        def parse(kind, url, **options):
            with kind(url, retry=Retry(attempts=1), **options) as client:
                return client.parse(file_of(photo()), faces="full").faces

        http = Client, f"https://localhost:{gateway.settings.port}"
        rpc = GrpcClient, f"grpcs://localhost:{gateway.settings.grpc_port}"
        assert await asyncio.to_thread(parse, *rpc, **arguments)
        monkeypatch.setenv("FPAN_CA", str(folder / "ca.pem"))
        for way in (http, rpc):
            with pytest.raises(ServerUnreachable):
                await asyncio.to_thread(parse, *way)
        monkeypatch.setenv("FPAN_CLIENT_CERTIFICATE", str(folder / "me.crt"))
        monkeypatch.setenv("FPAN_CLIENT_KEY", str(folder / "me.key"))
        for way in (http, rpc):
            assert await asyncio.to_thread(parse, *way)
        monkeypatch.setenv("FPAN_CLIENT_KEY", str(folder / "gone.key"))
        for way in (http, rpc):
            with pytest.raises(FpanError, match="FPAN_CLIENT_KEY"):
                await asyncio.to_thread(parse, *way)


@pytest.mark.parametrize("fault", ["gone", "no certificate", "the key of another", "encrypted"])
def test_files_of_no_use_are_told_at_the_start(folder, authority, fault):
    if fault == "gone":
        (folder / "tls.key").unlink()
    elif fault == "no certificate":
        (folder / "tls.crt").write_text("nothing")
    elif fault == "the key of another":
        (folder / "tls.key").write_bytes(authority.issue_cert("other").private_key_pem.bytes())
    else:
        from cryptography.hazmat.primitives import serialization as s

        key = s.load_pem_private_key((folder / "tls.key").read_bytes(), None)
        sealed = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret"))
        (folder / "tls.key").write_bytes(sealed)
    with pytest.raises(StartError, match=r"TLS_CERTIFICATE=.*TLS_KEY=.*cannot be used") as told:
        open_tls(Settings(**chosen(folder)), Metrics().files)
    if fault == "encrypted":
        assert "without a password" in str(told.value)
