"""One scan with its organ masks, looked at: what `medclip-nb data organs` prints and draws."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..config import CT_WINDOWS_HU, LARGE_ORGANS
from ..data.organs import STATES, organ_crops, organ_states
from ..data.preprocessing import to_window
from ..data.readers import Image, ImageError, read_image, reorient
from ..data.totalsegmentator import OrganLabels, coverage, read_organs
from ..learn.checkpoint import from_pretrained
from ..model.organ_encoder import OrganEncoder
from ..model.text_tower import embed_texts
from ..show.organs import overlay
from ..text.organ_texts import spoken

N_SLICES = 3  # in the picture, evenly spread over those that show an organ
SOFT_TISSUE = CT_WINDOWS_HU[1]


def examine(image: Path, mask: Path, *, units: str = "HU") -> tuple[Image, OrganLabels, pd.DataFrame]:
    """The scan, its organs, and a row per organ: size, borders it touches, and whether it can be used."""
    scan = reorient(read_image(image, units=units), "LPS")
    if scan.spacing_mm is None:
        raise ImageError(f"{image}: states no size of its voxels, so organs have none; give a whole series, or a NIfTI")
    organs = read_organs(mask, like=scan)
    table = coverage(organs, scan.spacing_mm)
    inside = [scan.array[organs.labels == k] for k in range(1, len(organs.names) + 1)]
    table["median HU"] = [round(float(np.median(values))) if len(values) else pd.NA for values in inside]
    table["use"] = [STATES[state] for state in organ_states(scan, organs)]
    return scan, organs, table


def picture(scan: Image, organs: OrganLabels) -> Figure:
    """Some axial slices with the organs' outlines, in the soft-tissue window."""
    there = np.flatnonzero(organs.labels.any((1, 2)))
    if not len(there):
        raise ValueError("the mask has none of the organs that reports speak of: nothing to draw")
    chosen = there[np.linspace(0, len(there) - 1, N_SLICES + 2).astype(int)[1:-1]]
    titles = [f"slice {z} of {len(scan.array)}, from below" for z in chosen]
    names = [spoken(name) for name in organs.names]
    return overlay(to_window(scan.array[chosen], *SOFT_TISSUE), organs.labels[chosen], names, titles, spacing=scan.spacing_mm[1:])


@torch.inference_mode()
def nearest_names(model_folder: Path, scan: Image, organs: OrganLabels, usable: np.ndarray) -> list[str]:
    """For each organ that can be used the name that a trained organ encoder finds nearest, with its cosine; "" for others.

    Raises ValueError for a model that has other organs, or is none of the form "crops".
    """
    model, contract, _ = from_pretrained(model_folder)
    if not isinstance(model, OrganEncoder) or model.config.form != "crops" or model.config.organs != organs.names:
        raise ValueError(f"{model_folder}: is no organ encoder of crops of {', '.join(organs.names)}; give lesson 07's model")
    crops, names = organ_crops(scan, organs, contract), model.encode_texts(embed_texts([spoken(n) for n in organs.names]))
    queues, found = [iter(own) for own in crops], []
    for k, name in enumerate(organs.names):
        crop = torch.from_numpy(next(queues[name in LARGE_ORGANS]))
        cosine = (model.encode_images(crop[None, :-1], crop[None, -1], torch.tensor([k])) @ names.T)[0]
        found.append(f"{spoken(organs.names[int(cosine.argmax())])} ({cosine.max():.2f})" if usable[k] else "")
    return found
