"""What lesson 06 does with stacks of slices: trains every pooling, scores them, and holds their weights against the truth."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch.nn.functional import cosine_similarity

from ..config import RECIPES
from ..data.selfcheck import small_map
from ..data.studies import Units
from ..learn.checkpoint import save_model
from ..learn.pretrain import pretrain
from ..measure.findings import mean_auc
from ..measure.retrieval import chance_recall_at, first_ranks, recall_at, same
from ..measure.statistics import Score, mean_score
from ..model.adapter import SliceAdapter, build_adapter, with_encoder
from ..model.dual_encoder import DualEncoder
from . import radclip
from .notebook import Lesson
from .radclip import Volumes
from .steps import Trained, model_card, train_images

SHOWN = ("mean", "max", "middle", "attention", "attention_4", "self_attention", "prompt")
KEPT = ("attention_4", "prompt")  # volume models that are handed over
PATIENCE = 5  # epochs; stacks of pictures are few and soon learnt by heart (measured on MedPix 2.0)
ON_LESION = "weight on the lesion"
PADDING = 5  # slices of noise, masked, that a stack is padded with


@dataclass(frozen=True)
class Case:
    """One study with a focal finding: its row among the volumes, the finding, and which slices show it."""

    row: int
    finding: str
    shows: Bool[np.ndarray, " slice"]


def train_all(lesson: Lesson, encoder: DualEncoder, volumes: Volumes) -> tuple[dict[str, SliceAdapter], dict[str, pd.DataFrame]]:
    """An adapter and its history for each pooling, all trained alike on the same slice embeddings."""
    from tqdm.auto import tqdm

    adapters, histories, pairs = {}, {}, volumes.pairs()
    how = radclip.adapter_plan(lesson.preset, seed=lesson.seed)
    how = how if lesson.data.synthetic else replace(how, patience=PATIENCE)
    for name in tqdm(SHOWN, desc="poolings", leave=False):
        adapters[name] = build_adapter(name, encoder, seed=lesson.seed)
        histories[name] = pretrain(adapters[name], pairs, recipe=RECIPES["radclip"], plan=how)
    return adapters, histories


def score_all(lesson: Lesson, adapters: dict[str, SliceAdapter], volumes: Volumes, units: Units) -> dict[str, list[Score]]:
    """Of each pooling on the test split: mean AUC of focal and diffuse findings, where findings are known, and R@1."""
    rows, n = volumes.rows("test"), lesson.preset.n_bootstrap
    reports, patients = (volumes.table[c].to_numpy(str)[rows] for c in ("report", "patient_id"))
    right, found = same(reports, reports), {}
    for name, adapter in adapters.items():
        hits = recall_at(first_ranks(radclip.report_similarity(adapter, volumes, rows), right), 1)
        chance = chance_recall_at(right, 1)
        found[name] = _aucs(name, adapter, volumes, units, n) if _known(volumes) else []
        found[name].append(mean_score(f"{name}: report to study R@1", hits, patients, chance=chance, n_bootstrap=n))
    return found


def _known(volumes: Volumes) -> bool:
    return bool((volumes.table["findings"] != "").all())


def _aucs(name: str, adapter: SliceAdapter, volumes: Volumes, units: Units, n_bootstrap: int) -> list[Score]:
    rows, focal = volumes.rows("test"), radclip.focal(units)
    truth = radclip.volume_truth(volumes.table.iloc[rows])
    scores, found = radclip.volume_scores(adapter, volumes, rows, truth.names), []
    for kind, chosen in (("focal", True), ("diffuse", False)):
        names = [x for x in truth.names if (x in focal) == chosen]
        part = scores[:, [truth.names.index(x) for x in names]]
        found.append(mean_auc(f"{name}: AUC of {kind} findings", truth.only(names), [part], n_bootstrap=n_bootstrap))
    return found


def a_case(volumes: Volumes, units: Units) -> Case | None:
    """The test study and focal finding with fewest slices that show it, at least two; None without one, or if not known."""
    focal = radclip.focal(units) if _known(volumes) else []
    if not focal:
        return None
    seen = radclip.shown(units, volumes, focal)
    rows = volumes.rows("test")
    counts = seen[rows].sum(1).astype(float)
    counts[counts < 2] = np.inf
    if not np.isfinite(counts).any():
        return None
    row, k = np.unravel_index(int(counts.argmin()), counts.shape)
    return Case(int(rows[row]), focal[k], seen[rows[row], :, k])


def case_volume(case: Case, units: Units, volumes: Volumes) -> UInt8[np.ndarray, "channel slice row column"]:
    """The study of a case as the network gets it."""
    own = units.table[units.table["study_id"] == volumes.stacks.study_ids[case.row]]
    return units.images[own.drop_duplicates("slice").sort_values("slice")["image"], :, 0].swapaxes(0, 1)


@torch.inference_mode()
def weights_of(case: Case, adapters: dict[str, SliceAdapter], volumes: Volumes) -> dict[str, Float[np.ndarray, " slice"]]:
    """What each pooling gives the slices of a study, the heads averaged; the prompt's weights are those for the finding."""
    return {name: _weights(adapter, volumes, np.array([case.row]), case.finding)[0] for name, adapter in adapters.items()}


@torch.inference_mode()
def _weights(adapter: SliceAdapter, volumes: Volumes, rows: np.ndarray, finding: str) -> Float[np.ndarray, "study slice"]:
    prompt = adapter.encode_mean(volumes.prompt_features(finding))
    return adapter.weights(*volumes.of(rows), prompt[None]).mean(1).numpy()


def weight_on_lesion(adapters: dict[str, SliceAdapter], volumes: Volumes, units: Units, *, n_bootstrap: int) -> list[Score]:
    """Share of the weight on slices that show the finding, over test studies and their focal findings; chance: equal weights."""
    focal = radclip.focal(units) if _known(volumes) else []
    if not focal:
        return []
    rows, seen = volumes.rows("test"), radclip.shown(units, volumes, focal)
    has = [rows[seen[rows, :, k].any(1)] for k in range(len(focal))]
    patients = np.concatenate([volumes.table["patient_id"].to_numpy(str)[own] for own in has])
    chance = float(np.concatenate([seen[own, :, k].mean(1) for k, own in enumerate(has)]).mean())
    found = []
    for name, adapter in adapters.items():
        shares = [(_weights(adapter, volumes, own, focal[k]) * seen[own, :, k]).sum(1) for k, own in enumerate(has) if len(own)]
        found.append(mean_score(f"{name}: {ON_LESION}", np.concatenate(shares), patients, chance=chance, n_bootstrap=n_bootstrap))
    return found


@torch.inference_mode()
def respaced(adapters: dict[str, SliceAdapter], volumes: Volumes, rows: Int[np.ndarray, " study"]) -> pd.DataFrame:
    """Mean cosine of a study's embedding with that of the same study when every slice is doubled, every other one is left out,
    or masked noise is added. For "prompt", which has no vector, the correlation of its similarities with some sentences."""
    stack = volumes.of(rows)
    found = {
        name: {how: _alike(adapter, volumes, stack, change(*stack)) for how, change in CHANGES.items()}
        for name, adapter in adapters.items()
    }
    return pd.DataFrame(found).T


def _alike(adapter: SliceAdapter, volumes: Volumes, before: tuple, after: tuple) -> float:
    a, b = (adapter.encode_images(*stack) for stack in (before, after))
    if a.ndim == 3:
        texts = adapter.encode_texts(volumes.features[:200])
        a, b = (s - s.mean(1, keepdim=True) for s in (adapter.similarity(a, texts), adapter.similarity(b, texts)))
    return float(cosine_similarity(a, b).mean())


def _doubled(slices, mask, position_mm):
    return tuple(part.repeat_interleave(2, 1) for part in (slices, mask, position_mm))


def _halved(slices, mask, position_mm):
    return slices[:, ::2], mask[:, ::2], position_mm[:, ::2]


def _padded(slices, mask, position_mm):
    more = (len(slices), PADDING)
    noise = torch.randn(*more, slices.shape[2], generator=torch.Generator().manual_seed(0))
    parts = (slices, noise), (mask, torch.zeros(more, dtype=torch.bool)), (position_mm, torch.full(more, 1e4))
    return tuple(torch.cat(part, 1) for part in parts)


CHANGES = {"doubled": _doubled, "halved": _halved, "padded": _padded}


def hand_over(lesson: Lesson, trained: Trained, adapters: dict[str, SliceAdapter], histories: dict[str, pd.DataFrame]) -> None:
    """Saves the volume models that later lessons use, slice encoder included."""
    seen = small_map(trained.units.images[train_images(trained.units)])
    for name in KEPT:
        card = model_card(lesson, histories[name], RECIPES["radclip"])
        whole = with_encoder(adapters[name], trained.model)
        save_model(whole, lesson.folder / f"model_{name}", contract=lesson.data.contract, seen=seen, card=card)
