"""What lesson 14 asks of negatives: studies and reports as frozen features, and heads trained with more or fewer of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ..config import ADAPTER_RATE, EMBED_DIM, N_SEEDS, RECIPES
from ..learn.plan import descend
from ..measure.retrieval import chance_recall_at, first_ranks, recall_at, same
from ..measure.statistics import Score, mean_difference, mean_score
from ..model.pooling import mean_weights, weighted
from . import radclip
from .notebook import Lesson
from .steps import Trained

EVERY = 2  # of a study's slices, every second one is embedded: enough to rank reports by
K = 10  # of R@K
SEEN = {"smoke": 1_920, "cpu": 12_800, "gpu": 128_000}  # studies that pass by in each of them
FEWEST_ROWS, MOST_ROWS = 8, 128  # of a batch; smaller ones take too many steps


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
    log_scale = torch.nn.Parameter(torch.full((N_SEEDS,), float(np.log(RECIPES["clip"].scale))))
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


def negatives_study(lesson: Lesson, studies: Studies, groups: list[int]) -> dict[str, dict[int, Float[np.ndarray, " report"]]]:
    """Hits, the mean of the seeds, by how many pairs are in one softmax: in groups of one batch size, and in batches of that."""
    run, whole = {"n_seen": SEEN[lesson.preset.name], "seed": lesson.seed}, largest_batch(studies)
    same_steps = {n: report_hits(studies, batch=whole, group=n, **run).mean(0) for n in groups}
    fewer = {n: report_hits(studies, batch=n, group=n, **run).mean(0) for n in groups if FEWEST_ROWS <= n < whole}
    return {"same steps": same_steps, "fewer steps": fewer | {whole: same_steps[whole]}}


def hit_score(studies: Studies, hits: Float[np.ndarray, " report"], name: str, *, n_bootstrap: int) -> Score:
    """R@K with its interval over the test patients, and chance."""
    test = studies.rows("test")
    reports, patients = (studies.table[c].to_numpy(str)[test] for c in ("report", "patient_id"))
    chance = chance_recall_at(same(reports, reports), K)
    return mean_score(f"R@{K}, {name}", hits, patients, chance=chance, n_bootstrap=n_bootstrap)


def gain(
    studies: Studies, more: Float[np.ndarray, " report"], less: Float[np.ndarray, " report"], name: str, *, n_bootstrap: int
) -> Score:
    """What R@K gains, paired: the same reports are asked."""
    patients = studies.table["patient_id"].to_numpy(str)[studies.rows("test")]
    return replace(mean_difference(more, less, patients, n_bootstrap=n_bootstrap), name=f"R@{K} gained, {name}")


def alike_in_batch(findings: np.ndarray, size: int, *, seed: int, n_batches: int = 200) -> float:
    """Share of studies in random batches that have at least one other with just the same findings beside them."""
    rng = np.random.default_rng(seed)
    batches = (rng.choice(findings, size, replace=False) for _ in range(n_batches))
    return float(np.mean([(same(b, b).sum(1) > 1).mean() for b in batches]))
