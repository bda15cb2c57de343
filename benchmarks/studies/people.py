"""How many of the backgrounds that show people are left out, and how many others with them.

    FPAN_DATA=/path/to/data python -m benchmarks.studies.people

All 500 were looked at by eye, as thumbnails of 180 pixels.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from fpan_training.data.people import people_free

from benchmarks.studies.detector_scenes import WITH_PEOPLE

# fmt: off
HIDDEN = frozenset(("motor_scooter", "Polaroid_camera", "theater_curtain", "thresher"))
"""With people under helmets, behind a camera, or far away, which nobody knew of when :data:`WITH_PEOPLE` was made."""
PARTS = frozenset((
    "acoustic_guitar", "Blenheim_spaniel", "broom", "catamaran", "chain_mail", "clog", "crossword_puzzle", "ear",
    "fountain", "leatherback_turtle", "miniature_poodle", "mortar", "Petri_dish", "running_shoe", "sandal", "sock",
    "speedboat", "suit", "Sussex_spaniel", "wombat",
))
"""With hands, legs, bodies without a head, or heads of a few pixels."""
# fmt: on


def main() -> None:
    """Prints the figures."""
    folder = Path(os.environ["FPAN_DATA"]) / "backgrounds"
    names = {path.name: path.stem.split("_", 1)[1] for path in folder.glob("*.jpg")}
    with TemporaryDirectory() as cache:
        free = {names[path.name] for path in people_free(folder, Path(cache))}
    people = WITH_PEOPLE | HIDDEN
    for title, group in (
        ("people, dolls or drawn faces", people),
        ("hands, legs, bodies without a head", PARTS),
        ("nobody", set(names.values()) - people - PARTS),
    ):
        print(f"{title}: {len(group - free)} of {len(group)} left out")
    print("stay: " + ", ".join(sorted(people & free)))


if __name__ == "__main__":
    main()
