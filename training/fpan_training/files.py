"""Files that are written whole or not at all."""

from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Writes a small file whole or not at all."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
