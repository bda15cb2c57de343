"""Settings of jobs and their webhooks."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from fpan.serve.api.options import MAX_DEADLINE_MS
from fpan.serve.fetch.host_pattern import HostPattern
from fpan.serve.jobs.secrets import HOW, read_secret, read_webhook_secret
from fpan.serve.setting_types import (
    Address,
    ComponentSettings,
    Count,
    Positive,
    RedisUrl,
    Seconds,
    Words,
    http_address,
    refused,
)


class JobSettings(ComponentSettings):
    """Where jobs and their pictures are kept, what runs them, and which webhooks are sent when they end."""

    redis_jobs_url: RedisUrl = SecretStr("")
    """Redis that keeps jobs; it must not evict (docs/how-to/jobs.md). Empty switches jobs off."""
    jobs_secret: SecretStr = SecretStr("")
    """Encrypts inputs and results of jobs: 32 bytes in base64, the same for all gateways and workers of one Redis. Make
    one with: openssl rand -base64 32"""
    jobs_store: Address | None = None
    """Where inputs and results of jobs lie, encrypted: a folder, or s3://BUCKET/PREFIX. Without it, in that Redis."""
    jobs_redis_bytes: Positive = 512 * 2**20
    """Memory that this Redis may have in use, in bytes, while pictures of another job may still be put there."""
    max_job_images: Positive = 1000
    """Pictures of one job."""
    max_job_bytes: Positive = 256 * 2**20
    """Largest body of a job in bytes; each of its pictures may have ``max_body_bytes``."""
    job_body_timeout_s: Seconds = 600
    """How long the body of a job may take to arrive, in seconds."""
    max_jobs: Positive = 1000
    """Jobs that may wait or run; more are refused with 429."""
    job_workers: Count = 1
    """Jobs that this process runs at once; 0 leaves them to ``fpan worker``."""
    worker_gateway_url: Annotated[str, BeforeValidator(http_address)] = ""
    """Address of the gateway by which ``fpan worker`` parses, behind everybody else there; empty: it loads the networks
    itself."""
    job_lease_s: Seconds = 30
    """How long nothing is heard of a worker until another takes over its job, in seconds."""
    job_attempts: Positive = 5
    """Workers that may die over a job until it fails."""
    job_picture_timeout_s: Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS / 1000)] = 300
    """Time that a picture of a job may take whose options name no ``deadline_ms``, in seconds."""
    job_input_ttl_s: Seconds = 24 * 3600
    """How long a job may wait and run until it fails and its pictures are deleted, in seconds."""
    job_result_ttl_s: Seconds = 24 * 3600
    """How long the result of a job is kept, in seconds."""
    job_record_ttl_s: Seconds = 7 * 24 * 3600
    """How long it is known what became of a job, and its ``Idempotency-Key``, in seconds."""
    job_sweep_s: Seconds = 15
    """How often what has been kept long enough is looked for, in seconds."""
    job_heartbeat_s: Seconds = 15
    """How often ``/v1/jobs/{id}/events`` says something when there is nothing to say, in seconds."""
    webhook_hosts: Annotated[tuple[HostPattern, ...], *Words] = ()
    """Hosts, with commas, that may be told of the end of jobs, as those of ``url_hosts``. Empty: none is told."""
    webhook_secret: SecretStr = SecretStr("")
    """Signs what is told of the end of jobs (Standard Webhooks): base64 of 24 bytes or more, with or without
    ``whsec_``. Empty: a job may name no ``webhook``."""
    webhook_attempts: Positive = 12
    """Tries to tell of the end of a job until it is given up; the last come an hour apart."""
    webhook_timeout_s: Seconds = 10
    """How long one try may take, in seconds."""
    webhook_concurrency: Positive = 8
    """Hosts that are told of the end of jobs at the same time, each of one job."""

    @field_validator("jobs_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            read_secret(value.get_secret_value())
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            read_webhook_secret(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _pictures_are_encrypted(self) -> Self:
        if self.redis_jobs_url.get_secret_value() and not self.jobs_secret.get_secret_value():
            why = f"REDIS_JOBS_URL switches jobs on, and their pictures are encrypted with it: {HOW}"
            raise refused("jobs_secret", self.jobs_secret, why)
        return self
