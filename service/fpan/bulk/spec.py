"""All that decides what is written: two runs of one order write the same."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from fpan.client import Options
from fpan.contract.taxonomy import Taxonomy

Form = Literal["parquet", "webdataset"]
SCHEMA = 2
"""Version of what shards hold; a change that a reader could notice raises it."""


class Model(BaseModel):
    """The version of a network that labels."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    sha256: str

    @property
    def pinned(self) -> str:
        """``NAME:VERSION`` for requests, so that a promotion during a run does not change the version that answers."""
        return f"{self.name}:{self.version}"


class LabelRequest(BaseModel):
    """What is to be labelled, how, and as what it is written, as far as it is known before a gateway is asked."""

    model_config = ConfigDict(frozen=True)

    source: str
    """Address of the pictures."""
    include: tuple[str, ...] = ()
    """Globs on relative paths; none: every picture."""
    limit: int | None = None
    """Most pictures, the first by their path."""
    shard_size: int
    """Most pictures of a shard."""
    shard_mb: int
    """Most megabytes of pictures in a shard that holds them."""
    form: Form
    with_pictures: bool = False
    """Whether shards hold the pictures' files too."""
    confidence: bool = False
    """Whether they hold confidence maps."""
    faces: Literal["auto", "full"] = "auto"
    max_faces: int | None = None
    classes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    abstain: float | None = None
    orientation: Literal["exif", "raw"] = "exif"
    schema_version: int = SCHEMA

    def unlike(self, other: "LabelRequest") -> list[str]:
        """In what it differs from another: a phrase for each member, ours first."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in type(self).model_fields}
        return [
            f"{name.replace('_', '-')} is {_shown(ours)}, there {_shown(theirs)}"
            for name, (ours, theirs) in pairs.items()
            if ours != theirs
        ]


class LabelSpec(LabelRequest):
    """A label request together with the model version and the taxonomy that answer it."""

    model: Model
    taxonomy: Taxonomy

    @property
    def options(self) -> Options:
        """As the client sends them."""
        return Options(
            faces=self.faces,
            max_faces=self.max_faces,
            classes=self.classes,
            groups=self.groups,
            abstain=self.abstain,
            face_masks=self.form == "webdataset",  # a row has the picture's mask alone
            orientation=self.orientation,
            model=self.model.pinned,
        )

    @property
    def kept(self) -> frozenset[str]:
        """Names of the classes that label maps can have beside the background; empty: all."""
        return frozenset(self.classes).union(*(self.taxonomy.groups[group] for group in self.groups))


def _shown(value: object) -> str:
    match value:
        case Model():
            return f"{value.pinned} (sha256 {value.sha256[:8]})"
        case Taxonomy():
            return value.name
        case tuple():
            return ",".join(value) or "none"
        case None:
            return "none"
    return str(value)
