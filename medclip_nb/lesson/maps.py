"""What lesson 10 asks of a space: how faithful its map is, what its neighbours tell, its figures, and one that means nothing."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..measure import geometry
from ..measure.statistics import Score, jackknife_score, mean_score
from ..measure.votes import told_by_neighbours

QUESTIONS = {"body_part": "region", "modality": "modality", "finding": "which finding", "scanner": "scanner"}
N_ISLANDS = 6


def questions(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Label of each row for each question, empty where it is not asked; only what two labels of two patients each answer.

    Raises ValueError if no two labels but the patients' own are shared like that.
    """
    labels = {name: rows[column].to_numpy(str) for column, name in QUESTIONS.items()}
    labels["text"] = rows["text"].to_numpy(str)
    labels["finding or none"] = np.where(labels["which finding"] == "", "none", "finding")
    people = pd.Series(rows["patient_id"].to_numpy(str))
    shared = {name: people[v != ""].groupby(v[v != ""]).nunique() for name, v in labels.items()}
    found = {name: v for name, v in labels.items() if (shared[name] > 1).sum() > 1}
    if not found:
        raise ValueError(
            f"{len(rows)} test images of {people.nunique()} patients: no two labels that two patients share; "
            f"give more patients, or a column of {', '.join(QUESTIONS)}"
        )
    if len(found) > 1:
        found.pop("text", None)  # asked only of pictures that have texts and nothing else
    return found | ({"patient": people.to_numpy(str)} if (people.value_counts() > 1).sum() > 1 else {})


def asked(
    vectors: Float[np.ndarray, "n dim"], labels: np.ndarray, patients: np.ndarray
) -> tuple[Int[np.ndarray, "m k"], np.ndarray, np.ndarray]:
    """Of the rows that have a label: their neighbours, their labels, their patients."""
    here = labels != ""
    groups = None if np.array_equal(labels, patients) else patients[here]
    return geometry.neighbours(vectors[here], groups=groups), labels[here], patients[here]


def told(
    vectors: Float[np.ndarray, "n dim"], labels: dict[str, np.ndarray], patients: np.ndarray, *, n_bootstrap: int
) -> list[Score]:
    """What the neighbours of a space tell, question by question."""
    return [told_by_neighbours(name, *asked(vectors, v, patients), n_bootstrap=n_bootstrap) for name, v in labels.items()]


def faithful(
    vectors: Float[np.ndarray, "n dim"], points: Float[np.ndarray, "n 2"], patients: np.ndarray, *, n_bootstrap: int
) -> list[Score]:
    """How much of the space is on the map: its trustworthiness, and the share of neighbours kept."""
    near, n = geometry.neighbours(vectors), len(vectors)
    kept = geometry.neighbour_overlap(near, geometry.neighbours(points))
    chance = geometry.chance_trustworthiness(n)
    trust = jackknife_score("trustworthiness", geometry.trustworthiness, (vectors, points), patients, chance=chance)
    return [
        replace(trust, high=min(trust.high, 1.0)),  # Student's t does not know that 1 is the most
        mean_score("neighbours kept", kept, patients, chance=near.shape[1] / (n - 1), n_bootstrap=n_bootstrap),
    ]


def space_figures(
    vectors: Float[np.ndarray, "n dim"], own_text: Float[np.ndarray, "n dim"], patients: np.ndarray, *, n_bootstrap: int
) -> list[Score]:
    """The figures of a space of images beside those of random directions; alignment and gap are to the texts of the images."""
    noise, near = random_directions(*vectors.shape, seed=0), geometry.neighbours(vectors)
    other, lonely = geometry.neighbours(noise), geometry.k_occurrence(near) == 0
    one_by_one = partial(jackknife_score, arrays=(vectors,), patients=patients)
    apart, by_chance = geometry.alignment(vectors, own_text), geometry.chance_alignment(vectors, own_text)
    gap = jackknife_score(
        "modality gap",
        geometry.modality_gap,
        (vectors, own_text),
        patients,
        chance=geometry.modality_gap(noise, random_directions(*vectors.shape, seed=1)),
    )
    return [
        mean_score("alignment", apart, patients, chance=by_chance, n_bootstrap=n_bootstrap),
        one_by_one("uniformity", geometry.uniformity, chance=geometry.uniformity(noise)),
        one_by_one("effective rank", geometry.effective_rank, chance=geometry.effective_rank(noise)),
        one_by_one("hubness", lambda v: geometry.hubness(geometry.neighbours(v)), chance=geometry.hubness(other)),
        mean_score("nobody's neighbour", lonely, patients, chance=geometry.never_neighbours(other), n_bootstrap=n_bootstrap),
        gap,
    ]


def beside(columns: dict[str, list[Score]]) -> pd.DataFrame:
    """Scores of the same names side by side, each with its interval; the chance level is the first column's."""
    table = {title: {s.name: f"{s.value:.2f} ({s.low:.2f} to {s.high:.2f})" for s in scores} for title, scores in columns.items()}
    first = next(iter(columns.values()))
    return pd.DataFrame(table).assign(chance=[f"{s.chance:.2f}" for s in first])


def random_directions(n: int, dim: int, *, seed: int) -> Float[np.ndarray, "n dim"]:
    """Unit vectors that know nothing."""
    return _unit(np.random.default_rng(seed).normal(size=(n, dim)))


def drawn_by_lot(patients: np.ndarray, dim: int, *, seed: int) -> Float[np.ndarray, "n dim"]:
    """A space that looks learnt and means nothing: a lot puts each patient on one of N_ISLANDS islands."""
    whose, rng = np.unique(patients, return_inverse=True)[1], np.random.default_rng(seed)
    n = int(whose.max()) + 1
    islands = random_directions(N_ISLANDS, dim, seed=seed)[rng.integers(0, N_ISLANDS, n)]
    own, noise = random_directions(n, dim, seed=seed + 1), random_directions(len(whose), dim, seed=seed + 2)
    return _unit((islands + 0.5 * own)[whose] + noise)


def _unit(vectors: np.ndarray) -> Float[np.ndarray, "n dim"]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
