"""Objects in a bucket that speaks S3, by folder and path; whole or not at all, and under conditions.

An object store has no locks, but conditions: If-None-Match puts an object only where there is none, If-Match replaces
the very object that was read. The addresses and keys of the store are those of the AWS tools: ``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID`` and so on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fpan.contract import RepositoryError
from fpan.extras import how_to_install

SCHEME = "s3://"
_CHUNK_BYTES = 1 << 20
_LOST = ("PreconditionFailed", "ConditionalRequestConflict")
_MISSING = ("NoSuchKey", "404")


def is_remote(address: Path | str) -> bool:
    """Whether an address is that of an object store."""
    return str(address).startswith(SCHEME)


@dataclass(frozen=True)
class StoredObject:
    """An object below a folder."""

    path: str
    """Below the folder, such as ``2/card.json``."""
    size: int
    """In bytes."""
    written: datetime


class ConditionFailed(Exception):
    """Another writer was faster."""


class Bucket:
    """What lies at ``s3://BUCKET/PREFIX``. All methods raise RepositoryError if the store fails."""

    def __init__(self, address: str) -> None:
        """Opens it; connects when first used.

        Raises:
            RepositoryError: the address names no bucket, or the extra ``[s3]`` is not installed.
        """
        try:
            import boto3
            import botocore.exceptions
        except ModuleNotFoundError as error:
            missing = f"{address} needs {error.name}, which is not installed here"
            raise RepositoryError(f"{missing}: {how_to_install('s3')}") from error
        place = address.removeprefix(SCHEME).rstrip("/")
        self.address = SCHEME + place
        """``s3://BUCKET/PREFIX``."""
        self._bucket, _, prefix = place.partition("/")
        if not self._bucket:
            raise RepositoryError(f"{address!r} names no bucket: write {SCHEME}BUCKET or {SCHEME}BUCKET/PREFIX")
        self._prefix = f"{prefix}/" if prefix else ""
        self._refused: type[Exception] = botocore.exceptions.ClientError
        self._failed: type[Exception] = botocore.exceptions.BotoCoreError
        with self._told():
            self._client: Any = boto3.client("s3")

    def folders(self) -> list[str]:
        """Folders below which there is an object, sorted."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
            return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in prefixes)

    def get(self, folder: str, path: str) -> tuple[bytes | None, str]:
        """An object and its ETag; None where there is no such object."""
        with self._told():
            found = self._body(folder, path)
            return (None, "") if found is None else (found["Body"].read(), found["ETag"])

    def put(self, folder: str, path: str, body: bytes | Path, **condition: str) -> str:
        """Puts an object where ``condition`` (``IfMatch``, ``IfNoneMatch``) holds, and returns its ETag.

        Raises:
            ConditionFailed: it does not hold.
        """
        with self._told():
            if isinstance(body, Path):
                with body.open("rb") as file:
                    return self._put(folder, path, file, condition)
            return self._put(folder, path, body, condition)

    def delete(self, folder: str, path: str) -> None:
        """Deletes an object."""
        with self._told():
            self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}{folder}/{path}")

    def below(self, folder: str) -> list[StoredObject]:
        """All objects of a folder."""
        prefix = f"{self._prefix}{folder}/"
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [
                StoredObject(each["Key"].removeprefix(prefix), each["Size"], each["LastModified"])
                for page in pages
                for each in page.get("Contents", ())
            ]

    def _put(self, folder: str, path: str, body: Any, condition: dict[str, str]) -> str:
        key = f"{self._prefix}{folder}/{path}"
        try:
            return str(self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition)["ETag"])
        except self._refused as error:
            if _code(error) in _LOST:
                raise ConditionFailed from error
            raise

    def _body(self, folder: str, path: str) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{folder}/{path}")
        except self._refused as error:
            if _code(error) in _MISSING:
                return None
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns errors of the store and of files into RepositoryError."""
        try:
            yield
        except (self._refused, self._failed) as error:
            raise RepositoryError(f"{self.address}: {error}") from error
        except OSError as error:
            raise RepositoryError(f"{error.filename or self.address}: {error.strerror or error}") from error

    def chunks(self, folder: str, path: str) -> Iterator[bytes] | None:
        """An object piece by piece; None where there is none."""
        with self._told():
            found = self._body(folder, path)
        return None if found is None else self._chunks(found)

    def _chunks(self, found: Any) -> Iterator[bytes]:
        with self._told():
            yield from found["Body"].iter_chunks(_CHUNK_BYTES)


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
