"""How tests read an OpenAPI document."""

from collections.abc import Iterator
from typing import Any


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to; what is none stays."""
    while "$ref" in value:
        found: Any = document
        for word in value["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        value = found
    return value


def references(value: Any) -> Iterator[str]:
    """Every reference in a part of a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
