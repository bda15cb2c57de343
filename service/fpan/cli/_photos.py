"""Which photos a command line means, and what their answers are called."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from fpan.pictures import SUFFIXES, unlike

PICTURE_ENDINGS = (".labels.png", ".overlay.png", ".cutout.png", ".redact.png", ".alpha.png")
"""Of the pictures that are written."""


@dataclass(frozen=True)
class Photo:
    """A photo to parse."""

    path: Path
    stem: PurePath
    """Relative path of its answers without their suffix; no two photos of a command share one."""


@dataclass(frozen=True)
class Missing:
    """An argument that names no photo."""

    path: Path
    why: str


def find(arguments: Iterable[Path], out: Path) -> tuple[list[Photo], list[Missing]]:
    """The photos of files and of folders, which are searched with all below them; each photo once.

    Answers of photos of a folder lie in the same subfolders of ``out``. What lies in ``out`` is no photo: answers of an
    earlier run are not parsed again. Hidden files and folders are left out.
    """
    found: dict[Path, tuple[Path, PurePath]] = {}
    missing: list[Missing] = []
    for argument in arguments:
        if argument.is_dir():
            inside = _inside(argument, out)
            if not inside:
                missing.append(Missing(argument, "no photos in this folder"))
            for path in inside:
                found.setdefault(path.resolve(), (path, PurePath(path.relative_to(argument))))
        elif argument.exists():
            found.setdefault(argument.resolve(), (argument, PurePath(argument.name)))
        else:
            missing.append(Missing(argument, "no such file or folder"))
    wanted = list(found.values())
    stems = unlike([relative for _, relative in wanted])
    return [Photo(path, stem) for (path, _), stem in zip(wanted, stems, strict=True)], missing


def _inside(folder: Path, out: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not _is_answer(path, folder, out)
        and path.is_file()
    )


def _is_answer(path: Path, folder: Path, out: Path) -> bool:
    """Whether ``path`` is of an earlier run: it lies in ``out``, or looks so where ``out`` holds photos too."""
    answers, photos = out.resolve(), folder.resolve()
    if answers != photos and photos in answers.parents:
        return answers in path.resolve().parents
    return answers in path.resolve().parents and path.name.endswith(PICTURE_ENDINGS)
