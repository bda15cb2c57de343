"""What can go wrong on the way to a plan."""


class EngineError(Exception):
    """No plan was made; ``str()`` says why and what to do. One that was there before is as it was."""


class NoTool(EngineError):
    """A program of NVIDIA's is not on this machine."""
