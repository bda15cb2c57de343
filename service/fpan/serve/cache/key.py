"""Under which name an answer is kept: all that it depends on, hashed with a secret."""

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
"""Largest picture that is hashed on the event loop (0.2 ms or so): a thread costs as much."""
_NOT_ANSWERED = ("deadline_ms",)
"""Options that an answer does not depend on."""
_CHOOSES = ("model",)
"""Options that only choose a version, which is in the name itself."""


class AnswerKeys:
    """Names for the answers to questions; two questions have the same one if and only if their answers are the same,
    and may be known to be.
    """

    def __init__(
        self, secret: Secret, settings: ComponentSettings, model_router: ModelRouter, *, per_account: bool
    ) -> None:
        """Takes what it needs.

        Args:
            secret: without it nobody can tell from a name what was asked.
            settings: of all components, in one; those that are marked to change answers are in every name.
            model_router: who answers.
            per_account: whether answers are for the account that asked first (``cache_per_account``).
        """
        self._pictures = secret.derived("pictures")
        self._names = secret.derived("names of answers")
        self._model_router = model_router
        self._told: WeakKeyDictionary[RoutingTable, dict[int, bytes]] = WeakKeyDictionary()
        rules = {name: getattr(settings, name) for name in marked(type(settings), Mark.CHANGES_ANSWERS)}
        self._is_per_account = per_account
        self._rules = _json({"package": fpan.__version__, **rules})

    async def digest(self, data: bytes) -> bytes:
        """The keyed hash of a picture's file, 32 bytes. Reading a large one takes a thread."""
        if len(data) <= _HERE_BYTES:
            return hmac.digest(self._pictures, data, "sha256")
        return await asyncio.to_thread(hmac.digest, self._pictures, data, "sha256")

    def answering(self, request: ParseRequest, context: RequestContext) -> bytes:
        """Who would answer this caller now, and by which rules: 32 bytes.

        Raises:
            NotFound: the model that is asked for is not served.
        """
        routing_table = self._model_router.now
        segmenter = routing_table.segmenter(request.options.model, context.caller)
        told = self._told.setdefault(routing_table, {})
        if id(segmenter) not in told:  # the routing table keeps it, so that no other gets its id
            told[id(segmenter)] = self._identity(segmenter, routing_table.finder)
        return told[id(segmenter)]

    def name(self, digest: bytes, request: ParseRequest, context: RequestContext, answering: bytes) -> bytes:
        """The name of an answer, 32 bytes.

        Args:
            digest: of the picture, see :meth:`digest`.
            request: what is asked of it.
            context: by whom.
            answering: who answers, see :meth:`answering`.
        """
        asked = {f.name: getattr(request.options, f.name) for f in dataclasses.fields(request.options)}
        question = {name: asked[name] for name in asked if name not in (*_NOT_ANSWERED, *_CHOOSES)}
        # Else whoever has a picture could tell by the time of the answer whether somebody else has sent it.
        account = context.account if self._is_per_account else ""
        told = _json([request.encoder.kind, question, account])
        return hmac.digest(self._names, digest + answering + told, "sha256")

    def _identity(self, segmenter: Segmenter, finder: ModelCard | None) -> bytes:
        """Of the whole cards: beside the networks' sha256 an answer depends on their classes and their alignment."""
        cards = [segmenter.card.model_dump_json(), finder.model_dump_json() if finder else None]
        return hashlib.sha256(self._rules + _json([segmenter.alias, *cards])).digest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
