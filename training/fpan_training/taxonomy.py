"""The project's own taxonomy: CelebAMask-HQ's order and, as id 19, what occludes the face.

Written into the card of every segmentation model; the gateway knows only the card.
"""

from fpan.contract import FaceClass, Taxonomy

_ROWS: tuple[tuple[str, str, tuple[int, int, int], str], ...] = (
    # name, title, colour, partner ("" = itself)
    ("background", "background", (0, 0, 0), ""),
    ("skin", "skin", (236, 188, 158), ""),
    ("nose", "nose", (226, 140, 92), ""),
    ("eye_g", "glasses", (60, 200, 220), ""),
    ("l_eye", "left eye", (40, 110, 255), "r_eye"),
    ("r_eye", "right eye", (30, 210, 110), "l_eye"),
    ("l_brow", "left eyebrow", (120, 80, 220), "r_brow"),
    ("r_brow", "right eyebrow", (110, 150, 40), "l_brow"),
    ("l_ear", "left ear", (250, 130, 190), "r_ear"),
    ("r_ear", "right ear", (255, 200, 60), "l_ear"),
    ("mouth", "inner mouth", (120, 20, 40), ""),
    ("u_lip", "upper lip", (220, 50, 80), ""),
    ("l_lip", "lower lip", (255, 100, 120), ""),
    ("hair", "hair", (110, 70, 40), ""),
    ("hat", "hat", (0, 130, 130), ""),
    ("ear_r", "earring", (255, 240, 0), ""),
    ("neck_l", "necklace", (190, 255, 120), ""),
    ("neck", "neck", (200, 150, 120), ""),
    ("cloth", "clothes", (90, 110, 140), ""),
    ("occlusion", "occluding object", (255, 0, 255), ""),
)

_GROUPS: dict[str, tuple[str, ...]] = {
    "eyes": ("l_eye", "r_eye"),
    "brows": ("l_brow", "r_brow"),
    "ears": ("l_ear", "r_ear"),
    "lips": ("u_lip", "l_lip"),
    "all_mouth": ("mouth", "u_lip", "l_lip"),
    "all_skin": ("skin", "nose", "l_ear", "r_ear", "neck"),
    "hair+hat": ("hair", "hat"),
    "face": ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"),
    "head": (
        *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
        *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r"),
    ),
}

_NO_CLASS = 255
# The order of the BiSeNet face parsers in use: skin, brows, eyes, glasses, ears, earring, nose, mouth, lips, neck, ...
_BISENET_ORDER = (0, 1, 10, 6, 4, 5, 2, 3, 7, 8, 11, 12, 13, 17, 18, 9, 15, 14, 16, _NO_CLASS)


def _build() -> Taxonomy:
    ids = {name: i for i, (name, *_) in enumerate(_ROWS)}
    classes = tuple(
        FaceClass(id=i, name=name, title=title, colour=colour, partner=ids[partner or name])
        for i, (name, title, colour, partner) in enumerate(_ROWS)
    )
    celebamask_order = (*range(19), _NO_CLASS)
    remaps = {"celebamask-hq": celebamask_order, "bisenet": _BISENET_ORDER}
    return Taxonomy(name="celebamask-hq+occlusion", classes=classes, groups=_GROUPS, remaps=remaps)


TAXONOMY = _build()
CELEBA19_CLASSES = 19
"""Classes that CelebAMask-HQ labels: ids 0 to 18."""
