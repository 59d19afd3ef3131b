"""Presets (how much work), recipes (what counts as a right answer) and where files go.

A number that is a default stands here, once, and nowhere else.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Preset:
    """How much work a run does; the science is the same in each."""

    name: str
    n_train: int  # synthetic studies in the training split
    n_val: int  # ... in the validation split: thresholds and settings are chosen here only
    n_test: int  # ... in the test split: looked at once
    volume_size: tuple[int, int, int]  # synthetic volumes: slices, rows, columns
    picture_px: int  # side of a 2D picture after preprocessing
    epochs: int  # passes over the sampled training slices
    pretrained_epochs: int  # passes when a pretrained tower is fine-tuned on real images
    batch_size: int  # units per step; also the number of in-batch negatives plus one
    learning_rate: float  # peak of the one-cycle schedule, slice tower from scratch
    n_bootstrap: int  # resamples of patients behind each interval
    precision: str  # "no", "bf16", or "auto": bf16 where the device and the tower gain from it
    adapter_epochs: int  # passes of the slice adapter over cached slice embeddings
    organ_epochs: int  # passes over the organs of the training studies
    head_epochs: int  # passes over the sequences of the training head MR studies


PRESETS = {
    "smoke": Preset("smoke", 64, 16, 24, (24, 48, 48), 64, 3, 1, 32, 4e-3, 200, "no", 10, 3, 4),
    "cpu": Preset("cpu", 700, 100, 200, (32, 64, 64), 128, 6, 4, 128, 2e-3, 1000, "auto", 40, 10, 8),
    "gpu": Preset("gpu", 7000, 1000, 2000, (32, 96, 96), 224, 20, 10, 512, 2e-3, 2000, "auto", 40, 20, 20),
}


@dataclass(frozen=True)
class Recipe:
    """What counts as a right answer (targets) and how a wrong one is punished (loss)."""

    name: str
    loss: str  # "softmax": cross-entropy against the targets; "sigmoid": every pair on its own
    targets: str  # "identity": text i belongs to image i only; "same_text": identical texts are right too; "true_text" (ours):
    # every text of the batch that is true of the image; "own_sentences": all that is said of it; "similar": its own text, and
    # others by their similarity
    scale: float  # logit scale at the start, after exp
    bias: float = 0.0  # added to the logits at the start; learnt by the sigmoid loss, 0 and unused in the softmax
    normals: str = "any"  # slices without a finding are drawn anywhere; "same_organ": where the organ of a drawn finding is seen
    batches: str = "shuffled"  # "distinct": every text as often as any other, none twice in a batch; "balanced": every text as
    # often, drawn freely
    similarity: str = ""  # of texts, for targets "similar": a name in text.alike.RULERS
    similarity_weight: float = 0.5  # lambda: the share of the target that goes to texts by their similarity
    power: float = 1.0  # of the similarity: above 1, partly similar texts get less
    keep: int = 0  # partners that a unit keeps in a batch, the most similar ones and itself; 0: all
    n_dictionary: int = 0  # phrases of the abnormality dictionary that each organ of a batch gets as further negatives
    dictionary_power: float = 0.5  # they are drawn with probability ~ count ** power; 0 is uniform
    names_weight: float = 0.0  # of the term that aligns organs with their names; the abnormality term has weight 1


RECIPES = {
    "clip": Recipe("clip", "softmax", "identity", 1 / 0.07),
    "clip_same_text": Recipe("clip_same_text", "softmax", "same_text", 1 / 0.07),
    "siglip": Recipe("siglip", "sigmoid", "same_text", 10.0, -10.0),
    "siglip_identity": Recipe("siglip_identity", "sigmoid", "identity", 10.0, -10.0),
    "radclip": Recipe("radclip", "softmax", "identity", 1 / 0.07),
    "radclip_organ": Recipe("radclip_organ", "softmax", "identity", 1 / 0.07, normals="same_organ"),  # ours
    "radclip_true": Recipe("radclip_true", "softmax", "true_text", 1 / 0.07, normals="same_organ"),  # ours
    "ct_glip": Recipe("ct_glip", "softmax", "own_sentences", 1 / 0.07, n_dictionary=16, names_weight=0.1),
    "selip": Recipe("selip", "softmax", "similar", 1 / 0.07, batches="distinct", similarity="selip"),
    "selip_rare": Recipe("selip_rare", "softmax", "similar", 1 / 0.07, batches="distinct", similarity="rare"),  # ours
    "radclip_distinct": Recipe("radclip_distinct", "softmax", "identity", 1 / 0.07, batches="distinct"),
}

PRETRAINED_TOWER = "efficientnet_lite0"  # for pictures: ImageNet weights, packaged
SLICE_TOWER = "slice_cnn"  # for CT slices: small, from scratch
PRETRAINED_RATE = 0.5  # learning rate of a pretrained tower, as a share of the preset's
PRETRAINED_BATCH = 64  # its batch, at most: it needs more memory per picture
FEWEST_STEPS = 100  # for fewer an experiment leaves a pretrained tower as it is and trains the heads on its maps (measured)
GRID_CELLS = {2: (8, 8), 3: (6, 8, 8)}  # of the map pooling "grid", by the number of axes
EMBED_DIM = 128  # dimensions shared by image and text embeddings
MAX_LOGIT_SCALE = 100.0  # CLIP's clamp, applied after exp
WEIGHT_DECAY = 0.05
GRAD_CLIP_NORM = 1.0
SHIFT_PX = 2  # training images are moved by up to so many pixels
GAIN_SD = 0.15  # of the logarithm of what MR volumes are multiplied by in training
GRID_DROPOUT = 0.3  # of the cells, in the map pooling "grid"
ORGAN_TOWER = "volume_cnn"  # for organs: small, from scratch
HEAD_TOWER = "patch_cnn"  # for head MR: small, from scratch
HEAD_BATCH = 64  # volumes in a step of SeLIP
ORGAN_BATCH = 16  # studies in a step of CT-GLIP, each with all its organs
ORGAN_RATE = 3e-3  # its peak learning rate
CROP_SIZES = ((8, 16, 16), (12, 32, 32))  # slices, rows, columns that the box of an organ, and of a large one, is brought to
LARGE_ORGANS = ("lung_left", "lung_right", "liver")  # a small lesion in them is lost in a small crop (measured)
MIN_ORGAN_VOXELS = 10  # an organ with fewer is left out
ADAPTER_DROPOUT = 0.2  # of the slice embeddings that an adapter is trained on
ADAPTER_RATE = 2e-3  # its peak learning rate
ADAPTER_BATCH = 64  # volumes in a step of it
PROMPT_TAU = 0.07  # temperature of prompt-conditioned attention over slices
POSITION_MM = (20.0, 2000.0)  # shortest and longest wavelength of the encoding of a slice's position
WARMUP_SHARE = 0.2  # of all steps, linear, before the cosine
CONFIDENCE = 0.95  # of every interval
N_SEEDS = 5  # trainings behind a claim
RECALL_KS = (1, 5, 10)
CT_WINDOWS_HU = ((-1350.0, 150.0), (-110.0, 190.0), (-300.0, 900.0))  # lung, soft tissue, bone: low and high edge
WINDOW_NAMES = ("lung", "soft tissue", "bone")  # of CT_WINDOWS_HU, in its order
PERCENTILES = (0.5, 99.5)  # intensity range of images that have no physical unit
IMAGES_GB = 2.0  # images of a dataset that are more than this are mapped from the disk, not held in memory
CACHE_GB = 20.0  # the image cache is kept below this, or $MEDCLIP_NB_CACHE_GB; what was not used for longest goes first


def choose(table: dict, kind: str, name: str):
    """Entry `name` of a table of presets or recipes; KeyError-free: an unknown name lists the known ones."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; choose one of: {', '.join(table)}")
    return table[name]


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def home() -> Path:
    """Folder that run products go to: $MEDCLIP_NB_HOME, else the working directory."""
    return Path(os.path.abspath(os.environ.get("MEDCLIP_NB_HOME") or "."))


def artifacts_dir() -> Path:
    """Folder of cohorts, caches, models and figures' data."""
    return home() / "artifacts"


def cache_bytes() -> int:
    """What the cache may hold: $MEDCLIP_NB_CACHE_GB, else CACHE_GB. Raises ValueError if that is no number above 0."""
    given = os.environ.get("MEDCLIP_NB_CACHE_GB") or str(CACHE_GB)
    try:
        n_bytes = int(float(given) * 1e9)
    except (ValueError, OverflowError):
        n_bytes = 0
    if n_bytes <= 0:
        raise ValueError(f"MEDCLIP_NB_CACHE_GB is {given!r}; it is a number of gigabytes above 0, such as 500")
    return n_bytes


def reports_dir() -> Path:
    """Folder of executed lessons and the index page."""
    return home() / "reports"


def run_dir(lesson: str, *, preset: str, dataset: str, seed: int) -> Path:
    """Folder of one lesson's products; the same settings always name the same folder.

    `lesson` is the two-digit number, `dataset` a name or a path.
    """
    return artifacts_dir() / "lessons" / f"{lesson}-{label_of(dataset)}-{preset}-seed{seed}"


def label_of(name_or_path: str | Path) -> str:
    """What names files of a dataset or a tower: its name; of a path the last part and a hash of all, for two may end alike."""
    if os.sep not in str(name_or_path):
        return str(name_or_path)
    path = os.path.abspath(name_or_path)
    return f"{Path(path).name}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def shipped(folder: str) -> Path:
    """`notebooks` or `data_manifests`: beside the package in a checkout, inside it in a wheel."""
    inside = Path(__file__).parent / folder
    return inside if inside.is_dir() else Path(__file__).parents[1] / folder
