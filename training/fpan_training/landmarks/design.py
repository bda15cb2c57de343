"""Lays out the 264 landmarks on the canonical mesh; what it makes is committed as ``scheme264.json``.

Contours are followed along vertices of the mesh on the person's right side, resampled evenly by their length on the
neutral face, and mirrored. A landmark between two vertices is fixed to both in proportion.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.landmarks.canonical import canonical_mesh

Mixture = dict[int, float]
"""Vertices and their weights, which add up to 1."""

_OUTLINE = (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
"""From the top of the forehead along the person's right side to the chin."""
_OUTLINE_SIDE = 27
_BROW = {"upper": (70, 63, 105, 66, 107), "lower": (46, 53, 52, 65, 55)}
"""From the outer to the inner end."""
_BROW_POINTS = 9
_EYE = {"upper": (33, 246, 161, 160, 159, 158, 157, 173, 133), "lower": (33, 7, 163, 144, 145, 153, 154, 155, 133)}
"""From the outer to the inner corner, which both lids share."""
_EYE_LID = 8
_IRIS_CENTRE, _IRIS_RING = 468, (469, 470, 471, 472)
"""The mesh's ring: towards the nose, above, towards the ear, below."""
_BRIDGE, _BRIDGE_POINTS = (168, 6, 197, 195, 5, 4, 1), 9
_COLUMELLA = (19, 94, 2)
_NOSE_SIDE, _NOSE_SIDE_POINTS = (244, 128, 114, 217, 198), 5
"""Where nose and cheek meet, from the eye's inner corner to above the wing."""
_NOSE_WING, _NOSE_WING_POINTS = (209, 129, 98, 97), 6
"""The crease about the wing, to beneath the nostril."""
_NOSTRIL, _NOSTRIL_POINTS = (79, 166, 59, 75, 60, 20, 238, 239), 5
"""A closed ring."""
_LIP_OUTER = {"upper": (61, 185, 40, 39, 37, 0), "lower": (61, 146, 91, 181, 84, 17)}
"""From the person's right corner of the mouth to the middle."""
_LIP_OUTER_SIDE = 6
_LIP_INNER = {"upper": (78, 191, 80, 81, 82, 13), "lower": (78, 95, 88, 178, 87, 14)}
_LIP_INNER_SIDE = 5
_CHEEK = (116, 118, 36, 50, 205, 147, 207, 214)
_FOREHEAD, _FOREHEAD_MIDLINE = (104, 69), (151, 9)
_EAR_SPAN = (127, 132)
"""Vertices of the outline between which the ear is attached."""

_JAW_ENDS = (127, 356)
"""Vertices where the 17 points of the usual jaw line begin and end."""
_JAW_POINTS = 17
_IBUG: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("r_brow_upper", _BROW["upper"]),
    ("l_brow_upper", (336, 296, 334, 293, 300)),
    ("nose_bridge", (168, 197, 5, 1)),
    ("nose_base", (98, 97, 2, 326, 327)),
    ("r_eye", (33, 160, 158, 133, 153, 144)),
    ("l_eye", (362, 385, 387, 263, 373, 380)),
    ("lips_outer", (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)),
    ("lips_inner", (78, 81, 13, 311, 308, 402, 14, 178)),
)
"""The other 51 of the usual 68: the contour that each lies on and the mesh vertex it is nearest to."""


@dataclass
class _Draft:
    """The landmarks laid out so far."""

    points: dict[str, Mixture] = field(default_factory=dict)
    partner: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    contours: dict[str, tuple[bool, list[str]]] = field(default_factory=dict)

    def side(self, group: str, name: str, mixture: Mixture) -> None:
        """A landmark of the person's right, called ``r_NAME``, and its partner ``l_NAME``."""
        mirror = canonical_mesh().partner
        mirrored = {int(mirror[vertex]): weight for vertex, weight in mixture.items()}
        for side, other, where in (("r", "l", mixture), ("l", "r", mirrored)):
            self._add(group, f"{side}_{name}", f"{other}_{name}", where)

    def middle(self, group: str, name: str, mixture: Mixture) -> None:
        """A landmark of the midline."""
        self._add(group, name, name, mixture)
        self.groups.setdefault("midline", []).append(name)

    def _add(self, group: str, name: str, partner: str, mixture: Mixture) -> None:
        self.points[name] = mixture
        self.partner[name] = partner
        self.groups.setdefault(group, []).append(name)

    def both(self, name: str, closed: bool, points: list[str]) -> None:
        """Contours ``r_NAME`` and ``l_NAME`` through the points that the side's letter begins."""
        for side in "rl":
            self.contours[f"{side}_{name}"] = (closed, [f"{side}_{point}" for point in points])


def design() -> dict[str, Any]:
    """The scheme as ``scheme264.json`` holds it."""
    draft = _Draft()
    _outline(draft)
    _brows_and_eyes(draft)
    _nose(draft)
    _lips(draft)
    for i, vertex in enumerate(_CHEEK):
        draft.side("cheeks", f"cheek_{i}", {vertex: 1.0})
    for i, vertex in enumerate(_FOREHEAD):
        draft.side("forehead", f"forehead_{i}", {vertex: 1.0})
    for i, vertex in enumerate(_FOREHEAD_MIDLINE):
        draft.middle("forehead", f"forehead_middle_{i}", {vertex: 1.0})
    return {
        "points": [
            {
                "name": name,
                "partner": draft.partner[name],
                "groups": [group for group, members in draft.groups.items() if name in members],
                "mesh": [[vertex, round(weight, 4)] for vertex, weight in sorted(mixture.items())],
            }
            for name, mixture in draft.points.items()
        ],
        "contours": [
            {"name": name, "closed": closed, "points": points} for name, (closed, points) in draft.contours.items()
        ],
        "ibug68": [[[name, round(weight, 4)] for name, weight in row] for row in _ibug(draft)],
    }


def text(content: dict[str, Any]) -> str:
    """The scheme as JSON with a line for each landmark, contour and row."""
    lists = [
        f'"{key}": [\n' + ",\n".join(f"  {json.dumps(entry)}" for entry in entries) + "\n]"
        for key, entries in content.items()
    ]
    return "{\n" + ",\n".join(lists) + "\n}\n"


def _outline(draft: _Draft) -> None:
    draft.middle("outline", "outline_top", {_OUTLINE[0]: 1.0})
    names = [f"outline_{i:02d}" for i in range(_OUTLINE_SIDE)]
    length = _lengths(_OUTLINE)
    start, end = (length[_OUTLINE.index(vertex)] for vertex in _EAR_SPAN)
    steps = np.linspace(0, length[-1], _OUTLINE_SIDE + 2)[1:-1]
    for name, mixture, at in zip(names, resample(_OUTLINE, _OUTLINE_SIDE + 2)[1:-1], steps, strict=True):
        draft.side("outline", name, mixture)
        if start <= at <= end:
            draft.groups.setdefault("ears", []).extend((f"r_{name}", f"l_{name}"))
    draft.middle("outline", "outline_chin", {_OUTLINE[-1]: 1.0})
    right, left = ([f"{side}_{name}" for name in names] for side in "rl")
    draft.contours["outline"] = (True, ["outline_top", *right, "outline_chin", *reversed(left)])


def _brows_and_eyes(draft: _Draft) -> None:
    for edge, brow in _BROW.items():
        names = [f"brow_{edge}_{i}" for i in range(_BROW_POINTS)]
        for name, mixture in zip(names, resample(brow, _BROW_POINTS), strict=True):
            draft.side("brows", name, mixture)
        draft.both(f"brow_{edge}", False, names)
    draft.side("eyes", "eye_outer", {_EYE["upper"][0]: 1.0})
    draft.side("eyes", "eye_inner", {_EYE["upper"][-1]: 1.0})
    lids: dict[str, list[str]] = {}
    for lid, line in _EYE.items():
        lids[lid] = [f"eye_{lid}_{i}" for i in range(_EYE_LID)]
        for name, mixture in zip(lids[lid], resample(line, _EYE_LID + 2)[1:-1], strict=True):
            draft.side("eyes", name, mixture)
    draft.both("eye", True, ["eye_outer", *lids["upper"], "eye_inner", *reversed(lids["lower"])])
    draft.side("irises", "iris_centre", {_IRIS_CENTRE: 1.0})
    ring = [f"iris_{i}" for i in range(2 * len(_IRIS_RING))]
    for i, vertex in enumerate(_IRIS_RING):
        following = _IRIS_RING[(i + 1) % len(_IRIS_RING)]
        draft.side("irises", ring[2 * i], {vertex: 1.0})
        # On the circle midway: the two radii added are sqrt(2) times too long.
        half = float(np.sqrt(0.5))
        draft.side("irises", ring[2 * i + 1], {_IRIS_CENTRE: 1 - 2 * half, vertex: half, following: half})
    draft.both("iris", True, ring)


def _nose(draft: _Draft) -> None:
    bridge = [f"nose_bridge_{i}" for i in range(_BRIDGE_POINTS)]
    for name, mixture in zip(bridge, resample(_BRIDGE, _BRIDGE_POINTS), strict=True):
        draft.middle("nose", name, mixture)
    columella = [f"nose_columella_{i}" for i in range(len(_COLUMELLA))]
    for name, vertex in zip(columella, _COLUMELLA, strict=True):
        draft.middle("nose", name, {vertex: 1.0})
    draft.contours["nose_bridge"] = (False, [*bridge, *columella])
    for part, line, count in (
        ("nose_side", _NOSE_SIDE, _NOSE_SIDE_POINTS),
        ("nose_wing", _NOSE_WING, _NOSE_WING_POINTS),
    ):
        names = [f"{part}_{i}" for i in range(count)]
        for name, mixture in zip(names, resample(line, count), strict=True):
            draft.side("nose", name, mixture)
        draft.both(part, False, names)
    ring = [f"nostril_{i}" for i in range(_NOSTRIL_POINTS)]
    for name, mixture in zip(ring, resample((*_NOSTRIL, _NOSTRIL[0]), _NOSTRIL_POINTS + 1)[:-1], strict=True):
        draft.side("nose", name, mixture)
    draft.both("nostril", True, ring)
    wing = [f"nose_wing_{i}" for i in range(_NOSE_WING_POINTS)]
    base = [*(f"r_{name}" for name in wing), columella[-1], *(f"l_{name}" for name in reversed(wing))]
    draft.contours["nose_base"] = (False, base)


def _lips(draft: _Draft) -> None:
    for group, lines, count in (
        ("lips_outer", _LIP_OUTER, _LIP_OUTER_SIDE),
        ("lips_inner", _LIP_INNER, _LIP_INNER_SIDE),
    ):
        corner = f"{group}_corner"
        draft.side(group, corner, {lines["upper"][0]: 1.0})
        halves: dict[str, list[str]] = {}
        for lip, line in lines.items():
            halves[lip] = [f"{group}_{lip}_{i}" for i in range(count)]
            for name, mixture in zip(halves[lip], resample(line, count + 2)[1:-1], strict=True):
                draft.side(group, name, mixture)
            draft.middle(group, f"{group}_{lip}_middle", {line[-1]: 1.0})
        upper = [*(f"r_{n}" for n in halves["upper"]), f"{group}_upper_middle"]
        upper += [f"l_{n}" for n in reversed(halves["upper"])]
        lower = [*(f"l_{n}" for n in halves["lower"]), f"{group}_lower_middle"]
        lower += [f"r_{n}" for n in reversed(halves["lower"])]
        draft.contours[group] = (True, [f"r_{corner}", *upper, f"l_{corner}", *lower])


def resample(line: tuple[int, ...], count: int) -> list[Mixture]:
    """``count`` mixtures along a line of vertices, ends included, evenly by length on the neutral face."""
    length = _lengths(line)
    mixtures: list[Mixture] = []
    for at in np.linspace(0, length[-1], count):
        segment = int(np.clip(np.searchsorted(length, at, side="right") - 1, 0, len(line) - 2))
        share = float((at - length[segment]) / (length[segment + 1] - length[segment]))
        ends = {line[segment]: 1 - share, line[segment + 1]: share}
        mixtures.append({vertex: weight for vertex, weight in ends.items() if weight > 1e-6})
    return mixtures


def _lengths(line: tuple[int, ...]) -> NDArray[np.float64]:
    """Length along a line of vertices up to each of them, in centimetres."""
    steps = np.linalg.norm(np.diff(canonical_mesh().vertices[list(line)].astype(float), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _ibug(draft: _Draft) -> list[list[tuple[str, float]]]:
    """The usual 68, each between two neighbours of a contour."""
    mirror = canonical_mesh().partner
    right = _OUTLINE[_OUTLINE.index(_JAW_ENDS[0]) :]
    jaw = (*right, *(int(mirror[vertex]) for vertex in reversed(right[:-1])))
    rows = [_nearest(draft, "outline", mixture) for mixture in resample(jaw, _JAW_POINTS)]
    for contour, vertices in _IBUG:
        rows += [_nearest(draft, contour, {vertex: 1.0}) for vertex in vertices]
    return rows


def _nearest(draft: _Draft, contour: str, target: Mixture) -> list[tuple[str, float]]:
    """The place on a contour nearest to a mixture of vertices, as a mixture of the contour's landmarks."""
    closed, names = draft.contours[contour]
    at = {name: _place(draft.points[name]) for name in names}
    goal = _place(target)
    found: tuple[float, list[tuple[str, float]]] = (np.inf, [])
    for a, b in zip(names, [*names[1:], names[0]] if closed else names[1:], strict=False):
        along = at[b] - at[a]
        share = float(np.clip((goal - at[a]) @ along / (along @ along), 0, 1))
        distance = float(np.linalg.norm(at[a] + share * along - goal))
        if distance < found[0] - 1e-6:
            found = (distance, [(name, weight) for name, weight in ((a, 1 - share), (b, share)) if weight > 1e-4])
    return found[1]


def _place(mixture: Mixture) -> NDArray[np.float64]:
    vertices = canonical_mesh().vertices
    return np.asarray(sum(weight * vertices[vertex].astype(float) for vertex, weight in mixture.items()))
