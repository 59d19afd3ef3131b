"""Who can be recognised: identifying DICOM fields, and letters that were burnt into a picture."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

# what a field's value looks like after it was removed: nothing, zeros, or a word that says so
DUMMY = re.compile(
    r"(anon\w*|de-?identified|removed|redacted|none|unknown|dummy|n/?a|x+|[\W0_]*|(1900|0001)0101.*|000Y)(\^.*)?", re.IGNORECASE
)
PROFILE = "dicomfields_2026c"  # the edition of PS3.15's table, as dicom-anonymizer calls it
RANDOM_UID = "2.25."  # root of UIDs that are made of random numbers
BODY = ("AS", "CS", "DS", "US")  # types of the patient's age, sex, height: they do not name anybody
PLACES = re.compile(r"Institution|Accession|Address|Tele(phone|com)|StationName|Admission|SerialNumber|Comments|History")

BORDER, MIN_BORDER_PX = 0.15, 16  # share and least number of rows at the upper and lower edge where letters are looked for
LETTER_PX = (4, 40)  # height of a letter
MIN_LETTERS = 4  # of one height in one line, where all have the picture's brightest or darkest grey
SMALL_PX = 3  # least height of a line of blurred letters, which is known by its many
MIN_CHANGES = 12  # between ground and ink in each of its rows
INK = 0.2  # by how much, as a share of the picture's range, ink differs from the middle value of its row
CLEAR_PX, CLEAN = 3, 3  # within so many rows above and below there is one with so few changes


def identifiers(path: Path, *, known: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """Fields of a DICOM file, or of all in a folder, that the basic de-identification profile removes and that hold a value.

    Name of field -> (severity, value): names of persons and what describes the patient are serious; institutions, addresses and
    numbers a warning; dates and UIDs a note. Values in `known`, the manifest's own pseudonyms, do not count,
    nor UIDs of random numbers in a file that says it was de-identified.
    """
    import pydicom

    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
    found = {}
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if header.get("BurnedInAnnotation") == "YES":
            found["BurnedInAnnotation"] = ("warning", "YES")
        cleaned = header.get("PatientIdentityRemoved") == "YES"
        for element in header.iterall():
            if (element.tag.group, element.tag.elem) not in _profile() or element.VR == "SQ":
                continue
            new_uid = cleaned and element.VR == "UI" and str(element.value).startswith(RANDOM_UID)
            if not new_uid and not is_dummy(element.value, known=known):
                found.setdefault(element.keyword or str(element.tag), (severity(element), str(element.value)[:60]))
    return found


def severity(element) -> str:
    """How much a field of the de-identification profile gives away: "serious", "warning" or "note"."""
    if element.VR == "PN" or (element.tag.group == 0x0010 and element.VR not in BODY):
        return "serious"
    return "warning" if PLACES.search(element.keyword) else "note"


def looks_lettered(picture: Float[np.ndarray, "row column"]) -> bool:
    """Whether a line of letters runs along the upper or lower edge: text that was burnt in. A suspicion, not a reading.

    Sharp letters are small marks of one extreme grey, one height and one base line. Blurred ones make rows that change often
    between ground and ink, just above and below which hardly anything changes.
    """
    edge, reach = max(MIN_BORDER_PX, round(BORDER * len(picture))), float(picture.max() - picture.min())
    strips = (picture[:edge], picture[::-1][:edge]) if reach > 0 else ()  # the outermost row first
    levels = (picture.max(), picture.min())
    return any(_has_blurred_line(s / reach) or any(_has_sharp_line(s == level) for level in levels) for s in strips)


def _has_sharp_line(ink: Bool[np.ndarray, "row column"]) -> bool:
    from scipy.ndimage import find_objects, label

    marks = find_objects(label(ink, np.ones((3, 3)))[0])
    sizes = ((rows.start, rows.stop, across.stop - across.start) for rows, across in marks if rows.stop < len(ink))
    lines = Counter((a, b) for a, b, width in sizes if LETTER_PX[0] <= b - a <= LETTER_PX[1] and width <= 2 * (b - a))
    return max(lines.values(), default=0) >= MIN_LETTERS


def _has_blurred_line(strip: Float[np.ndarray, "row column"]) -> bool:
    ink = np.abs(strip - np.median(strip, 1, keepdims=True)) > INK
    changes = np.pad((ink[:, 1:] != ink[:, :-1]).sum(1), CLEAR_PX, constant_values=(0, MIN_CHANGES - 1))
    edges = np.flatnonzero(np.diff(np.pad(changes >= MIN_CHANGES, 1)))
    return any(
        SMALL_PX <= stop - start <= LETTER_PX[1]
        and max(changes[start - CLEAR_PX : start].min(), changes[stop : stop + CLEAR_PX].min()) <= CLEAN
        for start, stop in edges.reshape(-1, 2)
    )


def is_dummy(value, *, known: tuple[str, ...] = ()) -> bool:
    """Whether a field's value is what stands there after its removal, or one of the `known` pseudonyms."""
    text = str(value if value is not None else "").strip()
    return text in known or DUMMY.fullmatch(text) is not None


@cache
def _profile() -> set:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    return {tag for tag in dicom_anonymization_database_selector(PROFILE)["ALL_TAGS"] if len(tag) == 2}
