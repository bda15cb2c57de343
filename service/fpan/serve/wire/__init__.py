"""Requests and answers as they are written down, whoever carries them: HTTP, gRPC, a worker of jobs."""
