"""Applies the request's choice of classes and its order of class ids to a result."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from fpan.contract import Taxonomy
from fpan.contract.face import FaceFacts
from fpan.serve.api.errors import BadRequest
from fpan.serve.api.options import ParseOptions
from fpan.serve.pipeline.types import ParsedFace, ParseResult


def check_order(order: str, taxonomy: Taxonomy) -> None:
    """Checks that label maps of a taxonomy can be converted to an order; an empty name is the taxonomy's own order.

    Raises:
        BadRequest: the order is unknown.
    """
    if order and order != taxonomy.name and order not in taxonomy.remaps:
        known = ", ".join((taxonomy.name, *taxonomy.remaps))
        raise BadRequest(f"unknown taxonomy {order[:40]!r}: the classes can be told as {known}")


def in_order(result: ParseResult, taxonomy: Taxonomy, order: str) -> tuple[ParseResult, Taxonomy]:
    """Converts a result to the class ids of an order; returns the result and the taxonomy of these ids.

    The order must pass :func:`check_order`. Parts without a class in the order are left out, and their pixels become
    ``ignore`` (255).
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


def kept_classes(options: ParseOptions, taxonomy: Taxonomy) -> frozenset[int] | None:
    """Ids of the classes that ``classes`` and ``groups`` keep; None for all.

    Raises:
        BadRequest: an unknown name.
    """
    if not options.classes and not options.groups:
        return None
    names = {c.name for c in taxonomy.classes}
    for name in options.classes:
        if name not in names:
            raise BadRequest(
                f"unknown class {name[:40]!r}: the classes are {', '.join(c.name for c in taxonomy.classes)}"
            )
    for group in options.groups:
        if group not in taxonomy.groups:
            raise BadRequest(f"unknown group {group[:40]!r}: the groups are {', '.join(taxonomy.groups)}")
    wanted = {*options.classes, *(name for group in options.groups for name in taxonomy.groups[group])}
    return frozenset(taxonomy.id_of(name) for name in wanted)
