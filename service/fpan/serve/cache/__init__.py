"""Answers that need not be computed: kept in Redis, or asked for by somebody else at this moment."""

from fpan.serve.cache.cache import CACHE_STATUS, AnswerCache
from fpan.serve.cache.key import AnswerKeys
from fpan.serve.cache.single_flight import SingleFlight
from fpan.serve.cache.store import AnswerStore

__all__ = ["CACHE_STATUS", "AnswerCache", "AnswerKeys", "AnswerStore", "SingleFlight"]
