"""Synthetic torso CT with organ masks, lesion masks, reports and known truth. It says nothing clinical.

`write_cohort` writes a cohort, on request with known faults (DEFECTS); `make_study` draws one examination, `project` makes a
radiograph of it, `slice_captions` says what each slice shows.
Arrays are (slice, row, column) and run upwards, to the back and to the patient's left: shown as they are, they look as usual.
"""

from .anatomy import FIELD_MM, spacing_mm
from .cohort import VERSION, radiograph_cohort, torso_cohort, write_cohort
from .defects import DEFECTS
from .formats import project
from .reports import caption, finding_phrase, slice_captions, write_report
from .study import Study, Visit, list_visits, make_study
from .vocabulary import FINDING_PHRASES, KINDS, ORGAN_GROUPS, ORGANS, group_mask

__all__ = [
    "DEFECTS", "FIELD_MM", "FINDING_PHRASES", "KINDS", "ORGANS", "ORGAN_GROUPS", "Study", "VERSION", "Visit", "caption",
    "finding_phrase", "group_mask", "list_visits", "make_study", "project", "radiograph_cohort", "slice_captions",
    "spacing_mm", "torso_cohort", "write_cohort", "write_report",
]  # fmt: skip
