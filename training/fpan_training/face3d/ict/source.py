"""ICT-FaceKit light as a folder holds it: its vertices, modes, tiles of UV, and which vertices are which part."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError

MODEL_FILE = "ict_facekit_id50_expr.npz"
INDEX_FILE = "vertex_indices.json"

FACE = range(9409)
"""Face with ears and the front of the neck (ICT-FaceKit's table of geometries, as all of these)."""
HEAD = range(14062)
"""Face, back of the head, neck, shoulders, and the sockets of mouth and eyes: one connected surface."""
SKIN = range(11248)
MOUTH_SOCKET = range(11248, 13295)
EYE_SOCKETS = range(13295, 14062)
GUMS = range(14062, 17039)
"""With the tongue."""
TEETH = range(17039, 21451)
LEFT_EYE, RIGHT_EYE = range(21451, 22221), range(23021, 23791)
"""Outer shells of the eyeballs, with the cornea."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class IctSource:
    """The full model, triangulated."""

    neutral: Floats
    """(26719, 3) in centimetres, y up, z towards the viewer."""
    triangles: NDArray[np.int64]
    """(T, 3)."""
    uv: Floats
    """(T, 3, 2) by corner: the integer part of u names the tile, v goes up."""
    identity: Floats
    """(50, 26719, 3): what one standard deviation of each mode adds."""
    expression: Floats
    """(E, 26719, 3): what each expression adds at its full strength."""
    expression_names: tuple[str, ...]
    landmarks68: NDArray[np.int64]
    """(68,) vertices of the usual 68 landmarks."""

    def within(self, vertices: range) -> NDArray[np.int64]:
        """Triangles all of whose corners are among ``vertices``."""
        inside = (self.triangles >= vertices.start) & (self.triangles < vertices.stop)
        return np.flatnonzero(inside.all(1))

    def mode(self, name: str) -> Floats:
        """An expression's displacements, (26719, 3)."""
        return np.asarray(self.expression[self.expression_names.index(name)])


def read_ict(folder: Path) -> IctSource:
    """Reads the model; of the expressions those that ICT-FaceKit fits faces with.

    Raises:
        DataError: the folder does not hold it.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        with np.load(folder / MODEL_FILE) as content:
            quads, uv_quads, uv = content["faces"], content["uvfaces"], content["uv"].astype(np.float64)
            all_names = [str(name) for name in content["expr_names"]]
            chosen = tuple(name for name in all_names if name in set(index["fitting_expressions"]))
            expression = content["expr"].astype(np.float64)[[all_names.index(name) for name in chosen]]
            neutral, identity = content["neutral"].astype(np.float64), content["identity"].astype(np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} needs ICT-FaceKit's {MODEL_FILE} and {INDEX_FILE}: {error}") from error
    whole = quads[:, 3] >= 0
    triangles = np.concatenate([quads[:, :3], quads[whole][:, [0, 2, 3]]]).astype(np.int64)
    corners = np.concatenate([uv_quads[:, :3], uv_quads[whole][:, [0, 2, 3]]])
    landmarks = np.array(index["idx_to_landmark_verts"], np.int64)
    return IctSource(neutral, triangles, uv[corners], identity, expression, chosen, landmarks)
