"""The classes of a label map: ids, names, colours, left-right partners, groups and other orders in use."""

from functools import cached_property
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Channel = Annotated[int, Field(ge=0, le=255)]


class FaceClass(BaseModel):
    """One class of a label map."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[int, Field(ge=0, le=254)]
    """Value in the label map."""
    name: str
    """Short stable name, e.g. ``l_eye``. ``l_`` and ``r_`` are the person's own left and right."""
    title: str
    """Name for people, e.g. ``left eye``."""
    colour: tuple[Channel, Channel, Channel]
    """sRGB colour of palettes and overlays."""
    partner: int
    """Id of the class this one becomes in a mirrored picture; its own id when it has no partner."""


class Taxonomy(BaseModel):
    """An ordered set of classes whose ids are 0, 1, 2, ... without gaps."""

    model_config = ConfigDict(frozen=True, ignored_types=(cached_property,))

    name: str
    """Stable name, e.g. ``celebamask-hq+occlusion``."""
    classes: tuple[FaceClass, ...]
    groups: dict[str, tuple[str, ...]] = {}
    """Named sets of class names, e.g. ``lips`` = ``u_lip``, ``l_lip``."""
    remaps: dict[str, tuple[int, ...]] = {}
    """Other orders in use: name -> for each of our ids its id there (255 where that order has no such class)."""
    background: int = 0
    """Id of the class that is not part of any face."""
    ignore: int = 255
    """Label of pixels without a known class."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("class ids must be 0, 1, 2, ... in order")
        if len({c.name for c in self.classes}) != len(self.classes):
            raise ValueError("class names must differ from each other")
        for c in self.classes:
            if not 0 <= c.partner < len(self.classes) or self.classes[c.partner].partner != c.id:
                raise ValueError(f"the partner of {c.name} does not name {c.name} as its own partner")
        for group, names in self.groups.items():
            if unknown := set(names) - {c.name for c in self.classes}:
                raise ValueError(f"group {group} names unknown classes: {sorted(unknown)}")
        for order, ids in self.remaps.items():
            if len(ids) != len(self.classes):
                raise ValueError(f"remap {order} must have one id for each of {len(self.classes)} classes")
        return self

    def __len__(self) -> int:
        return len(self.classes)

    def id_of(self, name: str) -> int:
        """The id of the class called ``name``; KeyError if there is none."""
        for c in self.classes:
            if c.name == name:
                return c.id
        raise KeyError(name)

    def reordered(self, order: str) -> "Taxonomy":
        """The same classes under the ids of another order in use, without those that it does not have.

        Args:
            order: one of ``remaps``.

        Raises:
            KeyError: there is no such order.
            ValueError: its ids leave gaps, or it merges classes, so that they are no taxonomy by themselves.
        """
        ids = self.remaps[order]
        known = sorted((c for c in self.classes if ids[c.id] != self.ignore), key=lambda c: ids[c.id])
        names = {c.name for c in known}
        return Taxonomy(
            name=order,
            classes=tuple(
                c.model_copy(
                    update={"id": ids[c.id], "partner": ids[c.partner if ids[c.partner] != self.ignore else c.id]}
                )
                for c in known
            ),
            groups={group: tuple(n for n in members if n in names) for group, members in self.groups.items()},
            background=ids[self.background],
            ignore=self.ignore,
        )

    def order_table(self, order: str) -> NDArray[np.uint8]:
        """The id that each label value has in another order, uint8 (256,); KeyError if there is no such order."""
        table = np.full(256, self.ignore, np.uint8)
        table[: len(self)] = self.remaps[order]
        return table

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """Colours by label value, uint8 (256, 3); values without a class are black, ``ignore`` is white."""
        table = np.zeros((256, 3), np.uint8)
        for c in self.classes:
            table[c.id] = c.colour
        table[self.ignore] = 255
        return table

    @cached_property
    def partner_table(self) -> NDArray[np.uint8]:
        """The class that each label value becomes in a mirrored picture, uint8 (256,); an involution."""
        table = np.arange(256, dtype=np.uint8)
        for c in self.classes:
            table[c.id] = c.partner
        return table

    def mirror(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A label map, uint8 (..., H, W), of the mirrored picture: columns reversed, left and right exchanged."""
        return np.ascontiguousarray(self.partner_table[labels[..., ::-1]])
