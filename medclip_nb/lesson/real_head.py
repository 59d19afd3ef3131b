"""Real head MR for lesson 08: brains with lesions under the synthetic cohort's contract, and MedPix cases by their findings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int32, UInt8
from matplotlib.figure import Figure

from ..data.catalog import Dataset
from ..data.phantoms.head import REGIONS
from ..data.phantoms.head.geometry import CENTRE_MM
from ..data.phantoms.head.template import ORIGIN_MM, SHAPE, STEP_MM, template
from ..data.preprocessing import Preprocessing, cached, preprocess, to_geometry
from ..data.readers import Image, in_space, read_image, read_mask, reorient
from ..measure.statistics import Score, mean_score
from ..model.text_tower import embed_texts
from ..show.organs import overlay
from ..text.alike import text_similarity
from ..text.reports import findings
from ..text.similarity import pairs

# the files of a subject; what is not 0 in "brain" is brain
LAYOUTS = (
    {"FLAIR": "{}/FLAIR.nii.gz", "T1": "{}/T1.nii.gz", "T2": "{}/T2.nii.gz", "lesions": "{}/GOLD_STANDARD.nii.gz",
     "brain": "{}/FLAIR.nii.gz"},  # brains without skulls
    {"FLAIR": "flair/{}_FL.nii.gz", "T1": "t1/{}_T1.nii.gz", "lesions": "wml/{}_FL_DLWMLS.nii.gz",
     "brain": "dlmuse/{}_T1_DLMUSE.nii.gz"},  # NiChart
)  # fmt: skip
EDGE = 0.005  # share of a brain's voxels that may lie beyond each side of its box: strays
BRAIN = REGIONS["other brain"]  # labels up to here are brain
WHITE_MATTER = "white-matter hyperintensity"  # of the synthetic kinds
IN_THE_HEAD = ("brain", "ventricles")  # organs whose findings count: the rules take a mass of no named place for a lung's
RULERS = {"findings": "best", "meaning": "semantic"}  # name here -> in text.alike
NO_DIAGNOSIS = ("Unsure", "Differential Diagnosis", "Glossary", "Pathology", "Idiopathic or Unknown")  # among MedPix's categories
Volume = UInt8[np.ndarray, "slice row column"]
Labels = Int32[np.ndarray, "slice row column"]


class Head(NamedTuple):
    """One subject as the synthetic cohort would show it."""

    name: str
    images: dict[str, Volume]  # sequence -> volume
    lesions: Labels  # as in the file, on the grid of the images
    n_lesions: int  # connected parts of the mask in the file
    n_kept: int  # of them, those with a voxel on this grid
    file_ml: float  # volume of the mask in the file


def look_at(root: Path, contract: Preprocessing) -> list[Head]:
    """The subjects of a folder in one of LAYOUTS, all sequences and the lesion mask under a contract that has a field of view.

    The field lies over the brain as it lies over the synthetic template, so that a neck or a high field cuts nothing off: middle
    of its box from side to side and from front to back, and as far under its top. It is found once, in the "brain" file, and used
    for all sequences by their place in space: these must be of one session, or registered. Volumes are cut to the field, to half
    a voxel of the file, before percentiles are taken. Raises ValueError if no layout fits, or a file of a subject is not there.
    """
    if contract.spacing_mm is None:
        raise ValueError(f"a contract of {contract.size} without spacing has no field of view; take the cohort's, data.contract")
    return [_head(name, files, contract) for name, files in _subjects(Path(root))]


def _subjects(root: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    layout = next((one for one in LAYOUTS if any(root.glob(one["FLAIR"].format("*")))), None)
    if layout is None:
        known = " or ".join(one["FLAIR"].format("NAME") for one in LAYOUTS)
        raise ValueError(f"{root}: holds no {known}; give the folder that these paths start in")
    before, after = layout["FLAIR"].split("{}")
    for file in sorted(root.glob(layout["FLAIR"].format("*"))):
        name = file.relative_to(root).as_posix().removeprefix(before).removesuffix(after)
        files = {what: root / path.format(name) for what, path in layout.items()}
        if gone := [str(path) for path in files.values() if not path.exists()]:
            raise ValueError(f"{name}: {', '.join(gone)} is not there; add it, or take the subject's other files away")
        yield name, files


def _head(name: str, files: dict[str, Path], contract: Preprocessing) -> Head:
    from scipy.ndimage import label

    centre = field_centre(read_image(files["brain"]))
    sequences = [what for what in files if what not in ("lesions", "brain")]
    images = {s: preprocess(in_field(read_image(files[s]), centre, contract), contract)[0] for s in sequences}
    flair = reorient(read_image(files["FLAIR"]), "LPS")
    mask = read_mask(files["lesions"], like=flair)
    parts, n_parts = label(mask > 0, np.ones((3, 3, 3)))
    mask_here, parts_here = (_labels(labels, flair, centre, contract) for labels in (mask, parts))
    ml = np.count_nonzero(mask) * np.prod(flair.spacing_mm) / 1000
    return Head(name, images, mask_here, n_parts, len(np.unique(parts_here[parts_here > 0])), float(ml))


def _labels(labels: Int[np.ndarray, "z y x"], like: Image, centre: np.ndarray, contract: Preprocessing) -> Labels:
    image = in_field(in_space(labels.astype(np.float32), like.affine, "intensity"), centre, contract)
    return to_geometry(image, contract, labels=True).astype(np.int32)


def field_centre(brain: Image) -> Float[np.ndarray, "3"]:
    """Where the middle of the field belongs for a brain (not 0) to lie in it as the template's does: mm to right, front, top.

    Raises ValueError if there is no brain, or the file does not say where its voxels are.
    """
    if brain.affine is None or not (brain.array > 0).any():
        raise ValueError("no brain to centre the field on: its file is empty or has no affine; give one that is not")
    index = np.argwhere(brain.array > 0)[:, ::-1]
    inside = (template().region > 0) & (template().region <= BRAIN)
    of_template = _anchor(np.argwhere(inside.reshape(SHAPE))[:, ::-1] * STEP_MM + ORIGIN_MM)
    return _anchor(index @ brain.affine[:3, :3].T + brain.affine[:3, 3]) + CENTRE_MM - of_template


def _anchor(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
    """Middle from side to side and from front to back, and the top."""
    low, high = np.quantile(points, (EDGE, 1 - EDGE), axis=0)
    return np.array([*(low + high)[:2] / 2, high[2]])


def in_field(image: Image, centre_mm: Float[np.ndarray, "3"], contract: Preprocessing) -> Image:
    """The image cut to the contract's field around a point, to its nearest voxel; its low percentile where it ends before."""
    if image.affine is None:
        raise ValueError("an image without an affine lies nowhere in space and cannot be cut to a field; give a file with one")
    turned = reorient(image, contract.orientation)
    field = np.ceil(np.multiply(contract.size, contract.spacing_mm) / turned.spacing_mm).astype(int)
    middle = (np.linalg.inv(turned.affine) @ [*centre_mm, 1])[2::-1]
    start = np.rint(middle - (field - 1) / 2).astype(int)
    before, after = np.maximum(-start, 0), np.maximum(start + field - turned.array.shape, 0)
    low = np.percentile(turned.array, contract.percentiles[0])
    padded = np.pad(turned.array, np.stack([before, after], 1), constant_values=low)
    affine = turned.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start[::-1]
    return in_space(padded[tuple(slice(a, a + n) for a, n in zip(start + before, field, strict=True))], affine, image.units)


def lesion_table(heads: list[Head], contract: Preprocessing) -> pd.DataFrame:
    """What the coarse grid leaves of each subject's lesions: parts and volume, in the file and here."""
    voxel_ml = float(np.prod(contract.spacing_mm)) / 1000
    rows = [(h.name, h.n_lesions, h.n_kept, h.file_ml, np.count_nonzero(h.lesions) * voxel_ml) for h in heads]
    return pd.DataFrame(rows, columns=["subject", "parts in the file", "parts here", "ml in the file", "ml here"])


def beside_synthetic(head: Head, data: Dataset, *, n_slices: int = 3) -> Figure:
    """FLAIR of a real head above that of the cohort's study with most white-matter lesions: slices with most lesion, upwards.

    Radiological: the image's left is the patient's right. Raises ValueError if no study of the cohort has such a lesion.
    """
    shown = ((head.images["FLAIR"], head.lesions > 0, f"real, {head.name}"), _most_white_matter(data))
    picked = [
        (image[k], mask[k].astype(np.uint8), f"{name}: slice {k}")
        for image, mask, name in shown
        for k in sorted(np.argsort(-mask.sum((1, 2)), kind="stable")[:n_slices])
    ]
    images, masks, titles = map(list, zip(*picked, strict=True))
    return overlay(np.stack(images), np.stack(masks), ["lesion"], titles, spacing=data.contract.spacing_mm[1:])


def _most_white_matter(data: Dataset) -> tuple[Volume, Bool[np.ndarray, "slice row column"], str]:
    rows = data.manifest[data.manifest["sequence"] == "FLAIR"]
    own = [[f for f in json.loads(text) if f["kind"] == WHITE_MATTER] for text in rows["findings"]]
    n_voxels = [sum(f["n_voxels"] for f in found) for found in own]
    if not any(n_voxels):
        raise ValueError(f"{data.name}: no FLAIR of {len(rows)} shows a {WHITE_MATTER}; give the synthetic cohort, head")
    k = int(np.argmax(n_voxels))
    image = cached(data.root / rows["image"].iloc[k], data.contract)[0]
    mask = np.isin(read_mask(data.root / rows["lesions"].iloc[k]), [f["label"] for f in own[k]])
    return image, mask, f"synthetic, {rows['study_id'].iloc[k]}"


def medpix_heads(data: Dataset) -> pd.DataFrame:
    """MedPix's cases with head MR and a text of findings, one row a case; `data` is the dataset medpix2, read from its folder.

    Columns: case, split, location, n_pictures, diagnosis, category (MedPix's topic category up to its first comma or bracket;
    empty if it is one of NO_DIAGNOSIS), text, and found: the pairs that the rules read in the head, None where they read none,
    since a teaching case is not known to be healthy. Raises ValueError if there is no case with head MR.
    """
    rows = data.manifest[(data.manifest["modality"] == "MR") & (data.manifest["body_part"] == "head")]
    if rows.empty:
        raise ValueError(f"{data.manifest.attrs['name']}: no picture is MR of the head; give MedPix 2.0 (data medpix2)")
    said, drawn = (json.loads((data.root / f).read_text(encoding="utf-8")) for f in ("Case_topic.json", "Descriptions.json"))
    cases, location = {case["U_id"]: case for case in said}, {picture["image"]: picture["Location"] for picture in drawn}
    made = [
        {"case": uid, "split": own["split"].iloc[0], "location": location[own["study_id"].iloc[0]], "n_pictures": len(own)}
        | _case(cases[uid])
        for uid, own in rows.groupby("patient_id", sort=True)
    ]
    return pd.DataFrame(made).query("text != ''").reset_index(drop=True)


def _case(case: dict) -> dict:
    text, diagnosis = (" ".join(case["Case"].get(part, "").split()) for part in ("Findings", "Case Diagnosis"))
    found = [pair for pair in pairs(findings(text)) if pair[0].split()[-1] in IN_THE_HEAD]
    category = case["Topic"]["Category"].partition(",")[0].partition("(")[0].strip()
    known = "" if category in NO_DIAGNOSIS else category
    return {"diagnosis": diagnosis, "category": known, "text": text, "found": found or None}


def likeness(cases: pd.DataFrame) -> dict[str, Float[np.ndarray, "case case"]]:
    """How alike the cases' texts are: by findings, by meaning where there are none, and by meaning alone."""
    emb = embed_texts(list(cases["text"])).numpy()
    emb = emb - emb.mean(0)
    return {name: text_similarity(ruler, list(cases["found"]), emb) for name, ruler in RULERS.items()}


def most_alike(cases: pd.DataFrame, sim: Float[np.ndarray, "case case"], n: int) -> pd.DataFrame:
    """The `n` pairs of cases whose texts are most alike, each case once, for a reader to judge."""
    (a, b), free, picked = np.triu_indices(len(cases), 1), set(range(len(cases))), []
    for k in np.argsort(-sim[a, b], kind="stable"):
        if free >= {a[k], b[k]}:
            free -= {a[k], b[k]}
            picked.append(k)
    first, second = (cases.iloc[side[picked[:n]]].reset_index(drop=True) for side in (a, b))
    both = first.add_suffix(" a").join(second.add_suffix(" b")).assign(similarity=sim[a, b][picked[:n]])
    return both[["similarity", *(f"{what} {side}" for what in ("case", "diagnosis", "category", "text") for side in "ab")]]


def nearest_agrees(cases: pd.DataFrame, sim: Float[np.ndarray, "case case"], column: str, *, n_bootstrap: int) -> Score:
    """Share of cases whose nearest other case has the same value in a column, less the share of all others that have it.

    Nearest ones that tie count by their mean. 0 is chance; the interval is over cases. Only cases whose value another has, and
    which is not empty, are asked. Raises ValueError if there are fewer than two.
    """
    values = cases[column].to_numpy(str)
    same, other = (values[:, None] == values) & (values != ""), ~np.eye(len(values), dtype=bool)
    tied = other & (sim == np.where(other, sim, -np.inf).max(1, keepdims=True))
    gain = (same & tied).sum(1) / tied.sum(1) - (same & other).sum(1) / (len(values) - 1)
    asked = (same & other).any(1)
    if asked.sum() < 2:
        raise ValueError(f"no two cases share a value of {column!r}; choose a coarser column")
    name, who = f"nearest case has the same {column}, above chance", cases["case"].to_numpy(str)[asked]
    return mean_score(name, gain[asked], who, chance=0.0, n_bootstrap=n_bootstrap)
