"""Requests in, answers out: HTTP and gRPC."""
