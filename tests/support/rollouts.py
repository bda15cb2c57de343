"""A model whose versions say their own number, and which of them a gateway has in traffic."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fpan.registry import FolderStore, Registry
from fpan.serve.api.options import ParseOptions
from fpan.serve.app import Gateway
from fpan.serve.config import Settings

from tests.support.known_face import file_of
from tests.support.networks import publish_saying
from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"
SOON_S = 20.0
PICTURE = file_of(np.full((40, 40, 3), 90, np.uint8))


def promote(root: Path, version: int, alias: str = "champion") -> None:
    Registry(FolderStore(root)).promote("segm", version, alias, "test")


def rollback(root: Path, alias: str = "champion") -> None:
    Registry(FolderStore(root)).rollback("segm", alias, "test")


async def said(gateway: Gateway, model: str = "") -> tuple[int, int, str | None]:
    """The label that every pixel has, and version and alias of what gave it."""
    parsed = await gateway.parser.parse(PICTURE, ParseOptions(faces="full", model=model))
    (label,) = np.unique(parsed.result.labels)
    return int(label), parsed.segmenter.card.version, parsed.segmenter.alias


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.01)


def answering(gateway: Gateway, name: str = "segm") -> int | None:
    segmenter = gateway.rollout.model_router.now.segmenters.get(name)
    return segmenter and segmenter.card.version


def loaded(gateway: Gateway) -> set[int]:
    return {version for name, version in gateway.rollout._loaded if name == "segm"}


def chosen(root: Path) -> Settings:
    return Settings(model_repository=root, backend="in-process", runtime_threads=1, registry_poll_s=0.02)


def three_versions(root: Path) -> Path:
    """The shipped detector, and versions 1 to 3 of a network that says its own version everywhere; 1 is champion."""
    shutil.copytree(SHIPPED / "detector", root / "detector")
    for label in (1, 2, 3):
        publish_saying(root, label)
    promote(root, 1)
    return root
