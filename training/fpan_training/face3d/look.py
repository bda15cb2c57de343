"""What rendered people look like: everything that chance decides about one, drawn ahead of any geometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.model import FaceModel

Floats = NDArray[np.float64]

_SKIN = np.array([(246, 214, 190), (232, 186, 152), (205, 150, 112), (158, 104, 70), (104, 66, 46), (66, 42, 32)])
_HAIR = np.array(
    [(28, 22, 20), (62, 40, 26), (112, 72, 42), (172, 128, 76), (214, 186, 134), (150, 62, 30), (170,) * 3]
)
_IRIS = np.array([(70, 42, 24), (110, 76, 40), (80, 110, 74), (84, 128, 168), (110, 120, 126)])


@dataclass(frozen=True)
class LookConfig:
    """How often things are seen, and how far poses and faces go."""

    yaw_deg: float = 28.0
    """Standard deviation; in 300W-LP's spirit profiles are seen too."""
    yaw_limit_deg: float = 75.0
    pitch_deg: float = 10.0
    pitch_limit_deg: float = 30.0
    roll_deg: float = 8.0
    identity_deviation: float = 0.9
    """Of the model's coefficients; 1 is the population's own."""
    p_bald: float = 0.08
    p_long_hair: float = 0.45
    p_fringe: float = 0.35
    p_hat: float = 0.2
    p_glasses: float = 0.25
    p_sunglasses: float = 0.4
    """Of glasses: those with dark lenses."""
    p_earrings: float = 0.3
    p_necklace: float = 0.3
    p_open_mouth: float = 0.45
    zoom: tuple[float, float] = (0.92, 1.1)
    shift: float = 0.02
    """Standard deviation of the face's place, in shares of the picture's side."""


@dataclass(frozen=True)
class Look:
    """One person in one light. Colours are float RGB (3,), 0 to 1."""

    identity: Floats
    expression: Floats
    angles_deg: tuple[float, float, float]
    zoom: float
    shift: Floats
    """(2,) in shares of the picture's side."""
    skin: Floats
    lips: Floats
    hair: Floats
    iris: Floats
    cloth: Floats
    metal: Floats
    light: Floats
    """(3,) unit vector towards the lamp."""
    ambient: float
    bald: bool
    hair_cm: float
    """Thickness of the hair on the head."""
    long_cm: float
    """Height to which long hair falls, y in centimetres; 0: hair is short."""
    fringe: Floats
    """(8,): how far the hair comes down over the forehead across the face, in shares of the atlas."""
    hat: Floats | None
    """Colour."""
    hat_brim_cm: float
    hat_tilt: float
    """How much lower the hat sits at the back than at the front, as a slope."""
    glasses: Floats | None
    """Colour of the frame."""
    sunglasses: bool
    earrings: tuple[bool, bool]
    """The person's right and left."""
    earring_cm: float
    necklace: bool
    collar_cm: float
    """Height of the collar above where the shoulders begin."""
    beard: float
    """How much the lower face is tinted with the hair's colour."""
    seed: int
    """Of textures and background."""


def draw_look(config: LookConfig, rng: np.random.Generator) -> Look:
    """Draws a person; the same generator state gives the same one."""
    model = FaceModel.load()
    skin = _between(_SKIN, rng)
    hair = _between(_HAIR, rng)
    light = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.4), -1.0])
    yaw = float(np.clip(rng.normal(0, config.yaw_deg), -config.yaw_limit_deg, config.yaw_limit_deg))
    pitch = float(np.clip(rng.normal(0, config.pitch_deg), -config.pitch_limit_deg, config.pitch_limit_deg))
    bald = bool(rng.random() < config.p_bald)
    fringe = rng.uniform(-0.02, 0.09, 8) if rng.random() < config.p_fringe else rng.uniform(-0.03, 0.01, 8)
    return Look(
        identity=np.clip(rng.normal(0, config.identity_deviation, len(model.identity)), -2.2, 2.2),
        expression=_expression(model, config, rng),
        angles_deg=(yaw, pitch, float(rng.normal(0, config.roll_deg))),
        zoom=float(rng.uniform(*config.zoom)),
        shift=rng.normal(0, config.shift, 2),
        skin=skin,
        lips=np.clip(skin * np.array([0.92, 0.6, 0.62]) + rng.uniform(-0.06, 0.1, 3) * np.array([1, 0.4, 0.5]), 0, 1),
        hair=hair,
        iris=_between(_IRIS, rng),
        cloth=rng.uniform(0.05, 0.95, 3),
        metal=np.array([0.9, 0.78, 0.4]) if rng.random() < 0.6 else np.array([0.8, 0.82, 0.86]),
        light=light / np.linalg.norm(light),
        ambient=float(rng.uniform(0.3, 0.6)),
        bald=bald,
        hair_cm=0.0 if bald else float(rng.uniform(0.3, 2.2)),
        long_cm=float(rng.uniform(3, 17)) if not bald and rng.random() < config.p_long_hair else 0.0,
        fringe=fringe,
        hat=rng.uniform(0.05, 0.95, 3) if rng.random() < config.p_hat else None,
        hat_brim_cm=float(rng.choice([0.0, 2.5, 5.0])),
        hat_tilt=float(rng.uniform(-0.1, 0.35)),
        glasses=rng.uniform(0.02, 0.5, 3) if rng.random() < config.p_glasses else None,
        sunglasses=bool(rng.random() < config.p_sunglasses),
        earrings=_pair(config.p_earrings, rng),
        earring_cm=float(rng.uniform(0.35, 0.8)),
        necklace=bool(rng.random() < config.p_necklace),
        collar_cm=float(rng.uniform(-1.5, 3.0)),
        beard=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.2 else 0.0,
        seed=int(rng.integers(2**31)),
    )


def _expression(model: FaceModel, config: LookConfig, rng: np.random.Generator) -> Floats:
    named: dict[str, float] = {}
    if rng.random() < config.p_open_mouth:
        named["jawOpen"] = float(rng.uniform(0.1, 0.7))
    smile = float(rng.uniform(0, 0.9)) if rng.random() < 0.5 else 0.0
    up, look = float(rng.normal(0, 0.25)), float(rng.normal(0, 0.35))
    brow = float(rng.normal(0, 0.4))
    blink = float(rng.choice([0.0, rng.uniform(0, 0.4), 1.0], p=[0.6, 0.32, 0.08]))
    for side, inwards in (("L", -look), ("R", look)):
        named[f"mouthSmile_{side}"] = smile
        named[f"eyeLookIn_{side}"], named[f"eyeLookOut_{side}"] = max(inwards, 0), max(-inwards, 0)
        named[f"eyeLookUp_{side}"], named[f"eyeLookDown_{side}"] = max(up, 0), max(-up, 0)
        named[f"browOuterUp_{side}"], named[f"browDown_{side}"] = max(brow, 0), max(-brow, 0)
        named[f"eyeBlink_{side}"] = blink
    if rng.random() < 0.2:
        named[str(rng.choice(["mouthPucker", "mouthFunnel", "mouthLeft", "mouthRight", "jawLeft", "jawRight"]))] = 0.6
    return np.clip(model.strengths(**named), 0, 1).astype(np.float64)


def _between(colours: Floats, rng: np.random.Generator) -> Floats:
    """A colour between two neighbours of a list, 0 to 1."""
    at = rng.uniform(0, len(colours) - 1)
    low = int(at)
    mixed = colours[low] + (at - low) * (colours[min(low + 1, len(colours) - 1)] - colours[low])
    return np.asarray(np.clip(mixed / 255 + rng.normal(0, 0.02, 3), 0.02, 1))


def _pair(share: float, rng: np.random.Generator) -> tuple[bool, bool]:
    both = rng.random() < share
    return bool(both), bool(both and rng.random() < 0.9)
