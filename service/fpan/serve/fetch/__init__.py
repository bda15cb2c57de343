"""Fetches pictures from URLs that callers send, behind a guard against requests to internal addresses."""
