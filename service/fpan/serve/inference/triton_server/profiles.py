"""What ``config.pbtxt`` says for each place that a model is served in, from one source: the model's card.

==================  ====================================================================================
``embedded``        the server of the ``nvidia-pytriton`` wheel: Python backend and our generic model.py
``ngc-cpu``         an NGC container without a GPU: backend ONNX Runtime or OpenVINO
``ngc-tensorrt``    an NGC container with a GPU: a TensorRT plan where there is one for this network,
                    else ONNX Runtime with its TensorRT accelerator, both in FP16
==================  ====================================================================================

Only features that Triton 2.51 has are used, so that every profile's text can be tried with the embedded server.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from fpan.contract import ModelCard
from fpan.contract.card import ANY
from fpan.serve.inference.backends.runtime import RuntimeName

Profile = Literal["embedded", "ngc-cpu", "ngc-tensorrt"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

MODEL_FILE = "model.onnx"
PLAN_FILE = "model.plan"
_TENSORRT_WORKSPACE_BYTES = 1 << 30
_WARM_UP_RUNS = 1


@dataclass(frozen=True)
class ServingOptions:
    """What the operator chooses for all models of a serving tree."""

    profile: Profile = "embedded"
    runtime: RuntimeName = "openvino"
    """What computes under ``embedded`` and ``ngc-cpu``. NGC's OpenVINO backend cannot be told to stay with float32."""
    threads: int = 2
    """Threads of one instance on the CPU."""
    instances: int = 1
    """Instances of each model, which compute at once."""
    max_batch: int = 8
    """Largest batch."""


def config_of(cards: Sequence[ModelCard], options: ServingOptions, *, plan: bool = False) -> str:
    """The text of ``config.pbtxt`` for the versions of one model that are to be served together.

    Args:
        cards: the versions' cards; their tensors are the same. In the embedded server their sizes may differ, so that
            a champion with another input size is loaded beside the one that it replaces.
        options: profile and sizes.
        plan: whether every version has a TensorRT plan.

    Raises:
        ValueError: the cards differ in their interface: that is another model name.
    """
    card = cards[0]
    mixed = any(each.interface != card.interface for each in cards)
    if mixed and not (options.profile == "embedded" and len({_kinds(each) for each in cards}) == 1):
        raise ValueError(f"the versions of {card.name} differ in their tensors: give them different names")
    config: Any = model_config_pb2.ModelConfig(name=card.name, max_batch_size=options.max_batch)
    _FILL[options.profile](config, card, options, plan)
    if options.profile == "embedded":  # int8 is written into the graph
        _parameters(config, bf16_versions=",".join(str(each.version) for each in cards if each.precision == "bf16"))
        for each in cards:
            shapes = [{tensor.name: tensor.sized(size) for tensor in each.inputs} for size in each.input_sizes]
            _parameters(config, **{f"shapes_{each.version}": json.dumps(shapes)})
    for fields, tensors in ((config.input, [c.inputs for c in cards]), (config.output, [c.outputs for c in cards])):
        for same in zip(*tensors, strict=True):
            dims = (side[0] if len(set(side)) == 1 else ANY for side in zip(*(t.shape for t in same), strict=True))
            fields.add(name=same[0].name, data_type=f"TYPE_{same[0].dtype}", dims=dims)
    config.version_policy.specific.versions.extend(c.version for c in cards)
    # No dynamic batching: the gateway batches already, and Triton 2.51's batcher has two faults. With timeouts in its
    # queue it leaves one in ten requests that follow upon an answer lying for half a second; without them it ends the
    # server where a request is cancelled that waits.
    for size in () if mixed else card.input_sizes:  # a warm-up is every version's: golden pictures are one, too
        for batch in sorted({1, options.max_batch}):
            _warm_up(config, card, size, batch)
    return str(text_format.MessageToString(config))


def _kinds(card: ModelCard) -> tuple[object, ...]:
    """What must be the same of versions of all sizes: names, types and ranks of the tensors."""
    return tuple((t.name, t.dtype, len(t.shape)) for t in (*card.inputs, *card.outputs)), bool(card.sizes)


def _embedded(config: Any, card: ModelCard, options: ServingOptions, plan: bool) -> None:
    del plan
    config.backend = "python"
    _instances(config, options, "KIND_CPU")
    _parameters(config, runtime=options.runtime, threads=options.threads, model_file=MODEL_FILE)
    _parameters(config, on_demand=",".join(card.on_demand))


def _ngc_cpu(config: Any, card: ModelCard, options: ServingOptions, plan: bool) -> None:
    del plan
    # Whether NGC's OpenVINO backend takes open dimensions was never tried; ONNX Runtime's does.
    config.backend = "onnxruntime" if card.sizes else options.runtime
    config.default_model_filename = MODEL_FILE
    _instances(config, options, "KIND_CPU")
    if config.backend == "openvino":
        _parameters(config, INFERENCE_NUM_THREADS=options.threads, NUM_STREAMS=1)
    else:
        _parameters(config, intra_op_thread_count=options.threads, inter_op_thread_count=1)


def _ngc_tensorrt(config: Any, card: ModelCard, options: ServingOptions, plan: bool) -> None:
    _instances(config, options, "KIND_GPU")
    if plan:
        config.platform = "tensorrt_plan"
        config.default_model_filename = PLAN_FILE
        return
    config.backend = "onnxruntime"
    config.default_model_filename = MODEL_FILE
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters["precision_mode"] = "FP16"
    accelerator.parameters["max_workspace_size_bytes"] = str(_TENSORRT_WORKSPACE_BYTES)
    # Without a range of shapes TensorRT would build an engine anew for every batch size that comes along.
    largest = card.input_sizes[0]
    least = tuple(min(sides) for sides in zip(*card.input_sizes, strict=True))
    most = options.max_batch, largest
    for bound, (batch, size) in {"min": (1, least), "opt": most, "max": most}.items():
        shapes = (f"{t.name}:" + "x".join(map(str, (batch, *t.sized(size)))) for t in card.inputs)
        accelerator.parameters[f"trt_profile_{bound}_shapes"] = ",".join(shapes)


_FILL = {"embedded": _embedded, "ngc-cpu": _ngc_cpu, "ngc-tensorrt": _ngc_tensorrt}


def _instances(config: Any, options: ServingOptions, kind: str) -> None:
    config.instance_group.add(kind=kind, count=options.instances)


def _parameters(config: Any, **values: str | int) -> None:
    for key, value in values.items():
        config.parameters[key].string_value = str(value)


def _warm_up(config: Any, card: ModelCard, size: tuple[int, int], batch: int) -> None:
    """One run of a size and a batch before the model counts as ready: the first such run is many times slower."""
    name = f"batch of {batch}" + (f", {size[0]} x {size[1]}" if card.sizes else "")
    sample = config.model_warmup.add(name=name, batch_size=batch, count=_WARM_UP_RUNS)
    for tensor in card.inputs:
        entry = sample.inputs[tensor.name]
        entry.data_type = f"TYPE_{tensor.dtype}"
        entry.dims.extend(tensor.sized(size))
        entry.zero_data = True
