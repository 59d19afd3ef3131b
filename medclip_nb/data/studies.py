"""Manifest rows -> units: images with their texts, ready to be batched.

A unit is what one text is matched with. Here it is a slice or a picture; the image array always has a slice axis,
so that volumes need no other code.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from ..config import artifacts_dir
from ..files import sha256, whole
from .catalog import Dataset, is_volume
from .manifest import ManifestError, digest
from .preprocessing import with_size
from .readers import ImageError, read_mask
from .streaming import preprocess_files

NORMALS_PER_FINDING = 0.5  # normal slices drawn in an epoch for each slice that shows a finding
CAPTIONS_VERSION = 2  # of what is kept on disk: raise it when the captions' table changes


@dataclass
class Units:
    """Images, the texts that go with them, and a table that says which is which.

    `table` has one row per unit: `image` (index into `images`), `text_id` (index into `texts`, which are unique),
    `finding` (empty if normal or unknown) and the manifest's study_id, patient_id, split, modality, body_part, scanner; slices of
    the embedded cohort have `organs` (classes they show) and `site` (classes the finding lies in), too.
    A slice that shows two findings is two units with one image. `images` is read-only where it is mapped from the disk.
    """

    images: UInt8[np.ndarray, "image channel slice row column"]
    texts: list[str]
    table: pd.DataFrame

    def rows(self, split: str) -> Int[np.ndarray, " unit"]:
        """Numbers of the units of one split."""
        return np.flatnonzero(self.table["split"] == split)

    def one_per_image(self, rows: Int[np.ndarray, " unit"]) -> Int[np.ndarray, " first"]:
        """The first unit of each image among `rows`: what to embed when an image should count once."""
        return rows[np.unique(self.table["image"].to_numpy()[rows], return_index=True)[1]]


def load_units(dataset: Dataset) -> Units:
    """Slices with captions of the embedded cohort, pictures with their texts of any other dataset.

    Raises ManifestError for other volumes: a report is no caption of each of its slices, and captions made from masks
    need to know what their labels mean.
    """
    volumes = is_volume(dataset.manifest)
    if dataset.synthetic and volumes.all():
        return slice_units(dataset)
    if volumes.any():
        row = dataset.manifest.index[volumes.argmax()] + 2
        where = f"{dataset.manifest.attrs['name']}: row {row}, column 'image'"
        raise ManifestError(f"{where}: volumes of your own are not trained on yet; give PNG or JPEG slices with a text each")
    return row_units(dataset)


def row_units(dataset: Dataset) -> Units:
    """One unit per row: a 2D image and its report."""
    pictures = read_images(dataset)
    table = dataset.manifest.assign(image=np.arange(len(pictures)), text=dataset.manifest["report"], finding="")
    return _with_text_ids(pictures, table)


def slice_units(dataset: Dataset) -> Units:
    """Slices of CT volumes with captions made from the masks; one unit per slice and finding shown."""
    volumes = read_images(dataset, slices_first=True)
    n_studies, n_slices, channels, *side = volumes.shape
    slices = volumes.reshape(n_studies * n_slices, channels, 1, *side)
    return _with_text_ids(slices, slice_captions_table(dataset, n_slices))


def slice_captions_table(dataset: Dataset, n_slices: int) -> pd.DataFrame:
    """One row per slice and caption; read from the masks once, then kept beside the cohort's cache."""
    masks = hashlib.sha256(digest(dataset.manifest).encode())
    for name in (*dataset.manifest["mask"], *dataset.manifest["lesions"]):
        masks.update((dataset.root / name).read_bytes())
    file = artifacts_dir() / "cache" / f"captions-{CAPTIONS_VERSION}-{masks.hexdigest()[:16]}-{n_slices}.parquet"
    if not file.exists():
        captions = _read_captions(dataset, n_slices)
        with whole(file) as part:
            captions.to_parquet(part)
    return pd.read_parquet(file)


def draw_epoch(
    units: Units, rows: Int[np.ndarray, " unit"], rng: np.random.Generator, *, normals: str = "any"
) -> Int[np.ndarray, " drawn"]:
    """Which units an epoch uses, shuffled: every unit with a finding and, for slices, half as many normal ones.

    With `normals` "same_organ" (ours) each normal slice shows the organ of a finding that was drawn: else "a mass in the
    pancreas" is half learnt as "a slice through the pancreas". Raises ValueError if the units do not say which organs they show.
    """
    shows = (units.table["finding"].to_numpy() != "")[rows]
    if not shows.any():
        return rng.permutation(rows)
    found, normal = rows[shows], rows[~shows]
    n_normal = min(int(NORMALS_PER_FINDING * len(found)), len(normal))
    if normals == "same_organ":
        picked = _of_the_same_organ(units.table, rng.choice(found, n_normal, replace=False), normal, rng)
    else:
        picked = rng.choice(normal, n_normal, replace=False)
    return rng.permutation(np.concatenate([found, picked]))


def _of_the_same_organ(table: pd.DataFrame, found: np.ndarray, normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each slice with a finding a normal one that shows its organ; none where no normal slice does."""
    if "site" not in table:
        raise ValueError("these units do not say which organs they show: draw normals anywhere (recipe.normals 'any')")
    shown = table["organs"].map(frozenset).to_numpy()[normal]
    picked = []
    for site, group in pd.Series(found).groupby(table["site"].map(frozenset).to_numpy()[found], sort=False):
        pool = normal[[not site.isdisjoint(organs) for organs in shown]]
        picked.append(rng.choice(pool, len(group)) if len(pool) else pool)
    return np.concatenate([normal[:0], *picked])


def read_images(
    dataset: Dataset, *, slices_first: bool = False
) -> UInt8[np.ndarray, "n channel slice row column"] | UInt8[np.ndarray, "n slice channel row column"]:
    """All images of the manifest under the dataset's contract, as `streaming.preprocess_files` gives them.

    Raises ManifestError naming the row of a bad one.
    """
    paths = [dataset.root / name for name in dataset.manifest["image"]]
    try:
        images = preprocess_files(paths, dataset.contract, slices_first=slices_first)
    except ImageError as error:
        rows = dict(zip(map(str, paths), dataset.manifest.index + 2, strict=True))
        row = next((row for path, row in rows.items() if str(error).startswith(f"{path}:")), "?")
        where = f"{dataset.manifest.attrs['name']}: row {row}, column 'image'"
        raise ManifestError(f"{where}: {error}; replace the file or drop the row") from None
    refuse_exchanged(dataset.manifest)
    return images


def refuse_exchanged(table: pd.DataFrame) -> None:
    """Raises ManifestError for the first image that is another than the manifest was written for."""
    paths = [Path(table.attrs["root"]) / name for name in table["image"]]
    for i, (path, name, known) in enumerate(zip(paths, table["image"], table["sha256"].str.lower(), strict=True)):
        if name and known and path.exists() and sha256(path) != known:
            where = f"{table.attrs['name']}: row {table.index[i] + 2}, column 'sha256'"
            raise ManifestError(f"{where}: is not that of {name}: the file was changed; restore it, or empty the cell")


def thumbnails(dataset: Dataset, rows: list[int], *, side_px: int = 128) -> UInt8[np.ndarray, "row channel 1 side side"]:
    """The middle slice or the picture of some rows, square, for looking at."""
    table = dataset.manifest.iloc[rows]
    paths = [dataset.root / name for name in table["image"]]
    n_slices = dataset.contract.size[0]
    images = preprocess_files(paths, with_size(dataset.contract, (n_slices, side_px, side_px)))
    return images[:, :, n_slices // 2 : n_slices // 2 + 1]


def _with_text_ids(images: np.ndarray, table: pd.DataFrame) -> Units:
    texts, ids = np.unique(table["text"].to_numpy(str), return_inverse=True)
    return Units(images, texts.tolist(), table.assign(text_id=ids).reset_index(drop=True))


def _read_captions(dataset: Dataset, n_slices: int) -> pd.DataFrame:
    from tqdm.auto import tqdm

    rows = []
    for number, study in enumerate(tqdm(dataset.manifest.to_dict("records"), desc="captions", leave=False)):
        for row in _study_captions(dataset.root, study):
            rows.append(row | {"image": number * n_slices + row["slice"]})
    return pd.DataFrame(rows)


def _study_captions(root: Path, study: dict) -> list[dict]:
    from .phantoms import ORGAN_GROUPS, caption, finding_phrase, slice_captions

    organs, lesions = read_mask(root / study["mask"]), read_mask(root / study["lesions"])
    findings = json.loads(study["findings"])
    keep = {c: study[c] for c in ("study_id", "patient_id", "split", "modality", "scanner")}
    rows = []
    for z, (region, shown, numbers) in enumerate(slice_captions(organs, lesions, findings)):
        sites = {}
        for finding in (findings[k] for k in numbers):
            sites.setdefault(finding_phrase(finding), set()).update(ORGAN_GROUPS[finding["organ"]])
        for phrase, site in sorted(sites.items()) or [("", set())]:
            about = {"slice": z, "body_part": region, "organs": shown, "finding": phrase, "site": sorted(site)}
            rows.append(keep | about | {"text": caption(region, phrase)})
    return rows
