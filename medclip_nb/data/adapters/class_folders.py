"""Pictures sorted into one folder per class; an adapter as in `adapters.pictures`."""

from pathlib import Path

import pandas as pd

from ..manifest import SPLITS
from ..readers import PICTURES
from .layout import MADE_FROM_LABELS, NO_PATIENTS, Layout, spoken_label

SPLIT_FOLDERS = {**{name: name for name in SPLITS}, "training": "train", "valid": "val", "validation": "val", "testing": "test"}


def find_class_folders(path: Path) -> Path | None:
    """CLASS/*.png with two classes at least, or the same below train/, val/ and test/."""
    return path if path.is_dir() and len({name for _, name, _ in _classes(path)}) > 1 else None


def class_folders(root: Path, about: dict) -> Layout:
    """One row per picture: the label is its folder's name, and the text is made from it."""
    rows = [
        {"study_id": file.relative_to(root).as_posix(), "label": name, "split": split, "report": spoken_label(name)}
        for split, name, folder in _classes(root)
        for file in _pictures(folder)
    ]
    table = pd.DataFrame(rows)
    names = dict.fromkeys(("image", "patient_id"), table["study_id"])
    return Layout(table.assign(**names), root, root, [MADE_FROM_LABELS, NO_PATIENTS])


def _classes(root: Path) -> list[tuple[str, str, Path]]:
    """Split ("" where none is given), class and folder of each folder with pictures."""
    found = []
    for folder in _folders(root):
        split = SPLIT_FOLDERS.get(folder.name.lower(), "")
        found += [(split, one.name, one) for one in (_folders(folder) if split else [folder]) if _pictures(one)]
    return found


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))
