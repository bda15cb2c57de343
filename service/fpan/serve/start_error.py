"""Why a service does not start."""


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""
