"""Synthetic MR of the head: four sequences a study, lesions at named places, a report for each sequence, known truth.

The brain is the MNI152 template that nilearn carries; skull, scalp and face are built around it. It says nothing clinical.
Arrays are (slice, row, column) and run upwards, to the back and to the patient's left: shown as they are, they look as usual.
"""

from .cohort import SIZES, STUDIES, VERSION, examination, head_cohort, write_head_cohort
from .geometry import FIELD_MM
from .reports import write_reports
from .study import Study, make_study
from .truth import MIN_VISIBLE, VISIBLE, structured
from .vocabulary import KINDS, PLACES, REGIONS, SEQUENCES

__all__ = [
    "FIELD_MM", "KINDS", "MIN_VISIBLE", "PLACES", "REGIONS", "SEQUENCES", "SIZES", "STUDIES", "Study", "VERSION", "VISIBLE",
    "examination", "head_cohort", "make_study", "structured", "write_head_cohort", "write_reports",
]  # fmt: skip
