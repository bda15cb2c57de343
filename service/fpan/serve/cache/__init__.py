"""Answers that need not be computed: kept in Redis, or asked for by somebody else at this moment."""
