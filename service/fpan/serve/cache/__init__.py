"""Cache of encoded answers: reads them from Redis, and shares one computation between identical requests."""
