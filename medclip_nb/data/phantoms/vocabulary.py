"""Names and numbers that the phantom, its reports and its captions share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer

# TotalSegmentator's class names where it has them; its single vertebrae and ribs are one class each here
ORGAN_NAMES = (
    "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
    "lung_lower_lobe_right", "heart", "aorta", "liver", "gallbladder", "spleen", "stomach", "pancreas",
    "kidney_left", "kidney_right", "urinary_bladder", "vertebrae", "ribs", "trachea", "esophagus",
    "inferior_vena_cava", "colon", "small_bowel", "sacrum", "hip_left", "hip_right", "sternum",
)  # fmt: skip
ORGANS = {name: label for label, name in enumerate(ORGAN_NAMES, start=1)}
# what a report speaks of -> the classes it is made of; pleura counts with its lung, pericardium with the heart
ORGAN_GROUPS = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
} | {
    name: (name,)
    for name in ("heart", "aorta", "liver", "gallbladder", "spleen", "stomach", "pancreas",
                 "kidney_left", "kidney_right", "urinary_bladder")
}  # fmt: skip
REGION_ORGANS = {
    "chest": (*ORGAN_NAMES[:6], "trachea", "sternum"),
    "abdomen": ("liver", "gallbladder", "spleen", "stomach", "pancreas", "kidney_left", "kidney_right"),
    "pelvis": ("urinary_bladder", "sacrum", "hip_left", "hip_right"),
}


@dataclass(frozen=True)
class Kind:
    """One abnormality: how often, how large, how visible."""

    phrase: str  # as in a caption
    rate: float  # share of patients who have it (per side), before healthy patients are set apart
    size_mm: tuple[int, int]  # smallest and largest diameter, depth or thickness
    min_voxels: int  # fewer visible ones: not drawn and not listed
    hu: int = 0  # of the lesion itself; unused where it has none
    max_count: int = 1


# Order is drawing order inside a study: what changes whole organs first, small things last.
KINDS = {
    ("heart", "cardiomegaly"): Kind("cardiomegaly", 0.20, (128, 150), 60),
    ("spleen", "splenomegaly"): Kind("splenomegaly", 0.34, (135, 185), 40),
    ("aorta", "aneurysm"): Kind("aortic aneurysm", 0.18, (42, 66), 12),
    ("liver", "steatosis"): Kind("hepatic steatosis", 0.15, (0, 0), 200),
    ("lung", "emphysema"): Kind("emphysema", 0.12, (14, 30), 40, -985),
    ("heart", "pericardial effusion"): Kind("pericardial effusion", 0.18, (8, 15), 30, 12),
    ("lung", "pleural effusion"): Kind("pleural effusion", 0.11, (20, 60), 30, 10),
    ("lung", "consolidation"): Kind("consolidation", 0.10, (45, 85), 15, 35),
    ("lung", "nodule"): Kind("lung nodule", 0.13, (14, 30), 3, 45, max_count=3),
    ("liver", "metastases"): Kind("hepatic metastases", 0.22, (16, 40), 8, 50, max_count=6),
    ("liver", "cyst"): Kind("hepatic cyst", 0.15, (16, 45), 4, 5, max_count=2),
    ("kidney", "hydronephrosis"): Kind("hydronephrosis", 0.15, (22, 36), 8, 8),
    ("kidney", "stone"): Kind("renal stone", 0.16, (10, 22), 4, 650),
    ("kidney", "cyst"): Kind("renal cyst", 0.15, (18, 42), 5, 5, max_count=2),
    ("pancreas", "mass"): Kind("pancreatic mass", 0.34, (24, 46), 6, 45),
    ("gallbladder", "gallstone"): Kind("gallstone", 0.34, (10, 20), 4, 260),
    ("aorta", "calcification"): Kind("aortic calcification", 0.22, (16, 30), 4, 520, max_count=5),
}
FINDING_PHRASES = {pair: kind.phrase for pair, kind in KINDS.items()}
SIDED = ("lung", "kidney")  # organs of which there are a left and a right one
SIDES = ("left", "right")


def kind_of(organ: str) -> str:
    """ "lung" of "lung_left": the organ without its side."""
    return organ.removesuffix("_left").removesuffix("_right")


def group_mask(organs: Integer[np.ndarray, "slice row column"], group: str) -> Bool[np.ndarray, "slice row column"]:
    """Where an organ of ORGAN_GROUPS (or a single class of ORGANS) lies in a label volume."""
    return labels_mask(organs, ORGAN_GROUPS.get(group, (group,)))


def labels_mask(organs: Integer[np.ndarray, "slice row column"], names: tuple[str, ...]) -> Bool[np.ndarray, "slice row column"]:
    """Where any of these classes lies."""
    return np.logical_or.reduce([organs == ORGANS[name] for name in names])
