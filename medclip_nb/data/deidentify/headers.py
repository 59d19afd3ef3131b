"""DICOM files without what identifies: the Basic Application Level Confidentiality Profile (PS3.15 E), also in sequences.

The table of fields is `dicom-anonymizer`'s. Its own loop is not used: it leaves sequences unread, empties references, and keeps
what the table does not list; here UIDs are replaced everywhere, and what is private, unknown or repeats a name goes.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from ..audit.identifiers import PROFILE, is_dummy, looks_lettered, severity
from ..dicom import MOST_VOXELS
from ..personal import LEAST_NAME, date_forms, name_parts, personal
from .secret import Secret

METHOD = "medclip_nb: PS3.15 Basic Profile"
CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")
NO_DUMMY = ("OB", "UN", "UR")  # types whose dummy in dicom-anonymizer looks like content: left out instead
CODED = ("Modality", "PhotometricInterpretation", "ImageType", "SpecificCharacterSet")  # terms of the standard, needed to read
TEXT = ("AE", "CS", "IS", "DS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS")
NAMING = re.compile(r"Name|ID|Number|Address|Telephone|BirthDate|Physician|Operator")  # fields whose values name somebody
OVERLAYS, CURVES = 0x6000, 0x5000  # groups, with a number in the low byte
LEAST_NUMBER, LEAST_IN_PIXELS = 4, 6  # letters by which a number is known in a header, and any word among bytes
LETTERED = ("US",)  # modalities whose pictures usually have text in them
CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture, and its kinds below it


class Refused(ValueError):
    """A file that is not copied; the message says why."""


class Suspected(Refused):
    """A file whose pixels seem to hold text: not copied unless somebody has looked at it."""


def read(path: Path) -> "pydicom.Dataset":
    """A DICOM image as it is. Raises Refused if it cannot be read to its end, or holds no image."""
    import pydicom

    try:
        header = pydicom.dcmread(path)
        for _ in header.iterall():  # fields are parsed when they are looked at
            pass
    except Exception as error:  # a damaged file raises a dozen kinds
        raise Refused(f"cannot be read as DICOM ({type(error).__name__}: {' '.join(str(error).split())[:120]})") from error
    if "PixelData" not in header or "TransferSyntaxUID" not in header.file_meta:
        kind = getattr(header.get("SOPClassUID"), "name", "an object of no kind")
        raise Refused(f"holds no image that can be read ({kind}): documents, plans and reports are not cleaned here")
    return header


def identity(header: "pydicom.Dataset") -> set[str]:
    """Words and numbers by which this header names people: parts of names, numbers of patients, dates of birth, addresses."""
    found = set()
    for element in header.iterall():
        if NAMING.search(element.keyword) and severity(element) != "note":
            for value in map(str, element.value if element.VM > 1 else [element.value]):
                found |= name_parts(value) if element.VR == "PN" else date_forms(value) if element.VR == "DA" else _long(value)
    return {word for word in found if len(word) >= LEAST_NAME and not is_dummy(word)}


def look_at_pixels(header: "pydicom.Dataset", *, looked_at: bool) -> None:
    """Raises Refused for text that the header tells of and for an overlay among the pixels, Suspected for what looks like text.

    With `looked_at`, the latter is let through; pixels that nobody can read never are.
    """
    if header.get("BurnedInAnnotation") == "YES":
        raise Refused("says itself that text is burnt in (BurnedInAnnotation YES)")
    for group in range(OVERLAYS, OVERLAYS + 0x20, 2):
        if (group, 0x0100) in header and (group, 0x3000) not in header:
            raise Refused("has an overlay in the unused bits of its pixels")
    pictures = _pictures(header)
    if looked_at:
        return
    if header.get("Modality") in LETTERED or str(header.get("SOPClassUID", "")).startswith(CAPTURES):
        raise Suspected("is an ultrasound image or a secondary capture, which mostly have text burnt in")
    if any(looks_lettered(picture) for picture in pictures):
        raise Suspected("seems to have text burnt in at its upper or lower edge")


def clean(header: "pydicom.Dataset", secret: Secret) -> "pydicom.Dataset":
    """The header, in place, without what identifies and with new UIDs; it says itself that it was de-identified.

    Raises Refused if a name or number of this patient still stands in the compressed pixels.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset

    words, patient = identity(header), secret.person(_who(header))
    pixels = header.PixelData
    for word in words:
        if len(word) >= LEAST_IN_PIXELS and any(word.encode(code, "ignore") in pixels for code in ("utf-8", "utf-16-le")):
            raise Refused("holds a name or number of its header in its pixel data too")
    _walk(header, words, secret)
    header.PatientName = header.PatientID = patient
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", METHOD
    header.LongitudinalTemporalInformationModified = "REMOVED"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = CODE
    header.DeidentificationMethodCodeSequence = [code]
    meta, header.preamble = FileMetaDataset(), b"\0" * 128
    meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    header.file_meta = meta
    return header


def _who(header: "pydicom.Dataset") -> str:
    """By what a patient is known: the number, or name and date of birth, or, for lack of both, the study."""
    number = str(header.get("PatientID") or "")
    if not is_dummy(number):
        return number
    name = f"{header.get('PatientName') or ''} {header.get('PatientBirthDate') or ''}"
    return name if not is_dummy(name) else str(header.get("StudyInstanceUID") or header.get("SOPInstanceUID"))


def _walk(dataset: "pydicom.Dataset", words: set[str], secret: Secret) -> None:
    for tag in list(dataset.keys()):
        element = dataset[tag]
        if _goes(element, words):
            del dataset[tag]
        elif element.VR == "SQ" and tag in _profile() and not _keeps_references(tag):
            element.value = []
        elif element.VR == "SQ":
            for item in element.value:
                _walk(item, words, secret)
        elif element.VR == "UI":
            _new_uids(element, secret)
        elif tag in _profile() or element.VR in ("PN", "DA", "DT"):
            _blank(dataset, element)


def _goes(element, words: set[str]) -> bool:
    """Whether an element is left out: private, unknown, overlay, curve, X in the profile, or a repeated name of the patient."""
    from pydicom.datadict import dictionary_has_tag

    group = element.tag.group & 0xFF00
    if element.tag.is_private or group in (OVERLAYS, CURVES) or not dictionary_has_tag(element.tag):
        return True
    if _profile().get(element.tag) == "X_TAGS":
        return True
    return element.keyword not in (*CODED, "PixelData") and _repeats(element, words)


def _repeats(element, words: set[str]) -> bool:
    if isinstance(element.value, bytes):
        return any(word.encode(code, "ignore") in element.value for word in words for code in ("utf-8", "utf-16-le"))
    if element.VR not in TEXT:
        return False
    text = str(element.value)
    if element.VR in ("DS", "IS"):
        return any(word in text for word in words if len(word) >= LEAST_IN_PIXELS)
    return bool(personal(text, known=words)) or any(re.search(rf"(?<![^\W_]){re.escape(w)}(?![^\W_])", text, re.I) for w in words)


def _new_uids(element, secret: Secret) -> None:
    """Replaces UIDs but those of the standard and of classes: what names this study, series, image, device or frame."""
    from pydicom.uid import UID_dictionary

    if "ClassUID" in element.keyword or "TransferSyntax" in element.keyword:
        return
    new = [uid if str(uid) in UID_dictionary else secret.uid(str(uid)) for uid in np.ravel(element.value or [])]
    element.value = new if element.VM > 1 else "".join(new)


def _blank(dataset: "pydicom.Dataset", element) -> None:
    from dicomanonymizer.simpledicomanonymizer import empty_element, replace_element

    dummy = _profile().get(element.tag, "Z_TAGS") in ("D_TAGS", "Z_D_TAGS", "X_D_TAGS", "X_Z_D_TAGS")
    if element.VR in NO_DUMMY:
        del dataset[element.tag]
        return
    try:
        (replace_element if dummy else empty_element)(element)
    except NotImplementedError:  # no dummy for this type
        del dataset[element.tag]


def _keeps_references(tag) -> bool:
    return _profile().get(tag) == "X_Z_U_STAR_TAGS"


def _pictures(header: "pydicom.Dataset") -> np.ndarray:
    size = int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames") or 1)
    if size > MOST_VOXELS:
        raise Refused(f"claims {size:,} voxels")
    try:
        stored = header.pixel_array
    except Exception as error:  # every decoder has its own kinds
        raise Refused(f"its pixels cannot be read, so nobody looked for text in them ({type(error).__name__})") from error
    if header.get("SamplesPerPixel", 1) > 1:
        stored = stored.mean(axis=-1)
    return stored.reshape(-1, header.Rows, header.Columns).astype(np.float32)


def _long(value: str) -> set[str]:
    """A value, and the long numbers in it: a prefix may be left off elsewhere."""
    return ({value.strip()} if len(value.strip()) >= LEAST_NUMBER else set()) | set(re.findall(r"\d{6,}", value))


@cache
def _profile() -> dict:
    """Tag -> the profile's action for it, as the name of dicom-anonymizer's list."""
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    from pydicom.tag import Tag

    lists = dicom_anonymization_database_selector(PROFILE)
    return {Tag(tag): name for name, tags in lists.items() if name != "ALL_TAGS" for tag in tags if len(tag) == 2}
