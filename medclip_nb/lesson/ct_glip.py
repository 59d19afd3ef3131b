"""What lesson 07, `medclip-nb experiment` and `medclip-nb claims` ask of CT-GLIP: what is so, prompts, training, scores."""

import json

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from ..config import ORGAN_BATCH, ORGAN_RATE, ORGAN_TOWER, Preset
from ..data.manifest import ManifestError
from ..data.phantoms import FINDING_PHRASES
from ..data.phantoms.vocabulary import kind_of
from ..learn.organ_units import OrganUnits
from ..learn.pairs import VolumePairs
from ..learn.plan import Plan, best_precision
from ..measure.findings import Truth
from ..measure.organs import AGAINST, State, state_cosines, state_scores
from ..model.dual_encoder import DualEncoder, ModelConfig, TextSide
from ..model.organ_encoder import OrganEncoder
from ..model.text_tower import embed_texts
from ..text.organ_texts import finding_prompts, spoken

WORDINGS = ("reports", "templates")
FEWEST = 5  # training studies with a finding: less, and the finding is not asked about


def found(units: OrganUnits) -> list[set[State]]:
    """(organ, finding) of each study: what was drawn where that is known, else what the report says by the rules."""
    drawn = units.table["findings"]
    if (drawn != "").all():
        return [_drawn(text, f"{units.table.attrs['name']}: row {row + 2}") for row, text in drawn.items()]
    return [{(e.organ, finding) for e in own for finding in e.findings} for own in units.entries]


def _drawn(text: str, where: str) -> set[State]:
    try:
        return {(f["organ"], f["finding"]) for f in json.loads(text)}
    except (ValueError, TypeError, KeyError) as error:
        example = '[{"organ": "liver", "finding": "cyst"}]'
        raise ManifestError(f"{where}, column 'findings': {text[:40]!r} is no list like {example} ({error})") from None


def states(units: OrganUnits) -> list[State]:
    """What is asked about: of each organ its normal state, then the findings that at least FEWEST training studies have."""
    sets, train = found(units), units.rows("train")
    n = pd.Series([state for i in train for state in sets[i]]).value_counts()
    common = sorted(state for state, count in n.items() if count >= FEWEST and state[0] in units.organs.names)
    sick = dict.fromkeys(organ for organ, _ in common)
    return [state for organ in sick for state in ((organ, ""), *(s for s in common if s[0] == organ))]


def truth(units: OrganUnits, rows: Int[np.ndarray, " study"], asked: list[State]) -> Truth:
    """Which studies have which abnormal state; a study is asked for those of its organs that can be used."""
    sets, names = found(units), units.organs.names
    abnormal = [state for state in asked if state[1]]
    labels = np.array([[state in sets[i] for state in abnormal] for i in rows])
    usable = units.organs.used[rows][:, [names.index(organ) for organ, _ in abnormal]]
    patients = units.table["patient_id"].to_numpy(str)[rows]
    return Truth(tuple(say(state) for state in abnormal), labels, usable, patients)


def say(state: State) -> str:
    """ "left kidney: renal cyst"."""
    organ, finding = state
    return f"{spoken(organ)}: {phrase_of(state)}" if finding else f"{spoken(organ)}: normal"


def phrase_of(state: State) -> str:
    """A finding as a prompt names it."""
    organ, finding = state
    return FINDING_PHRASES.get((kind_of(organ), finding), finding)


def prompts(units: OrganUnits, state: State, wording: str = WORDINGS[0]) -> list[str]:
    """The prompts of a state: phrases of the training reports that state it and nothing else ("reports"), or our templates.

    The normal state has the template that training texts have, and in "templates" its ensemble.
    """
    organ, finding = state
    said = [text for text, phrase in units.dictionary.get(organ, {}).items() if phrase.findings == {finding}]
    if wording == "reports" and finding and said:
        return said
    templates = finding_prompts(organ, phrase_of(state), present=bool(finding))
    return templates if wording == "templates" or finding else templates[:1]


@torch.inference_mode()
def state_embeddings(
    model: TextSide, units: OrganUnits, asked: list[State], *, wording: str = WORDINGS[0], change=str
) -> Float[np.ndarray, "state dim"]:
    """The mean embedding of each state's prompts; `change` is done to each of them first (left for right, say)."""
    texts = [[change(text) for text in prompts(units, state, wording)] for state in asked]
    return np.stack([model.encode_mean(embed_texts(own)).numpy() for own in texts])


def organ_numbers(units: OrganUnits, asked: list[State]) -> Int[np.ndarray, " state"]:
    """The number of each state's organ."""
    return np.array([units.organs.names.index(organ) for organ, _ in asked])


def organ_scores(
    model: OrganEncoder, units: OrganUnits, organ_emb: Float[np.ndarray, "study organ dim"], asked: list[State],
    *, wording: str = WORDINGS[0], change=str,
) -> dict[str, Float[np.ndarray, "study abnormal"]]:  # fmt: skip
    """Both scores of each abnormal state of embedded organs, by what it is held against."""
    texts = state_embeddings(model, units, asked, wording=wording, change=change)
    cosines = state_cosines(organ_emb, texts, organ_numbers(units, asked))
    return {a: state_scores(cosines, asked, scale=model.logit_scale.item(), against=a) for a in AGAINST}


@torch.inference_mode()
def named(
    model: OrganEncoder, units: OrganUnits, organ_emb: Float[np.ndarray, "study organ dim"]
) -> Float[np.ndarray, "study organ"]:
    """The number of the organ whose name lies nearest to each organ, NaN where it cannot be used."""
    nearest = (organ_emb @ model.encode_texts(units.names).numpy().T).argmax(-1)
    return np.where(np.isnan(organ_emb[..., 0]), np.nan, nearest)


def organ_plan(preset: Preset, *, seed: int) -> Plan:
    """How an organ encoder trains."""
    batch = min(ORGAN_BATCH, max(4, preset.n_train // 8))
    return Plan(preset.organ_epochs, batch, ORGAN_RATE, best_precision(False), seed)


def global_model(units: OrganUnits, *, seed: int, tower: str = ORGAN_TOWER) -> DualEncoder:
    """Plain CLIP on whole volumes with the same tower: what grounding is compared with."""
    torch.manual_seed(seed)
    return DualEncoder(ModelConfig(tower, units.dataset.contract.channels, dims=3))


def global_pairs(units: OrganUnits) -> VolumePairs:
    """Volumes with their whole report as one text, as in CLIP."""
    reports = list(units.table["report"])
    own = [np.array([i]) for i in range(len(reports))]
    return VolumePairs((torch.from_numpy(units.volumes[0]),), own, embed_texts(reports), units.table)


@torch.inference_mode()
def global_scores(
    model: DualEncoder, units: OrganUnits, rows: Int[np.ndarray, " study"], asked: list[State]
) -> dict[str, Float[np.ndarray, "study abnormal"]]:
    """The same scores from one vector for the whole volume."""
    volumes = torch.from_numpy(units.volumes[0][rows])
    emb = torch.cat([model.encode_images(part) for part in volumes.split(32)]).numpy()
    cosines = emb @ state_embeddings(model, units, asked).T
    return {a: state_scores(cosines, asked, scale=model.logit_scale.item(), against=a) for a in AGAINST}
