"""Files that are written whole or not at all, and the folder of what commands keep for one another."""

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Writes a small file whole or not at all, also when several processes write it at once."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where commands keep what they can make anew: ``$FPAN_RUNS/cache``, or ``runs/cache``."""
    return Path(os.environ.get("FPAN_RUNS") or "runs") / "cache"
