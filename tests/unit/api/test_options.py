"""Options as they come from outside: read, or refused in a sentence that is short however long they are."""

import json
from typing import Any

import pytest
from fpan.serve.api.errors import BadRequest, Impossible
from fpan.serve.api.options import ParseOptions

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


NAMES = ["faces", "max_faces", "classes", "output", "orientation", "model", "deadline_ms"]
NAMES += ["tolerance", "redact", "abstain", "frame", "taxonomy"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [nested(5000), [nested(5000)], {"a": nested(5000)}], ids=["list", "box", "object"])
def test_values_nested_deeply_are_a_bad_request(name, value):
    with pytest.raises(BadRequest) as refused:
        ParseOptions.read({name: value})
    assert len(str(refused.value)) < LONGEST


@pytest.mark.parametrize("name", [*sorted({*NAMES} - {"faces", "classes", "model", "taxonomy"}), "x" * 100_000])
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


def test_an_empty_model_or_taxonomy_is_the_servers_own():
    read = ParseOptions.read({"model": "", "taxonomy": ""})
    assert (read.model, read.taxonomy) == ("", "")


@pytest.mark.parametrize("value", ["0.25", 0.25])
def test_numbers_are_read_from_words_and_values(value):
    read = ParseOptions.read({"abstain": value, "tolerance": value})
    assert (read.abstain, read.tolerance) == (0.25, 0.25)


@pytest.mark.parametrize("value", ["", "nan", "inf", "-0.1", "x", True, None, [1], 10**400, -1])
@pytest.mark.parametrize("name", ["abstain", "tolerance"])
def test_what_is_no_number_in_range_is_a_bad_request(name, value):
    with pytest.raises(BadRequest) as refused:
        ParseOptions.read({name: value})
    assert len(str(refused.value)) < LONGEST


def test_soft_masks_are_wanted_where_they_are_asked_for():
    def wants(**members):
        return ParseOptions.read(members).wants_alpha

    assert wants(output="alpha")
    assert wants(output="npz", classes="hair")
    assert not wants(output="npz")
    assert not wants(output="rle", classes="hair")
