"""Settings of admission."""

from pathlib import Path
from typing import Annotated, Literal

from fpan.serve.setting_types import ComponentSettings, Count, Mark, Positive, Seconds, is_loopback


class AdmissionSettings(ComponentSettings):
    """Who may come in, how often, and how many at once."""

    auth: Literal["auto", "required", "off"] = "auto"
    """Whether callers need an API key: ``auto`` wants one unless ``bind_address`` is this machine's own (loopback) and
    no ``keys_file`` is named."""
    keys_file: Path | None = None
    """File, or mounted Secret, with the hashes of the API keys; ``fpan keys`` writes it, and it is read again when it
    changes."""
    files_poll_s: Seconds = 1
    """How often ``keys_file`` and the files of TLS are looked at for a change, in seconds."""
    tls_certificate: Path | None = None
    """PEM file with the certificate of both ports, and what leads to its root; with it they speak TLS alone."""
    tls_key: Path | None = None
    """PEM file with the private key of ``tls_certificate``."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities whose certificates callers must show; without it they need none."""
    max_concurrency: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 64
    """Requests that are handled at once; more are refused with 429."""
    max_background_concurrency: Count = 0
    """Requests of callers who would rather wait (``Priority: u=7``) that are handled at once, of ``max_concurrency``;
    more are refused with 429. 0: a quarter of those."""
    max_job_uploads: Positive = 16
    """Jobs that are being handed in at once, beside ``max_concurrency``; more are refused with 429."""
    max_event_streams: Positive = 32
    """Streams of ``/v1/jobs/{id}/events`` that one caller may have open; more are refused with 429."""
    rate_limit_per_minute: Count = 0
    """Requests that one caller may make in a minute; more are refused with 429. 0: any number."""

    def needs_keys_at(self, bind_address: str) -> bool:
        """Whether callers of a server that listens on ``bind_address`` need an API key."""
        open_to_all = is_loopback(bind_address) and self.keys_file is None
        return self.auth == "required" or (self.auth == "auto" and not open_to_all)
