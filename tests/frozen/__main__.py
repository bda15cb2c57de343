"""Writes the files anew; read the difference before it is committed: nothing that others rely on may disappear."""

from tests.frozen.surfaces import FOLDER, SURFACES

for name, text in SURFACES.items():
    (FOLDER / name).write_text(text())
    print(FOLDER / name)
