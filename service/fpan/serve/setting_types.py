"""What settings are made of: their base class, types of values, and marks of what else is known of a setting."""

import ipaddress
from enum import Enum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import InitErrorDetails
from pydantic_settings import NoDecode
from redis.asyncio.connection import parse_url

from fpan.storage.objects import is_remote

ANY_ORIGIN = "*"


class ComponentSettings(BaseModel):
    """Base of the settings of one component. Each field has a unit in its name, a default, and a docstring, which is
    the help of its flag; :mod:`fpan.serve.config` reads them all from the environment.
    """

    model_config = ConfigDict(use_attribute_docstrings=True, validate_default=True)


class Mark(Enum):
    """What else is known of a setting, in the metadata of its field."""

    CHANGES_ANSWERS = "changes answers"
    """Answers depend on it: it is part of the key under which they are cached."""
    FOR_ONE_COMMAND = "for one command"
    """A server that lives as long as one command and answers it alone takes it from the environment: networks, what
    computes them, and limits of pictures. All else is meant for a server of others: their jobs, keys, quotas, origins.
    """


def marked(settings: type[BaseModel], mark: Mark) -> frozenset[str]:
    """The names of the settings of a class that have a mark."""
    return frozenset(name for name, field in settings.model_fields.items() if mark in field.metadata)


def refused(setting: str, value: object, why: str) -> ValidationError:
    """The error of one setting, to be raised by a check that compares several.

    Args:
        setting: name of the field that is to be changed.
        value: of the field.
        why: a sentence. It names the other settings as environment variables.
    """
    details = InitErrorDetails(type="value_error", loc=(setting,), input=value, ctx={"error": ValueError(why)})
    return ValidationError.from_exception_data("settings", [details])


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` is reached from its own machine alone; False where that is not sure."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def origin(value: object) -> str:
    """An origin as browsers send it (RFC 6454), or ``*``.

    Raises:
        ValueError: it is none.
    """
    told = str(value).rstrip("/")
    parts = urlsplit(told)
    plain = parts.scheme in ("http", "https") and parts.hostname and told == f"{parts.scheme}://{parts.netloc}"
    if told != ANY_ORIGIN and (not plain or "@" in parts.netloc):
        raise ValueError(f"{told!r} is no origin: write https://HOST or https://HOST:PORT")
    return told.lower()


def http_address(value: object) -> str:
    """The address of a server over HTTP, or empty for none.

    Raises:
        ValueError: it is none.
    """
    told = str(value)
    parts = urlsplit(told)
    if told and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError(f"{told!r} is no address: write http://HOST:PORT or https://HOST")
    return told


def _redis_url(value: SecretStr) -> SecretStr:
    try:
        if address := value.get_secret_value():
            parse_url(address)
    except ValueError:  # whose words may have a password in them
        raise ValueError(
            "this is no address of a Redis: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// or unix://"
        ) from None
    return value


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[Path | str, BeforeValidator(lambda value: str(value) if is_remote(value) else Path(value))]
"""A folder, or s3://BUCKET/PREFIX."""
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Words = (NoDecode, BeforeValidator(_words))
"""Makes a list one that is written with commas, as people write it, and not as JSON."""
