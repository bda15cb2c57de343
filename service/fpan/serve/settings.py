"""The gateway's settings: at once environment variables, command-line flags and documentation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.asyncio.connection import parse_url

from fpan.contract.card import ModelName
from fpan.serve.api.options import MAX_DEADLINE_MS
from fpan.serve.fetch.host_pattern import HostPattern
from fpan.serve.jobs.secrets import HOW, read_secret, read_webhook_secret
from fpan.serve.setting_types import http_address, is_loopback, origin
from fpan.storage.objects import is_remote

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Address = Annotated[Path | str, BeforeValidator(lambda value: str(value) if is_remote(value) else Path(value))]
Port = Annotated[int, Field(ge=1, le=65535)]
MIN_KEY_CHARACTERS = 16


FOR_ONE_COMMAND = frozenset({
    "model_repository", "golden_agreement", "segm_model", "detector_model", "detector_threshold",
    "triton_url", "backend", "runtime", "runtime_threads", "instances", "triton_start_timeout_s", "infer_timeout_s",
    "max_batch", "batch_wait_ms", "max_queue", "max_concurrency", "decode_threads", "deadline_ms",
    "drain_timeout_s", "log_level",
    "background_concurrency", "background_batch", "background_pause_ms", "background_wait_s",
    "max_body_bytes", "max_bodies_bytes", "body_timeout_s", "max_pixels", "max_pixels_in_flight", "max_faces",
    "max_face_pixels", "max_alpha_bytes", "max_outline_steps", "polygon_tolerance_px",
    "redact_detector_threshold", "redact_cells", "redact_margin", "redact_min_confidence", "redact_min_share",
})  # fmt: skip
"""What a server takes from the environment that lives as long as one command and answers it alone: networks, what
computes them, and limits of pictures. All else is meant for a server of others: their jobs, keys, quotas, origins."""


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = (NoDecode, BeforeValidator(_words))
"""Makes a list one that is written with commas, as people write it, and not as JSON."""


class Settings(BaseSettings):
    """Every setting is an environment variable of its own name in capitals and a flag of ``fpan serve``."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        env_ignore_empty=True,
    )

    bind_address: str = "127.0.0.1"
    """Address that HTTP and gRPC listen on. Not called ``host``: shells and compilers export a HOST of their own."""
    port: Port = 8000
    """Port of HTTP."""
    grpc_port: Port = 50051
    """Port of gRPC."""
    model_repository: Address = Path("model_repository")
    """The model repository: a folder, or s3://BUCKET/PREFIX, from which what is served is fetched."""
    registry_poll_s: Seconds = 0.5
    """How often the aliases in the model repository are read, in seconds; what they name is brought into traffic."""
    golden_agreement: Annotated[float, Field(ge=0, le=1)] = 0.995
    """Least share of the pixels of a version's golden pictures that must have the right label before it may answer."""
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the requests whose crops go to the version that is shadow too, once the champion has answered."""
    shadow_queue: Positive = 32
    """Crops that may wait for the shadow; those beyond are not compared."""
    watch_window_s: Seconds = 600
    """How far back the requests go by which a challenger or a new champion is judged, in seconds."""
    watch_min_requests: Positive = 50
    """Requests within the window without which nothing is judged."""
    watch_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Errors of a version, as a share of its requests and beyond those of the version before, that take it back."""
    watch_latency_ratio: Annotated[float, Field(ge=1)] = 2.0
    """Time of a crop (95th percentile), as a multiple of the version's before, that takes a version back."""
    watch_latency_floor_ms: Annotated[float, Field(ge=0)] = 20.0
    """How much longer a crop must take besides for a version to be too slow, in milliseconds."""
    watch_champion_s: Seconds = 600
    """How long a new champion is judged beside the former, in seconds."""
    segm_model: str = "segm"
    """Name of the segmentation model that answers when a request names none."""
    detector_model: str = "detector"
    """Name of the face detector in the model repository."""
    triton_url: str = ""
    """gRPC address (HOST:PORT) of an external Triton; empty starts the embedded one."""
    backend: Literal["auto", "triton", "in-process"] = "auto"
    """Where networks run without ``TRITON_URL``: ``auto`` takes the embedded Triton where it can run."""
    runtime: Literal["onnxruntime", "openvino"] = "openvino"
    """What computes inside the embedded Triton and in process."""
    runtime_threads: Positive = 2
    """Threads of each network."""
    instances: Positive = 1
    """Batches of each network that are computed at once, each with ``runtime_threads`` threads."""
    triton_start_timeout_s: Seconds = 60
    """How long the embedded Triton may take to start, in seconds."""
    infer_timeout_s: Seconds = 30
    """How long one inference may take, in seconds."""
    max_batch: Positive = 8
    """Crops that go to the network at once."""
    batch_wait_ms: Annotated[float, Field(ge=0)] = 2.0
    """How long a crop waits for company while others are being computed, in milliseconds."""
    max_queue: Positive = 512
    """Crops that may wait; more are refused with 429."""
    max_concurrency: Positive = 64
    """Requests that are handled at once; more are refused with 429."""
    max_body_bytes: Positive = 32 * 2**20
    """Largest request body in bytes."""
    body_timeout_s: Seconds = 60
    """How long a request's body may take to arrive, in seconds."""
    max_pixels: Positive = 64_000_000
    """Largest picture in pixels, told from its header before it is decoded."""
    max_faces: Positive = 100
    """Faces of a picture that are parsed, the largest first; a request may ask for fewer."""
    max_face_pixels: Positive = 256_000_000
    """Pixels of the windows of all faces of a picture together; a picture may not ask for more."""
    detector_threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least detector score of a face."""
    max_alpha_bytes: Positive = 256 * 2**20
    """Bytes of the soft masks of all faces of a picture together: pixels of the faces' windows times classes."""
    polygon_tolerance_px: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How far outlines of ``polygons`` may run from the true border where a request names no ``tolerance``: pixels."""
    max_outline_steps: Positive = 500_000
    """Sides of pixels that the outlines of one answer may follow; a label map with longer borders is refused."""
    redact_detector_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least detector score of a face for ``redact``, lower than ``detector_threshold``: rather a shoe is covered than a
    face left."""
    redact_cells: Positive = 6
    """How many cells of one colour each are left across a face that is blurred or pixelated."""
    redact_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """How far beyond the mask, or the face's box, ``redact`` covers, as a share of the face's side."""
    redact_min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least mean confidence of a mask that ``redact`` trusts; a face with a lower one is covered by its whole box."""
    redact_min_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of a face's box that its mask must fill to be trusted where whole faces are redacted."""
    drift_window_faces: Positive = 2000
    """Newest faces of each version that are compared with the reference in its card."""
    drift_min_faces: Annotated[int, Field(gt=0, validate_default=True)] = 300
    """Fewest faces that are compared; with less, chance alone looks like drift."""
    decode_threads: Positive = 2
    """Pictures that are decoded or encoded at once."""
    deadline_ms: Positive = 30_000
    """Time a request may take when it names no ``deadline_ms`` of its own, in milliseconds."""
    drain_timeout_s: Seconds = 20
    """How long running requests may go on after SIGTERM, in seconds."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    v2_models: Annotated[tuple[ModelName, ...], *Words] = ()
    """Models, with commas, that answer to the Open Inference Protocol at ``/v2``; none turns it off."""
    v2_max_json_bytes: Positive = 8 * 2**20
    """Largest JSON of an inference at ``/v2`` in bytes; larger tensors are sent in binary."""

    redis_cache_url: SecretStr = SecretStr("")
    """Redis (redis://, rediss:// or unix://) that keeps answers and counts for rate limits; may evict. Empty: none."""
    redis_jobs_url: SecretStr = SecretStr("")
    """Redis that keeps jobs; it must not evict (docs/how-to/jobs.md). Empty switches jobs off."""
    redis_timeout_ms: Positive = 100
    """How long a request waits for ``redis_cache_url``, in milliseconds; then it goes on without it."""
    redis_retry_s: Seconds = 2.0
    """How often is tried whether a Redis that failed answers again, in seconds; until then it is not asked."""
    cache_key: SecretStr = SecretStr("")
    """Secret of 16 characters or more by which cached answers are named and encrypted. Gateways with the same one share
    answers and rate limits; empty makes up one at each start, so that nothing is shared."""
    cache_ttl_s: Positive = 3600
    """How long an answer is kept, in seconds."""
    cache_max_value_bytes: Positive = 2**20
    """Largest answer that is kept, in bytes once compressed."""
    cache_per_account: bool = True
    """Whether kept and shared answers are for the key, or the address, that asked first, so that nobody can find out
    what others have sent. Off, all callers share them."""
    rate_limit_per_minute: Annotated[int, Field(ge=0)] = 0
    """Requests that one caller may make in a minute; more are refused with 429. 0: any number."""

    @field_validator("redis_cache_url", "redis_jobs_url")
    @classmethod
    def _of_a_redis(cls, value: SecretStr) -> SecretStr:
        try:
            if address := value.get_secret_value():
                parse_url(address)
        except ValueError:  # whose words may have a password in them
            raise ValueError(
                "this is no address of a Redis: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// or unix://"
            ) from None
        return value

    @field_validator("cache_key")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_KEY_CHARACTERS:
            raise ValueError(f"a secret of fewer than {MIN_KEY_CHARACTERS} characters can be guessed")
        return value

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
    metrics_port: Port | None = None
    """Port of ``/metrics`` alone, in plain HTTP and without keys; the port of HTTP has it on loopback only."""
    metrics_address: str = "127.0.0.1"
    """Address that ``metrics_port``, and ``worker_metrics_port`` of ``fpan worker``, listens on."""
    cors_origins: Annotated[tuple[Annotated[str, BeforeValidator(origin)], ...], *Words] = ()
    """Origins, with commas, whose pages may call this server from a browser: https://app.example.com, or *."""
    max_pixels_in_flight: Annotated[int, Field(gt=0, validate_default=True)] = 256_000_000
    """Pixels of all decoded pictures together, 5 bytes each, 14 in decoding; what finds no room waits for it."""
    url_hosts: Annotated[tuple[HostPattern, ...], *Words] = ()
    """Hosts, with commas, that pictures may be fetched from: images.example.com, *.example.com, HOST:PORT, or
    http://HOST where it has no TLS. Empty: no picture is fetched."""
    url_private_networks: Annotated[tuple[IPvAnyNetwork, ...], *Words] = ()
    """Networks, with commas, that hosts of ``url_hosts`` and ``webhook_hosts`` may be in although they are not public:
    10.20.0.0/16."""
    url_timeout_s: Seconds = 10
    """How long a picture may take to be fetched, in seconds, redirects included."""
    max_url_redirects: Annotated[int, Field(ge=0)] = 3
    """Redirects that are followed for a picture, each to a host that is allowed too."""

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach the ports."""
        return is_loopback(self.bind_address)

    @property
    def needs_keys(self) -> bool:
        """Whether callers need an API key."""
        return self.auth == "required" or (self.auth == "auto" and not (self.loopback and self.keys_file is None))

    max_batch_images: Positive = 64
    """Pictures of one ``/v1/parse/batch``."""
    max_batch_bytes: Positive = 64 * 2**20
    """Largest body of a ``/v1/parse/batch`` in bytes; each of its pictures may have ``max_body_bytes``."""
    batch_concurrency: Positive = 4
    """Pictures of one ``/v1/parse/batch`` that are in work at once."""
    background_concurrency: Positive = 1
    """Pictures of jobs, and of callers who would rather wait (``Priority: u=7``), that are in work at once."""
    background_batch: Positive = 1
    """Crops of background work that go to a network at once: others must wait for such a batch. More pays on a GPU."""
    background_pause_ms: Annotated[float, Field(ge=0)] = 50.0
    """How long a network stays free for others once it has answered them, in milliseconds: looking for the faces of a
    photo asks it several times in turn."""
    background_wait_s: Seconds = 1.0
    """How long background work may be kept waiting before one crop of it goes first all the same, in seconds."""
    jobs_secret: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
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
    max_bodies_bytes: Annotated[int, Field(gt=0, validate_default=True)] = 2**30
    """Bytes that the bodies of all HTTP requests may have in memory together; what comes beyond is refused with 429."""
    job_body_timeout_s: Seconds = 600
    """How long the body of a job may take to arrive, in seconds."""
    max_jobs: Positive = 1000
    """Jobs that may wait or run; more are refused with 429."""
    job_workers: Annotated[int, Field(ge=0)] = 1
    """Jobs that this process runs at once; 0 leaves them to ``fpan worker``."""
    worker_gateway_url: Annotated[str, BeforeValidator(http_address)] = ""
    """Address of the gateway by which ``fpan worker`` parses, behind everybody else there; empty: it loads the networks
    itself."""
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on which ``fpan worker`` has metrics for Prometheus; 0 for none. A gateway has them at ``/metrics``."""
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

    max_grpc_streams: Positive = 64
    """Streams of gRPC that need no key and may be open at once: watched health, reflection."""
    grpc_stream_timeout_s: Seconds = 3600
    """How long one of these streams may be open, in seconds; whoever still watches begins anew."""
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], *Words] = ()
    """Addresses or networks, with commas, of proxies whose ``X-Forwarded-For`` HTTP believes: 10.0.0.7, 10.1.0.0/16.
    Empty: a caller's address is that of its connection."""
    max_background_concurrency: Annotated[int, Field(ge=0)] = 0
    """Requests of callers who would rather wait (``Priority: u=7``) that are handled at once, of ``max_concurrency``;
    more are refused with 429. 0: a quarter of those."""
    max_job_uploads: Positive = 16
    """Jobs that are being handed in at once, beside ``max_concurrency``; more are refused with 429."""
    max_event_streams: Positive = 32
    """Streams of ``/v1/jobs/{id}/events`` that one caller may have open; more are refused with 429."""
    send_timeout_s: Seconds = 60
    """How long a caller may take to read a piece of an answer, in seconds; then its connection is dropped."""
    allowed_hosts: Annotated[tuple[str, ...], *Words] = ()
    """Names, with commas, that this server may be called by in HTTP (``Host``), or *. Empty: on loopback without keys
    localhost, 127.0.0.1, [::1] and ``bind_address``, so that no page reaches it by a name of its own; elsewhere any."""
    drain_delay_s: Annotated[float, Field(ge=0)] = 0
    """How long the ports stay open after SIGTERM, in seconds, telling that the server is not ready and takes nothing
    new: until those who send it requests have heard of it. A second signal cuts it short."""

    @field_validator("jobs_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr, others: ValidationInfo) -> SecretStr:
        redis = others.data.get("redis_jobs_url")
        if value.get_secret_value():
            read_secret(value.get_secret_value())
        elif redis is not None and redis.get_secret_value():
            raise ValueError(f"REDIS_JOBS_URL switches jobs on, and their pictures are encrypted with it: {HOW}")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            read_webhook_secret(value.get_secret_value())
        return value

    @field_validator("drift_min_faces")
    @classmethod
    def _within_the_window(cls, value: int, others: ValidationInfo) -> int:
        window = others.data.get("drift_window_faces", value)  # missing where it is refused itself
        if value > window:
            raise ValueError(f"{value} faces are more than the {window} of DRIFT_WINDOW_FACES: lower it too")
        return value

    @field_validator("max_pixels_in_flight")
    @classmethod
    def _room_for_the_largest(cls, value: int, others: ValidationInfo) -> int:
        largest = others.data.get("max_pixels", value)
        if value < largest:
            raise ValueError(f"a picture of {largest} pixels, which MAX_PIXELS allows, would never fit into {value}")
        return value

    @field_validator("max_bodies_bytes")
    @classmethod
    def _room_for_the_largest_body(cls, value: int, others: ValidationInfo) -> int:
        for name in ("max_body_bytes", "max_batch_bytes", "max_job_bytes"):
            if value < (largest := others.data.get(name, value)):
                raise ValueError(
                    f"a body of {largest} bytes, which {name.upper()} allows, would never fit into {value}"
                )
        return value
