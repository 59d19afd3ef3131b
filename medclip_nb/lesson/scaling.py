"""What lesson 14 measures of large batches: what negatives buy, what accumulation does to a gradient, memory, and speed."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ..config import ADAPTER_RATE, EMBED_DIM, RECIPES, Recipe
from ..data.studies import Units
from ..learn.batch import Answers, diagonal
from ..learn.lighter import lighter
from ..learn.losses import loss_in_chunks, recipe_loss
from ..learn.memory import kept_bytes, kept_for_backward
from ..learn.pairs import ImagePairs
from ..learn.plan import Plan, descend
from ..learn.pretrain import pretrain
from ..learn.step import backward
from ..learn.targets import identity
from ..measure.retrieval import chance_recall_at, first_ranks, recall_at, same
from ..measure.statistics import Score, mean_score
from ..model.dual_encoder import DualEncoder, TextSide
from ..model.pooling import mean_weights, weighted
from . import radclip
from .notebook import Lesson
from .steps import Trained, fresh_model
from .teamwork import PLAIN

CLIP = RECIPES["clip"]
EVERY = 2  # of a study's slices, every second one is embedded: enough to rank reports by
N_SEEDS, K = 5, 10  # trainings of each kind, and the K of their R@K
SEEN = {"smoke": 1_920, "cpu": 12_800, "gpu": 128_000}  # studies that pass by in each of them
N_BATCHES = {"smoke": 3, "cpu": 6, "gpu": 10}  # whose gradients are compared
N_TIMED = {"smoke": (128, 32), "cpu": (1_024, 128), "gpu": (10_000, 1_000)}  # slices of training and validation that are timed
MOST_ROWS, MOST_CACHED = 128, 2  # of a batch of studies; batches that are cached, too


@dataclass(frozen=True)
class Studies:
    """Studies and their reports as frozen features, one vector each; row i of the table is row i of both."""

    images: Float[Tensor, "study width"]
    texts: Float[Tensor, "study text_width"]
    table: pd.DataFrame

    def rows(self, split: str) -> Int[np.ndarray, " study"]:
        """Numbers of the studies of one split."""
        return np.flatnonzero(self.table["split"] == split)

    @property
    def findings(self) -> np.ndarray:
        """A number for each study, equal where the same was found."""
        return np.unique(radclip.volume_truth(self.table).labels, axis=0, return_inverse=True)[1]


def studies_of(lesson: Lesson, trained: Trained) -> Studies:
    """Mean and maximum of the slices' embeddings beside the mean of the sentences', both centred on the training studies."""
    units = replace(trained.units, table=trained.units.table[trained.units.table["slice"] % EVERY == 0])
    volumes = radclip.volumes(trained.model, lesson.data, units)
    slices, mask, _ = volumes.of(np.arange(len(volumes.table)))
    largest = slices.masked_fill(~mask[..., None], -1).amax(1)
    images = torch.cat([weighted(slices, mean_weights(mask)), largest], 1)
    texts = torch.stack([volumes.features[own].mean(0) for own in volumes.said])
    train = volumes.rows("train")
    sides = ((side - side[train].mean(0)) / side[train].std(0).clamp(min=1e-6) for side in (images, texts))
    return Studies(*sides, volumes.table)


def largest_batch(studies: Studies) -> int:
    """The largest power of two that the training studies fill, at most MOST_ROWS."""
    return min(MOST_ROWS, 2 ** int(np.log2(len(studies.rows("train")))))


def grouped_loss(
    image_emb: Float[Tensor, "seed row dim"], text_emb: Float[Tensor, "seed row dim"], scale: Float[Tensor, " seed"], group: int
) -> Float[Tensor, ""]:
    """The contrastive loss of each seed's batch, cut into groups that do not see each other; summed over seeds, in nats."""
    images, texts = (side.unflatten(1, (-1, group)) for side in (image_emb, text_emb))
    logits = scale[:, None, None, None] * images @ texts.mT
    asked = [logits.log_softmax(axis).diagonal(dim1=-2, dim2=-1).mean((1, 2)) for axis in (-1, -2)]
    return -sum(asked).sum() / 2


def report_hits(studies: Studies, *, batch: int, group: int, n_seen: int, seed: int) -> Float[np.ndarray, "seed report"]:
    """Whether each test report finds its study among the first K, after linear heads were trained with N_SEEDS seeds at once.

    A batch has `batch` studies, and each is told from the others of its `group` only; all runs see `n_seen` studies.
    """
    torch.manual_seed(seed)
    sides = studies.images, studies.texts
    heads = [torch.nn.Parameter(torch.randn(N_SEEDS, x.shape[1], EMBED_DIM) / x.shape[1] ** 0.5) for x in sides]
    log_scale = torch.nn.Parameter(torch.full((N_SEEDS,), float(np.log(CLIP.scale))))
    batches = _batches(torch.from_numpy(studies.rows("train")), largest_batch(studies), batch)

    def embed(rows: Int[Tensor, "seed row"]) -> list[Tensor]:
        return [normalize(x[rows] @ head, dim=-1) for x, head in zip(sides, heads, strict=True)]

    def loss() -> Tensor:
        return grouped_loss(*embed(next(batches)), log_scale.exp(), group)

    descend([([*heads, log_scale], ADAPTER_RATE)], loss, n_steps=n_seen // batch)
    test = studies.rows("test")
    reports, everybody = studies.table["report"].to_numpy(str)[test], torch.from_numpy(test).expand(N_SEEDS, -1)
    with torch.inference_mode():
        images, texts = embed(everybody)
        sims = (texts @ images.mT).numpy()
    return np.stack([recall_at(first_ranks(sim, same(reports, reports)), K) for sim in sims])


def _batches(rows: Int[Tensor, " study"], whole: int, size: int) -> Iterator[Int[Tensor, "seed row"]]:
    """Each seed's own order, anew in each epoch; what does not fill the largest batch is left out, so all sizes draw alike."""
    while True:
        order = torch.stack([rows[torch.randperm(len(rows))[: len(rows) // whole * whole]] for _ in range(N_SEEDS)])
        yield from order.split(size, dim=1)


def negatives_study(lesson: Lesson, studies: Studies, groups: list[int]) -> dict[str, dict[int, Score]]:
    """R@K by the number of studies that each is told from: in groups of one batch size, and in batches of that size."""
    test, whole = studies.rows("test"), largest_batch(studies)
    reports, patients = (studies.table[c].to_numpy(str)[test] for c in ("report", "patient_id"))
    about = {"chance": chance_recall_at(same(reports, reports), K), "n_bootstrap": lesson.preset.n_bootstrap}
    found = {}
    for how, size_of in (("same steps", lambda n: whole), ("fewer steps", lambda n: n)):
        run = {"n_seen": SEEN[lesson.preset.name], "seed": lesson.seed}
        hits = {n: report_hits(studies, batch=size_of(n), group=n, **run).mean(0) for n in groups}
        found[how] = {n: mean_score(f"R@{K}, told from {n - 1}, {how}", h, patients, **about) for n, h in hits.items()}
    return found


def alike_in_batch(findings: np.ndarray, size: int, *, seed: int, n_batches: int = 200) -> float:
    """Share of studies in random batches that have at least one other with just the same findings beside them."""
    rng = np.random.default_rng(seed)
    batches = (rng.choice(findings, size, replace=False) for _ in range(n_batches))
    return float(np.mean([(same(b, b).sum(1) > 1).mean() for b in batches]))


def gradient_of(model: TextSide, pairs: ImagePairs, rows: Int[np.ndarray, " row"], *, micro: int, cached: bool) -> tuple:
    """Loss and gradient (one long vector) of a batch, a few rows at a time: accumulated, or cached as `backward` does."""
    model = copy.deepcopy(model)
    if cached:
        loss = backward(model, pairs.batch(rows), pairs.recipe, PLAIN, micro_batch=micro)
    else:
        parts = np.split(rows, len(rows) // micro)
        loss = np.mean([backward(model, pairs.batch(part), pairs.recipe, PLAIN) for part in parts])
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return float(loss), flat if cached else flat / (len(rows) // micro)


def degrees_between(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float:
    """Angle between two vectors; by half the chord, which a rounded cosine near 1 does not spoil."""
    half = (normalize(one.double(), dim=0) - normalize(other.double(), dim=0)).norm() / 2
    return float(torch.rad2deg(2 * torch.arcsin(half.clamp(max=1))))


def accumulation_study(model: TextSide, pairs: ImagePairs, batches: list[np.ndarray], sizes: list[int]) -> pd.DataFrame:
    """Both ways to take batches in parts, against the whole: columns how, micro, batch, loss, whole, degrees, change.

    The cached way, which takes longest and does not differ, is tried on the first MOST_CACHED batches.
    """
    rows = []
    for i, batch in enumerate(batches):
        whole, right = gradient_of(model, pairs, batch, micro=len(batch), cached=False)
        for how, cached in (("accumulated", False), ("cached", True))[: 1 + (i < MOST_CACHED)]:
            for micro in sizes:
                loss, found = gradient_of(model, pairs, batch, micro=micro, cached=cached)
                change = float((found - right).norm() / right.norm())
                rows.append((how, micro, i, loss, whole, degrees_between(found, right), change))
    return pd.DataFrame(rows, columns=["how", "micro", "batch", "loss", "whole", "degrees", "change"])


def kept_by_tower(model: TextSide, pairs: ImagePairs, sizes: list[int], *, checkpointing: bool = False) -> list[int]:
    """Bytes that a step on so many slices keeps for its backward pass, weights left aside."""
    with lighter(model, checkpointing=checkpointing):
        return [kept_bytes(model, pairs, pairs.recipe, n) for n in sizes]


def kept_by_loss(n: int, *, chunk: int = 0) -> int:
    """Bytes that the loss of n pairs keeps, embeddings included: as one matrix, or `chunk` rows at a time."""
    images, texts = (normalize(torch.randn(n, EMBED_DIM), dim=1).requires_grad_() for _ in range(2))
    answers = Answers(n, n, lambda units, columns: diagonal(units, columns, n))
    everything = (slice(0, n), slice(0, n))
    with kept_for_backward() as kept:
        kept |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (images, texts)}
        if chunk:
            loss = loss_in_chunks(CLIP, (images, texts), lambda x, y: CLIP.scale * x @ y.T, answers, span=everything, chunk=chunk)
        else:
            loss = recipe_loss(CLIP, CLIP.scale * images @ texts.T, *identity(torch.arange(n)))
        return sum(kept.values()) if loss.requires_grad else 0  # asked while the loss, and so what it keeps, is alive


def exponent(sizes: list[int], values: list[int]) -> float:
    """Slope of a line through the points on two logarithmic axes: 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def some_units(units: Units, n_train: int, n_val: int, *, seed: int) -> Units:
    """A few units of each split, drawn at random."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(units.rows(s), min(n, len(units.rows(s))), replace=False) for s, n in (("train", n_train), ("val", n_val))
    ]
    return replace(units, table=units.table.iloc[np.sort(np.concatenate(drawn))].reset_index(drop=True))


def speeds(lesson: Lesson, pairs: ImagePairs, plans: dict[str, Plan], recipe: Recipe = CLIP) -> pd.DataFrame:
    """Units per second and the share of time spent waiting for data, of each epoch of each plan, as `pretrain` notes them."""
    found = []
    for name, how in plans.items():
        history = pretrain(fresh_model(lesson, pairs.units, recipe), pairs, recipe=recipe, plan=how)
        found.append(history[["epoch", "units_s", "data_share", "train_loss"]].assign(plan=name))
    return pd.concat(found, ignore_index=True)


def in_training(model: DualEncoder, training: bool) -> DualEncoder:
    """A copy whose batch norms use the batch (training) or what they remember (not)."""
    return copy.deepcopy(model).train(training)
