"""The catalogue: a card per public dataset, and one adapter each from its own layout to a manifest."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..config import Preset, shipped
from .manifest import COLUMNS, ManifestError, all_columns, check, read_manifest, read_table, split_by_patient
from .preprocessing import Preprocessing, ct_contract, picture_contract
from .readers import NIFTI

TEXT_COLUMNS = ("report", "text", "caption")
IGNORED_PREFIX = "x_"  # a column the user wants kept in the file and out of the manifest
MEDPIX_PLACEHOLDER = "Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS."
MEDPIX_REGIONS = {
    "Head": "head",
    "Spine and Muscles": "spine",
    "Thorax": "thorax",
    "Abdomen": "abdomen",
    "Reproductive and Urinary System": "pelvis",
}
MEDPIX_SPLITS = {"train": "train", "dev": "val", "test": "test"}


@dataclass
class Dataset:
    """A manifest with what is needed to use it."""

    name: str
    manifest: pd.DataFrame
    contract: Preprocessing
    synthetic: bool
    prompts: dict = field(default_factory=dict)  # manifest column -> class -> prompts, for zero-shot
    notes: list[str] = field(default_factory=list)  # what was dropped or assumed, with counts

    @property
    def root(self) -> Path:
        """Folder that the manifest's paths are relative to."""
        return Path(self.manifest.attrs["root"])


def list_cards() -> list[dict]:
    """All cards, by name."""
    import yaml

    return [yaml.safe_load(f.read_text()) for f in sorted(shipped("data_manifests").glob("*.yaml"))]


def card(name: str) -> dict:
    """One card. Raises ValueError naming the known ones."""
    cards = {c["name"]: c for c in list_cards()}
    if name not in cards:
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(cards)}, or a path to a folder or manifest.csv")
    return cards[name]


def resolve(name_or_path: str | Path) -> str:
    """Which card a name or path belongs to; raises ManifestError or ValueError if it can be none."""
    path = Path(name_or_path)
    if str(name_or_path) == "torso":
        return "torso"
    if not path.exists():
        wanted = card(str(name_or_path)) if "/" not in str(name_or_path) else None
        hint = (
            f"is read from a local copy: give its folder ({wanted.get('homepage', '')})" if wanted else "no such file or folder"
        )
        raise ManifestError(f"{name_or_path}: {hint}")
    if _medpix_root(path):
        return "medpix2"
    if path.is_file() or (path / "manifest.csv").exists():
        return "manifest"
    return "folder"


def load(name_or_path: str | Path, preset: Preset) -> Dataset:
    """The dataset behind a name or a path, as a checked manifest with its contract and prompts."""
    kind = resolve(name_or_path)
    if kind == "torso":
        return _torso(preset)
    return {"medpix2": medpix2, "manifest": manifest, "folder": folder}[kind](Path(name_or_path), preset)


def manifest(path: Path, preset: Preset) -> Dataset:
    """A manifest.csv of the user's own, or the folder that holds one."""
    path = path / "manifest.csv" if path.is_dir() else path
    table = read_manifest(path)
    volumes = table["image"].str.lower().str.endswith(NIFTI)
    if volumes.any() and not volumes.all():
        row = int(volumes.idxmin()) + 2
        raise ManifestError(f"{path}: row {row}, column 'image': volumes and pictures are mixed; make two manifests")
    contract = ct_contract(preset.volume_size) if volumes.all() else picture_contract(preset.picture_px)
    return Dataset(path.parent.name, with_split(table, name=str(path)), contract, synthetic=False, prompts=class_prompts(table))


def folder(path: Path, preset: Preset) -> Dataset:
    """A folder of PNG or JPEG images with exactly one CSV: columns `image` and `text`, others as in a manifest."""
    tables = sorted(path.glob("*.csv"))
    if len(tables) != 1:
        found = "no CSV file" if not tables else f"{len(tables)} CSV files"
        raise ManifestError(f"{path}: holds {found}; put one CSV with the columns image,text beside the images")
    table, notes = _folder_columns(read_table(tables[0]), name=str(tables[0]))
    table = with_split(check(table, root=path, name=str(tables[0])), name=str(tables[0]))
    contract = picture_contract(preset.picture_px)
    return Dataset(path.name, table, contract, synthetic=False, prompts=class_prompts(table), notes=notes)


def medpix2(path: Path, preset: Preset) -> Dataset:
    """MedPix 2.0 in its own layout: Descriptions.json, images/ and splitted_dataset/uid_list.json."""
    root, about = _medpix_root(path), card("medpix2")
    rows = json.loads((root / "Descriptions.json").read_text())
    cases = json.loads((root / "splitted_dataset" / "uid_list.json").read_text())
    split_of = {uid: ours for theirs, ours in MEDPIX_SPLITS.items() for uid in cases[theirs]}
    kept = [r for r in rows if r["Description"]["Caption"].strip() != MEDPIX_PLACEHOLDER]
    table = all_columns(pd.DataFrame([_medpix_row(r, split_of, about["licence"]) for r in kept]))
    table = check(table, root=root, name=str(root / "Descriptions.json"))
    notes = [f"{len(rows) - len(kept)} of {len(rows)} images dropped: their caption is a placeholder"]
    contract = picture_contract(preset.picture_px, crop_bottom=about["crop_bottom"])
    return Dataset("medpix2", table, contract, synthetic=False, prompts=about["zero_shot"], notes=notes)


def with_split(table: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """The table with every row in a split: as given if all rows say one, by patient if none does."""
    given = table["split"] != ""
    if given.any() and not given.all():
        row = int(given.idxmin()) + 2
        raise ManifestError(f"{name}: row {row}, column 'split': is empty while others are filled; fill all rows or none")
    return table if given.all() else table.assign(split=split_by_patient(table["patient_id"]))


def class_prompts(table: pd.DataFrame) -> dict:
    """Zero-shot classes from the values of `modality` and `body_part`, where there are at least two."""
    classes = {c: sorted(set(table[c]) - {""}) for c in ("modality", "body_part")}
    return {c: {v: [f"{v} image", v] for v in values} for c, values in classes.items() if len(values) > 1}


def _folder_columns(table: pd.DataFrame, *, name: str) -> tuple[pd.DataFrame, list[str]]:
    texts = [c for c in TEXT_COLUMNS if c in table.columns]
    if "image" not in table.columns or not texts:
        lacks = "image" if "image" not in table.columns else "text"
        raise ManifestError(f"{name}: column {lacks!r} is missing; the CSV has {', '.join(table.columns)}")
    table = table.rename(columns={texts[0]: "report"}).drop(columns=[c for c in table if c.startswith(IGNORED_PREFIX)])
    unknown = [c for c in table.columns if c not in COLUMNS]
    if unknown:
        raise ManifestError(
            f"{name}: unknown column {unknown[0]!r}; rename it to one of {', '.join(COLUMNS)}, or to "
            f"'{IGNORED_PREFIX}{unknown[0]}' to have it ignored"
        )
    notes = []
    if "study_id" not in table.columns:
        table = table.assign(study_id=table["image"])
    if "patient_id" not in table.columns:
        table = table.assign(patient_id=table["study_id"])
        notes = ["no column patient_id: each image counts as its own patient"]
    return all_columns(table), notes


def _medpix_root(path: Path) -> Path | None:
    folders = (path, path / "MedPix-2-0", path / "MedPix-2.0" / "MedPix-2-0")
    return next((f for f in folders if (f / "Descriptions.json").is_file()), None)


def _medpix_row(row: dict, split_of: dict, licence: str) -> dict:
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
        "source": "medpix2",
        "licence": licence,
    }


def _torso(preset: Preset) -> Dataset:
    from .phantoms import torso_cohort

    table = read_manifest(torso_cohort(preset))
    return Dataset("torso", table, ct_contract(preset.volume_size), synthetic=True)
