"""`fpan models`: looks after a model repository."""

import dataclasses
import json
import math
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fpan.cli import _models_text as text
from fpan.cli._reference import NoReference, from_traffic
from fpan.client import Client
from fpan.contract import AliasName, Change, Reference
from fpan.contract.aliases import CHALLENGER, CHAMPION
from fpan.registry import DEFAULT_KEEP, Registry, open_store
from fpan.registry.compare import differences
from fpan.registry.replicas import TIMEOUT_S, Replicas, promote_everywhere, rollback_everywhere

BROKEN = 1
"""Exit status of ``list`` when something in the repository is of no use."""
DEFAULT_REFERENCE_FACES = 1000
"""Fewest faces of a reference from live traffic: against fewer, chance alone takes the index a good way to 0.1."""
_PERCENT = 100
_WIDE = 200
"""Columns of a table that goes to a file or another program."""

models = typer.Typer(
    name="models",
    help="Look after the model repository: what is in it, what is champion, and what can go.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_err = Console(stderr=True)

Repository = Annotated[
    str,
    typer.Option(
        "--repository",
        metavar="FOLDER|s3://BUCKET/PREFIX",
        envvar="MODEL_REPOSITORY",
        help="The model repository.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model, such as segm.")]
Urls = Annotated[
    list[str],
    typer.Option(
        "--url",
        metavar="URL",
        help="A gateway that serves the repository, such as http://gateway:8000; may be given several times, and a "
        "name stands for every address it has. The command ends when all of them have followed.",
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="How long they may take, in seconds.")]
DEFAULT_REPOSITORY = "model_repository"


def reference_of(words: str) -> Reference:
    """The version that an argument names."""
    try:
        return Reference.parse(words)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _share(words: str) -> float:
    percent = words.endswith("%")
    try:
        share = float(words.removesuffix("%")) / (_PERCENT if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{words!r} is no share: write 5% or 0.05, from 0 to 100%")
    return share


@models.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all when left out.")] = None,
    repository: Repository = DEFAULT_REPOSITORY,
    as_json: AsJson = False,
) -> None:
    """List the versions: aliases, figures, size, date, licence.

    The exit status is 1 when a version is broken or an alias names one that is gone.
    """
    registry = _open(repository)
    names = registry.store.names() if name is None else [name]
    versions = [version for each in names for version in registry.versions(each)]
    if as_json:
        _json(text.versions_data(versions))
    else:
        _out().print(text.versions_table(versions))
    faults = [version.fault for version in versions if version.fault]
    for each in names:
        faults += [
            f"{alias} of {each} is version {version}, which is gone: bring it back, or "
            f"`fpan models promote {each} VERSION --to {alias}`"
            for alias, version in registry.dangling(each).items()
        ]
        _notes(registry, each)
    for fault in faults:
        _say(f"[bold red]broken:[/] {escape(fault)}")
    if faults:
        raise typer.Exit(BROKEN)


@models.command()
def show(
    version: Annotated[
        Reference, typer.Argument(parser=reference_of, metavar="VERSION", help="NAME, NAME:VERSION or NAME@ALIAS.")
    ],
    repository: Repository = DEFAULT_REPOSITORY,
    as_json: AsJson = False,
) -> None:
    """Show the card of a version, once its files are found to be as it says.

    fpan models show segm

    fpan models show segm@challenger --json
    """
    registry = _open(repository)
    card = registry.verified(version)
    aliases = registry.store.aliases(card.name).of(card.version)
    history = registry.store.history(card.name)
    if as_json:
        moves = [change.model_dump(mode="json") for change in history.changes]
        _json({**card.model_dump(mode="json"), "aliases": list(aliases), "history": moves})
        return
    out = _out()
    for line in text.card_lines(card, aliases, registry.store.sizes(card.name, card.version)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if card.evaluations:
        out.print()
        out.print(text.evaluations_table(card.evaluations))
    if card.gates:
        out.print()
        out.print(text.gates_table(card.gates))
    if history.changes:
        out.print(f"\nwho was what of {card.name}:", markup=False, highlight=False)
    for line in text.moves(history.changes):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    _notes(registry, card.name)


@models.command()
def diff(
    before: Annotated[
        Reference, typer.Argument(parser=reference_of, metavar="A", help="NAME, NAME:VERSION or NAME@ALIAS.")
    ],
    after: Annotated[Reference, typer.Argument(parser=reference_of, metavar="B", help="The other, named likewise.")],
    repository: Repository = DEFAULT_REPOSITORY,
    as_json: AsJson = False,
) -> None:
    """Tell what two versions differ in: metrics, taxonomy, files, configuration, and what else their cards say.

    fpan models diff segm@champion segm:3
    """
    registry = _open(repository)
    left, right = registry.verified(before), registry.verified(after)
    found = differences(registry.store, left, right)
    if as_json:
        _json([dataclasses.asdict(each) for each in found])
    elif found:
        titles = (f"{card.name}:{card.version}" for card in (left, right))
        _out().print(text.differences_table(found, *titles))
    else:
        typer.echo("no difference")


@models.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Its number.")],
    to: Annotated[AliasName, typer.Option(help="What it becomes.")] = CHAMPION,
    share: Annotated[
        float | None,
        typer.Option(parser=_share, metavar="SHARE", help="Of the callers who name no version, the challenger's part."),
    ] = None,
    url: Urls = [],  # noqa: B006 - typer copies it
    timeout: Timeout = TIMEOUT_S,
    repository: Repository = DEFAULT_REPOSITORY,
) -> None:
    """Make a version champion, or what --to says, once its files are found to be as its card says.

    Gateways load it beside what answers, pass its golden pictures through it, and let it answer. With --url the command
    waits for that, and takes the promotion back unless it works at every one of them.

    fpan models promote segm 3 --url http://gateway:8000

    fpan models promote segm 4 --to shadow

    fpan models promote segm 4 --to challenger --share 5%
    """
    if share is not None and to != CHALLENGER:
        raise typer.BadParameter(f"--share is a challenger's: {to} has none")
    registry = _open(repository)
    _notes(registry, name)
    command = f"fpan models promote {name} {version} --to {to}"
    if share:
        command += f" --share {text.percent(share).replace(' ', '')}"
    part = share or 0.0
    if url:
        _followed(name, promote_everywhere(registry, name, version, to, command, _replicas(url, timeout), part))
    else:
        _moved(name, registry.promote(name, version, to, command, part))


@models.command()
def rollback(
    name: Name,
    of: Annotated[AliasName, typer.Option(help="Which alias goes back.")] = CHAMPION,
    url: Urls = [],  # noqa: B006 - typer copies it
    timeout: Timeout = TIMEOUT_S,
    repository: Repository = DEFAULT_REPOSITORY,
) -> None:
    """Make champion what was champion before, as the history says; once more, and it is what was before that.

    Challenger and shadow are taken away in the end: `fpan models rollback segm --of shadow`.
    """
    registry = _open(repository)
    _notes(registry, name)
    command = f"fpan models rollback {name} --of {of}"
    if url:
        _followed(name, rollback_everywhere(registry, name, of, command, _replicas(url, timeout)))
    else:
        _moved(name, registry.rollback(name, of, command))


@models.command()
def reference(
    version: Annotated[
        Reference, typer.Argument(parser=reference_of, metavar="VERSION", help="NAME, NAME:VERSION or NAME@ALIAS.")
    ],
    url: Annotated[
        str | None,
        typer.Option(envvar="FPAN_URL", metavar="URL", help="Of the gateway; port 8000 of this machine when left out."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--all", help="Every quantity from the traffic, not only those that the card lacks.")
    ] = False,
    min_faces: Annotated[int, typer.Option(min=1, help="Fewest faces of a reference.")] = DEFAULT_REFERENCE_FACES,
    repository: Repository = DEFAULT_REPOSITORY,
) -> None:
    """Make a gateway's traffic of now the reference of drift: in the card of a new version with the same network.

    fpan models reference segm --url http://127.0.0.1:8000
    """
    registry = _open(repository)
    card = registry.verified(version)
    with Client(url) as client:
        drift = client.drift()
    try:
        histograms = from_traffic(drift, card, min_faces, anew=anew)
    except NoReference as error:
        raise typer.BadParameter(str(error)) from None
    made = registry.publish_again(card.model_copy(update={"reference": histograms}))
    typer.echo(f"{made.name}: version {made.version} is version {card.version} with another reference")
    for line in text.reference_lines(made.reference):
        typer.echo(f"  {line}")
    _say(f"`fpan models promote {made.name} {made.version}` makes it champion")


@models.command()
def gc(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all when left out.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest versions that stay in any case.")] = DEFAULT_KEEP,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    repository: Repository = DEFAULT_REPOSITORY,
) -> None:
    """Remove versions that nobody needs, and what writes that never ended have left.

    Versions with an alias, the former champion and the newest --keep stay. So do broken ones: they are told, and yours
    to remove.
    """
    registry = _open(repository)
    for each in registry.store.names() if name is None else [name]:
        for line in text.cleaning_lines(registry.clean(each, keep, dry_run=dry_run), dry_run):
            typer.echo(line)


def _open(repository: str) -> Registry:
    return Registry(open_store(repository))


def _notes(registry: Registry, name: str) -> None:
    """What is no fault but should be known."""
    for number in registry.store.history(name).unreadable:
        _say(f"note: line {number} of the history of {escape(name)} cannot be read and is left out")
    for leftover in registry.store.leftovers(name):
        _say(f"note: {escape(name)} has {leftover}, left by a write that never ended: `fpan models gc` removes it")


def _replicas(urls: list[str], timeout_s: float) -> Replicas:
    try:
        return Replicas(urls, timeout_s)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None


def _moved(name: str, change: Change) -> None:
    typer.echo(f"{name}: {text.moved(change)}")
    _say("gateways follow by themselves; with --url this command waits for them")


def _followed(name: str, change: Change) -> None:
    typer.echo(f"{name}: {text.moved(change)}")
    typer.echo("every gateway has followed")


def _out() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def _json(data: object) -> None:
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False))


def _say(line: str) -> None:
    _err.print(line, highlight=False, soft_wrap=True)
