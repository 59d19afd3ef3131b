"""Trees of DICOM series as a dataset; an adapter as in `adapters.pictures`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ..manifest import MODALITIES, ManifestError
from ..personal import masked, name_parts
from ..readers import DICOM
from .layout import Layout, joined

DICOM_TAGS = {
    "patient_id": "PatientID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "age": "PatientAge",
    "sex": "PatientSex",
    "scanner": "ManufacturerModelName",
    "study": "StudyDescription",
    "series": "SeriesDescription",
}
WHO = ("PatientName", "PatientID", "AccessionNumber", "PatientBirthDate")  # looked for in the descriptions, and kept nowhere
NOBODY = "PatientIdentityRemoved"  # "YES": the number is a pseudonym already


def find_dicom(path: Path) -> Path | None:
    """Any tree of folders that hold DICOM files, as NLST comes."""
    return path if path.is_dir() and next(_series_folders(path), None) else None


def dicom_folder(root: Path, about: dict) -> Layout:
    """One row per folder of DICOM files; who and what from the header of its first file.

    Patients are numbered in the order of their hospital numbers, which stay in the files; those of files that say that they
    were de-identified are kept. Names and numbers of the patient are taken out of the descriptions.
    """
    rows = _numbered([_dicom_row(folder, file, root) for folder, file in _series_folders(root)])
    kept = [r for r in rows if r["modality"] in MODALITIES]
    if not kept:
        raise ManifestError(f"{root}: {len(rows)} folders of DICOM files, none of modality {', '.join(MODALITIES)}")
    nobody = sum(r["patient_id"] == r["study_id"] for r in kept)
    notes = [
        f"{len(rows) - len(kept)} of {len(rows)} folders left out: neither of modality {', '.join(MODALITIES)}",
        f"{nobody} series name no patient: each counts as its own",
        "no reports: the texts are made from the descriptions in the headers",
    ]
    return Layout(pd.DataFrame(kept), root, root, notes)


def _series_folders(root: Path) -> Iterator[tuple[Path, Path]]:
    """Folders that hold DICOM files, each with its first one."""
    from pydicom.misc import is_dicom

    for folder, inside, names in os.walk(root):
        inside.sort()
        likely = sorted(n for n in names if Path(n).suffix.lower() in ("", *DICOM) and n != "DICOMDIR")[:3]
        files = (Path(folder, n) for n in likely)
        first = next((f for f in files if f.is_file() and is_dicom(f)), None)  # to open a pipe would be to wait for ever
        if first:
            yield Path(folder), first


def _numbered(rows: list[dict]) -> list[dict]:
    """Rows with a number in place of each patient's own, where that is no pseudonym."""
    own = sorted({row["patient_id"] for row in rows if row["patient_id"] and not row["pseudonym"]})
    number = {patient: f"patient_{k:04d}" for k, patient in enumerate(own, start=1)}
    for row in rows:
        patient = row["patient_id"] if row.pop("pseudonym") else number.get(row["patient_id"])
        row["patient_id"] = patient or row["study_id"]
    return rows


def _dicom_row(folder: Path, file: Path, root: Path) -> dict:
    from pydicom import dcmread

    header = dcmread(file, stop_before_pixels=True, specific_tags=[*DICOM_TAGS.values(), *WHO, NOBODY])
    row = {column: " ".join(str(header.get(tag) or "").split()) for column, tag in DICOM_TAGS.items()}
    known = set().union(*(name_parts(str(header.get(tag) or "")) for tag in WHO))
    row |= {column: masked(row[column], known=known) for column in ("body_part", "scanner", "study", "series")}
    name = folder.relative_to(root).as_posix()
    row |= {"study_id": root.name if name == "." else name, "image": name, "sequence": row.pop("series")}
    row["report"] = joined(row.pop("study"), row["sequence"]) or f"{row['modality']} {row['body_part']}".strip()
    years = re.fullmatch(r"0*(\d{1,3})Y", row["age"])
    sex = row["sex"] if row["sex"] in ("F", "M") else ""
    return row | {"age": years[1] if years else "", "sex": sex, "pseudonym": header.get(NOBODY) == "YES"}
