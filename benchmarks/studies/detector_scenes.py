"""Which pictures of the data hold no human face."""

from pathlib import Path

# fmt: off
WITH_PEOPLE = frozenset((
    "academic_gown", "Appenzeller", "Arabian_camel", "balance_beam", "banjo", "barbell", "basketball", "bassoon",
    "bicycle-built-for-two", "bobsled", "bonnet", "Border_collie", "bow", "candle", "canoe", "Christmas_stocking",
    "cradle", "crash_helmet", "croquet_ball", "feather_boa", "fire_screen", "flute", "football_helmet",
    "French_horn", "fur_coat", "gown", "grocery_store", "groom", "hammerhead", "harp", "head_cabbage",
    "hippopotamus", "horizontal_bar", "jersey", "jinrikisha", "kimono", "laptop", "Lhasa", "marimba", "matchstick",
    "military_uniform", "paper_towel", "parallel_bars", "puck", "radio", "restaurant", "sax", "shovel",
    "snowmobile", "stretcher", "sturgeon", "swimming_trunks", "torch", "toy_terrier", "tricycle", "tripod",
    "trolleybus", "tub", "unicycle", "vacuum", "vending_machine", "volleyball", "web_site", "Windsor_tie",
))
# fmt: on
"""Names of scenes, behind the number in their file names, with people, dolls or drawn faces."""

ANIMALS = (
    *(f"lp_s{i}.jpg" for i in (22, 23, 25, 30, 31, 32, 33, 36, 38, 39, 40, 41)),
    "dlib/dogs.jpg",
)
"""Portraits of a monkey, llamas, dogs and cats."""


def scenes_without_people(folder: Path) -> list[Path]:
    """The scenes of a folder, sorted, without those that :data:`WITH_PEOPLE` names."""
    return [p for p in sorted(folder.glob("*.jpg")) if p.stem.split("_", 1)[1] not in WITH_PEOPLE]
