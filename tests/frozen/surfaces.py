"""Every surface that callers, operators and scripts rely on, each as sorted text whose differences can be read."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import typer
from fpan._proto.faceparsing.v1 import face_parsing_pb2
from fpan.cli._app import SOME_FAILED, app
from fpan.serve.api import errors
from fpan.serve.app import Gateway
from fpan.serve.config import Settings
from fpan.serve.jobs.record import JobRecord
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.http.app import create_app
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

FOLDER = Path(__file__).parent
PUBLISHED = FOLDER.parents[1] / "docs" / "reference"
"""Holds the surfaces that readers of the documentation look up."""


def settings(**values: Any) -> Settings:
    """Settings that no environment has changed."""
    return Settings.model_construct(**{name: field.default for name, field in Settings.model_fields.items()} | values)


def openapi() -> str:
    """The OpenAPI document of a gateway on loopback, which has every route."""
    gateway = SimpleNamespace(settings=settings(), metrics=Metrics(), admission=None)
    document = create_app(cast(Gateway, gateway)).openapi()
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def settings_text() -> str:
    """Every setting: environment variable, flag, type, default."""
    schema = Settings.model_json_schema()["properties"]

    def line(name: str) -> str:
        kind = {key: value for key, value in schema[name].items() if key not in ("title", "description")}
        return f"{name.upper()} --{name.replace('_', '-')} {json.dumps(kind, sort_keys=True)}"

    return _lines(line(name) for name in Settings.model_fields)


def cli() -> str:
    """Every command, its arguments and options, and the exit status of a failure."""
    root = typer.main.get_command(app)

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        name = " ".join(words)
        yield name
        for each in command.params:
            kind = re.sub(r"<class '([\w.]+)'>", r"\1", str(each.type_descriptor.annotation))
            spelt = (
                each.name.upper() if each.param_type_name == "argument" else ",".join(each.opts + each.secondary_opts)
            )
            yield f"{name} {spelt} type={kind} default={_plain(each.default)} required={each.required}"
        for sub, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk(child, (*words, sub))

    return _lines((*walk(root, ("fpan",)), f"exit status of a failure: {SOME_FAILED}"))


def metrics() -> str:
    """Every metric: name, type, labels."""
    found = Metrics()
    found.jobs.begin()
    described = [
        each
        for collector in list(found.registry._collector_to_names)
        for each in (collector.describe() if hasattr(collector, "describe") else collector.collect())
    ]
    labels = {
        name: ",".join(getattr(collector, "_labelnames", ()))
        for collector, names in found.registry._collector_to_names.items()
        for name in names
    }
    return _lines(
        f"{each.name} {each.type} {{{','.join(getattr(each, '_labelnames', ())) or labels.get(each.name, '')}}}"
        for each in described
    )


def proto() -> str:
    """Every message, field, enumeration and call of the gRPC contract, with its numbers."""
    file = face_parsing_pb2.DESCRIPTOR

    def fields(message: Descriptor) -> Iterator[str]:
        for each in message.fields:
            yield f"{message.full_name}.{each.name} = {each.number} {_proto_type(each)}"
        for nested in message.nested_types:
            yield from fields(nested)
        for kind in message.enum_types:
            yield from values(kind)

    def values(kind: EnumDescriptor) -> Iterator[str]:
        for value in kind.values:
            yield f"{kind.full_name}.{value.name} = {value.number}"

    lines = [line for message in file.message_types_by_name.values() for line in fields(message)]
    lines += [line for kind in file.enum_types_by_name.values() for line in values(kind)]
    for service in file.services_by_name.values():
        lines += [
            f"{call.full_name} ({call.input_type.full_name}) -> ({call.output_type.full_name})"
            for call in service.methods
        ]
    return _lines(lines)


def problems() -> str:
    """Every error that callers are told: type, HTTP status, gRPC code."""

    return _lines(f"{errors.PROBLEM_BASE}{kind.slug} {kind.status} {kind.grpc_code}" for kind in errors.every_error())


def answers() -> str:
    """Shape of the documented JSON answers: every member with its type."""
    example = json.loads(_example().read_text())
    record = {b"id": b"0", b"state": b"queued", b"owner": b"", b"problem": b"", b"webhook": b""}
    numbers = ("total", "done", "failed", "attempts", "created_ms", "result_ttl_ms", "seq")
    job = JobRecord.read({**record, **{name.encode(): b"1" for name in numbers}})
    assert job is not None
    return _lines([*shape(example, "/v1/parse"), *shape(job.told(), "/v1/jobs/{job}")])


def shape(value: Any, path: str) -> Iterator[str]:
    """Every member below a value, with the type that JSON gives it."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from shape(each, f"{path}.{name}")
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        yield from sorted({line for each in value for line in shape(each, f"{path}[]")})
    else:
        kind = "number" if isinstance(value, float) else type(value).__name__
        yield f"{path}: {kind}"


SURFACES: Mapping[Path, Callable[[], str]] = {
    PUBLISHED / "openapi.json": openapi,
    FOLDER / "settings.txt": settings_text,
    FOLDER / "cli.txt": cli,
    FOLDER / "metrics.txt": metrics,
    FOLDER / "proto.txt": proto,
    FOLDER / "problems.txt": problems,
    FOLDER / "answers.txt": answers,
}
"""What each file says."""


def _example() -> Path:
    import fpan.serve.transports.http.openapi as openapi_folder

    return Path(openapi_folder.__file__).parent / "examples" / "astronaut.json"


def _proto_type(each: FieldDescriptor) -> str:
    kind = each.message_type or each.enum_type
    named = kind.full_name if kind else f"type {each.type}"
    return f"{named}{' repeated' if each.is_repeated else ''}"


def _plain(value: Any) -> str:
    return "none" if value is None or callable(value) else str(value)


def _lines(lines: Any) -> str:
    return "".join(f"{line}\n" for line in sorted(set(lines)))
