"""Datasets of volumes, each from its publisher's layout to the manifest's columns; adapters as in `adapters.pictures`.

What the readers cannot take as it is (an .npz of thousands of images, a 4D NIfTI) is converted once into artifacts/converted.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from ..manifest import SPLITS, ManifestError, read_table
from .layout import MADE_FROM_LABELS, NO_PATIENTS, Layout, by_stem, converted, holder, joined

MEDMNIST = re.compile(r"organ([acs]mnist|mnist3d)(_\d+)?\.npz")
CT_RATE_SPLITS = {"train": "train", "valid": "test"}


def find_medmnist(path: Path) -> Path | None:
    """One .npz file of OrganA/C/SMNIST or OrganMNIST3D, or the folder that holds just one."""
    if path.is_file():
        return path if MEDMNIST.fullmatch(path.name) else None
    files = sorted(p for p in path.glob("organ*.npz") if MEDMNIST.fullmatch(p.name))
    if len(files) > 1:
        raise ManifestError(f"{path}: holds {', '.join(p.name for p in files)}; give the path of one of them")
    return files[0] if files else None


def medmnist(file: Path, about: dict) -> Layout:
    """One row per image; the organ is its body part and its text. Raises ManifestError for a file that is none of MedMNIST's."""
    try:
        return _medmnist(file, about)
    except (OSError, ManifestError):
        raise
    except Exception as error:  # zipfile, zlib, numpy and Pillow raise a dozen kinds; each means the same to the user
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ManifestError(f"{file}: cannot be read as MedMNIST ({why}); download it anew") from error


def _medmnist(file: Path, about: dict) -> Layout:
    solid = "3d" in file.name
    names, suffix = about["labels_3d" if solid else "labels_2d"], ".nii.gz" if solid else ".png"
    root = converted(file.stem, [file], lambda part: _write_npz(file, part, suffix))
    with np.load(file, allow_pickle=False) as data:
        labels = [(split, i, names[int(k)]) for split in SPLITS for i, k in enumerate(data[f"{split}_labels"].ravel())]
    rows = [
        {"study_id": f"{split}-{i}", "image": f"{split}/{i}{suffix}", "split": split, "body_part": organ}
        | {"patient_id": f"{split}-{i}", "modality": "CT", "report": about["text_of"].format(organ=organ.replace("-", " "))}
        for split, i, organ in labels
    ]
    return Layout(pd.DataFrame(rows), root, file, [MADE_FROM_LABELS, NO_PATIENTS])


def _write_npz(file: Path, folder: Path, suffix: str) -> None:
    from tqdm.auto import tqdm

    save = _save_volume if suffix == ".nii.gz" else _save_picture
    with np.load(file, allow_pickle=False) as data:
        for split in SPLITS:
            (folder / split).mkdir()
            for i, image in enumerate(tqdm(data[f"{split}_images"], desc=f"{file.name} {split}", leave=False)):
                save(folder / split / f"{i}{suffix}", image)


def _save_picture(path: Path, image: np.ndarray) -> None:
    from PIL import Image as Picture

    Picture.fromarray(image).save(path)


def _save_volume(path: Path, image: np.ndarray) -> None:
    import nibabel as nib

    nib.save(nib.Nifti1Image(image, None), path)  # no affine: spacing and orientation are not published


def find_totalsegmentator(path: Path) -> Path | None:
    """TotalSegmentator: meta.csv and a folder per case with ct.nii.gz and segmentations/ORGAN.nii.gz."""
    return holder(path, "meta.csv", "s*/ct.nii.gz")


def totalsegmentator(root: Path, about: dict) -> Layout:
    """One row per case; the text is made from the table's study type and pathology."""
    source = root / "meta.csv"
    meta = pd.read_csv(source, sep=";", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    there = meta["image_id"].map(lambda case: (root / case / "ct.nii.gz").is_file())
    kept = meta[there].reset_index(drop=True)
    place = kept["pathology_location"].map(lambda where: f" ({where})" if where else "")
    table = pd.DataFrame(
        {
            "study_id": kept["image_id"],
            "patient_id": kept["image_id"],
            "modality": "CT",
            "body_part": kept["study_type"].str.removeprefix("ct "),
            "image": kept["image_id"] + "/ct.nii.gz",
            "mask": [f"{c}/segmentations" if (root / c / "segmentations").is_dir() else "" for c in kept["image_id"]],
            "report": kept["study_type"] + ", " + kept["pathology"].str.replace("_", " ") + place,
            "age": kept["age"].where(kept["age"].str.fullmatch(r"\d+(\.\d+)?"), ""),
            "sex": kept["gender"].str.upper().where(kept["gender"].isin(["m", "f"]), ""),
            "scanner": kept["scanner_model"],
            "split": kept["split"],
        }
    )
    notes = [f"{len(meta) - len(kept)} of {len(meta)} cases of meta.csv are not in this copy", MADE_FROM_LABELS]
    return Layout(table, root, source, notes)


def find_ct_rate(path: Path) -> Path | None:
    """CT-RATE: radiology_text_reports/{train,validation}_reports.csv and the volumes anywhere below."""
    return holder(path, "radiology_text_reports/*reports.csv")


def ct_rate(root: Path, about: dict) -> Layout:
    """One row per scan (its first reconstruction), with findings and impression; no image where no volume is there at all."""
    folder = root / "radiology_text_reports"
    tables = [read_table(f).assign(file=f.name) for f in sorted(folder.glob("*reports.csv"))]
    reports = pd.concat(tables, ignore_index=True)
    name = reports["VolumeName"].str.removesuffix(".nii.gz")
    volumes = by_stem(root, ".nii.gz")
    kind = name.str.split("_").str[0]
    table = pd.DataFrame({"study_id": name.str.rsplit("_", n=1).str[0], "image": [volumes.get(n, "") for n in name]})
    table["patient_id"] = table["study_id"].str.rsplit("_", n=1).str[0]
    table["report"] = [joined(*pair) for pair in zip(reports["Findings_EN"], reports["Impressions_EN"], strict=True)]
    table = table.assign(modality="CT", body_part="chest", split=kind.map(CT_RATE_SPLITS).fillna(""))
    there = table[(table["image"] != "") | (not volumes)]
    kept = there[there["report"] != ""].drop_duplicates("study_id").reset_index(drop=True)
    notes = [f"{len(table) - len(kept)} of {len(table)} rows left out: no volume, no text, or another reconstruction of a scan"]
    return Layout(kept, root, folder, notes)


def find_brats(path: Path) -> Path | None:
    """Medical Segmentation Decathlon, task 1: dataset.json, imagesTr/BRATS_*.nii.gz (4D) and labelsTr/."""
    return holder(path, "dataset.json", "imagesTr/BRATS_*.nii.gz")


def brats(root: Path, about: dict) -> Layout:
    """One row per case and sequence, as 3D volumes with the tumour's mask; cases without labels are left out."""
    info = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    sequences = [info["modality"][k] for k in sorted(info["modality"], key=int)]
    cases = [(root / pair["image"], root / pair["label"]) for pair in info["training"]]
    made = converted(
        "brats", [root / "dataset.json", *(f for pair in cases for f in pair)], lambda p: _split_4d(cases, sequences, p)
    )
    rows = [
        {"study_id": f"{case}_{sequence}", "patient_id": case, "modality": "MR", "body_part": "head", "sequence": sequence}
        | {"image": f"{case}_{sequence}.nii.gz", "lesions": f"{case}_label.nii.gz"}
        | {"report": about["text_of"].format(sequence=sequence)}
        for case in (image.name.removesuffix(".nii.gz") for image, _ in cases)
        for sequence in sequences
    ]
    return Layout(
        pd.DataFrame(rows), made, root / "dataset.json", [MADE_FROM_LABELS, f"{info['numTest']} test cases have no labels"]
    )


def _split_4d(cases: list[tuple[Path, Path]], sequences: list[str], folder: Path) -> None:
    import nibabel as nib
    from tqdm.auto import tqdm

    for image, label in tqdm(cases, desc="4D to 3D", leave=False):
        case, volume = image.name.removesuffix(".nii.gz"), nib.load(image)
        if volume.ndim != 4 or volume.shape[3] != len(sequences):
            raise ManifestError(f"{image}: has the shape {volume.shape}, dataset.json names {len(sequences)} sequences")
        for k, sequence in enumerate(sequences):
            nib.save(volume.slicer[..., k], folder / f"{case}_{sequence}.nii.gz")
        shutil.copyfile(label, folder / f"{case}_label.nii.gz")


def find_ixi(path: Path) -> Path | None:
    """IXI: files IXI012-HH-1211-T1.nii.gz in one folder per sequence."""
    return holder(path, "*/IXI*-*-*-*.nii.gz") or holder(path, "IXI*-*-*-*.nii.gz")


def ixi(root: Path, about: dict) -> Layout:
    """One row per volume of a healthy subject; age and sex from IXI.csv, IXI.xls saved as a table of text."""
    source = root / "IXI.csv"
    people = read_table(source).drop_duplicates("IXI_ID").set_index("IXI_ID") if source.is_file() else pd.DataFrame()
    rows = [_ixi_row(name, path, people, about) for name, path in by_stem(root, ".nii.gz").items() if name.startswith("IXI")]
    missing = [] if source.is_file() else ["no IXI.csv: age and sex are empty (save IXI.xls as IXI.csv beside the folders)"]
    return Layout(pd.DataFrame(rows), root, source if source.is_file() else root, [MADE_FROM_LABELS, *missing])


def _ixi_row(name: str, path: str, people: pd.DataFrame, about: dict) -> dict:
    person, site, _, sequence = name.split("-")[:4]
    number = str(int(person.removeprefix("IXI")))
    known = people.loc[number] if number in people.index else {}
    age, sex = known.get("AGE", ""), known.get("SEX_ID (1=m, 2=f)", "")
    row = {"study_id": name, "patient_id": person, "modality": "MR", "body_part": "head", "sequence": sequence, "image": path}
    row |= {"age": age.split(".")[0], "sex": {"1": "M", "2": "F"}.get(sex, ""), "scanner": about["sites"].get(site, site)}
    return row | {"report": about["text_of"].format(sequence=sequence)}
