"""What the category names of a labelling tool stand for among our classes."""

from collections.abc import Iterable, Mapping
from typing import Literal

from fpan_training.data.folder import DataError
from fpan_training.data.label_space import IGNORE, REST, Labels
from fpan_training.taxonomy import TAXONOMY

Meaning = Mapping[str, str | list[str]]
"""Category to a class, several classes or groups that it does not tell apart, or ``ignore``."""
Uncovered = Literal["rest", "ignore"]


class Categories:
    """Values of label maps for categories, and what the values stand for.

    A category is what ``meaning`` says, or the class whose name or title it has. Pixels that no shape covers get value
    0: every class that no category names; or, where only some of a picture was labelled, nothing is known of them.
    """

    def __init__(self, names: Iterable[str], meaning: Meaning, uncovered: Uncovered = "rest") -> None:
        """Categories that are none of our classes are one of ``problems``."""
        known = {_plain(word): c.name for c in TAXONOMY.classes for word in (c.name, c.title)}
        self._values: dict[str, int] = {}
        self.labels: Labels = {}
        self.problems: list[str] = []
        wrong = []
        for name in dict.fromkeys(names):
            means = meaning.get(name, known.get(_plain(name), ""))
            members = [means] if isinstance(means, str) else list(means)
            if unknown := [m for m in members if m != IGNORE and m not in known.values() and m not in TAXONOMY.groups]:
                wrong.append(f"{name!r} is no class" if unknown == [""] else f"{name!r}: {unknown} are no classes")
                self._values[name] = TAXONOMY.ignore
                continue
            self._values[name] = self._value(members)
        if wrong:
            self.problems.append(
                f"{'; '.join(wrong)}. Say what they mean in a file for --classes, such as "
                f'{{"face": ["skin", "nose"], "sky": "ignore"}}. Classes: {", ".join(c.name for c in TAXONOMY.classes)}'
            )
        self.uncovered = TAXONOMY.ignore if uncovered == "ignore" else TAXONOMY.background
        if uncovered == "rest":
            self.labels[str(TAXONOMY.background)] = REST
        self.labels[str(TAXONOMY.ignore)] = IGNORE

    def __getitem__(self, name: str) -> int:
        """The value that a category's pixels get; DataError if it is not one of them."""
        if name not in self._values:
            raise DataError(f"the category {name!r} is not declared in the file")
        return self._values[name]

    def _value(self, members: list[str]) -> int:
        if members == [IGNORE]:
            return TAXONOMY.ignore
        ids = sorted({TAXONOMY.id_of(one) for name in members for one in TAXONOMY.groups.get(name, (name,))})
        names = [TAXONOMY.classes[i].name for i in ids]
        if len(ids) == 1:
            self.labels[str(ids[0])] = names[0]
            return ids[0]
        for value, already in self.labels.items():
            if already == names:
                return int(value)
        free = next(v for v in range(len(TAXONOMY), TAXONOMY.ignore) if str(v) not in self.labels)
        self.labels[str(free)] = names
        return free


def _plain(word: str) -> str:
    return word.strip().casefold().replace(" ", "_").replace("-", "_")
