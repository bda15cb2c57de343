"""The page of the HTTP interface: all of the document, and nothing in it that a browser would run."""

import json
from html.parser import HTMLParser

import httpx
import pytest
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.openapi.html import render
from fpan.serve.transports.http.page import PAGE_HEADERS

from tests.support.known_face import known_gateway


class Read(HTMLParser):
    """Ids, links, elements and words of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        named = dict(attrs)
        self.attributes |= {*named}
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src") if name in named]

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def document() -> dict:
    with known_gateway(v2_models="segm") as gateway:
        return create_app(gateway).openapi()


def test_every_operation_parameter_schema_and_member_is_shown(document):
    page = Read(render(document))
    operations = [
        each
        for paths in (document["paths"], document["webhooks"])
        for methods in paths.values()
        for each in methods.values()
    ]
    schemas = document["components"]["schemas"]
    assert {each["operationId"] for each in operations} | {f"schema-{name}" for name in schemas} == {*page.ids}
    assert len({*page.ids}) == len(page.ids)
    for each in document["components"]["parameters"].values():
        assert each["name"] in page.words
        assert each["description"].replace("`", "") in page.words
    for schema in schemas.values():
        for name in schema.get("properties", {}):
            assert name in page.words


def test_every_link_leads_somewhere_on_this_server(document):
    page = Read(render(document))
    assert {link[1:] for link in page.links if link.startswith("#")} <= {*page.ids}
    assert {link for link in page.links if not link.startswith("#")} == {
        "./",
        "openapi.json",
        "web/css/base.css",
        "web/css/docs.css",
        "web/icon.svg",
    }


def test_words_of_the_document_are_never_markup(document):
    evil = "<script>alert(1)</script> & `<img src=x onerror=alert(2)>`"
    document = json.loads(json.dumps(document))
    document["info"]["description"] = evil
    document["paths"]["/v1/parse"]["post"]["summary"] = evil
    page = Read(render(document))
    assert page.tags.isdisjoint({"script", "style", "iframe", "object"})
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert page.words.count("alert(1)") == 3


async def test_it_is_sent_as_the_other_pages_are():
    with known_gateway() as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            page = await client.get("/docs")
            assert page.status_code == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert PAGE_HEADERS.items() <= {name.title(): value for name, value in page.headers.items()}.items()
            assert page.content == render((await client.get("/openapi.json")).json())
            again = await client.get("/docs", headers={"If-None-Match": page.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert (await client.head("/docs")).content == b""
