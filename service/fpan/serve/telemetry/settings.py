"""Settings of logs and metrics."""

from typing import Annotated, Literal

from pydantic import Field

from fpan.serve.setting_types import ComponentSettings, Mark, Port


class TelemetrySettings(ComponentSettings):
    """What is logged, and where metrics are read."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Mark.FOR_ONE_COMMAND] = "info"
    """Least severity that is logged."""
    metrics_port: Port | None = None
    """Port of ``/metrics`` alone, in plain HTTP and without keys; the port of HTTP has it on loopback only."""
    metrics_address: str = "127.0.0.1"
    """Address that ``metrics_port``, and ``worker_metrics_port`` of ``fpan worker``, listens on."""
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on which ``fpan worker`` has metrics for Prometheus; 0 for none. A gateway has them at ``/metrics``."""
