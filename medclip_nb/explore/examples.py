"""What a model answers to some test images, as a page shows it: a small picture, what is true, and the texts it finds first."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from ..data.organs import label_maps
from ..data.studies import Units, read_images
from ..learn.organ_units import OrganUnits
from ..lesson import ct_glip
from ..measure.organs import State, state_cosines
from ..model.organ_encoder import OrganEncoder
from ..show.uris import uri

N_EXAMPLES, N_FOUND = 6, 3  # images, each of another patient, and the texts of each
SIDE_PX = 128


def of_images(
    units: Units,
    rows: pd.DataFrame,
    texts: Int[np.ndarray, " text"],
    sim: Float[np.ndarray, "image text"],
    right: Bool[np.ndarray, "image text"],
) -> list[dict]:
    """Test images, drawn by lot and the same for every model, with the first texts of a ranking; `rows` are those of `sim`."""
    first = rows.reset_index(drop=True).drop_duplicates("patient_id").index.to_numpy()
    chosen = np.random.default_rng(0).permutation(first)[:N_EXAMPLES]
    pixels = units.images[rows["image"].to_numpy()[chosen], min(1, units.images.shape[1] - 1), units.images.shape[2] // 2]
    best = np.argsort(-sim[chosen], axis=1, kind="stable")[:, :N_FOUND]
    own = rows["text"].to_numpy()[chosen]
    found = [[[units.texts[texts[k]], bool(right[i, k])] for k in top] for i, top in zip(chosen, best, strict=True)]
    return [_example(*one) for one in zip(pixels, own, found, strict=True)]


def of_organs(
    model: OrganEncoder, units: OrganUnits, emb: Float[np.ndarray, "study organ dim"], asked: list[State]
) -> list[dict]:
    """Organs of test studies, abnormal ones first, with the states of the organ that lie nearest."""
    rows, sets = units.rows("test"), ct_glip.found(units)
    numbers = ct_glip.organ_numbers(units, asked)
    cosines = state_cosines(emb, ct_glip.state_embeddings(model, units, asked), numbers)
    cases = np.argwhere(units.organs.used[rows] & np.isin(np.arange(len(units.organs.names)), numbers)).tolist()
    cases = [tuple(cases[i]) for i in np.random.default_rng(0).permutation(len(cases))]
    truly = {(i, k): {s for s in sets[rows[i]] if s[0] == units.organs.names[k] and s in asked} for i, k in cases}
    sick, well = ([case for case in cases if bool(truly[case]) == yes][: N_EXAMPLES // 2] for yes in (True, False))
    pictures, found = _organ_pictures(units, [(int(rows[i]), k) for i, k in sick + well]), []
    for picture, (i, k) in zip(pictures, sick + well, strict=True):
        own = np.flatnonzero(numbers == k)
        true = truly[i, k] or {(units.organs.names[k], "")}
        best = own[np.argsort(-cosines[i, own], kind="stable")][:N_FOUND]
        said = "; ".join(map(ct_glip.say, sorted(true)))
        found.append(_example(picture, said, [[ct_glip.say(asked[s]), asked[s] in true] for s in best]))
    return found


def _organ_pictures(units: OrganUnits, cases: list[tuple[int, int]]) -> list[UInt8[np.ndarray, "row column"]]:
    """Of each study and organ the slice that shows most of the organ."""
    few = replace(units.dataset, manifest=units.table.iloc[[row for row, _ in cases]])
    images, labels = read_images(few), label_maps(few, units.organs.names)
    area = [(one == k + 1).sum((1, 2)) for one, (_, k) in zip(labels, cases, strict=True)]
    return [image[min(1, len(image) - 1), a.argmax()] for image, a in zip(images, area, strict=True)]


def _example(pixels: UInt8[np.ndarray, "row column"], true: str, found: list[list]) -> dict:
    return {"picture": data_uri(pixels), "true": true, "found": found}


def data_uri(pixels: UInt8[np.ndarray, "row column"]) -> str:
    """A grey picture, small, as text that a page can hold."""
    from PIL import Image

    file, picture = BytesIO(), Image.fromarray(pixels)
    picture.thumbnail((SIDE_PX, SIDE_PX))
    picture.save(file, "JPEG", quality=85)
    return uri(file.getvalue(), "jpeg")
