"""Who may come in: keys, quotas, permits, TLS."""
