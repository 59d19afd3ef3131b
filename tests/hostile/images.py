"""Images that are not what their name says."""

import gzip
from pathlib import Path

import nibabel
import numpy as np

from medclip_nb.data.readers import read_image

from . import Kind


def truncated_gzip(folder: Path) -> object:
    """A NIfTI file whose download stopped half-way."""
    whole = folder / "whole.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), whole)
    packed = gzip.compress(whole.read_bytes())
    half = folder / "half.nii.gz"
    half.write_bytes(packed[: len(packed) // 2])
    return read_image(half)


KINDS = [
    Kind("image", "truncated gzip", r"half\.nii\.gz", truncated_gzip),
]
