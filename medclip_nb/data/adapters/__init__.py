"""The adapters by name, in the order in which a path is tried: the plainest layouts last."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..manifest import COLUMNS, ManifestError, all_columns, read_table
from ..tables import listed
from . import pictures, volumes
from .class_folders import class_folders, find_class_folders
from .dicom_tree import dicom_folder, find_dicom
from .layout import MADE_FROM_LABELS, Layout, spoken_label

TEXT_COLUMNS = ("report", "text", "caption")
LABEL_COLUMNS = ("label", "finding", "class")
IGNORED_PREFIX = "x_"  # a column the user wants kept in the file and out of the manifest


@dataclass(frozen=True)
class Adapter:
    """How one layout is recognised and read."""

    find: Callable[[Path], Path | None]  # what to read at or right below a path; None: it is another layout
    read: Callable[[Path, dict], Layout]  # with the dataset's card


def find_folder(path: Path) -> Path | None:
    """A folder with a CSV of texts beside its images, or that CSV itself."""
    if path.is_file() and path.suffix.lower() == ".csv":
        columns = set(read_table(path).columns)
        return path if "image" in columns and columns & {"text", "caption"} else None
    return path if path.is_dir() and any(path.glob("*.csv")) else None


def folder(root: Path, about: dict) -> Layout:
    """A folder of images (or of DICOM folders) with exactly one CSV, or a CSV: columns `image` and `text`, others as in a
    manifest."""
    tables = [root] if root.is_file() else sorted(root.glob("*.csv"))
    root = root.parent if root.is_file() else root
    if len(tables) != 1:
        raise ManifestError(f"{root}: holds {len(tables)} CSV files; put one CSV with the columns image,text beside the images")
    table, notes = _folder_columns(read_table(tables[0]), name=str(tables[0]))
    return Layout(table, root, tables[0], notes)


def _folder_columns(table: pd.DataFrame, *, name: str) -> tuple[pd.DataFrame, list[str]]:
    texts, labels = ([c for c in known if c in table.columns] for known in (TEXT_COLUMNS, LABEL_COLUMNS))
    if "image" not in table.columns or not texts + labels:
        lacks = "image" if "image" not in table.columns else "text"
        hint = " (or 'label')" if lacks == "text" else ""
        raise ManifestError(f"{name}: column {lacks!r} is missing{hint}; the CSV has {listed(table.columns)}")
    table = table.rename(columns={c[0]: to for c, to in ((texts, "report"), (labels, "label")) if c})
    table = table.drop(columns=[c for c in table if c.startswith(IGNORED_PREFIX)])
    unknown = [c for c in table.columns if c not in COLUMNS]
    if unknown:
        raise ManifestError(
            f"{name}: unknown column {unknown[0]!r}; rename it to one of {', '.join(COLUMNS)}, or to "
            f"'{IGNORED_PREFIX}{unknown[0]}' to have it ignored"
        )
    notes = []
    if not texts:
        table, notes = table.assign(report=table["label"].map(spoken_label)), [MADE_FROM_LABELS]
    if "study_id" not in table.columns:
        table = table.assign(study_id=table["image"])
    if "patient_id" not in table.columns:
        table = table.assign(patient_id=table["study_id"])
        notes = [*notes, "no column patient_id: each image counts as its own patient"]
    return all_columns(table), notes


ADAPTERS = {
    "medpix2": Adapter(pictures.find_medpix2, pictures.medpix2),
    "covid_ct": Adapter(pictures.find_covid_ct, pictures.covid_ct),
    "mednist": Adapter(pictures.find_mednist, pictures.mednist),
    "openi": Adapter(pictures.find_openi, pictures.openi),
    "rocov2": Adapter(pictures.find_rocov2, pictures.rocov2),
    "medmnist": Adapter(volumes.find_medmnist, volumes.medmnist),
    "totalsegmentator": Adapter(volumes.find_totalsegmentator, volumes.totalsegmentator),
    "ct_rate": Adapter(volumes.find_ct_rate, volumes.ct_rate),
    "brats": Adapter(volumes.find_brats, volumes.brats),
    "ixi": Adapter(volumes.find_ixi, volumes.ixi),
    "folder": Adapter(find_folder, folder),
    "class_folders": Adapter(find_class_folders, class_folders),
    "dicom_folder": Adapter(find_dicom, dicom_folder),
}
