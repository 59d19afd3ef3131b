"""What the reader of an evaluation must know before the scores: warnings about the data, and about model and data together."""

from ..data.catalog import Dataset, is_volume
from ..data.manifest import patients_across_splits
from ..data.selfcheck import check_first_batch
from ..measure.statistics import FEW_PATIENTS
from .evaluate_data import Items
from .evaluate_models import Judged

FEW_IMAGES = 10  # of a class
MOSTLY_SAME = 0.5  # share of the images whose text another image has, too
FIRST = slice(0, 32)  # images that are held against the training images


def without_patients(data: Dataset) -> bool:
    """Whether nobody says whose an image is, so that each counts as its own patient."""
    return bool((data.manifest["patient_id"] == data.manifest["study_id"]).all())


def about_data(data: Dataset, items: Items, *, captioned: bool) -> list[str]:
    """Warnings that any model would get on these data."""
    table, names = items.table, items.classes
    n_patients, n_of = table["patient_id"].nunique(), table["label"].value_counts()
    shared = table["text"].duplicated(keep=False).mean()
    few = [f"{name} {n_of[name]}" for name in names if n_of[name] < FEW_IMAGES]
    crossing = patients_across_splits(data.manifest)
    told = {
        "No patient ids: each image counts as its own patient. If patients have several images, the intervals are too narrow and "
        "what learns from labels has seen the test patients.": without_patients(data),
        f"Only {n_patients} patients: the intervals are too narrow themselves.": n_patients < FEW_PATIENTS,
        f"One class only ({', '.join(names)}): no classes are told apart.": len(names) == 1,
        f"Classes with fewer than {FEW_IMAGES} images: {', '.join(few)}.": len(few) > 0,
        f"{(table['label'] == '').sum()} of {len(table)} images have no class and are left out where classes are asked for.": (
            len(names) > 1 and (table["label"] == "").any()
        ),
        f"{shared:.0%} of the images share their text with another image, the most frequent text is that of "
        f"{table['text'].value_counts().iloc[0]} of {len(table)}: retrieval asks for a text, not for an image.": (
            captioned and shared > MOSTLY_SAME
        ),
        f"{len(crossing)} patients have images in more than one split: what learns from labels has seen test patients.": (
            len(crossing) > 0
        ),
    }
    return [warning for warning, applies in told.items() if applies]


def about_model(judged: Judged, data: Dataset, items: Items | None) -> list[str]:
    """Warnings about this model on these data: training images among them, mirrored images, nothing to compare with."""
    told = []
    n_seen = len(judged.trained_images & set(items.keys)) if items else 0
    if n_seen:
        told.append(f"{n_seen} of {len(items.keys)} images are training images of this model: its scores on them are inflated.")
    elif f" of {data.name} (" in judged.trained_on:
        told.append(
            f"By its card the model was trained on a dataset called {data.name}: if it is this one, only its test split "
            "is new to it."
        )
    if items and is_volume(data.manifest).all():
        told += _unlike_training(judged, items)
    if items and judged.before is None:
        told.append(f"No tower before pretraining beside it: {judged.before_is}.")
    return told


def _unlike_training(judged: Judged, items: Items) -> list[str]:
    try:
        check_first_batch(items.read(FIRST), judged.seen)
    except ValueError as error:
        return [f"Not like the training images: {error}."]
    return []


def one_class(items: Items) -> str:
    """ "one class ('cyst')" or "no labels"."""
    names = items.classes
    return f"one class ({names[0]!r})" if names else "no labels"
