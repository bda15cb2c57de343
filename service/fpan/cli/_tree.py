"""`fpan tree`: the folder that a Triton server of one's own serves from."""

from pathlib import Path
from typing import Annotated

import typer

from fpan.cli._engine import DEFAULT_PLANS, PlansFolder, PrecisionName
from fpan.cli._server import needs_server


def tree(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is missing; brought up to date if not.")],
    profile: Annotated[
        str, typer.Option(metavar="ngc-cpu|ngc-tensorrt|embedded", help="Where the models will be served.")
    ] = "ngc-cpu",
    model_repository: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|s3://BUCKET/PREFIX",
            envvar="MODEL_REPOSITORY",
            help="The model repository to take them from.",
        ),
    ] = "model_repository",
    runtime: Annotated[
        str, typer.Option(metavar="onnxruntime|openvino", help="What computes where there is no TensorRT.")
    ] = "onnxruntime",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one instance on the CPU.")] = 2,
    instances: Annotated[int, typer.Option(min=1, help="Instances of each model, which compute at once.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Largest batch, in crops.")] = 8,
    plans: PlansFolder = DEFAULT_PLANS,
    precision: PrecisionName = "fp16",
    tensorrt: Annotated[
        str | None, typer.Option(metavar="VERSION", help="TensorRT that will serve; else that of this machine.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="GPU that will serve, as nvidia-smi names it; else this one's.")
    ] = None,
) -> None:
    """Put together a Triton model repository for a server of your own.

    For an NGC container without a GPU, and for one with a GPU:

        fpan tree triton-models --profile ngc-cpu

        fpan tree triton-models --profile ngc-tensorrt

    There, `ngc-tensorrt` takes the plans that `fpan engine` has built, if they are for the TensorRT and the GPU that
    are here or that are named; of one that does not fit a warning says why, and ONNX Runtime with its TensorRT
    accelerator computes instead.

    Files are copied after their sha256 was compared with their cards, so that the folder can go anywhere. Start the
    container on it with `--model-repository=triton-models --model-control-mode=none`, and the gateway with its address:

        TRITON_URL=triton.internal:8001 fpan serve
    """
    with needs_server():
        from fpan.serve.config import Settings
        from fpan.tensorrt.tree import UnknownChoice, find_plans, write_tree
        from fpan.tensorrt.trtexec import EngineError
    settings = Settings(model_repository=model_repository)
    try:
        found = find_plans(plans, precision, tensorrt, gpu) if profile == "ngc-tensorrt" else None
        names = write_tree(out, settings, profile, runtime, threads, instances, max_batch, found)
    except (UnknownChoice, EngineError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{out}: {', '.join(names)} for {profile}")
