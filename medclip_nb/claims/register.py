"""What the papers claim, as something that can fail: what is compared with what, on which measure, and when it holds.

The rule is older than the runs. A claim HOLDS if the better one is better by both intervals: over patients, all seeds together,
paired; and over seeds, Student's t on the differences of equal seeds. It is REVERSED if both say worse. Else it is NOT SHOWN,
whatever the mean: too small for this many patients and seeds, or nothing.
"""

from dataclasses import asdict, dataclass

import pandas as pd

from ..measure.comparisons import seed_interval, verdict
from .tables import ALL

NOT_MEASURED = "not measured"

FIGURES = ("value", "base_value", "chance", "effect", "low", "high", "seeds_low", "seeds_high", "n", "unit", "seeds")


@dataclass(frozen=True)
class Claim:
    """`variant` is better than `base` on `measure` of a study."""

    paper: str  # or "ours", or "baselines": simple ways that a method should beat
    says: str
    study: str
    variant: str
    base: str
    measure: str


NDCG = ("image to text, nDCG@10", "text to image, nDCG@10")
RETRIEVAL = (*NDCG, "image to text, R@1", "text to image, R@1")
AUC, FOCAL, DIFFUSE = "AUC against normal", "AUC, focal findings", "AUC, diffuse findings"
FEW = "distinct, 150 studies"
IDEAS = ("organs alone", "dictionary", "similar sentences", "slice attention")
GENERAL, NEAREST = "ImageNet, as it is", "caption of the nearest picture"
SEEN = ("caption of a picture, R@10", "picture of a caption, R@10")  # of MedPix's test cases
UNSEEN = ("MedNIST, class by words", "MedNIST, probe of 5 labels a class", "COVID-CT, AUC of a probe")
HEADS = ("head MR: caption of a picture, R@1", "head MR: picture of a caption, R@1")
STACKED = "case of a report, R@10"
RADCLIP = [
    ("domain pretraining beats the general tower, probe", "towers", "RadCLIP", GENERAL, "AUC within organ, probe"),
    ("domain pretraining beats the general tower, captions", "towers", "RadCLIP", GENERAL, "AUC within organ, captions"),
    ("domain pretraining beats the general tower, matching", "towers", "RadCLIP", GENERAL, "caption of a sick slice, R@1"),
    ("attention over slices beats the mean, focal findings", "pooling", "self_attention", "mean", FOCAL),
    ("attention over slices beats the maximum, focal findings", "pooling", "self_attention", "max", FOCAL),
    ("attention over slices beats the mean, diffuse findings", "pooling", "self_attention", "mean", DIFFUSE),
    ("attention over slices beats the maximum, diffuse findings", "pooling", "self_attention", "max", DIFFUSE),
    ("attention over slices beats the mean, matching", "pooling", "self_attention", "mean", "R@1, report to study"),
    *((f"domain pretraining beats the general tower, MedPix, {m}", "pictures", "captions", GENERAL, m) for m in SEEN),
    *((f"domain pretraining beats the general tower, {m}", "pictures", "captions", GENERAL, m) for m in UNSEEN),
    ("attention over pictures of a case beats the mean, MedPix", "stacks", "self_attention", "mean", STACKED),
    ("attention over pictures of a case beats the maximum, MedPix", "stacks", "self_attention", "max", STACKED),
]
CT_GLIP = [
    ("organs beat whole volumes, zero-shot, CNN", "organs", "feature map", "CLIP, report", AUC),
    ("organs beat whole volumes, zero-shot, ViT", "organs", "feature map, ViT", "CLIP, report, ViT", AUC),
    ("organs beat whole volumes, fine-tuned", "organ_labels", "pretrained, 20 labels", "CLIP, 20 labels", "AUC"),
    ("the dictionary helps, 16 studies in a batch", "organ_ideas", "dictionary", "organs alone", AUC),
    ("the dictionary helps, 4 studies in a batch", "organ_dictionary", "batch 4, m = 16", "batch 4, m = 0", AUC),
]
SELIP = [
    *((f"similarity beats identity, {m}", "selip", "selip, distinct", "clip, distinct", m) for m in RETRIEVAL),
    *((f"similarity beats identity, 150 studies, {m}", "selip_sizes", f"selip, {FEW}", f"clip, {FEW}", m) for m in NDCG),
    *(
        (f"similarity beats identity, MedPix, {m}", "pictures", "similar captions, distinct", "captions, distinct", m)
        for m in (*SEEN, *HEADS)
    ),
    ("similarity beats identity, probe of kinds", "selip", "selip, distinct", "clip, distinct", "probe, kind"),
    ("similarity beats identity, fine-tuned on 10 %", "transfer_labels", "selip, 10 %", "clip, 10 %", "AUC, fine-tuned"),
    ("similarity beats identity, outlines of 20 studies", "transfer_masks", "selip, 20 studies", "clip, 20 studies", "Dice"),
]
OURS = [
    ("a prompt picks slices better than one vector, focal findings", "pooling", "prompt", "attention", FOCAL),
    ("normals drawn at the organ remove the shortcut of place", "slices", "radclip_organ", "radclip", "AUC within organ"),
    ("every text true of a slice is right for it", "slices", "radclip_true", "radclip_organ", "AUC within organ"),
    *((f"rare words beat SeLIP's form, {m}", "selip", "rare words, distinct", "selip, distinct", m) for m in RETRIEVAL),
    *((f"all three ideas beat {alone}", "organ_ideas", "all three", alone, AUC) for alone in IDEAS),
]
BASELINES = [
    ("captions beat labels, probe of the tower", "towers", "RadCLIP", "labels instead of captions", "AUC within organ, probe"),
    ("captions beat labels, zero-shot", "towers", "RadCLIP", "labels instead of captions", "AUC within organ, captions"),
    ("texts beat labels of all studies, zero-shot", "organs", "feature map", "labels instead of texts", AUC),
    *((f"captions beat copying the nearest one, MedPix, {m}", "pictures", "captions", NEAREST, m) for m in SEEN),
]
PAPERS = {"RadCLIP": RADCLIP, "CT-GLIP": CT_GLIP, "SeLIP": SELIP, "ours": OURS, "baselines": BASELINES}
CLAIMS = tuple(Claim(paper, *fields) for paper, own in PAPERS.items() for fields in own)


def judged(tables: dict[str, pd.DataFrame], claims: tuple[Claim, ...] = CLAIMS) -> pd.DataFrame:
    """A row per claim: both scores, the effect with its intervals, and the verdict. What no table has was not measured."""
    found = [asdict(claim) | _judge(tables.get(claim.study), claim) for claim in claims]
    return pd.DataFrame(found, columns=[*asdict(claims[0]), *FIGURES, "verdict", "redo"])


def _judge(table: pd.DataFrame | None, claim: Claim) -> dict:
    if table is None:
        return {"verdict": NOT_MEASURED}
    rows = table[(table["measure"] == claim.measure) & table["finding"].fillna("").isin(["", ALL])]
    rows = rows.assign(seed=rows["seed"].astype(str)).set_index("seed")
    own, base = (rows[rows["variant"] == name] for name in (claim.variant, claim.base))
    if not {"mean", f"minus {claim.base}"} <= set(own.index) or "mean" not in base.index:
        return {"verdict": NOT_MEASURED}
    effect, both = own.loc[f"minus {claim.base}"], [s for s in own.index if s.isdigit() and s in base.index]
    over_seeds = seed_interval((own.loc[both, "value"] - base.loc[both, "value"]).to_numpy(float))
    return {
        "value": own.loc["mean", "value"], "base_value": base.loc["mean", "value"], "chance": own.loc["mean", "chance"],
        "effect": effect["value"], "low": effect["low"], "high": effect["high"],
        "seeds_low": over_seeds[0], "seeds_high": over_seeds[1],
        "n": int(effect["n"]), "unit": effect["unit"], "seeds": len(both),
        "verdict": verdict((effect["low"], effect["high"]), over_seeds),
        "redo": " ".join(["medclip-nb claims", claim.study, "--seed", *sorted(both, key=int)]),
    }  # fmt: skip
