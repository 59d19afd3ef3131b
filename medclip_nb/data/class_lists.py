"""What the labels of organ masks are called: the classes that an organ is made of, and lists of their numbers in files."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from .readers import NIFTI, ImageError

_SPINE = ("S1", *(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1)), *(f"C{n}" for n in range(7, 0, -1)))
# organ -> its classes in TotalSegmentator 1 (104), 2 (117), its MR task (50) and the phantoms; no class belongs to two organs
ORGAN_CLASSES: dict[str, tuple[str, ...]] = {
    "lung_left": ("lung_left", "lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_right", "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "heart": ("heart", "atrial_appendage_left", "heart_myocardium", "heart_atrium_left", "heart_ventricle_left",
              "heart_atrium_right", "heart_ventricle_right"),
    **{name: (name,) for name in ("aorta", "liver", "gallbladder", "spleen", "stomach", "pancreas")},
    "kidney_left": ("kidney_left", "kidney_cyst_left"),
    "kidney_right": ("kidney_right", "kidney_cyst_right"),
    **{name: (name,) for name in (
        "urinary_bladder", "esophagus", "trachea", "duodenum", "small_bowel", "colon", "adrenal_gland_left",
        "adrenal_gland_right", "thyroid_gland", "prostate", "brain", "pulmonary_artery", "inferior_vena_cava", "sternum")},
    "ribs_left": tuple(f"rib_left_{n}" for n in range(1, 13)),
    "ribs_right": tuple(f"rib_right_{n}" for n in range(1, 13)),
    "vertebrae": ("vertebrae", "sacrum", *(f"vertebrae_{name}" for name in _SPINE)),
}  # fmt: skip
# counted with their organ where it is labelled; alone they do not make it so, and it is whole without them
ADDED = frozenset({"kidney_cyst_left", "kidney_cyst_right", "atrial_appendage_left", "sacrum", "vertebrae_S1"})
CLASS_LISTS = ("classes.json", "class_map.json")
BACKGROUND = ("background", "???")  # what label 0 may be called
HIGHEST = 65_535  # class number


def class_numbers(path: Path, labels: set[int], classes: dict[str, int] | None = None) -> dict[str, int]:
    """Name of each class of a mask -> its number: `classes` if given, else of the header's label table, else of a JSON.

    `labels` are those in the file: of a JSON with several tasks the one that has them all is taken. Raises ImageError naming
    file and entry if there is no list, or one that is broken or ambiguous.
    """
    if classes is not None:
        return _checked(classes.items(), "classes")
    return _named_in_header(path) or _named_beside(path, labels)


def class_files(folder: Path) -> dict[str, Path]:
    """Name of each class of a folder of masks -> its file ("liver.nii.gz"). Raises ImageError if one is there twice, or none."""
    files: dict[str, Path] = {}
    for file in sorted(p for p in folder.iterdir() if p.name.lower().endswith(NIFTI) and not p.name.startswith(".")):
        name = re.sub(r"\.nii(\.gz)?$", "", file.name, flags=re.IGNORECASE)
        if name in files:
            raise ImageError(f"{file}: the class is there twice, also as {files[name].name}; keep one of them")
        files[name] = file
    if not files:
        raise ImageError(f"{folder}: holds no NIfTI masks")
    return files


def _named_in_header(path: Path) -> dict[str, int]:
    import nibabel as nib

    tables = []
    for content in (e.content for e in nib.load(path).header.extensions if b"<CaretExtension" in e.content):
        try:
            roots = ElementTree.fromstring(content.strip()).iter("LabelTable")
        except ElementTree.ParseError as error:
            raise ImageError(f"{path}: the label table in its header is broken ({error}); give `classes`") from error
        pairs = [[(label.get("Key"), label.text) for label in root.iter("Label")] for root in roots]
        tables += [_checked(p, f"{path}, header") for p in pairs if p]
    return _only({str(n): table for n, table in enumerate(tables)}, f"{path}: label tables of its header") if tables else {}


def _named_beside(path: Path, labels: set[int]) -> dict[str, int]:
    file = list_beside(path)
    if file is None:
        raise ImageError(
            f"{path}: has no names for its labels, and they are not guessed at (7 is the aorta in TotalSegmentator 1, the "
            f'pancreas in 2); put {CLASS_LISTS[0]} beside it, {{"1": "spleen", ...}}, or give `classes`'
        )
    tasks = _tasks(file)
    fitting = {task: table for task, table in tasks.items() if len(tasks) == 1 or labels <= set(table.values())}
    if not fitting:
        raise ImageError(f"{file}: none of {', '.join(tasks)} has all {len(labels)} labels of {path.name}; give `classes`")
    return _only(fitting, f"{file}: tasks that fit {path.name}")


def list_beside(path: Path) -> Path | None:
    """The list of classes that lies beside a mask or one folder up, if there is one."""
    places = [folder / name for folder in path.absolute().parents[:2] for name in CLASS_LISTS]
    return next((place for place in places if place.is_file()), None)


def _only(tables: dict[str, dict[str, int]], what: str) -> dict[str, int]:
    first, *others = tables.values()
    if any(table != first for table in others):
        raise ImageError(f"{what} differ: {', '.join(tables)}; give `classes`, or leave one")
    return first


def _tasks(file: Path) -> dict[str, dict[str, int]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=tuple)  # a dict would hide what is twice
    except ValueError as error:
        raise ImageError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(content, tuple):
        raise ImageError(f'{file}: is no table of classes; write {{"1": "spleen", ...}}')
    if not content or not all(isinstance(table, tuple) for _, table in content):
        return {"": _checked(content, str(file))}
    if len(dict(content)) < len(content):
        raise ImageError(f"{file}: a task is there twice: {', '.join(task for task, _ in content)}")
    return {task: _checked(table, f"{file}, {task}") for task, table in content}


def _checked(pairs: Iterable[tuple], where: str) -> dict[str, int]:
    """Class name -> number, of pairs in either order."""
    found: dict[str, int] = {}
    for pair in pairs:
        entry = f"{where}: entry {pair[0]!r}: {pair[1]!r}"
        name, number = _entry(pair, entry)
        if number == 0 and name in BACKGROUND:
            continue
        if not 1 <= number <= HIGHEST:
            raise ImageError(f"{entry}: class numbers lie between 1 and {HIGHEST:,}")
        if name in found or number in found.values():
            raise ImageError(f"{entry}: the name or the number is there twice")
        found[name] = number
    if not found:
        raise ImageError(f"{where}: names no class")
    return found


def _entry(pair: tuple, entry: str) -> tuple[str, int]:
    numbers = [int(x) for x in pair if re.fullmatch(r"-?\d{1,9}", str(x))]
    names = [x.strip() for x in pair if isinstance(x, str) and not re.fullmatch(r"-?\d+|\s*", x)]
    if len(numbers) != 1 or len(names) != 1:
        raise ImageError(f"{entry}: is no pair of a class name and a whole number")
    return names[0], numbers[0]
