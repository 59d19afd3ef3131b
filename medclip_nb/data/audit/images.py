"""What is wrong with the images of a manifest, judged from their records."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ..selfcheck import WHY, flipped_axis
from .near import FEW, groups, near_images, near_texts
from .records import Finding, Record, names, pairs_named, some

TOO_SMALL_PX = 16
MOSTLY_WHITE = 0.5  # share of voxels at the largest value
ALIKE = 0.6  # median correlation with the group's median from which a group shows one body region in one way
ODD_ORGAN_HU = 150.0  # an organ's mean that is so far from the cohort's is odd; organs with contrast vary by some 100
ODD_SHARE = 0.4  # of the organs are odd: then the mask is not the image's
STATES = WHY | {"windowed": "grey values of a display window (0 to 255); go back to the source and read HU"}

DEIDENTIFY = {
    "serious": "De-identify the files before anybody else gets them, and look for copies: these fields name a person.",
    "warning": "De-identify the files: with a date, such a field leads to a person.",
    "note": "Usual and mostly harmless; the basic profile replaces them before files leave the house.",
}


def unreadable(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Files that cannot be opened, images that hold nothing, tiny and saturated ones."""
    for check, field in (("unreadable image", "error"), ("unreadable mask", "mask_error")):
        rows = _where(records, lambda r, field=field: bool(getattr(r, field)))
        if rows:
            told = some([f"{table['study_id'].iloc[i]}: {getattr(records[i], field)}" for i in rows])
            yield _each(
                check,
                "serious",
                rows,
                f"{len(rows)} file{'s' * (len(rows) > 1)} cannot be used: {told}",
                "Replace the files, or drop the rows.",
            )
    kinds = {
        ("constant image", "serious", "the same value everywhere"): lambda r: r.at_top == 1,
        ("saturated image", "warning", "more than half of the voxels at the largest value"): lambda r: (
            MOSTLY_WHITE < r.at_top < 1
        ),
        ("tiny image", "warning", f"fewer than {TOO_SMALL_PX} rows or columns"): lambda r: min(r.shape[1:]) < TOO_SMALL_PX,
    }
    for (check, severity, said), rule in kinds.items():
        rows = _where(records, lambda r, rule=rule: bool(r.shape) and rule(r))
        if rows:
            yield _each(
                check, severity, rows, f"{_images(rows)} with {said}: {names(table, rows)}", "Look at them; drop or replace."
            )


def copies(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Identical files, and images that show the same up to noise, window, size or compression."""
    digests = pd.Series(["" if r.at_top == 1 else r.sha256 for r in records])  # empty images are told as such
    same = [g.tolist() for d, g in digests.groupby(digests).indices.items() if d and len(g) > 1]
    for severity, kind, found in _by_reach(table, same, within="warning"):
        what = f"{len(found)} image file{'s are' if len(found) > 1 else ' is'} in the table more than once, {kind}: "
        yield Finding("identical images", severity, found, what + pairs_named(table, found), "Keep one row of each.")
    near = near_groups(records, set(map(frozenset, same)))
    again = [g for g in near if _same_patient(table, g) and _one_examination(table, records, g)]
    for severity, kind, found in _by_reach(table, [g for g in near if g not in again], within="note"):
        what = f"{len(found)} group{'s' * (len(found) > 1)} of nearly identical images, {kind}: {pairs_named(table, found)}"
        advice = "Look at the pairs; keep copies of one image in one split, or keep one of them."
        yield Finding("near-identical images", severity, found, what, advice)
    if again:
        what = (
            f"{len(again)} examination{'s' * (len(again) > 1)} with several images (another reconstruction, or the next slice): "
        )
        advice = "Keep one image of each, or treat them as one study when you split and score."
        yield Finding("second reconstruction", "warning", again, what + pairs_named(table, again), advice)


def near_groups(records: list[Record], known: set[frozenset[int]]) -> list[list[int]]:
    """Groups of rows with nearly identical thumbnails, volumes and pictures apart; those in `known` are left out."""
    found = []
    for depth in {r.thumbnail.shape[0] for r in records if r.thumbnail is not None}:
        rows = _where(records, lambda r, d=depth: r.thumbnail is not None and len(r.thumbnail) == d and r.at_top < 1)
        if len(rows) > 1:
            pairs = near_images(np.stack([records[i].thumbnail for i in rows]))
            found += [[rows[i] for i in group] for group in groups(pairs, len(rows))]
    return [g for g in found if frozenset(g) not in known]


def image_values(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """CT volumes that are not in HU, and masks below which most organs have values that no other study has."""
    for state, why in STATES.items():
        rows = _where(records, lambda r, s=state: r.hu_state == s)
        if rows:
            yield _each(
                "not in HU",
                "serious",
                rows,
                f"{_images(rows)} called CT with {why}: {names(table, rows)}",
                "Convert them, and mend what wrote them.",
            )
    organs = pd.DataFrame([r.organ_hu if r.hu_state == "HU" else {} for r in records])
    if len(organs.dropna(how="all")) < FEW:
        return
    odd = (organs - organs.median()).abs().gt(ODD_ORGAN_HU).sum(axis=1) / organs.notna().sum(axis=1).clip(lower=1)
    rows = np.flatnonzero(odd > ODD_SHARE).tolist()
    if rows:
        what = f"{_images(rows)} whose organ masks lie over other tissue than in the rest of the cohort: {names(table, rows)}"
        yield _each("mask beside its image", "warning", rows, what, "Check the orientation of image and mask.")


def orientation(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Volumes that look more like the rest of their kind when mirrored."""
    volumes = np.array([r.thumbnail is not None and len(r.thumbnail) > 1 and r.at_top < 1 for r in records])
    kinds = table.reset_index(drop=True)[volumes].groupby(["modality", "body_part", "sequence"]).indices.values()
    found = [hit for kind in kinds if len(kind) >= FEW for hit in _mirrored(np.flatnonzero(volumes)[kind].tolist(), records)]
    for axis in dict.fromkeys(axis for _, axis in found):
        rows = [i for i, a in found if a == axis]
        what = f"{_images(rows, 'looks', 'look')} like the others only when {axis} are swapped: {names(table, rows)}"
        advice = "Compare with the source: the file's orientation, or the array in it, is wrong; sides in the report will be too."
        yield _each("orientation", "serious", rows, what, advice)


def recognisable(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """DICOM fields that identify, one finding for each severity, and pictures with burnt-in text."""
    for severity in ("serious", "warning", "note"):
        held = {i: [k for k, (s, _) in r.fields.items() if s == severity] for i, r in enumerate(records)}
        rows = [i for i, fields in held.items() if fields]
        if rows:
            fields = some(sorted({f for i in rows for f in held[i]}), 8)
            what = f"{_images(rows)} with DICOM fields that a de-identified file has not ({fields}): {names(table, rows)}"
            yield _each("identifiers", severity, rows, what, DEIDENTIFY[severity])
    rows = _where(records, lambda r: r.lettered)
    if rows:
        what = f"{_images(rows, 'seems', 'seem')} to have text burnt in at the upper or lower edge: {names(table, rows)}"
        yield _each(
            "burnt-in text", "warning", rows, what, "Read it: it may name a patient, and a model may read it too. Crop it."
        )


def _mirrored(rows: list[int], records: list[Record]) -> Iterator[tuple[int, str]]:
    thumbnails = np.stack([records[i].thumbnail for i in rows]).astype(np.float32)
    usual = np.median(thumbnails, 0)
    alike = np.corrcoef(np.vstack([usual.reshape(1, -1), thumbnails.reshape(len(rows), -1)]))[0, 1:]
    if np.median(alike) >= ALIKE:
        axes = ((i, flipped_axis(t[None], usual[None])) for i, t in zip(rows, thumbnails, strict=True))
        yield from ((i, axis) for i, axis in axes if axis)


def _by_reach(table: pd.DataFrame, found: list[list[int]], *, within: str) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Groups of copies by how far they reach; `within` is the severity of copies within one patient."""
    reach = {("serious", "in different splits"): [], ("warning", "in different patients"): [], (within, "of one patient"): []}
    if within == "warning":  # identical files: two patients cannot have one file
        reach = {("serious", "in different splits or patients"): [], (within, "of one patient"): []}
    keys = list(reach)
    for group in found:
        crosses = _same_split(table, group) is False
        reach[keys[0] if crosses else keys[-1] if _same_patient(table, group) else keys[-2]].append(group)
    yield from ((*key, members) for key, members in reach.items() if members)


def _one_examination(table: pd.DataFrame, records: list[Record], group: list[int]) -> bool:
    """Same DICOM study, or same age and same truth or words: an image made twice, not a patient who came back."""
    uids = {records[i].fields.get("StudyInstanceUID", ("", ""))[1] for i in group}
    if len(uids) == 1 and uids != {""}:
        return True
    rows = table[["age", "findings", "report"]].iloc[group]
    same_truth = len(set(rows["findings"])) == 1 and rows["findings"].iloc[0] != ""
    same_words = len(near_texts(rows["report"].tolist())) >= len(group) - 1
    return rows["age"].nunique() == 1 and (same_truth or same_words)


def _same_patient(table: pd.DataFrame, rows: list[int]) -> bool:
    return table["patient_id"].iloc[rows].nunique() == 1


def _same_split(table: pd.DataFrame, rows: list[int]) -> bool:
    return table["split"].iloc[rows].nunique() == 1


def _where(records: list[Record], rule: Callable[[Record], bool]) -> list[int]:
    return [i for i, record in enumerate(records) if rule(record)]


def _each(check: str, severity: str, rows: list[int], what: str, advice: str) -> Finding:
    return Finding(check, severity, [[i] for i in rows], what, advice)


def _images(rows: list[int], *verb: str) -> str:
    many = len(rows) > 1
    return " ".join([f"{len(rows)} image{'s' * many}", *verb[many : many + 1]])
