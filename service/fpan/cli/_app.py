"""The commands and what they say."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fpan import __version__
from fpan.bulk.errors import BulkError
from fpan.cli import _annotations, _photos, _work
from fpan.cli._bulk import batch
from fpan.cli._engine import engine
from fpan.cli._keys import keys
from fpan.cli._models import models
from fpan.cli._server import ServerFailed, serve_main, server, worker_main
from fpan.cli._tree import tree
from fpan.client import Client, FpanError, Options
from fpan.contract import RepositoryError
from fpan.serve.admission.keys import KeyFileError

SOME_FAILED = 1
"""Exit status when a photo, or the server, failed."""
_MAX_JOBS = 64

app = typer.Typer(
    name="fpan",
    help="Face parsing: a photo in, a label map for every face out.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
_err = Console(stderr=True)

Url = Annotated[
    str | None,
    typer.Option(
        envvar="FPAN_URL",
        metavar="URL",
        help="Address of a running server, such as http://127.0.0.1:8000. Without it a server is started here for as "
        "long as the command runs.",
    ),
]


def main() -> None:
    """Entry of the console script."""
    try:
        app(prog_name="fpan")
    except (ServerFailed, FpanError, RepositoryError, KeyFileError, BulkError) as error:
        _err.print(f"[bold red]fpan:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(SOME_FAILED)


@app.command()
def parse(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photos, and folders of photos.")],
    out: Annotated[Path, typer.Option(help="Folder for the answers; made where it is missing.")],
    url: Url = None,
    output: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="What to write, with commas: labels, overlay, json, cutout, redact (faces covered), alpha (one soft "
            "mask of all kept classes), npz (arrays for numpy); and, to be corrected in a labelling tool, coco "
            "(exact), coco-polygons, labelme.",
        ),
    ] = "labels,overlay,json",
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="How far polygons may run from the true outlines, in pixels; 0: they are exact."),
    ] = 1.0,
    redact: Annotated[
        Literal["blur", "pixelate", "fill"] | None,
        typer.Option(help="How --output redact covers faces, or the parts of --classes and --groups; else by a blur."),
    ] = None,
    faces: Annotated[
        str,
        typer.Option(
            metavar="auto|full|BOXES",
            help="auto finds faces; full takes each photo as one aligned face; or boxes in pixels.",
        ),
    ] = "auto",
    max_faces: Annotated[int | None, typer.Option(min=1, help="Most faces of a photo, the largest first.")] = None,
    classes: Annotated[str, typer.Option(metavar="NAMES", help="Classes to keep, with commas: hair,skin.")] = "",
    groups: Annotated[str, typer.Option(metavar="NAMES", help="Groups to keep, with commas: eyes,lips.")] = "",
    orientation: Annotated[
        Literal["exif", "raw"], typer.Option(help="Turn photos upright as EXIF says, or take pixels as they lie.")
    ] = "exif",
    model: Annotated[str | None, typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; else the server's own.")] = None,
    deadline_ms: Annotated[int | None, typer.Option(min=1, help="Time for each photo, in milliseconds.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=_MAX_JOBS, help="Photos under way at once.")] = 4,
) -> None:
    """Parse the faces of photos.

    One photo, with a server that is started for it:

        fpan parse photo.jpg --out parsed

    A folder and all below it, on a running server, eight at once:

        fpan parse album/ --out parsed --url http://127.0.0.1:8000 --jobs 8

    Hair alone, cut out:

        fpan parse photo.jpg --out parsed --classes hair --output cutout

    Faces made unrecognisable, and their hair as a soft mask:

        fpan parse album/ --out covered --output redact --redact pixelate

        fpan parse album/ --out masks --output alpha --classes hair

    A face whose box is known:

        fpan parse photo.jpg --out parsed --faces "[[120, 80, 340, 360]]"

    Pre-labels, to be corrected and to train on (docs/training/data.md):

        fpan parse album/ --out parsed --output labelme

    photo.jpg becomes photo.labels.png (indices are class ids: `fpan labels`), photo.overlay.png, photo.json,
    photo.cutout.png, photo.redact.png, photo.alpha.png, photo.npz; for labelling tools, labelme/photo.json, and
    coco.json of all photos together. A photo that fails stops no other; it is listed at the end, and the exit status
    is 1.
    """
    kinds, formats = _kinds(output)
    _check_redact(kinds, redact, orientation)
    options = _options(faces, max_faces, classes, groups, orientation, model, deadline_ms)
    options["redact"] = redact
    found, missing = _photos.find(photos, out)
    failed = [(str(each.path), each.why) for each in missing]
    began, parsed, count = time.monotonic(), 0, 0
    if found:
        with server(url, _say) as client, _bar() as bar:
            annotations = _annotated(client, formats, options, tolerance)
            work = _work.Work(client, out, kinds, options, annotations)
            task = bar.add_task("parsing", total=len(found))
            for outcome in _work.run(found, jobs, work.do):
                bar.advance(task)
                if outcome.error is None:
                    parsed, count = parsed + 1, count + outcome.faces
                else:
                    failed.append((str(outcome.photo.path), outcome.error))
            if annotations is not None:
                failed += _finish(annotations, out)
            spent = time.monotonic() - began
        _say(f"{_number(parsed, 'photo')}, {_number(count, 'face')} in {spent:.1f} s: {out}")
    if failed:
        _err.print(f"[bold red]{_number(len(failed), 'photo')} failed:[/]", highlight=False)
        for name, why in failed:
            _err.print(f"  {escape(name)}: {escape(why)}", highlight=False, soft_wrap=True)
        raise typer.Exit(SOME_FAILED)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the server. Every setting is a flag and an environment variable: `fpan serve --help`."""
    serve_main()(context.args)


app.command()(batch)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def worker(context: typer.Context) -> None:
    """Run jobs that servers have taken. Its settings are those of the server: `fpan worker --help`."""
    worker_main()(context.args)


app.command()(tree)
app.command()(engine)
app.add_typer(models)
app.add_typer(keys)


@app.command()
def labels(
    url: Url = None,
    model: Annotated[str | None, typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; else the server's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, groups and other orders included.")] = False,
) -> None:
    """Show the classes of label maps: ids, names, colours, partners.

    fpan labels

    fpan labels --json --url http://127.0.0.1:8000
    """
    with server(url, _say) as client:
        taxonomy = client.labels(model)
    if as_json:
        typer.echo(json.dumps(taxonomy.model_dump(mode="json"), indent=1))
        return
    table = Table(title=taxonomy.name, title_justify="left")
    for column in ("id", "name", "title", "colour", "mirrored"):
        table.add_column(column, justify="right" if column == "id" else "left")
    for c in taxonomy.classes:
        colour = "#{:02x}{:02x}{:02x}".format(*c.colour)
        partner = taxonomy.classes[c.partner].name if c.partner != c.id else ""
        table.add_row(str(c.id), c.name, c.title, f"[{colour}]██[/] {colour}", partner)
    Console().print(table)
    for group, names in taxonomy.groups.items():
        Console().print(f"{group}: {', '.join(names)}", highlight=False)


@app.command()
def version() -> None:
    """Show the version of this program."""
    typer.echo(f"fpan {__version__}")


def _kinds(words: str) -> tuple[list[_work.Kind], list[_annotations.Format]]:
    kinds = list(dict.fromkeys(word.strip() for word in words.split(",")))
    known = (*_work.KINDS, *_annotations.FORMATS)
    if unknown := [kind for kind in kinds if kind not in known]:
        message = f"unknown kind {unknown[0]!r}: the kinds are {', '.join(known)}"
        raise typer.BadParameter(message, param_hint="--output")
    answers, formats = ([kind for kind in kinds if kind in some] for some in (_work.KINDS, _annotations.FORMATS))
    return cast(list[_work.Kind], answers), cast(list[_annotations.Format], formats)


def _check_redact(kinds: list[_work.Kind], style: str | None, orientation: str) -> None:
    """So that what the server would refuse of every photo is told once."""
    if "redact" not in kinds:
        if style is not None:
            raise typer.BadParameter("it says how --output redact covers: ask for that", param_hint="--redact")
        return
    if shown := [kind for kind in kinds if kind in _work.SHOWING]:
        message = f"{shown[0]} shows the faces that redact covers: ask for one of them"
        raise typer.BadParameter(message, param_hint="--output")
    if orientation == "raw":
        message = "redact drops EXIF, so nobody could turn a raw photo upright later"
        raise typer.BadParameter(message, param_hint="--orientation")


def _annotated(
    client: Client, formats: list[_annotations.Format], options: Options, tolerance: float
) -> _annotations.Annotations | None:
    """What is written for labelling tools. Classes that were not asked for are none that could have been labelled."""
    if not formats:
        return None
    taxonomy = client.labels(options.get("model"))
    kept = {
        *options.get("classes", ()),
        *(name for g in options.get("groups", ()) for name in taxonomy.groups.get(g, ())),
    }
    names = {c.id: c.name for c in taxonomy.classes if not kept or c.name in kept or c.id == taxonomy.background}
    return _annotations.Annotations(formats, names, tolerance, taxonomy.background)


def _finish(annotations: _annotations.Annotations, out: Path) -> list[tuple[str, str]]:
    """Writes the files of all photos together; those that cannot be written, and why."""
    failed = []
    for path, data in annotations.finish(out):
        try:
            _work.write_whole(path, data)
        except OSError as error:
            failed.append((str(path), error.strerror or str(error)))
    return failed


def _options(
    faces: str,
    max_faces: int | None,
    classes: str,
    groups: str,
    orientation: Literal["exif", "raw"],
    model: str | None,
    deadline_ms: int | None,
) -> Options:
    if faces in ("auto", "full"):
        chosen: Literal["auto", "full"] | list[list[float]] = cast(Literal["auto", "full"], faces)
    else:
        try:
            chosen = [[float(number) for number in box] for box in json.loads(faces)]
        except (TypeError, ValueError):
            message = f"{faces!r} is neither auto nor full nor boxes such as [[10, 20, 110, 140]]"
            raise typer.BadParameter(message, param_hint="--faces") from None
    return Options(
        faces=chosen,
        max_faces=max_faces,
        classes=[name for name in classes.split(",") if name.strip()],
        groups=[name for name in groups.split(",") if name.strip()],
        orientation=orientation,
        model=model,
        deadline_ms=deadline_ms,
    )


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_err, disable=not _err.is_terminal)


def _say(line: str) -> None:
    _err.print(line, highlight=False, soft_wrap=True, markup=False)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
