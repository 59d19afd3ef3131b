"""What a model is evaluated on: any dataset read as the model wants it, with classes, texts and patients; and prompts."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from ..data.adapters.layout import spoken_label
from ..data.catalog import Dataset, is_volume
from ..data.manifest import read_table
from ..data.preprocessing import Preprocessing, cached
from ..data.readers import PICTURES, ImageError
from ..data.studies import read_images, slice_units
from ..data.tables import is_blank, listed
from ..files import sha256
from ..text.prompts import ensemble
from .evaluate_models import Judged, Stack

CLASS_COLUMNS = ("label", "body_part", "modality")  # the first that has two values is asked for
MORE_COLUMNS = ("finding", "sequence", "sex", "scanner")  # asked for by name only
COLOURS = ("red", "yellow", "green", "blue", "purple", "golden", "striped", "spotted")
THINGS = ("bicycle", "teapot", "sailing boat", "cactus", "violin", "hat", "sofa", "umbrella", "kite", "lantern", "boot", "cake")
FORM = '{"class": ["prompt", ...]}'
NONSENSE = ("a photograph of a {}", "a {}", "an image of a {}", "a drawing of a {}")


@dataclass
class Items:
    """Images, slices or volumes with what is known of them; row i of `table` is item i.

    `table` has the columns study_id, patient_id, split, text, text_id and label (empty: not known). `right` holds
    item * texts + text_id of every text that is right for an item.
    """

    table: pd.DataFrame
    read: Callable[[slice], Stack]
    keys: list[str]  # hash of each item's content
    texts: list[str]  # the different ones
    right: Int[np.ndarray, " pair"]
    column: str  # that the classes come from; "" where there are none
    warnings: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        return sorted(set(self.table["label"]) - {""})


def load_items(data: Dataset, judged: Judged, *, column: str = "", limit: int | None = None) -> Items:
    """The items of a dataset; of each class and split (of each split, where there are no classes) at most `limit`, drawn by lot.

    Raises ValueError if the model cannot read such images or if `column` holds no classes.
    """
    contract, warnings = fitted(judged, data)
    data = replace(data, contract=contract)
    of_slices = judged.takes == "slices" and data.synthetic
    units = slice_units(data) if of_slices else None
    table = units.table.assign(item=units.table["image"]) if of_slices else _row_table(data)
    column = class_column(table, column)
    texts, text_ids = np.unique(table["text"].to_numpy(str), return_inverse=True)
    table = table.assign(text_id=text_ids, label=table[column] if column else "")
    table = table.assign(split="") if data.manifest.attrs.get("split_drawn") else table
    first = limited(table.drop_duplicates("item"), limit)
    place = pd.Series(range(len(first)), index=first["item"])
    pairs = table[table["item"].isin(first["item"])]
    right = pairs["item"].map(place).to_numpy() * len(texts) + pairs["text_id"].to_numpy()
    if of_slices:
        images = units.images[first["item"].to_numpy()]
        keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        return Items(first.reset_index(drop=True), images.__getitem__, keys, texts.tolist(), right, column, warnings)
    part = replace(data, manifest=data.manifest.loc[first.index])
    keys = [sha256(part.root / name) for name in first["image"]]
    return Items(first.reset_index(drop=True), partial(_read, part, judged), keys, texts.tolist(), right, column, warnings)


def fitted(judged: Judged, data: Dataset) -> tuple[Preprocessing, list[str]]:
    """The model's contract as these images allow it, and what does not fit. Raises ValueError where nothing would be left."""
    own, modalities = judged.contract, sorted(set(data.manifest["modality"]))
    if is_volume(data.manifest).all():
        if judged.takes == "pictures":
            raise ValueError(f"{judged.name} reads pictures, {data.name} holds volumes; save slices as PNG and give their folder")
        if own.windows_hu and not data.contract.windows_hu:
            raise ValueError(f"{judged.name} reads CT in HU and {data.name} holds {', '.join(modalities)} in other units")
        grey = not own.windows_hu and modalities == ["CT"]
        return own, ["The model was trained on MR, its grey values scaled by percentiles; these volumes are CT."] * grey
    if judged.takes in ("volumes", "organs"):
        raise ValueError(f"{judged.name} reads {judged.takes} (CT or MR, with masks for organs) and {data.name} holds pictures")
    flat = replace(own, size=(1, *own.size[1:]), windows_hu=(), spacing_mm=None, crop_bottom=data.contract.crop_bottom)
    windows = (
        "The model was trained on CT slices in HU windows, and these are pictures of unknown window and scale: each of its "
        f"{judged.channels} channels gets the same grey values. What it scores here is not what it can do."
    )
    return flat, [windows] * (judged.takes == "slices")


def class_column(table: pd.DataFrame, asked: str = "") -> str:
    """The column that classes are read from: the one asked for, else the first of CLASS_COLUMNS with two values.

    If none has, it is "label", or "" if nothing is in it.
    Raises ValueError for an asked column that is not there or is empty.
    """
    values = {c: set(table[c]) - {""} for c in (*CLASS_COLUMNS, *MORE_COLUMNS) if c in table}
    if asked and not values.get(asked):
        there = ", ".join(c for c in values if values[c]) or "none"
        raise ValueError(f"column {asked!r} holds no classes; columns that do: {there}")
    return asked or next((c for c in CLASS_COLUMNS if len(values.get(c, ())) > 1), "label" if values.get("label") else "")


def class_prompts(classes: list[str], column: str, file: Path | None = None) -> dict[str, list[str]]:
    """Prompts of each class: our templates with its name, or those of a file.

    The file is JSON ({class: prompt or list of prompts}) or CSV with the columns class,prompt and a row per prompt. Raises
    ValueError naming a class that it lacks or whose prompt is blank.
    """
    if file is None:
        slot = {"body_part": "region", "modality": "modality"}.get(column, "label")
        return {name: ensemble(**{slot: spoken_label(name)}) for name in classes}
    given = _read_prompts(file)
    lacking = [name for name in classes if not given.get(name)]
    if lacking:
        raise ValueError(f"{file}: has no prompt for class {lacking[0]!r}; the classes of the data are {', '.join(classes)}")
    return {name: given[name] for name in classes}


def nonsense_prompts(prompts: dict[str, list[str]], *, seed: int) -> dict[str, list[str]]:
    """As many prompts for each class, about a thing that no image shows, drawn by lot: "a photograph of a red bicycle"."""
    things = [f"{colour} {thing}" for colour, thing in product(COLOURS, THINGS)]
    drawn = np.random.default_rng(seed).permutation(len(things))
    return {
        name: [form.format(things[drawn[k % len(things)]]) for form in NONSENSE[: len(own)]]
        for k, (name, own) in enumerate(prompts.items())
    }


def _read_prompts(file: Path) -> dict[str, list[str]]:
    if not file.is_file():
        raise ValueError(f"{file}: no such file of prompts")
    if file.suffix.lower() == ".csv":
        table = read_table(file)
        if not {"class", "prompt"} <= set(table):
            raise ValueError(f"{file}: needs the columns class,prompt and has {listed(table)}")
        found = table.groupby("class")["prompt"].agg(list).to_dict()
    else:
        try:
            pairs = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=tuple)  # a dict would hide what is twice
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}: is no JSON of the form {FORM} ({error})") from None
        if not isinstance(pairs, tuple):
            raise ValueError(f"{file}: is no JSON of the form {FORM}, but a {type(pairs).__name__}")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"{file}: a class is there twice ({', '.join(name for name, _ in pairs)[:200]})")
    lists = {str(name): [own] if isinstance(own, str) else own for name, own in found.items()}
    bad = [name for name, own in lists.items() if not isinstance(own, list) or not all(map(_is_prompt, own))]
    if bad:
        raise ValueError(f"{file}: a prompt of class {bad[0]!r} is blank or no text")
    told = Counter(text for own in lists.values() for text in set(own))
    if told and max(told.values()) > 1:
        raise ValueError(f"{file}: prompt {told.most_common(1)[0][0]!r} is that of two classes: it cannot tell them apart")
    return lists


def _is_prompt(text: object) -> bool:
    return isinstance(text, str) and not is_blank(text) and text.encode(errors="ignore").decode() == text


def _row_table(data: Dataset) -> pd.DataFrame:
    return data.manifest.assign(item=range(len(data.manifest)), text=data.manifest["report"])


def limited(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The table, or at most so many rows of each label and split, drawn by lot, in their order."""
    if limit is None:
        return table
    drawn = table.sample(frac=1, random_state=0).groupby(["label", "split"]).head(limit)
    return table.loc[drawn.index.sort_values()]


def _read(data: Dataset, judged: Judged, rows: slice) -> Stack:
    """Some images as the model wants them; a grey one fills all channels."""
    part = replace(data, manifest=data.manifest.iloc[rows])
    images = _in_colour(part) if judged.colour else read_images(part)
    return np.repeat(images, judged.channels, axis=1) if images.shape[1] == 1 else images


def _in_colour(data: Dataset) -> Stack:
    try:
        return np.stack([_colours(data.root / name, data.contract) for name in data.manifest["image"]])
    except (ImageError, OSError, ValueError, SyntaxError):
        read_images(data)  # says which row it is
        raise


def _colours(path: Path, contract: Preprocessing) -> UInt8[np.ndarray, "3 1 row column"]:
    """A picture in RGB, padded to a square; one that is no usual picture (16 bits, DICOM) in grey, as `cached` reads it."""
    from PIL import Image, ImageOps

    if path.suffix.lower() in PICTURES:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
        if not upright.mode.startswith(("I", "F")):
            kept = upright.convert("RGB").crop((0, 0, upright.width, round(upright.height * (1 - contract.crop_bottom))))
            return np.asarray(ImageOps.pad(kept, contract.size[:0:-1])).transpose(2, 0, 1)[:, None]
    return np.repeat(cached(path, contract), 3, axis=0)
