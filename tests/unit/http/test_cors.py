"""Pages of other origins: let in where the operator lists them, refusals and all."""

import httpx
import pytest
from fpan.serve.config import Settings
from fpan.serve.transports.http.app import CORS_ALLOWED, CORS_EXPOSED, create_app
from pydantic import ValidationError

from tests.support.contract import resolved
from tests.support.known_face import file_of, known_gateway, photo

LISTED, OTHER = "https://app.example", "https://other.example"


@pytest.fixture
async def ask():
    """Makes a request to a gateway that lists some origins."""
    with known_gateway() as gateway:

        async def run(listed: tuple[str, ...], method: str, path: str, **options) -> httpx.Response:
            gateway.settings.cors_origins = listed
            transport = httpx.ASGITransport(create_app(gateway))
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path, **options)

        yield run


@pytest.mark.parametrize(
    ("listed", "origin", "allowed"),
    [((), LISTED, None), ((LISTED,), LISTED, LISTED), ((LISTED,), OTHER, None), (("*",), OTHER, "*")],
)
async def test_pages_are_let_in_that_are_listed(ask, listed, origin, allowed):
    answer = await ask(listed, "POST", "/v1/parse", content=file_of(photo()), headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in answer.headers
    if allowed:
        assert "Face-Count" in answer.headers["access-control-expose-headers"]


async def test_what_a_page_is_about_to_ask_is_allowed_beforehand(ask):
    asked = {
        "Origin": LISTED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization,x-client-id",
    }
    answer = await ask((LISTED,), "OPTIONS", "/v1/parse", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, LISTED)
    assert {"content-type", "authorization", "x-client-id"} <= {
        name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")
    }
    refused = await ask((LISTED,), "OPTIONS", "/v1/parse", headers={**asked, "Origin": OTHER})
    assert "access-control-allow-origin" not in refused.headers


async def test_refusals_can_be_read_too(ask):
    answer = await ask((LISTED,), "POST", "/v1/parse", content=b"no picture", headers={"Origin": LISTED})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (415, LISTED)


@pytest.mark.parametrize("told", ["app.example.com", "https://a/b", "ftp://a"])
def test_what_is_no_origin_is_refused(told):
    with pytest.raises(ValidationError):
        Settings(cors_origins=told)


def test_no_header_of_the_contract_is_forgotten():
    with known_gateway(v2_models="segm") as gateway:
        document = create_app(gateway).openapi()
    routes = [route for methods in document["paths"].values() for route in methods.values()]
    parameters = [resolved(document, each) for route in routes for each in route.get("parameters", ())]
    sent = {each["name"].lower() for each in parameters if each["in"] == "header"}
    answers = [resolved(document, answer) for route in routes for answer in route["responses"].values()]
    told = {name.lower() for answer in answers for name in answer.get("headers", ())}
    assert {"priority", "last-event-id", "inference-header-content-length", "idempotency-key"} <= sent
    assert sent <= {name.lower() for name in CORS_ALLOWED}
    assert {"idempotent-replayed", "location", "etag"} <= told
    assert told | {"inference-header-content-length"} <= {name.lower() for name in CORS_EXPOSED}


@pytest.mark.parametrize("header", ["priority", "last-event-id", "inference-header-content-length"])
async def test_a_page_may_send_what_the_contract_has(ask, header):
    asked = {"Origin": LISTED, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": header}
    assert (await ask((LISTED,), "OPTIONS", "/v1/parse", headers=asked)).status_code == 200
