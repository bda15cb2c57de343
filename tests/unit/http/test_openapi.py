"""The OpenAPI document: one description of each thing, by names that generators of clients can use."""

import dataclasses
import re
from typing import get_args

import pytest
from fpan.contract.aliases import ALIASES
from fpan.contract.card import Precision
from fpan.serve.api import options
from fpan.serve.jobs.record import ENDED, State
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.openapi import schema
from fpan.serve.transports.http.openapi.options import OPTIONS
from fpan.serve.transports.http.parse import PARSE_PATHS

from tests.support.contract import references, resolved
from tests.support.known_face import known_gateway


@pytest.fixture(scope="module")
def document() -> dict:
    with known_gateway(v2_models="segm") as gateway:
        return create_app(gateway).openapi()


@pytest.fixture(scope="module")
def operations(document) -> dict[str, dict]:
    paths = {**document["paths"], **document["webhooks"]}
    return {f"{method} {path}": each for path, methods in paths.items() for method, each in methods.items()}


def test_every_operation_has_a_short_name_of_its_own_a_known_tag_and_a_summary(document, operations):
    names = [operation["operationId"] for operation in operations.values()]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]{3,25}", name) for name in names)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations.values() for tag in operation["tags"]} == tags
    assert all(len(operation["tags"]) == 1 and operation["summary"] for operation in operations.values())


def test_every_reference_leads_somewhere_and_every_component_is_used(document):
    led = {*references(document)}
    for each in led:
        assert resolved(document, {"$ref": each})
    there = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        if kind != "securitySchemes"
        for name in named
    }
    assert there == led


def test_every_json_body_and_answer_has_a_named_schema(document, operations):
    for name, operation in operations.items():
        body = resolved(document, operation.get("requestBody", {}))
        for part in (body, *(resolved(document, each) for each in operation["responses"].values())):
            for media, content in part.get("content", {}).items():
                if "json" in media or media.startswith("multipart/"):
                    assert [*content["schema"]] == ["$ref"], (name, media)


def test_no_two_answers_say_the_same_where_a_component_could(operations):
    seen: dict[str, str] = {}
    for name, operation in operations.items():
        for status, answer in operation["responses"].items():
            if "$ref" not in answer and "application/problem+json" in answer.get("content", {}):
                assert seen.setdefault(repr(answer), f"{name} {status}") == f"{name} {status}"


def test_options_are_those_that_are_read(document):
    read = [field.name for field in dataclasses.fields(options.ParseOptions)]
    assert [option.name for option in OPTIONS] == read
    assert [*document["components"]["schemas"]["ParseOptions"]["properties"]] == read


def test_what_is_left_out_is_not_sent_by_generated_clients(document, operations):
    parameters = [resolved(document, each) for each in operations["post /v1/parse"]["parameters"]]
    asked = [resolved(document, each["schema"]) for each in parameters if each["in"] == "query"]
    members = document["components"]["schemas"]["ParseOptions"]["properties"].values()
    assert len(asked) == len(OPTIONS)
    assert not [each for each in (*asked, *members) if "default" in each]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Output", options.OUTPUTS),
        ("RedactStyle", options.REDACT_STYLES),
        ("Alias", ALIASES),
        ("Precision", get_args(Precision)),
        ("JobState", get_args(State)),
    ],
)
def test_enumerations_have_the_values_that_there_are(document, name, values):
    assert document["components"]["schemas"][name]["enum"] == [*values]


def test_the_webhook_tells_of_every_end_of_a_job(document):
    assert {f"job.{state}" for state in ENDED} == {*schema.JobEnd}
    (operation,) = document["webhooks"]["jobEnded"].values()
    assert {each["name"] for each in operation["parameters"]} == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert operation["security"] == []


def test_the_server_is_wherever_the_document_is_and_the_alias_is_not_in_it(document):
    assert [server["url"] for server in document["servers"]] == ["/"]
    path, alias = PARSE_PATHS
    assert path in document["paths"]
    assert alias not in document["paths"]
