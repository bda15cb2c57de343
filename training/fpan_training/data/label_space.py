"""Partial labels: what a data set's masks can tell apart, declared in its ``dataset.json``.

A value of a mask stands for a group of our classes: one class, several that the masks do not tell from each other, all
the rest, or nothing known. Where a picture is read its mask is put in *codes*: the id of the class for a group of one,
numbers from ``len(taxonomy)`` on for merged groups, ``taxonomy.ignore`` where nothing is known. Codes are what
augmentation moves and mirrors (:attr:`LabelSpace.coded`) and what the loss reads
(:mod:`fpan_training.modules.segm.groups`).
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from fpan.contract import FaceClass, Taxonomy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fpan_training.data.folder import DataError
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

DATASET_FILE = "dataset.json"
REST, IGNORE = "rest", "ignore"
_PAINTED = "occlusion"
"""What the project's own generators paint over any picture, whatever its masks tell apart."""
_VALUES = 256

Labels = dict[str, str | list[str]]
"""Value of the mask (as text: JSON's keys are) to a class, a list of classes or groups of the taxonomy, ``rest`` (every
class that no other value names) or ``ignore``."""

_ALL: Labels = {str(c.id): c.name for c in TAXONOMY.classes}
_EIGHT: Labels = {
    # The order of Helen (Smith et al., 2013), which LaPa (Liu et al., 2020) has taken over. Its left is the picture's
    # left, which is the person's own right. Neither marks glasses, ears, hats, ...: they lie under what is around.
    "0": REST,
    "1": ["skin", "eye_g"],
    "2": "r_brow",
    "3": "l_brow",
    "4": ["r_eye", "eye_g"],
    "5": ["l_eye", "eye_g"],
    "6": "nose",
    "7": "u_lip",
    "8": "mouth",
    "9": "l_lip",
    "10": "hair",
}
_HAIR: Labels = {"0": REST, "13": "hair"}

PRESETS: dict[str, Labels] = {
    "full": _ALL,
    # Skin is painted over some hands, which the masks do not say.
    "celeba19": {value: name for value, name in _ALL.items() if int(value) < CELEBA19_CLASSES},
    "celeba_hair": _HAIR,
    "figaro": _HAIR,
    "ccp": {
        "0": ["background", "occlusion"],
        "1": [*TAXONOMY.groups["all_skin"], "eyes", "brows", "all_mouth"],
        **{value: _ALL[value] for value in ("3", "13", "14", "15", "16", "18")},
        "255": IGNORE,
    },
    "fasseg_posed": {
        "0": ["background", "neck_l", "cloth"],
        "1": ["skin", "ears", "ear_r", "neck"],
        "2": ["hair", "brows"],
        "3": "nose",
        "4": "eyes",
        "5": "all_mouth",
    },
    # Glasses are marked by their rims, what is behind the glass mostly as skin, where CelebAMask-HQ has glasses.
    "facesynthetics100": {
        **{value: name for value, name in _ALL.items() if int(value) < CELEBA19_CLASSES},
        "1": ["skin", "eye_g"],
        "2": ["nose", "eye_g"],
        "255": IGNORE,
    },
    "helen": _EIGHT,
    "lapa": _EIGHT,
    # EasyPortrait (2023). "Person" is whatever of a person has no other value: hair, clothes, neck, hands, beards,
    # nostrils, the mouth but for teeth, and gaps between parts. Its documentation does not say how ears and glasses are
    # marked: they may be "person" or "skin". Left is taken for the picture's; the importer measures it.
    "easyportrait": {
        "0": ["background", "occlusion"],
        "1": [
            *("skin", "nose", "ears", "eye_g", "mouth", "hair", "hat"),
            *("ear_r", "neck_l", "neck", "cloth", "occlusion"),
        ],
        "2": ["skin", "nose", "ears", "eye_g"],
        "3": "r_brow",
        "4": "l_brow",
        "5": "r_eye",
        "6": "l_eye",
        "7": "lips",
        "8": "mouth",
    },
    # What routing gives pictures without labels of their own: DOM says where the occlusion is, and where it is not.
    "occlusion": {"0": REST, str(TAXONOMY.id_of(_PAINTED)): _PAINTED},
}
"""Spaces of public data sets, and of the project's own folders of them, by name."""


class DatasetFile(BaseModel):
    """``dataset.json``: what there is to say of a folder of pictures as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """For people."""
    labels: str | Labels = "full"
    """The name of a preset, or what each value of the masks stands for."""
    source: str = ""
    """Where pictures and labels come from."""
    licence: str = ""
    """Their terms."""
    frame: float = 1.0
    """Width of the pictures in widths of the aligned face frame."""

    @classmethod
    def read(cls, path: Path) -> "DatasetFile":
        """Reads the file.

        Raises:
            DataError: it is not of this form; the message says where.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
            raise DataError(f"{path} is no dataset.json: {wrong}") from error


@dataclass(frozen=True)
class LabelSpace:
    """Which classes a data set can tell apart."""

    name: str
    declared: tuple[tuple[int, tuple[int, ...]], ...]
    """Value of the mask and the classes it stands for, ids in rising order. Groups may overlap: a pixel is one of the
    classes of its own group, and nothing is said about which."""
    taxonomy: Taxonomy = TAXONOMY
    """The classes themselves."""
    ignored: tuple[int, ...] = (TAXONOMY.ignore,)
    """Values of pixels of which nothing is known."""

    def __post_init__(self) -> None:
        if not self.declared:
            raise ValueError(f"label space {self.name}: no value of the masks stands for any class")
        for value, members in self.declared:
            if not members or not 0 <= min(members) <= max(members) < len(self.taxonomy):
                raise ValueError(f"label space {self.name}: value {value} stands for {members}, which are no classes")
        if len(self.taxonomy) + len(self.merged) > min(self.taxonomy.ignore, _VALUES - 1):
            raise ValueError(f"label space {self.name}: {len(self.merged)} merged groups are too many for 8 bits")

    @classmethod
    def full(cls, taxonomy: Taxonomy = TAXONOMY) -> "LabelSpace":
        """Every class is told apart; values are ids."""
        return cls("full", tuple((c.id, (c.id,)) for c in taxonomy.classes), taxonomy, (taxonomy.ignore,))

    @classmethod
    def from_labels(cls, name: str, labels: Labels, taxonomy: Taxonomy = TAXONOMY) -> "LabelSpace":
        """From what each value stands for.

        Raises:
            DataError: values that are none, names that are no class; all of them are named.
        """
        wrong = [f"{v!r} is no value of a mask" for v in labels if not (v.isascii() and v.isdigit()) or int(v) > 255]
        ids: dict[str, set[int]] = {}
        for value, names in labels.items():
            names = [names] if isinstance(names, str) else names
            if names not in ([REST], [IGNORE]):
                unknown = [n for n in names if n not in taxonomy.groups and n not in {c.name for c in taxonomy.classes}]
                wrong += [f"{value}: {n!r} is neither class nor group" for n in unknown]
                wrong += [f"{value}: no class; say {IGNORE!r} for that"] * (not names)
                known = [n for n in names if n not in unknown]
                ids[value] = {taxonomy.id_of(n) for k in known for n in taxonomy.groups.get(k, (k,))}
        rest = set(range(len(taxonomy))) - set().union(*ids.values())
        for value, names in labels.items():
            if names in (REST, [REST]):
                ids[value] = rest
                wrong += [f"{value}: no class is left for {REST!r}"] * (not rest)
        if wrong:
            known_names = ", ".join([c.name for c in taxonomy.classes] + list(taxonomy.groups))
            raise DataError(f"label space {name}: " + "; ".join(wrong) + f". There are: {known_names}")
        declared = tuple(sorted((int(value), tuple(sorted(members))) for value, members in ids.items()))
        ignored = {taxonomy.ignore} - {v for v, _ in declared} | {int(v) for v in labels if v not in ids}
        try:
            return cls(name, declared, taxonomy, tuple(sorted(ignored)))
        except ValueError as error:
            raise DataError(str(error)) from error

    @classmethod
    def preset(cls, name: str) -> "LabelSpace":
        """One of :data:`PRESETS`.

        Raises:
            DataError: there is none of this name.
        """
        if name not in PRESETS:
            raise DataError(f"no label space is called {name!r}; there are: {', '.join(PRESETS)}")
        return cls.from_labels(name, PRESETS[name])

    @classmethod
    def from_file(cls, path: Path, taxonomy: Taxonomy = TAXONOMY) -> "LabelSpace":
        """The space that a ``dataset.json`` declares.

        Raises:
            DataError: the file is not of the form of :class:`DatasetFile`, or names what is not there.
        """
        return cls.of_file(DatasetFile.read(path), str(path), taxonomy)

    @classmethod
    def of_file(cls, file: DatasetFile, name: str, taxonomy: Taxonomy = TAXONOMY) -> "LabelSpace":
        """The space of a ``dataset.json`` that has been read; ``name`` is for messages."""
        if isinstance(file.labels, str):
            return cls.preset(file.labels)
        return cls.from_labels(file.name or name, file.labels, taxonomy)

    @classmethod
    def of_folder(cls, root: Path) -> "LabelSpace":
        """The space that a data set's folder declares; without a ``dataset.json`` the preset of the folder's name, or,
        where there is none of that name, the full one.

        Raises:
            DataError: as :meth:`from_file`.
        """
        path = root / DATASET_FILE
        if path.is_file():
            return cls.from_file(path)
        return cls.preset(_default_labels(root))

    @property
    def plain(self) -> bool:
        """Whether every value is the id of the class that it stands for; classes may be missing."""
        return all(members == (value,) for value, members in self.declared)

    @cached_property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Groups of several classes, in the order of their codes: those declared, then their mirror images."""
        groups = [members for _, members in self.declared if len(members) > 1]
        return tuple(dict.fromkeys(groups + [self._mirrored(members) for members in groups]))

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The classes that each code stands for: the classes one by one, then the merged groups."""
        return tuple((c.id,) for c in self.taxonomy.classes) + self.merged

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Code by value of the mask, uint8 (256,); ``taxonomy.ignore`` for values that are ignored or not known."""
        table = np.full(_VALUES, self.taxonomy.ignore, np.uint8)
        table[self.known] = np.flatnonzero(self.known)
        table[list(self.ignored)] = self.taxonomy.ignore
        for value, members in self.declared:
            table[value] = self.code_of(members)
        return table

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether each value may stand in a mask, bool (256,)."""
        known = np.zeros(_VALUES, np.bool_)
        known[[*(value for value, _ in self.declared), *self.ignored]] = True
        known[[c.id for c in self.taxonomy.classes if c.name == _PAINTED]] = True
        return known

    @cached_property
    def coded(self) -> Taxonomy:
        """The taxonomy of the codes: each merged group is a class of its own, whose partner is its mirror image.

        A merged group without background belongs to every named group that it shares a class with, so that faces are
        found in it. Anything that mirrors or moves label maps works on codes with this taxonomy.
        """
        if not self.merged:
            return self.taxonomy
        base, names = self.taxonomy, [self.name_of(members) for members in self.groups]
        extra = [
            FaceClass(
                id=self.code_of(members),
                name=self.name_of(members),
                title=" or ".join(base.classes[i].title for i in members),
                colour=base.classes[members[0]].colour,
                partner=self.code_of(self._mirrored(members)),
            )
            for members in self.merged
        ]
        shares = {
            group: [
                names[self.code_of(members)]
                for members in self.merged
                if base.background not in members and {base.classes[i].name for i in members} & set(inside)
            ]
            for group, inside in base.groups.items()
        }
        return Taxonomy(
            name=f"{base.name}/{self.name}",
            classes=(*base.classes, *extra),
            groups={group: (*inside, *shares[group]) for group, inside in base.groups.items()},
            background=base.background,
            ignore=base.ignore,
        )

    def code_of(self, members: tuple[int, ...]) -> int:
        """The code of a group; ValueError if it is none of the space's."""
        return members[0] if len(members) == 1 else len(self.taxonomy) + self.merged.index(members)

    def name_of(self, members: tuple[int, ...]) -> str:
        """A group's name: its classes joined by ``+``; ``not`` those it lacks where that is shorter."""
        if 2 * len(members) > len(self.taxonomy):
            return "not " + "+".join(c.name for c in self.taxonomy.classes if c.id not in members)
        return "+".join(self.taxonomy.classes[i].name for i in members)

    @cached_property
    def of_codes(self) -> "LabelSpace":
        """The same space for masks that hold codes instead of values."""
        members = dict.fromkeys(members for _, members in self.declared)
        declared = tuple(sorted((self.code_of(each), each) for each in members))
        return replace(self, declared=declared, ignored=(self.taxonomy.ignore,))

    def encode(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """A mask's values, uint8 (H, W), as codes, uint8 (H, W).

        Args:
            labels: the mask as it was read.
            name: of the picture, for the message.

        Raises:
            DataError: the mask has values that the space does not know.
        """
        if unknown := self.unknown(labels):
            raise DataError(f"{name}: {unknown_values(unknown, self)}")
        return np.asarray(self.table[labels], np.uint8)

    def unknown(self, labels: NDArray[np.uint8]) -> list[int]:
        """The values of a mask that the space does not know, in rising order."""
        seen = np.bincount(labels.ravel(), minlength=_VALUES) > 0
        return np.flatnonzero(seen & ~self.known).tolist()

    def labels(self) -> Labels:
        """What each value stands for, as :class:`DatasetFile` has it."""
        names = {str(v): [self.taxonomy.classes[i].name for i in members] for v, members in self.declared}
        short: Labels = {value: one[0] if len(one) == 1 else one for value, one in names.items()}
        return short | {str(value): IGNORE for value in self.ignored}

    def _mirrored(self, members: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(self.taxonomy.classes[i].partner for i in members))


def unknown_values(values: list[int], space: LabelSpace) -> str:
    """Says what is wrong with a mask of such values, and what to do."""
    known = ", ".join(map(str, np.flatnonzero(space.known)))
    return (
        f"its mask has {'value' if len(values) == 1 else 'values'} {', '.join(map(str, values))}, which the label "
        f"space {space.name!r} does not know ({known}): name them in {DATASET_FILE}"
    )


def derived(data: Path, what: str, labels: str | None = "full", frame: float | None = None) -> DatasetFile:
    """``dataset.json`` of a data set that is made of another one: whence it comes and its terms stay.

    Args:
        data: folder of the other one.
        what: was done to it, for its name.
        labels: of the new one; None: those of the other one.
        frame: of the new one; None: that of the other one.
    """
    of = read_dataset_file(data)
    changed: dict[str, object] = {"name": f"{of.name or data.name}, {what}"}
    changed |= {} if labels is None else {"labels": labels}
    changed |= {} if frame is None else {"frame": frame}
    return of.model_copy(update=changed)


def _default_labels(root: Path) -> str:
    """What the values of a folder without a ``dataset.json`` stand for: the preset of its name, or else our ids."""
    return root.name if root.name in PRESETS else "full"


def read_dataset_file(data: Path) -> DatasetFile:
    """What a folder says of itself; without a ``dataset.json``, what its name says of its masks.

    Raises:
        DataError: the file is not of the form.
    """
    path = data / DATASET_FILE
    return DatasetFile.read(path) if path.is_file() else DatasetFile(labels=_default_labels(data))


def write_dataset_file(path: Path, file: DatasetFile) -> None:
    """Writes a ``dataset.json``."""
    path.write_text(json.dumps(file.model_dump(), indent=2) + "\n", encoding="utf-8")
