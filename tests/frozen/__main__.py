"""Writes the files anew; read the difference before it is committed: nothing that others rely on may disappear."""

from tests.frozen.surfaces import SURFACES

for file, text in SURFACES.items():
    file.write_text(text())
    print(file)
