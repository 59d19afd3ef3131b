"""One examination: everything in it follows from the number of its patient and visit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, UInt8

from ..manifest import SPLITS
from .anatomy import draw_anatomy, make_space, spacing_mm
from .lesions import Canvas, paint
from .organs import draw_body
from .painters import PAINTERS
from .plans import Plan, draw_plans, follow_up, shape_changes
from .scanner import SCANNERS, TEXTURE_PX, Scanner, add_texture, draw_noise, scan
from .variants import draw_variants

VISIT_SHARES = (0.75, 0.17, 0.08)  # patients with one, two and three studies
AGES = (25, 90)  # years


@dataclass(frozen=True)
class Visit:
    """Which study: everything else follows from it."""

    seed: int
    split: str
    patient: int  # number within the split
    visit: int  # 0, 1, 2

    @property
    def patient_id(self) -> str:
        return f"P{SPLITS.index(self.split) + 1}{self.patient:05d}"

    @property
    def study_id(self) -> str:
        return f"{self.patient_id}-{self.visit + 1}"

    @property
    def as_series(self) -> bool:
        """Whether the image is kept as a DICOM series: the first training study's is."""
        return (self.split, self.patient, self.visit) == ("train", 0, 0)

    def rng(self, *key: int) -> np.random.Generator:
        """A generator that depends on the patient and the key only."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), self.patient, *key])


@dataclass(frozen=True)
class Study:
    """One synthetic examination with its truth; the image is in HU, masks hold labels."""

    image: Int16[np.ndarray, "slice row column"]
    organs: UInt8[np.ndarray, "slice row column"]
    lesions: UInt8[np.ndarray, "slice row column"]
    findings: list[dict]
    spacing_mm: tuple[float, float, float]  # slice, row, column
    scanner: str
    age: int
    sex: str


def list_visits(n_train: int, n_val: int, n_test: int, seed: int) -> list[Visit]:
    """All studies; no patient is in two splits and each split has exactly so many."""
    rng, visits = np.random.default_rng([seed, 7]), []
    for split, n in zip(SPLITS, (n_train, n_val, n_test), strict=True):
        patient, left = 0, n
        while left:
            count = min(left, 1 + int(rng.choice(len(VISIT_SHARES), p=VISIT_SHARES)))
            visits += [Visit(seed, split, patient, k) for k in range(count)]
            patient, left = patient + 1, left - count
    return visits


def visit_plans(visit: Visit) -> list[Plan]:
    """The abnormalities at this visit: the patient's history up to it."""
    plans = draw_plans(visit.rng(1))
    for k in range(1, visit.visit + 1):
        plans = follow_up(visit.rng(2, k), plans)
    return plans


def draw_scanner(visit: Visit) -> Scanner:
    """The machine that a visit happened to use."""
    return SCANNERS[visit.rng(3, visit.visit).integers(len(SCANNERS))]


def make_study(visit: Visit, size: tuple[int, int, int], *, scanner: Scanner | None = None) -> Study:
    """Draws one examination from its number alone, with the machine it used or another."""
    who, scanner = visit.rng(0), scanner or draw_scanner(visit)
    sex, age = "FM"[who.integers(2)], int(who.integers(*AGES)) + visit.visit
    anatomy, plans = draw_anatomy(who, sex), visit_plans(visit)
    spacing = spacing_mm(size, scanner.field)
    body = draw_body(make_space(anatomy, size, spacing), anatomy, shape_changes(plans))
    texture = draw_noise(visit.rng(4), size, TEXTURE_PX)
    add_texture(body, texture)
    canvas = Canvas(body, np.zeros(size, np.uint8), np.zeros(size, bool), texture)
    draw_variants(canvas)
    findings = paint(canvas, plans, PAINTERS)
    image = scan(body.hu, draw_noise(visit.rng(7, visit.visit), size, scanner.grain_px), scanner)
    return Study(image, body.labels, canvas.lesions, findings, spacing, scanner.name, age, sex)
