"""`fpan engine`: the TensorRT plan of a network, built for the GPU at hand."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from fpan.cli._models import reference_of
from fpan.cli._server import needs_server
from fpan.contract import Reference

FAILED = 1
"""Exit status when no plan was made, or the network is not one that TensorRT takes."""

PlansFolder = Annotated[Path, typer.Option(metavar="FOLDER", help="Where TensorRT plans lie, with their manifests.")]
PrecisionName = Annotated[
    Literal["fp16", "int8"], typer.Option(help="Of the convolutions; what decides the labels is in FP32 either way.")
]
DEFAULT_PLANS = Path("plans")


def engine(
    model: Annotated[
        Reference, typer.Argument(parser=reference_of, metavar="MODEL", help="NAME, NAME:VERSION or NAME@ALIAS.")
    ],
    precision: PrecisionName = "fp16",
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE.npz",
            help="Aligned crops to judge the plan on and to calibrate INT8 with: a folder, or an .npz whose `images` "
            "is uint8 (N, S, S, 3), RGB. Without it those that the version carries (golden.npz).",
        ),
    ] = None,
    plans: PlansFolder = DEFAULT_PLANS,
    check: Annotated[bool, typer.Option("--check", help="Only tell, without a GPU, what TensorRT would take.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Tell how fast the plan is, once it is built.")] = False,
    model_repository: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|s3://BUCKET/PREFIX", envvar="MODEL_REPOSITORY", help="The model repository to take it from."
        ),
    ] = "model_repository",
) -> None:
    """Build the TensorRT plan of a network, inside NVIDIA's image, for the GPU at hand.

        fpan engine segm

        fpan engine segm --precision int8 --pictures crops/

    The plan is compared with ONNX Runtime on the pictures; if the labels of fewer than 99.5 % of the pixels agree it is
    not kept. `fpan tree FOLDER --profile ngc-tensorrt` uses it where its manifest fits.
    docs/how-to/tensorrt.md has all of it.

    Without a GPU, what can be told without one: operators, types, shapes, and, with pictures, what the precision costs:

        fpan engine segm --check
    """
    with needs_server():
        from fpan.serve.config import Settings
        from fpan.serve.rollout.repository import WatchedRepository
        from fpan.tensorrt.build import Wanted, build, check_network, rehearse, speeds
        from fpan.tensorrt.pictures import GOLDEN_FILE, load_pictures
        from fpan.tensorrt.trtexec import EngineError
    with TemporaryDirectory(prefix="fpan-") as fetched:
        followed = WatchedRepository(Settings(model_repository=model_repository), Path(fetched) / "repository")
        repository = followed.repository
        card = repository.card(model.name, repository.resolve(model))
        wanted = Wanted(repository, card, precision)
        try:
            if check:
                check_network(wanted)
                typer.echo(f"{card.name} version {card.version}: TensorRT takes its operators, types and shapes")
                if card.task != "segmentation":
                    typer.echo("no plan is built of it: ONNX Runtime's TensorRT accelerator computes it")
                    return
                if pictures is None and GOLDEN_FILE not in card.files:
                    typer.echo(f"it carries no {GOLDEN_FILE}: --pictures measures what {precision.upper()} costs")
                    return
            loaded = load_pictures(pictures, repository.folder(card.name, card.version), card)
            if check:
                agreement = rehearse(wanted, loaded)
                typer.echo(
                    f"in {precision.upper()} {agreement:.2%} of the labels of {len(loaded)} pictures stay the same"
                )
                return
            manifest = build(wanted, loaded, plans, lambda line: typer.echo(line, err=True))
            measured = speeds(wanted, plans) if measure else []
        except EngineError as error:
            typer.echo(f"fpan: {error}", err=True)
            raise typer.Exit(FAILED) from None
    typer.echo(
        f"{card.name} version {card.version}: {precision.upper()} plan for {manifest.target.gpu} and TensorRT "
        f"{manifest.target.tensorrt} in {plans}; {manifest.agreement:.2%} of the labels are ONNX Runtime's"
    )
    for speed in measured:
        typer.echo(f"  {speed.told}")
