"""Results under the class ids of another order in use."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from fpan.contract import Taxonomy
from fpan.contract.face import FaceFacts
from fpan.serve.api.errors import BadRequest
from fpan.serve.pipeline.types import ParsedFace, ParseResult


def check_order(order: str, taxonomy: Taxonomy) -> None:
    """Whether label maps of a taxonomy can be told in an order; an empty one is its own.

    Raises:
        BadRequest: it is unknown.
    """
    if order and order != taxonomy.name and order not in taxonomy.remaps:
        known = ", ".join((taxonomy.name, *taxonomy.remaps))
        raise BadRequest(f"unknown taxonomy {order[:40]!r}: the classes can be told as {known}")


def in_order(result: ParseResult, taxonomy: Taxonomy, order: str) -> tuple[ParseResult, Taxonomy]:
    """A result whose ids are those of an order that :func:`check_order` passes, and the taxonomy of these ids.

    Parts that the order does not have are left out, and their pixels become ``ignore`` (255).
    """
    if not order or order == taxonomy.name:
        return result, taxonomy
    table = taxonomy.order_table(order)

    def facts(face: ParsedFace) -> FaceFacts:
        parts = [replace(part, id=int(table[part.id])) for part in face.facts.parts]
        known = sorted((p for p in parts if p.id != taxonomy.ignore), key=lambda part: part.id)
        return replace(face.facts, parts=tuple(known))

    def moved(face: ParsedFace) -> ParsedFace:
        alpha = [replace(mask, id=int(table[mask.id])) for mask in face.alpha]
        return replace(
            face,
            labels=np.asarray(cv2.LUT(face.labels, table), np.uint8),
            measure=cache(lambda: facts(face)),
            alpha=tuple(sorted((m for m in alpha if m.id != taxonomy.ignore), key=lambda mask: mask.id)),
        )

    labels = np.asarray(cv2.LUT(result.labels, table), np.uint8) if result.labels.size else result.labels
    faces = tuple(moved(face) for face in result.faces)
    return replace(result, labels=labels, faces=faces), taxonomy.reordered(order)
