"""`fpan-train landmark-scheme`: writes the scheme of the 264 landmarks and its picture from the layout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.design import design, text
from fpan_training.landmarks.scheme import POINTS, Scheme, read_scheme

_GROUPS = ("outline", "brows", "eyes", "irises", "nose", "lips_outer", "lips_inner", "cheeks", "forehead")
_CLOSE_UPS = (
    # title, x and y range in centimetres of the canonical face
    ("brows, eyes and irises of the person's right", (-6.2, 0.3), (-2.0, -5.6)),
    ("nose and lips", (-3.4, 3.4), (5.8, -1.0)),
)
_SCHEME_FILE = Path(__file__).parent / "scheme264.json"


@dataclass(frozen=True)
class LandmarkScheme:
    """Draws the 264 landmarks on the canonical face, and the usual 68 that they give."""

    picture: Path = Path("docs/training/landmarks264.png")
    """File to write."""
    scheme: Path = _SCHEME_FILE
    """The scheme, written anew from the layout."""

    def __call__(self) -> Path:
        """Writes both files and returns the picture's path."""
        content = design()
        self.scheme.write_text(text(content), encoding="utf-8")
        self.picture.parent.mkdir(parents=True, exist_ok=True)
        draw(read_scheme(content), self.picture)
        return self.picture


def draw(scheme: Scheme, path: Path) -> None:
    """Draws a scheme: whole, close up with the landmarks' numbers, and as the usual 68."""
    figure = Figure(figsize=(19, 20), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    whole, public = panels[0], panels[3]
    points = scheme.from_mesh(canonical_mesh().vertices)
    _mesh(whole)
    for group in _GROUPS:
        members = scheme.groups[group]
        whole.plot(*points[members].T, ".", markersize=7, label=f"{group} ({len(members)})")
    for i in scheme.groups["outline"]:
        whole.text(*points[i], str(i), fontsize=7)
    for i in (*scheme.groups["cheeks"], *scheme.groups["forehead"]):
        whole.text(*points[i], f" {i}", fontsize=7)
    ears = points[scheme.groups["ears"]]
    whole.plot(*ears.T, "o", markersize=11, markerfacecolor="none", color="grey", label=f"of these, ears ({len(ears)})")
    whole.set_title(f"{POINTS} landmarks; the person's right is on the left")
    whole.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5, fontsize=9)
    for axes, (title, x_range, y_range) in zip(panels[1:3], _CLOSE_UPS, strict=True):
        _mesh(axes)
        for contour in scheme.contours:
            line = np.append(contour.points, contour.points[0]) if contour.closed else contour.points
            axes.plot(*points[line].T, "-", linewidth=0.8)
        axes.plot(*points.T, ".", color="black", markersize=5)
        for i, (x, y) in enumerate(points):
            if x_range[0] < x < x_range[1] and y_range[1] < y < y_range[0]:
                axes.text(x, y, f" {i}", fontsize=8)
        axes.set(title=title, xlim=x_range, ylim=y_range)
    _mesh(public)
    for i, (x, y) in enumerate(scheme.to68(points)):
        public.plot(x, y, ".", color="crimson")
        public.text(x, y, f" {i + 1}", fontsize=9)
    public.set_title("the usual 68 from the 264")
    for axes in (whole, public):
        axes.invert_yaxis()
    for axes in panels:
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.savefig(path, dpi=60)


def _mesh(axes: Axes) -> None:
    mesh = canonical_mesh()
    axes.triplot(mesh.vertices[:, 0], mesh.vertices[:, 1], mesh.triangles, linewidth=0.3, color="lightgrey")
