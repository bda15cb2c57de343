"""A picture that was handed in."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Upload:
    """What a request carries."""

    data: bytes
    """The file of the picture; empty where it is yet to be fetched."""
    options: dict[str, object] = field(default_factory=dict)
    """Members of the query (words) and of the JSON body (values), ``image`` and ``url`` left out."""
    url: str | None = None
    """Where the picture is, in the place of its bytes."""
