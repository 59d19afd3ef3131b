"""What frozen features are worth with some labels: a linear probe and nearest neighbours, each tuned on validation items."""

import numpy as np
from jaxtyping import Bool, Float

PENALTIES = (1e0, 1e1, 1e2, 1e3, 1e4)  # of the probe, on standardised features
NEIGHBOURS = (1, 3, 5, 10, 20, 50)  # that vote
Features = dict[str, Float[np.ndarray, "_ width"]]
Labels = dict[str, Bool[np.ndarray, "_ label"]]


def probe(features: Features, labels: Labels) -> dict[str, Float[np.ndarray, "_ label"]]:
    """What ridge regressions on the features of "train" say of every other split.

    The penalty is the one of PENALTIES whose mean AUC on "val" is best, over labels that some items there have and some have
    not; the middle one where there is no such label. A label that no training item has gets the same score everywhere.
    """
    from sklearn.linear_model import Ridge

    return _best(features, labels, [Ridge(alpha) for alpha in PENALTIES])


def nearest(features: Features, labels: Labels) -> dict[str, Float[np.ndarray, "_ label"]]:
    """The share of the nearest training items (cosine of standardised features) that have each label, for every other split.

    How many vote is the number of NEIGHBOURS, at most all, that is best on "val", as for `probe`.
    """
    from sklearn.neighbors import KNeighborsRegressor

    numbers = sorted({min(k, len(labels["train"])) for k in NEIGHBOURS})
    return _best(features, labels, [KNeighborsRegressor(k, metric="cosine") for k in numbers])


def _best(features: Features, labels: Labels, models: list) -> dict[str, Float[np.ndarray, "_ label"]]:
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    x = {split: scaler.transform(part) for split, part in features.items()}
    fitted = [model.fit(x["train"], labels["train"].astype(float)) for model in models]
    known = labels["val"].any(0) & ~labels["val"].all(0)
    said = [{s: model.predict(part).reshape(len(part), -1) for s, part in x.items() if s != "train"} for model in fitted]
    if not known.any():
        return said[len(said) // 2]
    return max(said, key=lambda found: roc_auc_score(labels["val"][:, known], found["val"][:, known]))
