"""How an API key is made and hashed: ``fpan_ID_SECRET``."""

import hashlib
import re
import secrets

PREFIX = "fpan"
_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(rf"{PREFIX}_([0-9a-z]{{1,32}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")


def new_key() -> tuple[str, str]:
    """A key's id and the key itself, with 256 random bits in it."""
    identity = secrets.token_hex(_ID_BYTES)
    return identity, f"{PREFIX}_{identity}_{secrets.token_hex(_SECRET_BYTES)}"


def id_of(key: str) -> str | None:
    """The id within a key; None where it is no key."""
    match = _KEY.fullmatch(key)
    return match and match[1]


def hash_of(key: str) -> str:
    """SHA-256 of the whole key, as hexadecimal digits.

    Slow hashes (argon2, bcrypt) and salts are for passwords, which can be guessed. 256 random bits cannot, so one fast
    hash is as good, and can be computed for every request. The id is hashed with the secret, so that a hash moved to
    another entry of the file opens nothing.
    """
    return hashlib.sha256(key.encode("ascii")).hexdigest()
