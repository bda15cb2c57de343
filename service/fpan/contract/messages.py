"""Descriptions of the contract as protobuf messages and back: fields of the same names, whatever members there are."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints


def write_fields(message: Any, described: Any) -> None:
    """Writes a dataclass into the message whose fields have the names of its own.

    None stays unset; a tuple of numbers, or a row of an array, becomes the fields of a message in their order.

    Args:
        message: a protobuf message.
        described: a dataclass of plain values, tuples, arrays and such dataclasses.
    """
    for each in fields(described):
        value, field = getattr(described, each.name), message.DESCRIPTOR.fields_by_name[each.name]
        if value is None:
            continue
        if field.message_type is None:
            if field.is_repeated:
                getattr(message, each.name).extend(value)
            else:
                setattr(message, each.name, value)
        elif field.is_repeated:
            for item in value:
                _write_message(getattr(message, each.name).add(), item)
        else:
            _write_message(getattr(message, each.name), value)


def read_fields(message: Any, kind: type[Any]) -> dict[str, Any]:
    """The members that :func:`write_fields` wrote, as values that pydantic makes a ``kind`` of.

    An unset field is None, as is an empty list where ``kind`` allows it.
    """
    return dict(_members(message, kind))


def _members(message: Any, kind: type[Any]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(kind)
    for each in fields(kind):
        field, value = message.DESCRIPTOR.fields_by_name[each.name], getattr(message, each.name)
        if field.is_repeated:
            items = [_plain(item) if field.message_type else item for item in value]
            yield each.name, items or (None if type(None) in get_args(hints[each.name]) else [])
        elif field.has_presence and not message.HasField(each.name):
            yield each.name, None
        else:
            yield each.name, _plain(value) if field.message_type else value


def _write_message(message: Any, value: Any) -> None:
    if is_dataclass(value):
        write_fields(message, value)
    else:
        for field, number in zip(message.DESCRIPTOR.fields, value, strict=True):
            setattr(message, field.name, number)
    message.SetInParent()


def _plain(message: Any) -> Any:
    """Members by name; of a message of numbers alone, such as a box, also in their order."""
    members = {
        field.name: _plain(getattr(message, field.name)) if field.message_type else getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
    }
    return list(members.values()) if set(members) in _IN_ORDER else members


_IN_ORDER = ({"x", "y"}, {"x0", "y0", "x1", "y1"})
"""Names of the fields of messages that are tuples elsewhere."""
