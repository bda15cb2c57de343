"""Fits the 3D face model to landmarks.

Weak perspective, and a linear face under priors: least squares in pose and coefficients together, by Gauss-Newton. To
alternate between the two needs several times the steps, since a turned head and a wide one look much alike.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.pose import Array, angles
from fpan_training.landmarks.canonical import VERTICES
from fpan_training.landmarks.scheme import IBUG_POINTS, POINTS, SCHEME

PIVOT_CM = (0.0, 0.0, -4.5)
"""Point of the model that stays where it is when a fitted face is turned: half way between the ears and the face's
front, so that profiles stay in the frame of a portrait.
"""
_POSE = 7
"""Unknowns of a pose: three of turning, the logarithm of the scale, three of shifting."""
_TINY = 1e-9
"""Keeps a shift in depth that no landmark sees at nothing."""
_BOUND_ROUNDS = 5

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FitConfig:
    """Priors and steps of a fit."""

    steps: int = 8
    """Gauss-Newton steps: pose and coefficients have settled to a hundredth of a degree by then."""
    noise_cm: float = 0.35
    """Standard deviation of a landmark about the model, which says how much the priors weigh. Large against that of a
    single landmark, for the errors of neighbours go together.
    """
    depth_noise: float = 3.0
    """How many times less exact a landmark's depth is than its place in the picture."""
    expression_deviation: float = 0.3
    """Of an expression's coefficient; an identity's is 1 by the model's making."""
    identity_limit: float = 3.0
    """Deviations beyond which no identity coefficient goes."""
    outline_noise: float = 4.0
    """How many times less exact the face's outline is than other landmarks when only places in the picture are given:
    annotators follow the visible edge, not a place on the skin.
    """


@dataclass(frozen=True)
class FaceFit:
    """A face in a picture: ``vertices = scale * model.vertices(identity, expression) @ rotation.T + translation``."""

    identity: NDArray[np.float32]
    """(K,)."""
    expression: NDArray[np.float32]
    """(E,), from 0 to 1."""
    rotation: NDArray[np.float32]
    """(3, 3)."""
    scale: float
    """Pixels per centimetre."""
    translation: NDArray[np.float32]
    """(3,): where the model's origin, between the ears, lies in the picture, in pixels; of a fit its depth is 0."""
    residual: float
    """Root of the mean squared distance of the landmarks from the model's, in the picture, in centimetres."""
    vertices: NDArray[np.float32]
    """(V, 3) in pixels of the picture."""

    @property
    def angles(self) -> Array:
        """(3,): yaw, pitch, roll in degrees."""
        return angles(self.rotation)

    def shape(self) -> NDArray[np.float32]:
        """The face unturned, (V, 3) in centimetres."""
        return FaceModel.load().vertices(self.identity, self.expression)

    def posed(self, rotation: Floats) -> "FaceFit":
        """The same face, turned to another rotation (3, 3) about :data:`PIVOT_CM`, which keeps its place."""
        turned = np.asarray(rotation, np.float32)
        translation = self.translation + self.scale * (self.rotation - turned) @ np.array(PIVOT_CM, np.float32)
        vertices = self.scale * self.shape() @ turned.T + translation
        return replace(
            self,
            rotation=turned,
            translation=translation.astype(np.float32),
            vertices=vertices.astype(np.float32),
        )

    def moved(self, matrix: Floats) -> "FaceFit":
        """The same face in a picture that was moved by a matrix (2, 3) of turning, scaling and shifting."""
        zoom = float(np.sqrt(np.linalg.det(matrix[:, :2])))
        turn = np.eye(3)
        turn[:2, :2] = matrix[:, :2] / zoom
        place = np.append(matrix[:, :2] @ self.translation[:2] + matrix[:, 2], self.translation[2] * zoom)
        rotation = (turn @ self.rotation).astype(np.float32)
        moved = replace(self, scale=self.scale * zoom, translation=place.astype(np.float32), rotation=rotation)
        return moved.posed(rotation)


def fit(points: Floats, config: FitConfig | None = None) -> FaceFit:
    """Fits the model to the landmarks of a face.

    Args:
        points: in pixels of the picture: MediaPipe's mesh, (478, 3), whose depth is used too; the 264 landmarks,
            (264, 2); or the usual 68, (68, 2).
        config: priors and steps.

    Raises:
        ValueError: another number of points, or one is not finite.
    """
    config = config or FitConfig()
    points = np.asarray(points, np.float64)
    problem = _problem(*points.shape, config)
    if not np.isfinite(points).all():
        raise ValueError("landmarks to fit to are not finite")
    target = np.zeros((len(points), 3))
    target[:, : points.shape[1]] = points
    return _solve(problem, target, config)


@dataclass(frozen=True)
class _Problem:
    """The model as landmarks of one kind see it."""

    mean: Array
    """(N, 3) in centimetres."""
    modes: Array
    """(N, 3, K + E)."""
    by_axis: Array
    """The same as (3, N * (K + E))."""
    weight: Array
    """(N,): one over a landmark's variance in the picture, in 1 / cm^2."""
    depth_weight: float
    """What a landmark's depth weighs against its place in the picture; 0 if it has none."""
    gram: Array
    """(K + E, K + E): ``modes`` squared, weighted, all three axes alike."""
    prior: Array
    """(K + E,): one over the coefficients' variances."""
    low: Array
    """(K + E,): the least that coefficients may be."""
    high: Array
    """(K + E,): the most."""
    identities: int


@lru_cache(maxsize=8)
def _problem(count: int, dimensions: int, config: FitConfig) -> _Problem:
    mixtures: dict[int, Floats] = {
        VERTICES: np.eye(VERTICES),
        POINTS: SCHEME.mesh_weights,
        IBUG_POINTS: SCHEME.ibug_weights @ SCHEME.mesh_weights,
    }
    if count not in mixtures:
        raise ValueError(f"a face is fitted to {', '.join(map(str, mixtures))} points, not to {count}")
    model = FaceModel.load()
    all_modes = np.concatenate([model.identity, model.expression])
    mixture = mixtures[count].astype(np.float64)
    modes = np.stack([mixture @ model.mesh478(mode) for mode in all_modes], -1)
    noise = np.full(count, config.noise_cm)
    outline = SCHEME.groups["outline"]
    if count == POINTS:
        noise[outline] *= config.outline_noise
    elif count == IBUG_POINTS:
        noise[SCHEME.ibug_weights[:, outline].sum(1) > 0] *= config.outline_noise
    identities, expressions = len(model.identity), len(model.expression)
    weighted = modes * noise[:, None, None] ** -2.0
    return _Problem(
        mean=mixture @ model.mesh478(model.neutral),
        modes=modes,
        by_axis=np.ascontiguousarray(modes.transpose(1, 0, 2)).reshape(3, -1),
        weight=noise**-2.0,
        depth_weight=config.depth_noise**-2.0 if dimensions > 2 and count == VERTICES else 0.0,
        gram=weighted.reshape(-1, modes.shape[-1]).T @ modes.reshape(-1, modes.shape[-1]),
        prior=np.repeat([1.0, config.expression_deviation**-2.0], [identities, expressions]),
        low=np.repeat([-config.identity_limit, 0.0], [identities, expressions]),
        high=np.repeat([config.identity_limit, 1.0], [identities, expressions]),
        identities=identities,
    )


def _solve(problem: _Problem, target: Array, config: FitConfig) -> FaceFit:
    """Gauss-Newton on turn (3), log of the scale, shift (3) and coefficients; residuals in centimetres."""
    coefficients = np.zeros(len(problem.prior))
    flat_modes = problem.modes.reshape(-1, len(coefficients))
    weight = problem.weight[:, None] * np.array([1, 1, problem.depth_weight])
    rotation, scale, shift = _rigid(problem.mean, target, problem.weight)
    for _ in range(config.steps):
        turned = (problem.mean + problem.modes @ coefficients) @ rotation.T
        residual = (target - shift) / scale - turned
        pose = np.concatenate([_turns(turned), turned[..., None], np.broadcast_to(np.eye(3), (len(turned), 3, 3))], -1)
        weighted_pose = pose * weight[..., None]
        # Turning the residuals back spares turning the modes, of which there are many.
        back = np.einsum("nik,ij->njk", weighted_pose, rotation).reshape(-1, _POSE)
        depth_modes = (rotation[2] @ problem.by_axis).reshape(len(turned), -1)
        less = depth_modes * (problem.weight * (1 - problem.depth_weight))[:, None]
        cross = back.T @ flat_modes
        normal = np.block(
            [
                [np.einsum("nik,nil->kl", weighted_pose, pose) + np.eye(_POSE) * _TINY, cross],
                [cross.T, problem.gram - less.T @ depth_modes + np.diag(problem.prior)],
            ]
        )
        right = np.concatenate(
            [
                np.einsum("nik,ni->k", weighted_pose, residual),
                flat_modes.T @ ((weight * residual) @ rotation).ravel() - problem.prior * coefficients,
            ]
        )
        step = _bounded(normal, right, problem.low - coefficients, problem.high - coefficients)
        rotation = _turn(step[:3]) @ rotation
        shift = shift + scale * step[4:_POSE]
        scale *= float(np.exp(step[3]))
        coefficients = coefficients + step[_POSE:]
    turned = (problem.mean + problem.modes @ coefficients) @ rotation.T
    off = ((target - shift) / scale - turned)[:, :2]
    identity, expression = np.split(coefficients.astype(np.float32), [problem.identities])
    return FaceFit(
        identity=identity,
        expression=expression,
        rotation=rotation.astype(np.float32),
        scale=scale,
        translation=np.append(shift[:2], 0).astype(np.float32),
        residual=float(np.sqrt((off**2).sum(1).mean())),
        vertices=np.empty((0, 3), np.float32),
    ).posed(rotation)


def _bounded(normal: Array, right: Array, low: Array, high: Array) -> Array:
    """The step that solves ``normal @ step = right`` with the coefficients' part within bounds: what would leave them
    is put on them and the rest solved again.
    """
    step = np.asarray(np.linalg.solve(normal, right), np.float64)
    held = np.zeros(len(step), bool)
    for _ in range(_BOUND_ROUNDS):
        beyond = ~held
        beyond[:_POSE] = False
        beyond[_POSE:] &= (step[_POSE:] < low) | (step[_POSE:] > high)
        if not beyond.any():
            break
        held |= beyond
        step[_POSE:] = np.clip(step[_POSE:], low, high)
        free = ~held
        step[free] = np.linalg.solve(normal[np.ix_(free, free)], right[free] - normal[np.ix_(free, held)] @ step[held])
    step[_POSE:] = np.clip(step[_POSE:], low, high)
    return step


def _rigid(mean: Array, target: Array, weights: Array) -> tuple[Array, float, Array]:
    """Rotation, scale and shift of the mean face, roughly: the nearest scaled rotation to the best affine map."""
    weight = weights[:, None] / weights.sum()
    centre, place = (weight * mean).sum(0), (weight * target).sum(0)
    root = np.sqrt(weight)
    affine = np.linalg.lstsq((mean - centre) * root, ((target - place) * root)[:, :2], rcond=None)[0].T
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    first, second = u @ vt
    rotation = np.stack([first, second, np.cross(first, second)])
    scale = float(s.mean())
    return rotation, scale, place - scale * (rotation @ centre)


def _turns(points: Array) -> Array:
    """How points move when turned about each axis: (N, 3) to (N, 3, 3)."""
    x, y, z = points.T
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -1)


def _turn(vector: Array) -> Array:
    """The rotation about an axis by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
