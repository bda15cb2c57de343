"""Settings of inference."""

from typing import Annotated, Literal

from fpan.serve.setting_types import ComponentSettings, Mark, NonNegative, Positive, Seconds


class InferenceSettings(ComponentSettings):
    """What computes the networks, and how crops are batched for them."""

    triton_url: Annotated[str, Mark.FOR_ONE_COMMAND] = ""
    """gRPC address (HOST:PORT) of an external Triton; empty starts the embedded one."""
    backend: Annotated[Literal["auto", "triton", "in-process"], Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = "auto"
    """Where networks run without ``TRITON_URL``: ``auto`` takes the embedded Triton where it can run."""
    runtime: Annotated[Literal["onnxruntime", "openvino"], Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = "openvino"
    """What computes inside the embedded Triton and in process."""
    runtime_threads: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 2
    """Threads of each network."""
    instances: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 1
    """Batches of each network that are computed at once, each with ``runtime_threads`` threads."""
    triton_start_timeout_s: Annotated[Seconds, Mark.FOR_ONE_COMMAND] = 60
    """How long the embedded Triton may take to start, in seconds."""
    infer_timeout_s: Annotated[Seconds, Mark.FOR_ONE_COMMAND] = 30
    """How long one inference may take, in seconds."""
    max_batch: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 8
    """Crops that go to the network at once."""
    batch_wait_ms: Annotated[NonNegative, Mark.FOR_ONE_COMMAND] = 2.0
    """How long a crop waits for company while others are being computed, in milliseconds."""
    max_queue: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 512
    """Crops that may wait; more are refused with 429."""
    background_batch: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 1
    """Crops of background work that go to a network at once: others must wait for such a batch. More pays on a GPU."""
    background_pause_ms: Annotated[NonNegative, Mark.FOR_ONE_COMMAND] = 50.0
    """How long a network stays free for others once it has answered them, in milliseconds: looking for the faces of a
    photo asks it several times in turn."""
    background_wait_s: Annotated[Seconds, Mark.FOR_ONE_COMMAND] = 1.0
    """How long background work may be kept waiting before one crop of it goes first all the same, in seconds."""
