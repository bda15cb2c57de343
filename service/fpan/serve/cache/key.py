"""Cache keys: a keyed hash of everything that an answer depends on."""

import asyncio
import dataclasses
import hashlib
import hmac
import json
from typing import Any
from weakref import WeakKeyDictionary

import fpan
from fpan.contract import ModelCard
from fpan.serve.api.context import RequestContext
from fpan.serve.api.parse import ParseRequest
from fpan.serve.cache.secret import Secret
from fpan.serve.pipeline.segment.routing import ModelRouter, RoutingTable, Segmenter
from fpan.serve.setting_types import ComponentSettings, Mark, marked

_HERE_BYTES = 256 * 1024
"""Largest picture in bytes that is hashed on the event loop (about 0.2 ms): handing it to a thread costs as much."""
_NOT_ANSWERED = ("deadline_ms",)
"""Options that an answer does not depend on."""
_CHOOSES = ("model",)
"""Options that only choose a model version; the version itself is part of the key."""


class AnswerKeys:
    """Computes cache keys. Two requests have the same key if and only if their answers are the same and may be shared
    between their callers.
    """

    def __init__(
        self, secret: Secret, settings: ComponentSettings, model_router: ModelRouter, *, per_account: bool
    ) -> None:
        """Makes one of its parts.

        Args:
            secret: key of the hashes; without it a cache key does not reveal the request.
            settings: settings of all components; those with the mark ``CHANGES_ANSWERS`` are part of every key.
            model_router: chooses the model version that answers.
            per_account: whether an answer is used only for the account that sent the first request
                (``cache_per_account``).
        """
        self._pictures = secret.derived("pictures")
        self._names = secret.derived("names of answers")
        self._model_router = model_router
        self._told: WeakKeyDictionary[RoutingTable, dict[int, bytes]] = WeakKeyDictionary()
        rules = {name: getattr(settings, name) for name in marked(type(settings), Mark.CHANGES_ANSWERS)}
        self._is_per_account = per_account
        self._rules = _json({"package": fpan.__version__, **rules})

    async def digest(self, data: bytes) -> bytes:
        """Returns the keyed hash of a picture's file, 32 bytes. Large files are hashed in a thread."""
        if len(data) <= _HERE_BYTES:
            return hmac.digest(self._pictures, data, "sha256")
        return await asyncio.to_thread(hmac.digest, self._pictures, data, "sha256")

    def answering(self, request: ParseRequest, context: RequestContext) -> bytes:
        """Returns a hash, 32 bytes, of the model version that would answer this caller now and of the settings.

        Raises:
            NotFound: the requested model is not served.
        """
        routing_table = self._model_router.now
        segmenter = routing_table.segmenter(request.options.model, context.caller)
        told = self._told.setdefault(routing_table, {})
        if id(segmenter) not in told:  # the routing table keeps the segmenter alive, so its id is not reused
            told[id(segmenter)] = self._identity(segmenter, routing_table.finder)
        return told[id(segmenter)]

    def name(self, digest: bytes, request: ParseRequest, context: RequestContext, answering: bytes) -> bytes:
        """Returns the cache key of an answer, 32 bytes.

        Args:
            digest: hash of the picture, see :meth:`digest`.
            request: the options and the encoder.
            context: the caller.
            answering: hash of the model version and settings, see :meth:`answering`.
        """
        asked = {f.name: getattr(request.options, f.name) for f in dataclasses.fields(request.options)}
        question = {name: asked[name] for name in asked if name not in (*_NOT_ANSWERED, *_CHOOSES)}
        # Without it a caller could tell from the response time whether another caller has sent the same picture.
        account = context.account if self._is_per_account else ""
        told = _json([request.encoder.kind, question, account])
        return hmac.digest(self._names, digest + answering + told, "sha256")

    def _identity(self, segmenter: Segmenter, finder: ModelCard | None) -> bytes:
        """Hashes the whole cards: besides the networks, classes and alignment change the answer."""
        cards = [segmenter.card.model_dump_json(), finder.model_dump_json() if finder else None]
        return hashlib.sha256(self._rules + _json([segmenter.alias, *cards])).digest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
