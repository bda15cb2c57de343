"""`fpan keys`: makes, lists and revokes API keys."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fpan.serve.admission.keys import MAX_NAME, SCOPES, KeyEntry, Scope, edited, hash_of, load, new_key

_DAYS = re.compile(r"(\d{1,5})d")
_WIDE = 200
"""Columns of a table that goes to a file or another program."""

keys = typer.Typer(
    name="keys",
    help="Look after the API keys of a server: who may call it, what for, and how often.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_err = Console(stderr=True)

File = Annotated[
    Path,
    typer.Option(
        "--file",
        metavar="FILE",
        envvar="KEYS_FILE",
        help="The file of hashed keys; made where it is missing. Servers read it again when it changes.",
    ),
]
DEFAULT_FILE = Path("keys.json")


def _scopes(words: str) -> frozenset[Scope]:
    named = frozenset(word.strip() for word in words.split(",") if word.strip())
    if unknown := sorted(named - set(SCOPES)):
        raise typer.BadParameter(f"{unknown[0]!r} is no scope: they are {', '.join(SCOPES)}")
    if not named:
        raise typer.BadParameter(f"a key needs one of {', '.join(SCOPES)}")
    return frozenset(scope for scope in SCOPES if scope in named)


def _end(words: str) -> datetime:
    if days := _DAYS.fullmatch(words):
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days[1]))
    try:
        told = datetime.fromisoformat(words)
    except ValueError:
        raise typer.BadParameter(f"{words!r} is no time: write 90d, or a date such as 2030-12-31") from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, what for; for people.")],
    scopes: Annotated[
        frozenset[str],
        typer.Option(parser=_scopes, metavar="NAMES", help=f"What it may do, with commas: {', '.join(SCOPES)}."),
    ] = "parse",  # type: ignore[assignment] # typer parses it
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests in a minute; the server's own quota when left out.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Requests at once; the server's own limit when left out.")
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(parser=_end, metavar="TIME", help="When it ends: 90d, or a date; never when left out."),
    ] = None,
    file: File = DEFAULT_FILE,
) -> None:
    """Make a key and print it, this once: the file has its hash alone.

    fpan keys add "photo app" --scopes parse,jobs --requests-per-minute 600 --concurrent 8

    The key is all that goes to the standard output: `KEY=$(fpan keys add ci)` works.
    """
    if not 1 <= len(name) <= MAX_NAME:
        raise typer.BadParameter(f"a name has 1 to {MAX_NAME} characters")
    identity, key = new_key()
    with edited(file) as entries:
        entries.append(
            KeyEntry(
                id=identity,
                name=name,
                sha256=hash_of(key),
                scopes=_scopes(",".join(scopes)),
                requests_per_minute=requests_per_minute,
                concurrent=concurrent,
                created=datetime.now(UTC).replace(microsecond=0),
                expires=expires,
            )
        )
    typer.echo(key)
    _say(f"{identity} ({escape(name)}) is in {escape(str(file))}; the key is shown this once, keep it in a safe place")
    _say("a caller sends it as `Authorization: Bearer KEY`; the Python client and fpan take it from FPAN_API_KEY")


@keys.command("list")
def list_(file: File = DEFAULT_FILE, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the keys: id, name, scopes, quotas, dates. No key and no hash is shown."""
    entries = load(file).keys
    if as_json:
        told = [entry.model_dump(mode="json", exclude={"sha256"}) for entry in entries]
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    table = Table()
    for column in ("id", "name", "scopes", "per minute", "at once", "made", "ends", "state"):
        table.add_column(column)
    now = datetime.now(UTC)
    for entry in entries:
        state = "revoked" if entry.revoked else "expired" if entry.expires and entry.expires <= now else "valid"
        table.add_row(
            entry.id,
            escape(entry.name),
            ", ".join(scope for scope in SCOPES if scope in entry.scopes),
            str(entry.requests_per_minute or "server's"),
            str(entry.concurrent or "server's"),
            f"{entry.created:%Y-%m-%d}",
            f"{entry.expires:%Y-%m-%d}" if entry.expires else "never",
            state,
        )
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


@keys.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `fpan keys list` shows it.")],
    file: File = DEFAULT_FILE,
) -> None:
    """Refuse a key from now on. Running servers follow within a second or two; requests under way end well."""
    with edited(file) as entries:
        place = next((i for i, entry in enumerate(entries) if entry.id == identity), None)
        if place is None:
            raise typer.BadParameter(f"there is no key {identity!r} in {file}: `fpan keys list` tells which there are")
        entry = entries[place]
        if entry.revoked:
            typer.echo(f"{identity} ({entry.name}) was revoked on {entry.revoked:%Y-%m-%d} already")
            return
        entries[place] = entry.model_copy(update={"revoked": datetime.now(UTC).replace(microsecond=0)})
    typer.echo(f"{identity} ({entry.name}) is revoked")


def _say(line: str) -> None:
    _err.print(line, highlight=False, soft_wrap=True)
