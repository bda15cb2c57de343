"""Where a version's weights come from: the data sets of its run, and those of the version that it started from."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from fpan.contract import CARD_FILE, ModelCard, TrainingData

from fpan_training.data.folder import DataError, is_shards
from fpan_training.data.label_space import DATASET_FILE, DatasetFile
from fpan_training.modules.segm.data import name_of

SOURCES = "sources"
"""Their name in a run's ``config.json``."""


def sources_of(
    locations: Sequence[str | Path], pictures: Sequence[int], start_from: Path | None
) -> tuple[TrainingData, ...]:
    """What a training learns from, as far as ``dataset.json`` and the card of the version that it starts from say.

    Args:
        locations: folders or shards of the data sets.
        pictures: how many each has.
        start_from: checkpoint that the weights start from; a registered one has its card beside it.
    """
    own = []
    for location, count in zip(locations, pictures, strict=True):
        file = None if is_shards(location) else Path(location) / DATASET_FILE
        said = DatasetFile.read(file) if file is not None and file.is_file() else DatasetFile()
        own.append(TrainingData(name=said.name or name_of(location), licence=said.licence, pictures=count))
    before: tuple[TrainingData, ...] = ()
    if start_from is not None and (card := start_from.parent / CARD_FILE).is_file():
        before = ModelCard.model_validate_json(card.read_bytes()).training_data
    return (*own, *before)


def started_from(checkpoint: Path | None) -> str | None:
    """A checkpoint as a run's ``config.json`` has it: ``NAME:VERSION`` of a registered one, else the file's name."""
    if checkpoint is None:
        return None
    card = checkpoint.parent / CARD_FILE
    if not card.is_file():
        return checkpoint.name
    said = ModelCard.model_validate_json(card.read_bytes())
    return f"{said.name}:{said.version}"


def read_sources(run: Path, name: str, licence: str, pictures: int) -> tuple[TrainingData, ...]:
    """What a run learnt from, for the card of the version that it becomes.

    Args:
        run: its folder.
        name: of the main data set, instead of what is known.
        licence: of every data set that does not say it.
        pictures: of the main data set, for runs that did not keep their sources.

    Raises:
        DataError: the terms of a data set are not known: nobody could tell what the weights may be used for.
    """
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    kept = [TrainingData.model_validate(source) for source in config.get(SOURCES, ())]
    kept = kept or [TrainingData(name=config["data"], licence="", pictures=pictures)]
    kept[0] = kept[0].model_copy(update={"name": name or kept[0].name})
    sources = [source.model_copy(update={"licence": source.licence or licence}) for source in kept]
    unknown = [source.name for source in sources if not source.licence]
    if unknown:
        raise DataError(
            f"the terms of {', '.join(unknown)} are not known: write `licence` in {DATASET_FILE} before training, or "
            "say --data-licence"
        )
    return tuple(dict.fromkeys(sources))


def terms_of(sources: Iterable[TrainingData]) -> str:
    """The terms of weights that were made from these pictures: those of all of them."""
    return "; ".join(dict.fromkeys(f"{source.licence} (from {source.name})" for source in sources))
