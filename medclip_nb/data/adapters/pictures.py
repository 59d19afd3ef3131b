"""Datasets of pictures, each from its publisher's layout to the manifest's columns.

An adapter is two functions: `find_x(path)` gives the layout's folder at `path` or right below it, or None; `x(root, about)`
reads it, where `about` is the dataset's card.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from ..manifest import read_table
from .layout import MADE_FROM_LABELS, NO_PATIENTS, Layout, by_stem, holder, joined

MEDPIX_PLACEHOLDER = "Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS."
MEDPIX_REGIONS = {
    "Head": "head",
    "Spine and Muscles": "spine",
    "Thorax": "thorax",
    "Abdomen": "abdomen",
    "Reproductive and Urinary System": "pelvis",
}
MEDPIX_SPLITS = {"train": "train", "dev": "val", "test": "test"}
OPENI_SECTIONS = ("FINDINGS", "IMPRESSION")
OPENI_REPORTS = "NLMCXR_reports.tgz"
ROCO_SPLITS = {"train": "train", "valid": "val", "test": "test"}
ROCO_MODALITIES = {"C0040405": "CT", "C0024485": "MR", "C1306645": "DX"}  # UMLS concepts


def find_medpix2(path: Path) -> Path | None:
    """MedPix 2.0: Descriptions.json, images/ and splitted_dataset/uid_list.json."""
    return holder(path, "Descriptions.json", "splitted_dataset/uid_list.json")


def medpix2(root: Path, about: dict) -> Layout:
    """One row per image with its caption; the published split goes by case."""
    source = root / "Descriptions.json"
    rows = json.loads(source.read_text(encoding="utf-8"))
    cases = json.loads((root / "splitted_dataset" / "uid_list.json").read_text(encoding="utf-8"))
    split_of = {uid: ours for theirs, ours in MEDPIX_SPLITS.items() for uid in cases[theirs]}
    kept = [_medpix_row(r, split_of) for r in rows if r["Description"]["Caption"].strip() != MEDPIX_PLACEHOLDER]
    notes = [f"{len(rows) - len(kept)} of {len(rows)} images dropped: their caption is a placeholder"]
    return Layout(pd.DataFrame(kept), root, source, notes)


def _medpix_row(row: dict, split_of: dict) -> dict:
    about = row["Description"]
    return {
        "study_id": row["image"],
        "patient_id": row["U_id"],
        "modality": row["Type"],
        "body_part": MEDPIX_REGIONS[row["Location Category"]],
        "sequence": about["Modality"].strip(),
        "image": f"images/{row['image']}.png",
        "report": " ".join(about["Caption"].split()),
        "age": about["Age"] if str(about["Age"]).isdigit() else "",
        "sex": {"male": "M", "female": "F"}.get(about["Sex"], ""),
        "split": split_of[row["U_id"]],
    }


def find_mednist(path: Path) -> Path | None:
    """MedNIST: a folder of JPEG images per class."""
    return holder(path, "AbdomenCT/*.jpeg", "HeadCT/*.jpeg", "Hand/*.jpeg")


def mednist(root: Path, about: dict) -> Layout:
    """One row per image; modality, body part and text follow from the class."""
    rows = [
        {
            "study_id": f"{name}/{file.stem}",
            "patient_id": f"{name}/{file.stem}",
            "image": f"{name}/{file.name}",
            "modality": modality,
            "body_part": part,
            "report": text,
            "label": name,
        }
        for name, (modality, part, text) in about["classes"].items()
        for file in sorted((root / name).glob("*.jpeg"))
    ]
    return Layout(pd.DataFrame(rows), root, root, [MADE_FROM_LABELS, NO_PATIENTS])


def find_covid_ct(path: Path) -> Path | None:
    """COVID-CT: images/ and a table metadata.csv with the original file names in column `orig`."""
    return holder(path, "metadata.csv", "images/*COVID_*")


def covid_ct(root: Path, about: dict) -> Layout:
    """One row per figure panel; the published split is kept although patients cross it."""
    source = root / "metadata.csv"
    table = read_table(source).apply(lambda column: column.str.strip())
    figure = table["orig"].str.replace(r"%\d+(?=\.\w+$)", "", regex=True)  # "12%3.jpg" is panel 3 of figure 12
    published = {name: split for split, names in about["published"].items() for name in names.split()}
    bare = table["text"] == ""
    table = table.assign(
        study_id=table["image"].map(lambda name: Path(name).stem),
        patient_id=table["patient"].where(table["patient"] != "", "figure " + figure),
        modality="CT",
        body_part="chest",
        report=table["text"].where(~bare, table["label"].map(about["label_texts"])),
        age=table["age"].where(table["age"].str.isdigit(), ""),
        split=figure.map(published).fillna("train"),
    )
    notes = [
        f"{bare.sum()} of {len(table)} images have no caption: their report is made from the label and is no radiologist's",
        f"{(table['patient'] == '').sum()} images name no patient: panels of one figure count as one",
    ]
    return Layout(table.drop(columns=["text", "patient", "doi", "orig"]), root, source, notes)


def find_openi(path: Path) -> Path | None:
    """Indiana chest X-rays: reports as XML in ecgen-radiology/ or still packed; images as PNG anywhere below."""
    if path.name == OPENI_REPORTS:
        return path.parent
    return holder(path, "ecgen-radiology/*.xml") or holder(path, OPENI_REPORTS)


def openi(root: Path, about: dict) -> Layout:
    """One row per image, or one per report with an empty image where no image is there at all."""
    pictures = by_stem(root, ".png")
    rows = [row for xml in _openi_xml(root) for row in _openi_rows(ElementTree.fromstring(xml), pictures)]
    kept = [r for r in rows if r["report"] and (r["image"] or not pictures)]
    notes = [
        f"{len(rows) - len(kept)} of {len(rows)} images dropped: no findings and no impression, or the file is not there",
        "each report counts as one patient: whether two are of the same person is not published",
    ]
    packed = root / OPENI_REPORTS
    return Layout(pd.DataFrame(kept), root, packed if packed.exists() else root / "ecgen-radiology", notes)


def _openi_xml(root: Path) -> Iterator[bytes]:
    folder = root / "ecgen-radiology"
    if folder.is_dir():
        yield from (file.read_bytes() for file in sorted(folder.glob("*.xml"), key=lambda f: (len(f.name), f.name)))
        return
    with tarfile.open(root / OPENI_REPORTS) as tar:
        yield from (tar.extractfile(member).read() for member in tar if member.name.endswith(".xml"))


def _openi_rows(report, pictures: dict[str, str]) -> list[dict]:
    uid = report.find("uId").get("id")
    sections = {s.get("Label"): s.text or "" for s in report.iter("AbstractText")}
    majors = [m.text.strip().lower() for m in report.iter("major")]
    row = {"patient_id": uid, "modality": "DX", "body_part": "chest", "findings": "[]" if majors == ["normal"] else ""}
    row["report"] = joined(*(sections.get(name, "") for name in OPENI_SECTIONS))
    names = [image.get("id") for image in report.iter("parentImage")] if pictures else [uid]
    return [row | {"study_id": name, "image": pictures.get(name, "")} for name in names]


def find_rocov2(path: Path) -> Path | None:
    """ROCOv2: {train,valid,test}_captions.csv, *_concepts.csv and the images anywhere below."""
    return holder(path, "train_captions.csv", "test_captions.csv")


def rocov2(root: Path, about: dict) -> Layout:
    """One row per CT, MR or X-ray image; ultrasound, PET and the rest are left out."""
    rows = pd.concat([_roco_split(root, theirs, ours) for theirs, ours in ROCO_SPLITS.items()], ignore_index=True)
    pictures = by_stem(root, ".jpg", ".png")
    rows["image"] = [pictures.get(name, "") for name in rows["study_id"]]
    there = rows["image"] != ""
    kept = rows[there & (rows["modality"] != "")]
    notes = [
        f"{(~there).sum()} of {len(rows)} images dropped: the file is not there",
        f"{there.sum() - len(kept)} images dropped: neither CT nor MR nor X-ray",
        NO_PATIENTS,
    ]
    return Layout(kept.reset_index(drop=True), root, root / "train_captions.csv", notes)


def _roco_split(root: Path, theirs: str, ours: str) -> pd.DataFrame:
    captions, concepts = (read_table(root / f"{theirs}_{what}.csv") for what in ("captions", "concepts"))
    of = dict(zip(concepts.iloc[:, 0], concepts.iloc[:, 1], strict=True))
    modality = captions.iloc[:, 0].map(lambda name: next((m for c, m in ROCO_MODALITIES.items() if c in of.get(name, "")), ""))
    columns = {"study_id": captions.iloc[:, 0], "patient_id": captions.iloc[:, 0], "report": captions.iloc[:, 1]}
    return pd.DataFrame(columns | {"modality": modality, "split": ours})
