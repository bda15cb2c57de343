"""Where the Open Inference Protocol is, for those who meet a request before its route does."""

PREFIX = "/v2"


def is_oip(path: str) -> bool:
    """Whether a path belongs to the protocol: its errors look otherwise."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
