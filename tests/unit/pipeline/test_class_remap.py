"""Other orders of the classes: what /v1/labels tells is what answers in that order have."""

from dataclasses import replace

import numpy as np
import pytest
from fpan.contract import FaceClass, Taxonomy
from fpan.contract.face import Part
from fpan.serve.api.errors import BadRequest
from fpan.serve.pipeline.encode.class_remap import check_order, in_order
from fpan.serve.pipeline.types import ParsedFace, ParseResult, SoftMask
from fpan_training.taxonomy import TAXONOMY

from tests.support.parsed import face_facts

BISENET = (
    *("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose"),
    *("mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat"),
)
"""As the BiSeNet face parsers in use have it."""


def test_bisenets_order_is_bisenets():
    other = TAXONOMY.reordered("bisenet")
    assert (other.name, tuple(c.name for c in other.classes)) == ("bisenet", BISENET)


@pytest.mark.parametrize("order", sorted(TAXONOMY.remaps))
def test_a_reordered_taxonomy_says_the_same_of_its_classes(order):
    other = TAXONOMY.reordered(order)
    for c in other.classes:
        own = TAXONOMY.classes[TAXONOMY.id_of(c.name)]
        assert (c.title, c.colour) == (own.title, own.colour)
        assert other.classes[c.partner].name == TAXONOMY.classes[own.partner].name
        assert TAXONOMY.order_table(order)[own.id] == c.id
    assert other.groups == TAXONOMY.groups
    assert TAXONOMY.order_table(order)[TAXONOMY.id_of("occlusion")] == TAXONOMY.order_table(order)[255] == 255


def test_an_order_that_leaves_gaps_is_no_taxonomy():
    classes = tuple(FaceClass(id=i, name=n, title=n, colour=(0, 0, 0), partner=i) for i, n in enumerate("ab"))
    with pytest.raises(ValueError, match="in order"):
        Taxonomy(name="two", classes=classes, remaps={"gaps": (0, 5)}).reordered("gaps")
    with pytest.raises(KeyError):
        TAXONOMY.reordered("nobodys")


def test_orders_are_known_or_refused():
    for order in ("", TAXONOMY.name, *TAXONOMY.remaps):
        check_order(order, TAXONOMY)
    with pytest.raises(BadRequest, match="celebamask-hq, bisenet"):
        check_order("nobodys", TAXONOMY)


def test_labels_parts_and_soft_masks_follow_the_order():
    nose, cloth, occlusion = (TAXONOMY.id_of(name) for name in ("nose", "cloth", "occlusion"))
    labels = np.array([[0, nose, cloth, occlusion, 255]], np.uint8)
    window = (0, 0, 5, 1)
    parts = tuple(Part(i, TAXONOMY.classes[i].name, 1, window, 0.5) for i in (nose, cloth, occlusion))
    alpha = tuple(SoftMask(i, window, labels) for i in (nose, cloth, occlusion))
    box = (0.0, 0.0, 5.0, 1.0)
    facts = face_facts(box=box, occluded=0.3, parts=parts)
    face = ParsedFace(0, box, None, None, window, labels, labels, lambda: facts, alpha)
    result = ParseResult(5, 1, labels, labels, (face,))
    moved, taxonomy = in_order(result, TAXONOMY, "bisenet")
    assert moved.labels.tolist() == moved.faces[0].labels.tolist() == [[0, 10, 16, 255, 255]]
    assert [(p.id, p.name) for p in moved.faces[0].facts.parts] == [(10, "nose"), (16, "cloth")]
    assert [mask.id for mask in moved.faces[0].alpha] == [10, 16]
    assert moved.faces[0].facts.occluded == 0.3
    assert taxonomy.name == "bisenet"
    assert in_order(result, TAXONOMY, "") == (result, TAXONOMY)
    empty = replace(result, labels=np.zeros((0, 0), np.uint8), faces=())
    assert in_order(empty, TAXONOMY, "bisenet")[0].labels.shape == (0, 0)
