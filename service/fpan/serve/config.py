"""The gateway's settings: at once environment variables, command-line flags and documentation.

Only what starts a process reads them here; each component takes the class of its own that is composed here.
"""

from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fpan.serve.admission.settings import AdmissionSettings
from fpan.serve.cache.settings import CacheSettings
from fpan.serve.fetch.settings import FetchSettings
from fpan.serve.inference.settings import InferenceSettings
from fpan.serve.jobs.settings import JobSettings
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.rollout.settings import RolloutSettings
from fpan.serve.telemetry.settings import TelemetrySettings
from fpan.serve.transport_settings import TransportSettings, check_body_fits


class Settings(
    BaseSettings,  # fields are listed from the last class to the first
    TelemetrySettings,
    JobSettings,
    FetchSettings,
    CacheSettings,
    RolloutSettings,
    InferenceSettings,
    PipelineSettings,
    AdmissionSettings,
    TransportSettings,
):
    """Every setting is an environment variable of its own name in capitals and a flag of ``fpan serve``."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        env_ignore_empty=True,
    )

    @property
    def needs_keys(self) -> bool:
        """Whether callers need an API key."""
        return self.needs_keys_at(self.bind_address)

    @model_validator(mode="after")
    def _largest_job_fits(self) -> Self:
        check_body_fits(self, "max_job_bytes", self.max_job_bytes)
        return self
