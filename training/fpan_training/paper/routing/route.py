"""`fpan-train route`: routes a folder of pictures ahead of training, and says what went where."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import SPLIT_FILE, DataError, FaceFolder, read_labels, read_rgb, read_splits
from fpan_training.data.label_space import DATASET_FILE, LabelSpace, derived, write_dataset_file
from fpan_training.engine import plots
from fpan_training.engine.progress import track
from fpan_training.landmarks import FaceStore
from fpan_training.landmarks.build import list_images
from fpan_training.paper.routing.decision import OCCLUSION, Decision, Kind, Route, RoutingConfig, count
from fpan_training.paper.routing.folder import LOG, RoutingCache, write_labels
from fpan_training.paper.routing.modules import load_dom, load_lom
from fpan_training.paper.routing.protocols import Points
from fpan_training.paper.routing.router import UNLABELLED, Labels, Router
from fpan_training.taxonomy import TAXONOMY

ROUTED_SPLIT = "train"
"""The only split that is routed: what is measured on keeps its own labels."""
_SHEET_PICTURES = 12
_SHEET_SIDE = 160
"""Pixels."""


class Picture(NamedTuple):
    """A picture to route."""

    path: Path
    mask: Path | None

    @property
    def name(self) -> str:
        """Without its ending."""
        return self.path.stem

    def labels(self) -> Labels | None:
        """uint8 (H, W); None without a mask."""
        return None if self.mask is None else read_labels(self.mask)


@dataclass(frozen=True)
class RouteData:
    """Routes the training pictures of a folder by what LOM sees and what the labels say: Mask-FPAN's figure 2.

    Writes a folder in the documented layout with the labels that SEGM should learn from, the decisions and their
    evidence (decisions.jsonl), counts, and a page with a sheet of pictures for each kind. Other splits are copied as
    they are. Run it again and it goes on where it stopped.
    """

    data: Path
    """Data set, labelled or not."""
    faces: Path
    """The data set's own store of `fpan-train landmarks`."""
    lom: Path
    """Checkpoint of LOM."""
    dom: Path
    """Checkpoint of DOM."""
    out: Path
    """Folder to write."""
    routing: RoutingConfig = field(default_factory=RoutingConfig)

    def __call__(self) -> Path:
        """Routes everything and returns the report's path."""
        space = LabelSpace.of_folder(self.data)
        router = Router(load_lom(self.lom), load_dom(self.dom), self.routing, space)
        store = FaceStore(self.faces)

        def points(name: str) -> Points | None:
            record = store.get(name)
            return None if record is None else record.points264

        return route_folder(self.data, router, points, self.out)


def route_folder(data: Path, router: Router, points: Callable[[str], Points | None], out: Path) -> Path:
    """Routes a data set's training pictures into a folder of their own; returns the report's path.

    Args:
        data: labelled data set, or a folder of pictures without labels.
        router: what decides and labels.
        points: roughly where a picture's face is, by the picture's name; None without one.
        out: folder to write or to go on with.

    Raises:
        DataError: ``out`` is the data set itself, or was made under other settings.
    """
    if out.resolve() == data.resolve():
        raise DataError(f"{out} is the data set itself: route to another folder")
    pictures = list_pictures(data)
    cache = RoutingCache.open(router, out)
    (out / "images").mkdir(exist_ok=True)
    for picture in track(pictures, "routing"):
        labels = picture.labels()
        routing = cache(picture.name, read_rgb(picture.path), labels, points(picture.name))
        if routing.labels is not None:
            shutil.copyfile(picture.path, out / "images" / picture.path.name)
            write_labels(out / "masks" / f"{picture.name}.png", routing.labels, router.space.taxonomy)
    names = {picture.name for picture in pictures}
    decisions = tuple(decision for decision in cache.log.decisions() if decision.name in names)
    _write_splits(data, decisions, out)
    if not (data / "masks").is_dir():
        write_dataset_file(out / DATASET_FILE, derived(data, "occlusion by DOM", UNLABELLED))
    elif (data / DATASET_FILE).is_file():
        shutil.copyfile(data / DATASET_FILE, out / DATASET_FILE)
    return write_report(pictures, decisions, router.config, out)


def list_pictures(data: Path) -> list[Picture]:
    """The pictures that are routed: the training split of a labelled data set, or all of an unlabelled folder."""
    if (data / "masks").is_dir():
        folder = FaceFolder.open(data, ROUTED_SPLIT)
        return [
            Picture(path, data / "masks" / f"{name}.png") for name, path in zip(folder.names, folder.paths, strict=True)
        ]
    return [Picture(path, None) for path in list_images(data)]


def write_report(pictures: Sequence[Picture], decisions: Sequence[Decision], config: RoutingConfig, out: Path) -> Path:
    """Writes counts.json, a sheet of pictures for each kind (picture, labels before, labels after) and routing.md."""
    counts = count(decisions)
    table = [{"kind": kind, "route": route, "pictures": number} for (kind, route), number in sorted(counts.items())]
    (out / "counts.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    by_name = {picture.name: picture for picture in pictures}
    lines = [
        "# Routing",
        "",
        f"{len(decisions)} training pictures. A landmark is hidden where LOM's probability of being visible is below "
        f"{config.visible:g}; a face is occluded from {config.hidden_share:.0%} of hidden landmarks on; labels mark an "
        f"occlusion from {config.marked_share:.0%} of face and occlusion on. Labels are unknown where DOM's "
        f"probability lies between {config.unsure[0]:g} and {config.unsure[1]:g}.",
        "",
        "| kind | goes to | pictures | share | hidden landmarks, mean |",
        "|---|---|---|---|---|",
    ]
    for (kind, route), number in sorted(counts.items()):
        hidden = [d.evidence.hidden_share for d in decisions if (d.kind, d.route) == (kind, route)]
        known = [share for share in hidden if share is not None]
        mean = f"{np.mean(known):.1%}" if known else "-"
        lines.append(f"| {kind} | {route} | {number} | {number / len(decisions):.1%} | {mean} |")
    relabelled = [d.name for d in decisions if d.route is Route.DOM_SEGM]
    if relabelled:
        lines += ["", _what_dom_did(relabelled, by_name, out)]
    for kind in Kind:
        shown = [by_name[d.name] for d in decisions if d.kind is kind]
        if shown:
            sheet = f"{kind.name.lower()}.jpg"
            draw_sheet(shown[:: max(1, len(shown) // _SHEET_PICTURES)][:_SHEET_PICTURES], out, out / sheet)
            lines += ["", f"## {kind.capitalize()}", "", "Picture, labels before, labels after; white is unknown.", ""]
            lines += [f"![{kind}]({sheet})"]
    lines += ["", f"Every decision with its evidence is in `{LOG}`."]
    page = out / "routing.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def draw_sheet(pictures: Sequence[Picture], out: Path, path: Path) -> None:
    """Draws pictures with their labels before and after routing; those without labels are white."""
    rows = []
    for picture in pictures:
        image = read_rgb(picture.path)
        unknown = np.full(image.shape[:2], TAXONOMY.ignore, np.uint8)
        before, routed = picture.labels(), out / "masks" / f"{picture.name}.png"
        after = read_labels(routed) if routed.is_file() else unknown
        small, first = resize_pair(image, unknown if before is None else before, _SHEET_SIDE)
        second = resize_pair(image, after, _SHEET_SIDE)[1]
        rows.append(plots.labelled(small, first, second, taxonomy=TAXONOMY))
    plots.contact_sheet(rows, path)


def _what_dom_did(names: Sequence[str], pictures: dict[str, Picture], out: Path) -> str:
    pixels = occlusion = unknown = 0
    for name in names:
        after, before = read_labels(out / "masks" / f"{name}.png"), pictures[name].labels()
        pixels += after.size
        occlusion += int((after == TAXONOMY.id_of(OCCLUSION)).sum())
        made_unknown = after == TAXONOMY.ignore
        unknown += int((made_unknown if before is None else made_unknown & (before != TAXONOMY.ignore)).sum())
    return (
        f"In the {len(names)} pictures that went through DOM, {occlusion / pixels:.1%} of the pixels are occlusion and "
        f"{unknown / pixels:.1%} are unknown that were not, or had no label."
    )


def _write_splits(data: Path, decisions: Sequence[Decision], out: Path) -> None:
    """Copies the other splits and writes split.json, without pictures that go nowhere."""
    splits = read_splits(data)
    if splits is None:
        return
    splits[ROUTED_SPLIT] = sorted(d.name for d in decisions if d.route is not Route.NOWHERE)
    for split in splits:
        if split != ROUTED_SPLIT:
            folder = FaceFolder.open(data, split)
            for name, path in zip(folder.names, folder.paths, strict=True):
                shutil.copyfile(path, out / "images" / path.name)
                shutil.copyfile(data / "masks" / f"{name}.png", out / "masks" / f"{name}.png")
    (out / SPLIT_FILE).write_text(json.dumps(splits, indent=1) + "\n", encoding="utf-8")
