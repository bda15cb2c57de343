"""The gateway: HTTP and gRPC in, Triton behind. Installed by the extra ``fpan[serve]``."""
