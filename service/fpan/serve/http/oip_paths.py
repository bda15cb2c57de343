"""Where the Open Inference Protocol is, for those who meet a request before its route does."""

import re

PREFIX = "/v2"
_INFERENCE = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer")


def is_oip(path: str) -> bool:
    """Whether a path belongs to the protocol: its errors look otherwise."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def is_inference(path: str) -> bool:
    """Whether a path is one where a network computes."""
    return _INFERENCE.fullmatch(path) is not None
