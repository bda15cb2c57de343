"""`python -m tools.settings_page` makes docs/reference/settings.md from the classes; a test compares the two."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from fpan.serve.api.options import ParseOptions
from fpan.serve.config import Settings
from fpan.serve.setting_types import ComponentSettings, Mark, marked
from pydantic import SecretStr

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
_HEAD = """# Settings

<!-- Made by `python -m tools.settings_page` from service/fpan/serve/*/settings.py: change the texts there. -->

This page lists every setting of the server, by component. A setting is an environment variable and, with the same
meaning, a flag of `fpan serve` and `fpan worker`; a flag goes before its variable. An empty variable counts as none.
`fpan` stands for `.venv/bin/fpan` ([how it is called](../how-to/install.md#after-make-serve)).

    MAX_PIXELS=20000000 fpan serve --log-level warning

Lists are written with commas. *Changes answers* marks the settings on which answers depend: cached answers are kept
apart by them, and gateways that share a cache share answers only where these settings are the same.
"""
_ONE_COMMAND = """
## Servers of one command

`fpan parse`, `fpan labels` and `fpan batch` start a server of their own where no `--url` names one. Of all settings
such a server takes these alone from the environment:

"""
_UNITS = (("_ms", "ms"), ("_s", "s"), ("_bytes", "bytes"), ("_px", "pixels"), ("_pixels", "pixels"))
_IN_FLIGHT = "_in_flight"
_VARIABLES = Settings.model_fields.keys() - {field.name for field in fields(ParseOptions)}
"""Names that stand for settings in the texts; the others stand for options of a request."""
_COLUMNS = (
    "| variable and flag | type | unit | default | what it does | changes answers |",
    "|---|---|---|---|---|---|",
)


def page() -> str:
    """The whole page."""
    one_command = ", ".join(f"`{name.upper()}`" for name in sorted(marked(Settings, Mark.FOR_ONE_COMMAND)))
    wrapped = textwrap.fill(f"{one_command}.", 120, break_on_hyphens=False)
    return _HEAD + "".join(map(_section, components())) + f"{_ONE_COMMAND}{wrapped}\n"


def components() -> tuple[type[ComponentSettings], ...]:
    """The classes that the settings are composed of, in the order of the help."""
    return tuple(kind for kind in reversed(Settings.__bases__) if issubclass(kind, ComponentSettings))


def _section(kind: type[ComponentSettings]) -> str:
    title = kind.__module__.split(".")[-2].capitalize()
    schema = Settings.model_json_schema()["properties"]
    changes = marked(Settings, Mark.CHANGES_ANSWERS)

    def row(name: str) -> str:
        flag = f"`--{name.replace('_', '-')}`"
        if schema[name].get("type") == "boolean":
            flag += f" `--no-{name.replace('_', '-')}`"
        cells = (
            f"`{name.upper()}` {flag}",
            _type(schema[name]),
            next((unit for end, unit in _UNITS if name.removesuffix(_IN_FLIGHT).endswith(end)), ""),
            _default(Settings.model_fields[name].default),
            _text(Settings.model_fields[name].description or ""),
            "yes" if name in changes else "",
        )
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join(("", f"## {title}", "", kind.__doc__ or "", "", *_COLUMNS, *map(row, kind.model_fields), ""))


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        kinds = [each for each in schema["anyOf"] if each["type"] != "null"]
        return _type(kinds[0]) if len(kinds) == 1 else "folder or address"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] in ("integer", "number"):
        return " ".join((schema["type"], *_bounds(schema)))
    if schema["type"] == "array":
        return "list"
    named = {"password": "secret", "path": "file"}
    return named.get(schema.get("format", ""), schema["type"])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    words = (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "to"))
    yield from (f"{word} {schema[key]:g}" for key, word in words if key in schema)


def _default(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(description: str) -> str:
    """A docstring as Markdown in one line; settings that it names are written as variables."""

    def code(found: re.Match[str]) -> str:
        word = found[1]
        return f"`{word.upper() if word in _VARIABLES else word}`"

    return re.sub(r"``(.+?)``", code, " ".join(description.split())).replace("*", r"\*")


if __name__ == "__main__":
    PAGE.write_text(page())
