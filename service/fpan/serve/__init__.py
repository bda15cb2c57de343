"""The gateway: HTTP and gRPC in, Triton behind. Installed by the extra ``fpan[serve]``."""

import os

# Read when gRPC is imported. It would log what callers do to their connections, with their addresses and their bytes.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
