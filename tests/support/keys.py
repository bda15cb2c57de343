"""API keys for tests."""

from datetime import UTC, datetime
from typing import Any

from fpan.serve.admission.keys import KeyEntry, hash_of, new_key

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def made(**members: Any) -> tuple[str, KeyEntry]:
    """A key that may parse, and its entry."""
    identity, key = new_key()
    entry = {"id": identity, "name": "test", "sha256": hash_of(key), "scopes": ["parse"], "created": NOW, **members}
    return key, KeyEntry(**entry)
