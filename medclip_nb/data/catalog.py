"""The catalogue: a card per public dataset, and the way from a name or a path to a checked manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..config import Preset, artifacts_dir, shipped
from .adapters import ADAPTERS
from .adapters.layout import Layout
from .manifest import ManifestError, all_columns, check, read_manifest, split_by_patient
from .preprocessing import Preprocessing, ct_contract, mr_contract, picture_contract
from .readers import PICTURES

EMBEDDED = ("torso", "radiographs", "head")
MANIFESTS = ("manifest.csv", "manifest.parquet")
SKELETON = ("patient_id", "modality", "body_part", "image", "split")  # columns that a dataset is told by, without texts
PROJECTIONS = ("CR", "DX")  # modalities of one picture, also where it comes as a DICOM file
VOLUME_CONTRACTS = {"CT": ct_contract, "MR": mr_contract}


@dataclass
class Dataset:
    """A manifest with what is needed to use it."""

    name: str
    manifest: pd.DataFrame
    contract: Preprocessing
    synthetic: bool
    prompts: dict = field(default_factory=dict)  # manifest column -> class -> prompts, for zero-shot
    notes: list[str] = field(default_factory=list)  # what was dropped or assumed, with counts
    mask_classes: dict[str, int] | None = None  # class name -> its label in the masks; None: the mask files say it themselves

    @property
    def root(self) -> Path:
        """Folder that the manifest's paths are relative to."""
        return Path(self.manifest.attrs["root"])


def list_cards() -> list[dict]:
    """All cards, by name."""
    import yaml

    return [yaml.safe_load(f.read_text(encoding="utf-8")) for f in sorted(shipped("data_manifests").glob("*.yaml"))]


def card_text(name: str) -> str:
    """The card of a dataset as it is written, comments and all."""
    return (shipped("data_manifests") / f"{name}.yaml").read_text(encoding="utf-8")


def card(name: str) -> dict:
    """One card. Raises ValueError naming the known ones."""
    cards = {c["name"]: c for c in list_cards()}
    if name not in cards:
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(cards)}, or a path to a folder or a manifest")
    return cards[name]


def local_copy(name: str) -> Path:
    """Where `medclip-nb data get NAME` puts a dataset, or a file in it: artifacts/datasets/NAME."""
    return artifacts_dir() / "datasets" / name


def locate(name_or_path: str | Path) -> Path:
    """The folder or file behind a path or the name of a dataset that was downloaded; else an error that says how to get it."""
    copy = local_copy(str(name_or_path))
    if Path(name_or_path).exists() or copy.exists():
        return copy if copy.exists() and not Path(name_or_path).exists() else Path(name_or_path)
    about = card(str(name_or_path)) if "/" not in str(name_or_path) else None
    if about is None:
        raise ManifestError(f"{name_or_path}: no such file or folder")
    hint = f"`medclip-nb data get {name_or_path}` downloads it" if "files" in about else about.get("access", "give its folder")
    raise ManifestError(f"{name_or_path}: is not here: {hint}, or give the path of a copy ({about.get('homepage', '')})")


def resolve(name_or_path: str | Path) -> str:
    """Which card a name or path belongs to, or "manifest"; raises ManifestError or ValueError if it can be none."""
    return str(name_or_path) if str(name_or_path) in EMBEDDED else _recognise(locate(name_or_path))[0]


def load(
    name_or_path: str | Path, preset: Preset, *,
    lenient: bool = False, check_files: bool = True, columns: Sequence[str] | None = None,
) -> Dataset:  # fmt: skip
    """The dataset behind a name or a path, as a checked manifest with its contract and prompts.

    With `lenient`, faults in the rows are kept in the manifest's `attrs["faults"]` instead of raised: for the audit. Without
    `check_files` a manifest's files may be missing, and of its columns only those in `columns` are kept (SKELETON at least; None:
    all). Raises ManifestError naming file, row, column and remedy.
    """
    if str(name_or_path) in EMBEDDED:
        return _embedded(str(name_or_path), preset)
    kind, found = _recognise(locate(name_or_path))
    if kind == "manifest":
        about, notes = {}, []
        table = read_manifest(found, columns=columns, check_files=check_files, lenient=lenient)
    else:
        about = card(kind)
        layout = ADAPTERS[kind].read(found, about)
        notes, table = _worth_telling(layout.notes), _checked(layout, about, lenient=lenient)
    where = table.attrs["name"]
    table = with_split(table, name=where, lenient=lenient)
    name = Path(table.attrs["root"]).name if kind in ("manifest", "folder", "class_folders", "dicom_folder") else kind
    contract = contract_for(table, preset, name=where, about=about, lenient=lenient)
    return Dataset(name, table, contract, synthetic=False, prompts=about.get("zero_shot") or class_prompts(table), notes=notes)


def texts(name_or_path: str | Path, preset: Preset) -> pd.DataFrame:
    """The rows of a dataset without looking for its images: for lessons on texts, and copies that hold reports only."""
    if str(name_or_path) in EMBEDDED:
        return load(name_or_path, preset).manifest
    kind, found = _recognise(locate(name_or_path))
    if kind == "manifest":
        return read_manifest(found, check_files=False)
    return all_columns(ADAPTERS[kind].read(found, card(kind)).table)


def is_volume(table: pd.DataFrame) -> pd.Series:
    """Which rows are volumes: NIfTI, DICOM folders and CT or MR files; pictures and projections are not."""
    return ~(table["image"].str.lower().str.endswith(PICTURES) | table["modality"].isin(PROJECTIONS))


def contract_for(table: pd.DataFrame, preset: Preset, *, name: str, about: dict, lenient: bool = False) -> Preprocessing:
    """The contract that all rows can share: pictures, CT volumes in HU, or MR volumes by percentiles.

    A card's `hu: false` marks CT volumes that were published in grey values. Raises ManifestError for the first row that
    does not go with the first one.
    """
    volume = is_volume(table)
    kinds = table["modality"].where(volume, "picture")
    first, fits = kinds.iloc[0], kinds == kinds.iloc[0]
    if not lenient and not fits.all():
        row, other = table.index[~fits][0] + 2, kinds[~fits].iloc[0]
        mixed = f"{first or 'volumes without modality'} and {other or 'volumes without modality'} are mixed"
        raise ManifestError(f"{name}: row {row}, column 'image': {mixed}; make two manifests")
    if not volume.iloc[0]:
        return picture_contract(preset.picture_px, crop_bottom=about.get("crop_bottom", 0.0))
    if first not in VOLUME_CONTRACTS and not lenient:
        raise ManifestError(f"{name}: row {table.index[0] + 2}, column 'modality': a volume needs CT or MR, not {first!r}")
    make = VOLUME_CONTRACTS.get(first, mr_contract) if about.get("hu", True) else mr_contract
    return make(preset.volume_size)


def with_split(table: pd.DataFrame, *, name: str, lenient: bool = False) -> pd.DataFrame:
    """The table with every row in a split: as given if all rows say one, by patient (`attrs["split_drawn"]`) if none does."""
    given = table["split"] != ""
    if given.any() and not given.all() and not lenient:
        row = int(given.idxmin()) + 2
        raise ManifestError(f"{name}: row {row}, column 'split': is empty while others are filled; fill all rows or none")
    if given.any():
        return table
    drawn = table.assign(split=split_by_patient(table["patient_id"]))
    drawn.attrs["split_drawn"] = True
    return drawn


def class_prompts(table: pd.DataFrame) -> dict:
    """Zero-shot classes from the values of `modality` and `body_part`, where there are at least two."""
    classes = {c: sorted(set(table[c]) - {""}) for c in ("modality", "body_part")}
    return {c: {v: [f"{v} image", v] for v in values} for c, values in classes.items() if len(values) > 1}


def _recognise(path: Path) -> tuple[str, Path]:
    manifests = [path / name for name in MANIFESTS if path.is_dir() and (path / name).exists()]
    if len(manifests) > 1:
        raise ManifestError(f"{path}: holds {' and '.join(MANIFESTS)}; keep one, or give the path of one")
    if manifests:
        return "manifest", manifests[0]
    for name, adapter in ADAPTERS.items():
        found = adapter.find(path)
        if found:
            return name, found
    if path.is_file():
        return "manifest", path
    raise ManifestError(
        f"{path}: holds no CSV file; put one CSV with the columns image,text beside the images, "
        "or the images into one folder per class"
    )


def _checked(layout: Layout, about: dict, *, lenient: bool) -> pd.DataFrame:
    name = str(layout.source)
    told = {} if "source" in layout.table else {"source": about["name"], "licence": about["licence"]}
    table = all_columns(layout.table.assign(**told))
    if len(table) and not lenient and (table["image"] == "").all():
        where = about.get("homepage", "beside the table")
        raise ManifestError(f"{name}: {len(table)} reports and no image; get the images ({where}) or use catalog.texts")
    return check(table, root=layout.root, name=name, lenient=lenient)


def _worth_telling(notes: list[str]) -> list[str]:
    """Notes without those that count nothing."""
    return [note for note in notes if not note.startswith("0 ")]


def _embedded(name: str, preset: Preset) -> Dataset:
    from . import phantoms
    from .phantoms import head

    if name == "head":
        contract = mr_contract(head.SIZES[preset.name], field_mm=head.FIELD_MM)
        return Dataset(name, read_manifest(head.head_cohort(preset)), contract, synthetic=True, mask_classes=head.REGIONS)
    if name == "radiographs":
        table, contract = read_manifest(phantoms.radiograph_cohort(preset)), picture_contract(preset.picture_px)
    else:
        table, contract = (
            read_manifest(phantoms.torso_cohort(preset)),
            ct_contract(preset.volume_size, field_mm=phantoms.FIELD_MM),
        )
    return Dataset(name, table, contract, synthetic=True, mask_classes=phantoms.ORGANS)
