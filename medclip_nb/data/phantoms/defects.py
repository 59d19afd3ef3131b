"""Plants known faults in a cohort: what an audit must find. Each fault has studies of its own, chosen so that it can show.

Everything is drawn anew from the visits, so that planting twice gives the same files as planting once.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...files import sha256, whole
from .formats import nifti_bytes, radiograph, save_radiograph, write_series
from .reports import write_report
from .scanner import SCANNERS
from .study import Study, Visit, draw_scanner, make_study
from .vocabulary import kind_of

NEAR_HU = 3.0  # standard deviation of what a near-identical copy differs by
SHIFT_HU = 1024  # between stored and true values
IDENTIFIERS = {
    "PatientName": "Doe^Jane^Marie", "PatientBirthDate": "19610417", "InstitutionName": "Saint Elsewhere Hospital",
    "ReferringPhysicianName": "Roe^Richard",
}  # fmt: skip
BURNT_IN = "J. DOE"
OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
IMAGE_FAULTS: dict[str, Callable] = {  # what becomes of the voxels; affine and masks stay
    "raw values": lambda hu: hu + np.int16(SHIFT_HU),
    "rescaled twice": lambda hu: hu - np.int16(SHIFT_HU),
    "flipped orientation": lambda hu: hu[:, :, ::-1],
    "upside down": lambda hu: hu[::-1],
    "constant image": lambda hu: np.full_like(hu, -1000),
}
REPORT_FAULTS: dict[str, Callable] = {
    "empty report": lambda text: "",
    "laterality contradiction": lambda text: re.sub(r"\b([Ll]eft|[Rr]ight)\b", lambda word: OTHER_SIDE[word[0]], text),
}


@dataclass(frozen=True)
class Cohort:
    """Studies by name: where they lie, how they were drawn and their rows in the manifest, which planting changes."""

    root: Path
    size: tuple[int, int, int]
    visits: dict[str, Visit]
    rows: dict[str, dict]


def known(names) -> list[str]:
    """The names in order. Raises ValueError for an unknown one."""
    unknown = sorted(set(names) - set(DEFECTS))
    if unknown:
        raise ValueError(f"unknown defect {unknown[0]!r}; known: {', '.join(DEFECTS)}")
    return sorted(names)


def plant(root: Path, visits: list[Visit], rows: list[dict], *, size: tuple[int, int, int], names) -> dict[str, list[str]]:
    """Changes files and rows; gives the studies of each fault by its name, where it copies another study that one first.

    Raises ValueError where no suitable study is left.
    """
    cohort = Cohort(root, size, {v.study_id: v for v in visits}, {r["study_id"]: r for r in rows})
    order, used, planted = np.random.default_rng([visits[0].seed, 11]).permutation(len(visits)), set(), {}
    for name in (n for n in DEFECTS if n in names):
        choose, change = PLANTS[name]
        free = [v.study_id for v in map(visits.__getitem__, order) if v.patient_id not in used and not v.as_series]
        studies = next(choose(cohort, free), None)
        if studies is None:
            raise ValueError(f"{root}: no study is left for the defect {name!r}; write a larger cohort, 64 studies are enough")
        change(cohort, name, *studies)
        used |= {cohort.visits[s].patient_id for s in studies}
        planted[name] = list(studies)
    for study_id in (s for studies in planted.values() for s in studies):
        row = cohort.rows[study_id]
        row |= {"sha256": sha256(root / row["image"]), "radiograph_sha256": sha256(root / study_id / "radiograph.png")}
    return planted


def _single(cohort: Cohort, free: list[str]) -> Iterator[tuple[str]]:
    return ((s,) for s in free if cohort.visits[s].split == "train")


def _one_sided(cohort: Cohort, free: list[str]) -> Iterator[tuple[str]]:
    """Studies of which no finding is on both sides, so that none stays true when left and right change places."""
    for (study,) in _single(cohort, free):
        sided = {(kind_of(f["organ"]), f["finding"], f["side"]) for f in _findings(cohort, study) if f["side"]}
        if sided and not any((organ, finding, OTHER_SIDE[side]) in sided for organ, finding, side in sided):
            yield (study,)


def _two_visits(cohort: Cohort, free: list[str]) -> Iterator[tuple[str, str]]:
    """The first and the second study of one training patient."""
    of = {(v.patient, v.visit): s for s, v in cohort.visits.items() if v.split == "train"}
    patients = (cohort.visits[s].patient for (s,) in _single(cohort, free))
    return ((of[p, 0], of[p, 1]) for p in patients if (p, 1) in of)


def _train_and_test(cohort: Cohort, free: list[str]) -> Iterator[tuple[str, str]]:
    """A training and a test study, both with findings and not the same ones, the former's report with a size in it."""
    train, test = ([s for s in free if cohort.visits[s].split == split and _findings(cohort, s)] for split in ("train", "test"))
    kinds = {s: {(f["organ"], f["finding"]) for f in _findings(cohort, s)} for s in (*train, *test)}
    return ((a, b) for a in train for b in test if kinds[a] != kinds[b] and re.search(r"\d", cohort.rows[a]["report"]))


def _findings(cohort: Cohort, study: str) -> list[dict]:
    return json.loads(cohort.rows[study]["findings"])


def _draw(cohort: Cohort, study: str) -> Study:
    return make_study(cohort.visits[study], cohort.size)


def _write_image(cohort: Cohort, study: str, drawn: Study) -> None:
    with whole(cohort.root / study / "image.nii.gz") as part:
        part.write_bytes(nifti_bytes(drawn.image, drawn.spacing_mm))


def _image_fault(cohort: Cohort, name: str, study: str) -> None:
    drawn = _draw(cohort, study)
    _write_image(cohort, study, replace(drawn, image=IMAGE_FAULTS[name](drawn.image)))


def _report_fault(cohort: Cohort, name: str, study: str) -> None:
    cohort.rows[study]["report"] = REPORT_FAULTS[name](cohort.rows[study]["report"])


def _across_splits(cohort: Cohort, name: str, first: str, second: str) -> None:
    cohort.rows[second]["split"] = "test"


def _same_report(cohort: Cohort, name: str, source: str, copy: str) -> None:
    report = cohort.rows[source]["report"]
    changed = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), report, count=1)
    cohort.rows[copy]["report"] = report if name == "copied report" else changed


def _replace_study(cohort: Cohort, study: str, drawn: Study) -> None:
    """Everything but patient, split, age and sex becomes that of another examination; the report is written in other words."""
    visit, folder = cohort.visits[study], cohort.root / study
    _write_image(cohort, study, drawn)
    for mask in ("organs", "lesions"):
        with whole(folder / f"{mask}.nii.gz") as part:
            part.write_bytes(nifti_bytes(getattr(drawn, mask), drawn.spacing_mm))
    cohort.rows[study] |= {
        "report": write_report(drawn.findings, visit.rng(8), held_out=visit.split == "test"),
        "findings": json.dumps(drawn.findings), "scanner": drawn.scanner,
    }  # fmt: skip


def _copy(cohort: Cohort, name: str, source: str, copy: str) -> None:
    drawn, visit = _draw(cohort, source), cohort.visits[copy]
    if name == "near-identical image":
        noise = visit.rng(9).normal(0, NEAR_HU, cohort.size)
        drawn = replace(drawn, image=np.clip(drawn.image + np.rint(noise), -1024, 3071).astype(np.int16))
    _replace_study(cohort, copy, drawn)
    rng = cohort.visits[source if name == "duplicated image" else copy]
    _write_radiograph(cohort, copy, radiograph(drawn.image, drawn.spacing_mm, rng.rng(6, rng.visit)))


def _other_kernel(cohort: Cohort, name: str, first: str, second: str) -> None:
    """The first examination once more, as it looks with another machine's kernel; the radiograph with it."""
    visit = cohort.visits[first]
    own = draw_scanner(visit)
    kernel = SCANNERS[(SCANNERS.index(own) + 1) % len(SCANNERS)]
    drawn = make_study(visit, cohort.size, scanner=replace(kernel, name=own.name, field=own.field))
    _replace_study(cohort, second, drawn)
    cohort.rows[second]["age"] = drawn.age
    _write_radiograph(cohort, second, radiograph(drawn.image, drawn.spacing_mm, visit.rng(6, visit.visit)))


def _write_radiograph(cohort: Cohort, study: str, pixels: np.ndarray) -> None:
    with whole(cohort.root / study / "radiograph.png") as part:
        save_radiograph(part, pixels)


def _truncate(cohort: Cohort, name: str, study: str) -> None:
    drawn = _draw(cohort, study)
    file = nifti_bytes(drawn.image, drawn.spacing_mm)
    with whole(cohort.root / study / "image.nii.gz") as part:
        part.write_bytes(file[: len(file) // 2])


def _name_in_header(cohort: Cohort, name: str, study: str) -> None:
    folder = cohort.root / study
    with whole(folder / "image") as part:
        write_series(part, _draw(cohort, study), cohort.visits[study], identifiers=IDENTIFIERS)
    (folder / "image.nii.gz").unlink(missing_ok=True)
    cohort.rows[study]["image"] = f"{study}/image"


def _burn_in(cohort: Cohort, name: str, study: str) -> None:
    """Letters as bright as bone in the upper corner of the radiograph."""
    from PIL import Image, ImageDraw

    drawn, visit = _draw(cohort, study), cohort.visits[study]
    pixels = radiograph(drawn.image, drawn.spacing_mm, visit.rng(6, visit.visit))
    letters = Image.new("1", pixels.shape[::-1])
    ImageDraw.Draw(letters).text((2, 1), BURNT_IN, fill=1)
    _write_radiograph(cohort, study, np.where(np.asarray(letters), pixels.max(), pixels))


# name -> who is suited, and what is done to them; what needs several studies of one patient chooses first
PLANTS = (
    {"patient across splits": (_two_visits, _across_splits), "second reconstruction": (_two_visits, _other_kernel)}
    | dict.fromkeys(("duplicated image", "near-identical image"), (_train_and_test, _copy))
    | dict.fromkeys(("copied report", "near-copied report"), (_train_and_test, _same_report))
    | {"laterality contradiction": (_one_sided, _report_fault), "empty report": (_single, _report_fault)}
    | dict.fromkeys(IMAGE_FAULTS, (_single, _image_fault))
    | {"unreadable file": (_single, _truncate), "identifier in DICOM": (_single, _name_in_header)}
    | {"burnt-in text": (_single, _burn_in)}
)
DEFECTS = tuple(PLANTS)
