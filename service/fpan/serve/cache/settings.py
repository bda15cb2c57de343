"""Settings of the cache of answers."""

from pydantic import SecretStr, field_validator

from fpan.serve.setting_types import ComponentSettings, Positive, RedisUrl, Seconds

MIN_KEY_CHARACTERS = 16


class CacheSettings(ComponentSettings):
    """Where answers are kept, for how long and for whom."""

    redis_cache_url: RedisUrl = SecretStr("")
    """Redis (redis://, rediss:// or unix://) that keeps answers and counts for rate limits; may evict. Empty: none."""
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

    @field_validator("cache_key")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_KEY_CHARACTERS:
            raise ValueError(f"a secret of fewer than {MIN_KEY_CHARACTERS} characters can be guessed")
        return value
