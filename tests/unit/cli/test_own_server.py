"""What a server that lives as long as one command takes from the environment."""

from fpan.cli._server import own_environment
from fpan.serve.config import Settings
from fpan.serve.setting_types import Mark, marked

FOR_OTHERS = frozenset({
    "bind_address", "port", "grpc_port", "auth", "keys_file", "files_poll_s", "tls_certificate", "tls_key",
    "tls_client_ca",
    "metrics_port", "metrics_address", "cors_origins", "v2_models", "v2_max_json_bytes",
    "registry_poll_s", "shadow_share", "shadow_queue", "drift_window_faces", "drift_min_faces",
    "watch_window_s", "watch_min_requests", "watch_error_rate", "watch_latency_ratio", "watch_latency_floor_ms",
    "watch_champion_s",
    "redis_cache_url", "redis_jobs_url", "redis_timeout_ms", "redis_retry_s", "rate_limit_per_minute",
    "cache_key", "cache_ttl_s", "cache_max_value_bytes", "cache_per_account",
    "url_hosts", "url_private_networks", "url_timeout_s", "max_url_redirects",
    "max_batch_images", "max_batch_bytes", "batch_concurrency",
    "jobs_secret", "jobs_store", "jobs_redis_bytes", "max_job_images", "max_job_bytes", "max_jobs",
    "job_body_timeout_s", "job_workers", "job_lease_s", "job_attempts", "job_picture_timeout_s",
    "job_input_ttl_s", "job_result_ttl_s", "job_record_ttl_s", "job_sweep_s", "job_heartbeat_s",
    "worker_gateway_url", "worker_metrics_port",
    "trusted_proxies", "allowed_hosts", "max_background_concurrency", "max_job_uploads", "max_event_streams",
    "max_grpc_streams", "grpc_stream_timeout_s", "send_timeout_s", "drain_delay_s", "webhook_concurrency",
    "webhook_hosts", "webhook_secret", "webhook_attempts", "webhook_timeout_s",
})  # fmt: skip


def test_it_is_decided_of_every_setting_whether_a_server_of_ones_own_takes_it():
    """A new setting is marked, or stands above."""
    taken = marked(Settings, Mark.FOR_ONE_COMMAND)
    assert not taken & FOR_OTHERS
    assert Settings.model_fields.keys() == taken | FOR_OTHERS


def test_what_a_server_of_others_works_on_stays_out_of_one_of_ones_own():
    shared = {"REDIS_JOBS_URL": "redis://prod", "job_workers": "4", "RATE_LIMIT_PER_MINUTE": "1", "URL_HOSTS": "*"}
    mine = {"RUNTIME": "onnxruntime", "MODEL_REPOSITORY": "models", "PATH": "/bin", "AWS_PROFILE": "me"}
    assert own_environment({**shared, **mine}) == mine
