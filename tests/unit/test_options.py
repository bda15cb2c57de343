"""Options as they come from outside: read, or refused in a sentence that is short however long they are."""

import json
from typing import Any

import pytest
from fpan.serve.errors import BadRequest, Impossible
from fpan.serve.pipeline.options import ParseOptions

LONGEST = 200
"""Characters of a message, which are a few lines of a terminal."""


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_words_and_values_are_read_alike():
    words = ParseOptions.read({"faces": "[[1, 2, 30, 40.5]]", "max_faces": "7", "classes": "hair, skin"})
    values = ParseOptions.read({"faces": [[1, 2, 30, 40.5]], "max_faces": 7, "classes": ["hair", "skin"]})
    assert words == values
    assert words.faces == ((1.0, 2.0, 30.0, 40.5),)


@pytest.mark.parametrize("depth", [5, 800, 5000, 200_000])
def test_boxes_nested_deeply_are_a_bad_request(depth):
    with pytest.raises(BadRequest) as refused:
        ParseOptions.read({"faces": "[" * depth + "]" * depth})
    assert len(str(refused.value)) < LONGEST


@pytest.mark.parametrize("name", ["faces", "max_faces", "classes", "output", "orientation", "model", "deadline_ms"])
@pytest.mark.parametrize("value", [nested(5000), [nested(5000)], {"a": nested(5000)}], ids=["list", "box", "object"])
def test_values_nested_deeply_are_a_bad_request(name, value):
    with pytest.raises(BadRequest) as refused:
        ParseOptions.read({name: value})
    assert len(str(refused.value)) < LONGEST


@pytest.mark.parametrize("name", ["max_faces", "output", "orientation", "deadline_ms", "x" * 100_000])
def test_a_long_value_makes_no_long_message(name):
    with pytest.raises(BadRequest) as refused:
        ParseOptions.read({name: "z" * 100_000})
    assert len(str(refused.value)) < LONGEST


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, True], [1, 2, 3, "4"], [1, 2, 3, 10**400], [0] * 10_000, "box"])
def test_what_is_no_box_is_a_bad_request(box):
    with pytest.raises(BadRequest, match="four numbers") as refused:
        ParseOptions.read({"faces": json.dumps([box])})
    assert len(str(refused.value)) < LONGEST


def test_a_box_without_an_inside_is_shown():
    with pytest.raises(Impossible, match=r"\[30, 2.5, 1, 40\]"):
        ParseOptions.read({"faces": [[30, 2.5, 1, 40]]})


@pytest.mark.parametrize("name", ["faces", "max_faces", "classes", "groups", "output", "orientation", "deadline_ms"])
def test_an_empty_option_is_told_to_be_empty(name):
    with pytest.raises(BadRequest, match=f"'{name}' is empty"):
        ParseOptions.read({name: ""})


def test_an_empty_model_is_the_servers_own():
    assert ParseOptions.read({"model": ""}).model == ""
