"""Where a version's weights come from: the pictures of its run, and those of the version that it started from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fpan.contract import CARD_FILE, ModelCard, TrainingData

from fpan_training.data.folder import DataError, is_shards, name_of
from fpan_training.data.label_space import DATASET_FILE, DatasetFile
from fpan_training.engine.run import CONFIG_FILE

SOURCES = "sources"
"""Their name in a run's configuration."""


@dataclass(frozen=True)
class Used:
    """A folder of pictures that a training draws from."""

    location: str | Path
    """Path, or URL of shards."""
    pictures: int
    """How many of them it may draw."""
    note: str = ""
    """What for, if not for their labels."""


def sources_of(
    used: Iterable[Used], start_from: Path | None, licences: Mapping[str, str] | None = None
) -> tuple[TrainingData, ...]:
    """What a training learns from, as far as ``dataset.json`` and what it starts from say.

    Args:
        used: data sets, backgrounds and occluders.
        start_from: checkpoint that the weights start from: a registered one has its card beside it, a run's its
            ``config.json``.
        licences: terms of folders that have no ``dataset.json`` or do not say them there, by the folders' names.

    Raises:
        DataError: terms are given for a folder that is not used.
    """
    own, given = [], dict(licences or {})
    for each in used:
        file = None if is_shards(each.location) else Path(each.location) / DATASET_FILE
        said = DatasetFile.read(file) if file is not None and file.is_file() else DatasetFile()
        folder = name_of(each.location)
        licence = said.licence or given.get(folder, "")
        given.pop(folder, None)
        own.append(TrainingData(name=said.name or folder, licence=licence, pictures=each.pictures, note=each.note))
    if given:
        raise DataError(f"--licences names {', '.join(given)}, which this training does not use")
    return tuple(dict.fromkeys((*own, *_sources_before(start_from))))


def _sources_before(start_from: Path | None) -> tuple[TrainingData, ...]:
    """Those of a checkpoint."""
    if start_from is None:
        return ()
    if (card := start_from.parent / CARD_FILE).is_file():
        return ModelCard.model_validate_json(card.read_bytes()).training_data
    return _kept(start_from.parent / CONFIG_FILE)


def _kept(config: Path) -> tuple[TrainingData, ...]:
    """Those that a run has kept; none where it has no such file."""
    if not config.is_file():
        return ()
    content = json.loads(config.read_text(encoding="utf-8"))
    return tuple(TrainingData.model_validate(source) for source in content.get(SOURCES, ()))


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
        licence: of everything that does not say it.
        pictures: of the main data set, for runs that did not keep their sources.

    Raises:
        DataError: the terms of some pictures are not known: nobody could tell what the weights may be used for.
    """
    kept = list(_kept(run / CONFIG_FILE))
    if not kept:
        config = json.loads((run / CONFIG_FILE).read_text(encoding="utf-8"))
        kept = [TrainingData(name=config["data"], licence="", pictures=pictures)]
    kept[0] = kept[0].model_copy(update={"name": name or kept[0].name})
    sources = [source.model_copy(update={"licence": source.licence or licence}) for source in kept]
    unknown = [source.name for source in sources if not source.licence]
    if unknown:
        raise DataError(
            f"the terms of {', '.join(unknown)} are not known: write `licence` in their {DATASET_FILE} or say "
            "--licences before training, or say --data-licence"
        )
    return tuple(dict.fromkeys(sources))


def terms_of(sources: Iterable[TrainingData]) -> str:
    """The terms of weights that were made from these pictures: those of all of them."""
    return "; ".join(dict.fromkeys(f"{source.licence} (from {source.name})" for source in sources))
