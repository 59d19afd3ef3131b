"""Zero-shot scores of organs: which organ is it, and what is wrong with it (CT-GLIP: Lin et al., arXiv 2404.15272).

A state is an organ with a finding, or without any (finding ""). An abnormality is scored in two ways: by how much closer the
organ lies to the finding's prompts than to those of "normal", as in the paper, and against every other state of the organ
together: a patient with another disease of it is not normal either. An organ that cannot be used has NaN, never a score.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from ..learn.organ_units import OrganUnits
from ..model.organ_encoder import OrganEncoder

BATCH = 32  # studies embedded at a time
AGAINST = ("normal", "all other states")
State = tuple[str, str]


@torch.inference_mode()
def embed_organs(
    model: OrganEncoder, units: OrganUnits, rows: Int[np.ndarray, " study"], *, boxes: bool = False
) -> Float[np.ndarray, "study organ dim"]:
    """Embeddings of the organs of some studies, NaN where one cannot be used."""
    form = model.config.form
    emb = np.full((len(rows), len(units.organs.names), model.config.embed_dim), np.nan, np.float32)
    for part in np.split(np.arange(len(rows)), range(BATCH, len(rows), BATCH)):
        study, organ = units.of(rows[part], form=form)
        if len(study):
            emb[part[study], organ] = model.encode_images(*units.images(rows[part], form=form, boxes=boxes)).float().numpy()
    return emb


def state_cosines(
    organ_emb: Float[np.ndarray, "study organ dim"], state_emb: Float[np.ndarray, "state dim"], organ: Int[np.ndarray, " state"]
) -> Float[np.ndarray, "study state"]:
    """Cosine of each state with the organ it is about."""
    return np.einsum("isd,sd->is", organ_emb[:, organ], state_emb)


def state_scores(
    cosines: Float[np.ndarray, "study state"], states: list[State], *, scale: float, against: str = AGAINST[0]
) -> Float[np.ndarray, "study abnormal"]:
    """Score of each abnormal state, in the order of `states`: its logit minus the log-sum-exp of those it is held against.

    Raises ValueError for an unknown `against`, and for an organ whose normal state is missing.
    """
    if against not in AGAINST:
        raise ValueError(f"unknown against {against!r}; choose one of: {', '.join(AGAINST)}")
    missing = {organ for organ, _ in states} - {organ for organ, finding in states if not finding}
    if missing:
        raise ValueError(f"no normal state of {', '.join(sorted(missing))}: add (organ, '') to the states")
    return np.stack([_score(cosines, states, i, scale, against) for i, (_, finding) in enumerate(states) if finding], axis=1)


def _score(cosines: np.ndarray, states: list[State], column: int, scale: float, against: str) -> Float[np.ndarray, " study"]:
    organ, _ = states[column]
    others = [i for i, (o, f) in enumerate(states) if o == organ and i != column and (not f or against != AGAINST[0])]
    with np.errstate(invalid="ignore"):  # of organs that cannot be used
        return scale * cosines[:, column] - np.logaddexp.reduce(scale * cosines[:, others], axis=1)
