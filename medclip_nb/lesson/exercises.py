"""The exercises by name: the right function, inputs to try, and wrong functions with the hint that each deserves."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import entropy

from ..data import preprocessing
from ..measure import comparisons, geometry, retrieval
from . import claims_solutions, planted, scaling_solutions, solutions
from .checks import Exercise

_RNG = np.random.default_rng(0)
_SIM = np.array([[0.9, 0.8, 0.1, 0.0], [0.5, 0.5, 0.4, 0.1], [0.2, 0.2, 0.2, 0.2]])
_RELEVANT = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], bool)
_PROMPTS = _RNG.normal(size=(3, 4))
_PROMPTS /= np.linalg.norm(_PROMPTS, axis=1, keepdims=True)
_NEAR_A, _NEAR_B = np.array([[1, 2], [0, 2], [3, 0], [2, 1]]), np.array([[2, 1], [3, 2], [1, 3], [2, 0]])
_IMAGES, _TEXTS = _RNG.normal(size=(5, 3)) + 1, _RNG.normal(size=(4, 3))
_RIGHT = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]], bool)
_TWO = np.array([[1, 1], [0, 1]], bool)
_LOGITS = _RNG.normal(size=(3, 3))
_HAS = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]], bool)  # units by finding: none, cyst, metastases
_STATES = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], bool)  # the same of texts
_GREY = np.array([[1.0, 2, 0, 0], [3, 4, 0, 9], [0, 0, 1, 1], [5, 0, 1, 1]])
_HEAT, _OTHER_HEAT = np.array([[3.0, 9, 1], [9, 4, 20]]), np.array([[1.0, 8, 2], [7, 0, 3]])
_POINTS = np.array([[9.0, 3, 9, 20], [9, 1, 4, 20]])
_LESION, _INSIDE = np.array([[0, 0, 0, 1], [1, 0, 0, 0]], bool), np.array([[1, 1, 1, 0], [1, 1, 1, 0]], bool)
_OWN = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], bool)
_PATIENTS = np.array(["p1", "p1", "p1", "p2", "p3", "p3", "p3", "p4"])
_STUDIES = np.array(["p1-a", "p1-a", "p1-b", "p2-a", "p3-a", "p3-b", "p3-b", "p4-a"])
_SHORT = np.array([[0.5, 0], [3, 4]])
_LOUD = _IMAGES * np.array([[1.0], [4], [2], [0.5], [1]]) * np.array([9.0, 1, 1])  # images of other lengths
_TEN = np.tile(np.array([f"p{i}" for i in range(10)]), 3)  # patients, three images each
_HALF, _ONE = (np.tile(np.arange(10) < n, 3).astype(int) for n in (5, 1))  # so many of the ten are always right
_MEANS = lambda pick, bounds=(2.5, 97.5): (  # noqa: E731  # an interval of the mean of what `pick` leaves of the hits
    lambda h, p, n: (lambda rng: np.percentile([h[pick(rng, p)].mean() for _ in range(n)], bounds))(np.random.default_rng(0))
)

EXERCISES = {
    "no_learning_level": Exercise(
        solutions.no_learning,
        ((2,), (64,), (128,)),
        (
            (lambda n: 1 / n, "1/n is the probability of the right text; the loss is minus its logarithm"),
            (lambda n: np.log2(n), "that is in bits; the loss is in nats, so use the natural logarithm"),
            (lambda n: -np.log(n), "the sign: a loss is minus the logarithm of a probability, so it is positive"),
        ),
    ),
    "class_embedding": Exercise(
        solutions.class_embedding,
        ((_PROMPTS,), (_PROMPTS[:1],)),
        (
            (lambda p: p.mean(0), "the mean of unit vectors is shorter than 1: normalise after averaging too"),
            (lambda p: p.sum(0), "divide by the length of the sum: cosines need a vector of length 1"),
            (lambda p: p.mean(0) / np.abs(p.mean(0)).sum(), "that is the L1 norm; a cosine needs the L2 norm"),
        ),
    ),
    "first_ranks": Exercise(
        retrieval.first_ranks,
        ((_SIM, _RELEVANT),),
        (
            (
                lambda s, r: 1 + ((s > np.where(r, s, -np.inf).max(1, keepdims=True)) & ~r).sum(1),
                "ties count in favour: collapsed embeddings would be perfect. A wrong item as similar comes first",
            ),
            (lambda s, r: retrieval.first_ranks(s, r) - 1, "the best rank is 1, not 0"),
            (
                lambda s, r: 1 + (s > np.diag(s[:, : len(s)])[:, None]).sum(1),
                "item i is not always the answer to query i: use `relevant`",
            ),
        ),
    ),
    "recall_at": Exercise(
        retrieval.recall_at,
        ((np.array([1, 2, 3, 7]), 2), (np.array([5, 1]), 5)),
        (
            (lambda r, k: (r < k).astype(float), "rank k is still among the first k: <=, not <"),
            (lambda r, k: float((r <= k).mean()), "give a 0 or 1 for each query: intervals need them before the mean"),
        ),
    ),
    "average_precision": Exercise(
        retrieval.average_precision,
        ((_SIM, _RELEVANT), (np.array([[0.9, 0.8, 0.7, 0.1]]), np.array([[True, False, True, False]]))),
        (
            (lambda s, r: 1 / retrieval.first_ranks(s, r), "that stops at the best right item: look at each right one"),
            (
                lambda s, r: retrieval.average_precision(s + 1e-3 * r, r),
                "ties count in favour: among equals the wrong items come first",
            ),
            (
                lambda s, r: retrieval.average_precision(s, r) * r.mean(1),
                "the mean is over the right items of the query, not over all items",
            ),
        ),
    ),
    "modality_gap": Exercise(
        geometry.modality_gap,
        ((_IMAGES, _TEXTS),),
        (
            (lambda a, b: np.linalg.norm(a[:4] - b, axis=1).mean(), "first the means, then one distance between them"),
            (lambda a, b: a.mean(0) - b.mean(0), "that is the difference as a vector; take its length"),
        ),
    ),
    "effective_rank": Exercise(
        geometry.effective_rank,
        ((_IMAGES,), (np.eye(3),)),
        (
            (lambda v: np.log(geometry.effective_rank(v)), "that is the entropy; its exponential is a number of directions"),
            (lambda v: np.exp(entropy(np.linalg.svd(v)[1] ** 2)), "shares of the singular values, not of their squares"),
            (lambda v: geometry.effective_rank(v - v.mean(0)), "do not centre: a mean that all share is a direction, too"),
            (lambda v: float(np.linalg.matrix_rank(v)), "that counts every direction in full, however little lies along it"),
        ),
    ),
    "neighbour_overlap": Exercise(
        geometry.neighbour_overlap,
        ((_NEAR_A, _NEAR_B),),
        (
            (lambda a, b: (a == b).mean(1), "the order of neighbours does not matter: compare as sets"),
            (lambda a, b: geometry.neighbour_overlap(a, b) * a.shape[1], "divide by k: a share, not a count"),
        ),
    ),
    "patients_across_splits": Exercise(
        solutions.patients_across_splits,
        ((["a", "a", "b", "c", "c"], ["train", "test", "train", "val", "val"]), (["a"], ["test"])),
        (
            (
                lambda p, s: sorted({x for x in p if p.count(x) > 1}),
                "a patient may have several rows, as long as all are in one split",
            ),
            (lambda p, s: [], "patient 'a' is in train and in test"),
        ),
    ),
    "share_repeated": Exercise(
        solutions.share_repeated,
        ((["x", "y", "x", "x"],), (["x", "y"],)),
        (
            (lambda t: 1 - len(set(t)) / len(t), "count every row that has a twin, the first of them too"),
            (lambda t: float(len(t) - len(set(t))), "a share of all rows, not a count"),
        ),
    ),
    "set_f1": Exercise(
        solutions.set_f1,
        (({"a", "b"}, {"b", "c", "d"}), (set(), set()), ({"a"}, set())),
        (
            (lambda a, b: len(a & b) / len(a | b) if a | b else 1.0, "that is the Jaccard index; F1 counts what is shared twice"),
            (
                lambda a, b: 2 * len(a & b) / max(1, len(a) + len(b)),
                "two empty sets agree: a healthy study copied right is a hit",
            ),
            (lambda a, b: len(a & b) / max(1, len(a)), "that is recall only; what is said too much must cost, too"),
        ),
    ),
    "volume_ml": Exercise(
        solutions.volume_ml,
        ((np.ones((2, 3, 4), bool), (10.0, 2.0, 1.0)), (np.eye(3, dtype=bool)[None], (5.0, 0.5, 0.5))),
        (
            (lambda m, s: float(m.sum() * np.prod(s)), "those are mm3; a millilitre holds a thousand of them"),
            (lambda m, s: float(m.sum()), "voxels differ from file to file: multiply by the size of one in mm"),
            (lambda m, s: float(m.sum() * s[1] * s[2] / 1000), "a voxel has three sides: the distance between slices counts"),
        ),
    ),
    "to_hu": Exercise(
        solutions.to_hu,
        ((np.array([0, 24, 1064]), 1.0, -1024.0), (np.array([[10, 20]]), 0.5, -100.0)),
        (
            (lambda v, m, b: (v + b) * m, "slope first, then intercept"),
            (lambda v, m, b: v * m - b, "the intercept is added; it is negative itself"),
            (lambda v, m, b: (v * m + b) * m + b, "that is rescaled twice"),
        ),
    ),
    "to_window": Exercise(
        preprocessing.to_window,
        ((np.array([-500.0, -100.0, 0.0, 155.0, 900.0]), -100.0, 155.0), (np.array([-2000.0, -500.0, 275.0]), -1000.0, 275.0)),
        (
            (lambda v, low, high: (v - low) / (high - low) * 255, "what lies outside the window is cut off: black or white"),
            (lambda v, low, high: np.clip((v - low) / (high - low), 0, 1), "the result goes from 0 to 255"),
            (
                lambda v, low, high: np.clip((v - v.min()) / (v.max() - v.min()), 0, 1) * 255,
                "the window's edges count, not the image's",
            ),
        ),
    ),
    "draw_weights": Exercise(
        solutions.draw_weights,
        (([9, 4, 1], 0.5), ([3, 1], 0.0), ([5, 2], 1.0)),
        (
            (lambda c, p: np.asarray(c, float) ** p, "probabilities sum to 1: divide by the sum"),
            (lambda c, p: np.asarray(c, float) / np.sum(c), "raise the counts to the power first"),
            (lambda c, p: (np.asarray(c, float) / np.sum(c)) ** p, "raise first, divide last: else they do not sum to 1"),
        ),
    ),
    "word_dice": Exercise(
        solutions.word_dice,
        (("a b c", "b c d e"), ("a a b", "a b"), ("x", "y")),
        (
            (
                lambda a, b: len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split())),
                "that is the Jaccard index",
            ),
            (lambda a, b: 2 * len(set(a) & set(b)) / len(set(a + b)), "words, not characters"),
            (
                lambda a, b: 2 * len(set(a.split()) & set(b.split())) / (len(a.split()) + len(b.split())),
                "a word that occurs twice counts once: compare sets",
            ),
        ),
    ),
    "slice_weights": Exercise(
        solutions.slice_weights,
        ((np.array([1.0, 1, 9]), np.array([True, True, False])), (np.array([0.0, 2, 1]), np.array([True, True, True]))),
        (
            (lambda s, m: np.exp(s) / np.exp(s).sum(), "the padded slice still takes weight: leave it out before you divide"),
            (lambda s, m: np.exp(s) / np.exp(s).sum() * m, "zero is right on padding, but the rest no longer sums to 1"),
            (lambda s, m: np.exp(s * m) / np.exp(s * m).sum(), "a score of 0 is not a weight of 0: exp(0) is 1"),
        ),
    ),
    "batch_floor": Exercise(
        solutions.batch_floor,
        (([0, 0, 1],), ([5, 5, 5, 2, 2, 7],)),
        (
            (lambda t: 0.0, "a unit with a twin cannot give its own copy more than one half"),
            (lambda t: float(np.log(len(t))), "that is the loss of a model that sees nothing; this one sees everything"),
            (
                lambda t: float(np.mean([np.log(t.count(x)) for x in set(t)])),
                "the mean is over units, not over different texts: a text that is there three times counts three times",
            ),
            (lambda t: float(np.mean([np.log2(t.count(x)) for x in t])), "that is in bits; the loss is in nats"),
            (
                lambda t: float(np.log(np.mean([t.count(x) for x in t]))),
                "first the logarithm for each unit, then the mean",
            ),
        ),
    ),
    "texts_side": Exercise(
        solutions.texts_side,
        ((_RIGHT,), (np.array([[1, 0, 1], [0, 1, 1]], bool),)),
        (
            (lambda r: (r / r.sum(1, keepdims=True)).T, "that is the transpose of the units' side: its rows do not sum to 1"),
            (lambda r: r.T.astype(float), "divide each row by its sum"),
            (lambda r: r / r.sum(0), "those are the right numbers, but a row belongs to a text: transpose"),
            (lambda r: r.T / r.sum(), "each row sums to 1, not the whole matrix"),
        ),
    ),
    "soft_loss": Exercise(
        solutions.soft_loss,
        ((_LOGITS, _RIGHT / _RIGHT.sum(1, keepdims=True), (_RIGHT / _RIGHT.sum(0)).T), (np.zeros((3, 3)), np.eye(3), np.eye(3))),
        (
            (
                lambda x, y, y_t: 2 * solutions.soft_loss(x, y, 0 * y_t),
                "that is the units' half; the texts ask, too, with the transposed logits",
            ),
            (lambda x, y, y_t: solutions.soft_loss(x, y, y.T), "rows of y.T do not sum to 1: the texts' side has y_t"),
            (lambda x, y, y_t: solutions.soft_loss(x, y, y_t) / np.log(2), "that is in bits; use the natural logarithm"),
            (lambda x, y, y_t: solutions.soft_loss(x, y, y_t) * len(x), "the mean over rows, not their sum"),
            (lambda x, y, y_t: solutions.soft_loss(x, y, y_t) * 2, "half of each side: the mean of both, not the sum"),
            (lambda x, y, y_t: -solutions.soft_loss(x, y, y_t), "the sign: a cross-entropy is minus the logarithm"),
        ),
    ),
    "weight_on": Exercise(
        solutions.weight_on,
        ((np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]), np.array([[False, True, False], [False, True, True]])),),
        (
            (lambda w, s: (w.argmax(1) == s.argmax(1)).astype(float), "a share of the weight, not whether the largest one hits"),
            (lambda w, s: s.mean(1), "that is what equal weights give: the level of chance"),
            (lambda w, s: (w * s).sum() / w.sum(), "one number per study: intervals need them before the mean"),
        ),
    ),
    "organ_mean": Exercise(
        solutions.organ_mean,
        ((np.array([[1.0, 3, 9], [0, 2, 9]]), np.array([1.0, 0.5, 0])), (np.array([[4.0, 2]]), np.array([0.1, 0.1]))),
        (
            (lambda f, s: f.mean(1), "that is the mean of the whole map: weigh each cell by its share inside the organ"),
            (lambda f, s: f @ s, "divide by the sum of the shares, or a large organ has a long vector"),
            (lambda f, s: f[:, s > 0].mean(1), "a cell on the rim, half inside, counts half"),
        ),
    ),
    "asked": Exercise(
        solutions.asked,
        ((_HAS, _STATES, _OWN),),
        (
            (lambda h, t, o: ~(h[:, None] & t).any(-1), "a unit's own text shares its findings, and must be asked about"),
            (lambda h, t, o: np.ones_like(o), "another patient's cyst is no wrong answer for a liver with a cyst"),
            (lambda h, t, o: o | (h[:, None] != t).any(-1), "one shared finding is enough, the sets need not be equal"),
            (lambda h, t, o: o, "with nothing but its own texts there is nothing to be told from"),
        ),
    ),
    "against_rest": Exercise(
        solutions.against_rest,
        ((0.6, np.array([0.5, 0.2]), 10.0), (0.1, np.array([0.4]), 14.0)),
        (
            (lambda c, o, s: float(s * (c - o.max())), "that is against the best of the others; here all of them count"),
            (lambda c, o, s: float(c - np.logaddexp.reduce(o)), "scale first: a cosine is no logit"),
            (lambda c, o, s: float(s * (c - o.mean())), "log-sum-exp, not the mean: a state that is near counts most"),
        ),
    ),
    "finding_score": Exercise(
        solutions.finding_score,
        (
            (("pons", "low"), ("pons", "high")),
            (("left thalamus", "high"), ("right thalamus", "high")),
            (("pons", "low"), ("left thalamus", "high")),
        ),
        (
            (lambda a, b: 0.5 * (a[0] == b[0]), "the class of signal counts too"),
            (lambda a, b: float(a[0] == b[0] and a[1] == b[1]), "each half counts on its own: add them"),
            (lambda a, b: float(a[0] == b[0]) + float(a[1] == b[1]), "each is worth a half, so that the same finding gets 1"),
        ),
    ),
    "mixed_target": Exercise(
        solutions.mixed_target,
        ((np.ones((2, 2)), 0.5), (np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]), 0.25)),
        (
            (lambda s, w: (1 - w) * np.eye(len(s)) + w * s, "divide each row of the similarity by its sum first"),
            (lambda s, w: s / s.sum(1, keepdims=True), "that is the similarity alone: the text's own share is missing"),
            (
                lambda s, w: w * np.eye(len(s)) + (1 - w) * s / s.sum(1, keepdims=True),
                "the weight is that of the similarity, not of the identity",
            ),
            (
                lambda s, w: ((1 - w) * np.eye(len(s)) + w * s) / ((1 - w) + w * s.sum(1, keepdims=True)),
                "normalise, then mix: normalising the mixture is another target",
            ),
        ),
    ),
    "ndcg": Exercise(
        solutions.ndcg,
        ((np.array([0.0, 1, 0]), 3), (np.array([0.5, 0, 1, 1]), 2), (np.array([1.0, 0.2]), 10)),
        (
            (
                lambda g, k: float(g[:k] @ (1 / np.log2(np.arange(2, k + 2)))[: len(g)]),
                "that is the DCG: divide it by the DCG of the best order",
            ),
            (lambda g, k: float(g[:k].sum() / np.sort(g)[::-1][:k].sum()), "answers further down count less: discount by rank"),
            (
                lambda g, k: float(
                    g[:k]
                    @ (1 / np.log2(np.arange(2, k + 2)))[: len(g)]
                    / (np.sort(g[:k])[::-1] @ (1 / np.log2(np.arange(2, k + 2)))[: len(g)])
                ),
                "the best order is one of all gains, not of those that happened to be found",
            ),
        ),
    ),
    "dice": Exercise(
        solutions.dice,
        (
            (np.array([1, 1, 0, 0, 0], bool), np.array([0, 1, 0, 0, 0], bool)),
            (np.array([[1, 1], [1, 1]], bool), np.array([[1, 0], [0, 0]], bool)),
            (np.zeros(3, bool), np.zeros(3, bool)),
        ),
        (
            (
                lambda a, b: 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 0.0,
                "two empty masks agree: there is nothing, and nothing is marked",
            ),
            (lambda a, b: (a & b).sum() / max(1, (a | b).sum()), "that is the Jaccard index: what they share over their union"),
            (lambda a, b: (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0, "twice what they share"),
            (lambda a, b: float((a == b).mean()), "that is accuracy: background counts for nothing in a Dice"),
        ),
    ),
    "tempered": Exercise(
        solutions.tempered,
        ((np.array([0.0, 2.0]), 2.0), (np.array([-3.0, 0.5, 4.0]), 0.5)),
        (
            (lambda x, t: 1 / (1 + np.exp(-x * t)), "divide by the temperature: above 1 it makes the model less sure"),
            (lambda x, t: 1 / (1 + np.exp(x / t)), "the sign: a larger logit is a larger probability of yes"),
            (
                lambda x, t: np.exp(x / t) / np.exp(x / t).sum(),
                "each answer is a yes-no question of its own: no softmax over items",
            ),
        ),
    ),
    "binned_ece": Exercise(
        solutions.binned_ece,
        (
            (np.array([0.1, 0.3]), np.array([0, 1]), np.array([0, 0])),
            (np.array([0.2, 0.2, 0.9, 0.7]), np.array([1, 0, 1, 1]), np.array([0, 0, 0, 1])),
        ),
        (
            (
                lambda p, h, b: float(np.abs(p - h).mean()),
                "average within a bin first: a single answer is never .7 right",
            ),
            (
                lambda p, h, b: float(np.mean([abs(p[b == k].mean() - h[b == k].mean()) for k in np.unique(b)])),
                "a bin counts as often as it has items",
            ),
            (
                lambda p, h, b: float(sum((b == k).sum() * (p[b == k].mean() - h[b == k].mean()) for k in np.unique(b)) / len(b)),
                "without the absolute value bins that are too sure make up for bins that are not sure enough",
            ),
        ),
    ),
    "holm": Exercise(
        comparisons.holm,
        ((np.array([0.01, 0.04, 0.03]),), (np.array([0.5, 0.02, 0.9, 0.011]),)),
        (
            (lambda p: np.minimum(1, p * len(p)), "that is Bonferroni: only the smallest is multiplied by all"),
            (
                lambda p: np.minimum(1, np.sort(p) * np.arange(len(p), 0, -1))[p.argsort().argsort()],
                "none may be below one that was smaller before: carry the largest along",
            ),
            (
                lambda p: np.minimum(1, np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))),
                "give the values back in the order they came in",
            ),
        ),
    ),
    "occlusion_drops": Exercise(
        solutions.occlusion_drops,
        ((_GREY, np.mean, 2), (_GREY, np.max, 2), (_GREY, np.ptp, 1)),
        (
            (lambda x, f, p: -solutions.occlusion_drops(x, f, p), "the sign: a drop is the score before minus the score after"),
            (
                lambda x, f, p: np.array([[f(b) for b in np.split(r, len(r[0]) // p, 1)] for r in np.split(x, len(x) // p)]),
                "that is the score of the patch alone; hide it and score what is left",
            ),
            (
                lambda x, f, p: f(x) - f(x) * np.ones((len(x) // p, len(x[0]) // p)),
                "nothing was hidden: set the patch to 0 in the copy, then score the copy",
            ),
        ),
    ),
    "rank_alike": Exercise(
        solutions.rank_alike,
        ((_HEAT, _OTHER_HEAT), (_HEAT, -(_HEAT**3))),
        (
            (lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1], "those are the values; rank them first"),
            (
                lambda a, b: np.corrcoef(a.ravel().argsort().argsort(), b.ravel().argsort().argsort())[0, 1],
                "equal values share the mean of their ranks: scipy.stats.rankdata does that",
            ),
            (lambda a, b: abs(solutions.rank_alike(a, b)), "a map turned upside down is not alike: keep the sign"),
        ),
    ),
    "pointing_hit": Exercise(
        solutions.pointing_hit,
        ((_POINTS, _LESION, _INSIDE), (np.zeros((2, 4)), _LESION, np.ones((2, 4), bool))),
        (
            (lambda v, m, i: float(m.flat[np.where(i, v, -np.inf).argmax()]), "argmax takes the first of equal pixels: luck"),
            (
                lambda v, m, i: float(m[i & (v == v[i].max())].any()),
                "one lucky pixel among equal ones is no hit: take their mean",
            ),
            (lambda v, m, i: float(m[v == v.max()].mean()), "the highest pixel lies outside: only those inside can be chosen"),
            (lambda v, m, i: float((m & i).sum() / i.sum()), "that is chance: what a guess inside would hit"),
        ),
    ),
    "votes": Exercise(
        solutions.votes,
        (
            (np.array([[0, 1, 2], [3, 2, 0]]), np.array([True, True, False, False])),
            (np.array([[3, 0, 2], [1, 3, 2]]), np.array([True, False, True, True])),
        ),
        (
            (lambda near, labels: labels[near].any(1), "one neighbour with the label is one vote, not all of them"),
            (lambda near, labels: labels[near].mean(1) > 0.5, "the share is the score; a threshold throws its order away"),
            (lambda near, labels: labels[near].sum(1), "a share: divide by the number of neighbours"),
        ),
    ),
    "in_test": Exercise(
        solutions.in_test,
        ((_PATIENTS, _STUDIES, 3), (_PATIENTS, _STUDIES, 2)),
        (
            (lambda p, s, every: np.arange(len(p)) % every == 0, "that deals out rows: every row would go its own way"),
            (lambda p, s, every: ~solutions.in_test(p, s, every), "True is for the test set; those are the rows of training"),
            (
                lambda p, s, every: np.unique(p, return_inverse=True)[1] % every == every - 1,
                "keep her rule: the first patient by name goes to the test set, and it is counted from there",
            ),
            (
                lambda p, s, every: np.isin(s, np.unique(p)[::every]),
                "those are patients; look for them among `patients`",
            ),
        ),
        bug=planted.in_test,
    ),
    "soft_tissue": Exercise(
        solutions.soft_tissue,
        (
            (np.array([0.0, 40, 155, -1000]), "HU", 1.0, -1024.0),
            (np.array([512.0, 532, 100]), "stored", 2.0, -1024.0),
            (np.array([[30.0, 50]]), "HU", 2.0, -1024.0),
        ),
        (
            (
                lambda v, u, m, b: preprocessing.to_window(v, -100.0, 155.0),
                "stored values are no HU yet: they need slope and intercept",
            ),
            (
                lambda v, u, m, b: solutions.soft_tissue(v, "HU" if v.min() < 0 else "stored", m, b),
                "do not guess from the values: a piece of liver in HU has none below 0. The reader says what it gave you",
            ),
            (
                lambda v, u, m, b: solutions.soft_tissue(v, "stored" if u == "HU" else "HU", m, b),
                "the other way round: stored values are rescaled, HU are not",
            ),
            (
                lambda v, u, m, b: preprocessing.to_window(v if u == "HU" else v + b, -100.0, 155.0),
                "stored values: slope times value, plus intercept",
            ),
        ),
        bug=planted.soft_tissue,
    ),
    "logits": Exercise(
        solutions.logits,
        (
            (_SHORT, np.eye(2), 2.0),
            (_IMAGES, _TEXTS, 6.0),
            (_IMAGES, _TEXTS, 0.0),
        ),
        (
            (
                lambda a, b, s: solutions.logits(a, b, 0.0) * np.exp(s),
                "above ln 100 the factor runs away: the limit was there, keep it",
            ),
            (
                lambda a, b, s: solutions.logits(a, b, 0.0) / np.exp(min(s, np.log(100))),
                "that divides by the scale; it is the temperature that is divided by, and the scale is one over it",
            ),
            (
                lambda a, b, s: (
                    solutions.logits(a, b, 0.0) * np.exp(min(s, np.log(100))) * np.linalg.norm(a, axis=1, keepdims=True)
                ),
                "the images are no longer of unit length: the lines above were right",
            ),
            (
                lambda a, b, s: solutions.logits(a, b, 0.0) * min(np.exp(s), np.log(100)),
                "the limit now stands at 4.6: ln 100 is the limit of the logarithm",
            ),
        ),
        bug=planted.logits,
    ),
    "true_loss": Exercise(
        solutions.true_loss,
        ((4.0 * _TWO, _TWO), (_LOGITS, _RIGHT), (np.zeros((3, 3)), _RIGHT)),
        (
            (
                lambda x, r: solutions.soft_loss(x, r / r.sum(1, keepdims=True), (r / r.sum(1, keepdims=True)).T),
                "turned, the rows no longer sum to 1: some texts count for more than others. Turn the relation, then divide",
            ),
            (
                lambda x, r: solutions.soft_loss(x, r / r.sum(1, keepdims=True), r.T.astype(float)),
                "each text's targets sum to 1: divide each row of the turned relation by its sum",
            ),
            (
                lambda x, r: solutions.soft_loss(x, r / r.sum(1, keepdims=True), r / r.sum(0)),
                "right shares, wrong way round: a row belongs to a text",
            ),
            (
                lambda x, r: 2 * solutions.soft_loss(x, r / r.sum(1, keepdims=True), 0.0 * r.T),
                "the texts ask, too: mend their half, do not drop it",
            ),
        ),
        bug=planted.true_loss,
    ),
    "nearest_images": Exercise(
        solutions.nearest_images,
        ((np.array([[1.0, 0]]), np.array([[1.0, 0], [3, 4], [0, 9]]), 2), (_TEXTS, _LOUD, 3)),
        (
            (
                lambda t, i, k: np.argsort(-t @ (i / np.linalg.norm(i, axis=0)).T, axis=1)[:, :k],
                "axis=0 makes each coordinate unit length over all images; an image is a row",
            ),
            (
                lambda t, i, k: np.argsort(t @ (i / np.linalg.norm(i, axis=1, keepdims=True)).T, axis=1)[:, :k],
                "argsort starts with the smallest: those are the images least alike",
            ),
            (
                lambda t, i, k: np.argsort(np.linalg.norm(t[:, None] - i, axis=2), axis=1)[:, :k],
                "a distance between vectors of any length still depends on the length",
            ),
        ),
        bug=planted.nearest_images,
    ),
    "interval": Exercise(
        solutions.interval,
        ((_HALF, _TEN, 2000), (_ONE, _TEN, 2000)),
        (
            (
                _MEANS(lambda rng, p: np.isin(p, rng.permutation(np.unique(p))[:5])),
                "half of the patients, each once, is another experiment: draw as many as there are, with replacement",
            ),
            (
                _MEANS(lambda rng, p: rng.integers(0, len(p), len(p))),
                "that resamples images: those of one patient are not independent. Draw patients",
            ),
            (
                _MEANS(lambda rng, p: np.isin(p, rng.choice(np.unique(p), 10))),
                "a patient who is drawn twice counts twice; `isin` counts everybody once",
            ),
            (
                lambda h, p, n: np.array([h.mean(), h.mean()]) + np.array([-1.96, 1.96]) * h.std() / len(h) ** 0.5,
                "that formula takes images for independent; draw patients and look at the means",
            ),
        ),
        bug=planted.interval,
    ),
    "denied": Exercise(
        solutions.denied,
        (
            ("A noncalcified nodule in the left lung.", "nodule"),
            ("There is no effusion.", "effusion"),
            ("No nodule.", "nodule"),
            ("Effusion, but no pneumothorax.", "effusion"),
            ("A known cyst.", "cyst"),
            ("Lungs without effusion.", "effusion"),
        ),
        (
            (
                lambda s, name: not {"no", "not", "without"}.isdisjoint(s.lower().split()),
                "what stands behind the name denies something else: look before it only",
            ),
            (lambda s, name: "no" in s.split(name)[0].split(), "a sentence begins with a capital: make it small first"),
            (
                lambda s, name: s.lower().split()[0] in ("no", "not", "without"),
                "the word of denial need not be the first of the sentence",
            ),
        ),
        bug=planted.denied,
    ),
    "chunked_loss": Exercise(
        scaling_solutions.chunked_loss,
        ((2 * np.eye(4), 2 * np.eye(4), 2), (_LOUD, 2 * _IMAGES, 2), (_IMAGES, _LOUD, 5)),
        (
            (
                lambda a, b, n: float(np.mean([planted.chunked_loss(a, b, n), scaling_solutions.chunked_loss(a, b, n)])),
                "half of the rows still see their own chunk only",
            ),
            (
                lambda a, b, n: float(np.mean(logsumexp(a @ b.T, axis=1) - (a * b[np.arange(len(a)) % n]).sum(1))),
                "all texts are there now, but the right one of row i is text i, in every chunk",
            ),
            (
                lambda a, b, n: float(
                    np.mean([scaling_solutions.chunked_loss(b, a, n), scaling_solutions.chunked_loss(a, b, n)])
                ),
                "that is both sides; here only the images ask",
            ),
            (lambda a, b, n: scaling_solutions.chunked_loss(a, b, n) * len(a), "the mean over images, not their sum"),
        ),
        bug=planted.chunked_loss,
    ),
    "crossing": Exercise(
        scaling_solutions.crossing,
        ((800_000.0, 16.0), (1000.0, 4.0), (3e6, 20.0)),
        (
            (lambda unit, pair: (unit / pair) ** 0.5, "n * unit = n * n * pair: divide by n once, there is no root left"),
            (lambda unit, pair: pair / unit, "upside down: the more a unit keeps, the later the matrix catches up"),
            (lambda unit, pair: unit / (2 * pair), "the question is where the two are equal, not where their slopes are"),
        ),
    ),
    "n_negatives": Exercise(
        scaling_solutions.n_negatives,
        ((16, 1, 8, False), (16, 8, 1, True), (16, 8, 4, False), (32, 2, 4, True)),
        (
            (lambda n, k, steps, all_: n * (k if all_ else 1) * steps - 1, "accumulated steps do not see each other"),
            (lambda n, k, steps, all_: n * k - 1, "processes that do not gather do not see each other"),
            (lambda n, k, steps, all_: n * (k if all_ else 1), "one of them is the right text"),
        ),
    ),
    "gpu_hours": Exercise(
        scaling_solutions.gpu_hours,
        ((1e18, 312.0, 0.4), (5.6e18, 100.0, 0.1)),
        (
            (lambda flop, peak, share: flop / (peak * 1e12 * share), "those are seconds"),
            (
                lambda flop, peak, share: flop / (peak * 1e12) * share / 3600,
                "a GPU that is used less takes longer: divide by the share",
            ),
            (lambda flop, peak, share: flop / (peak * share) / 3600, "the peak is in 10^12 operations a second"),
        ),
    ),
    "seed_reach": Exercise(
        claims_solutions.seed_reach,
        ((np.array([0.02, 0.04, 0.03, 0.05, 0.01]),), (np.array([0.1, -0.1]),), (np.array([0.2, 0.25, 0.3]),)),
        (
            (
                lambda d: 1.96 * np.std(d, ddof=1) / len(d) ** 0.5,
                "1.96 is for many; for a few take scipy.stats.t.ppf(.975, n - 1)",
            ),
            (lambda d: claims_solutions.seed_reach(d) * (1 - 1 / len(d)) ** 0.5, "the spread of a sample: np.std with ddof=1"),
            (
                lambda d: claims_solutions.seed_reach(d) * len(d) ** 0.5,
                "that is for one training; the mean of n is steadier by √n",
            ),
            (lambda d: 2 * claims_solutions.seed_reach(d), "half the width, from the mean to one end"),
        ),
    ),
    "verdict": Exercise(
        comparisons.verdict,
        (
            ((0.03, 0.05), (-0.02, 0.08)),
            ((-0.01, 0.05), (0.01, 0.03)),
            ((0.01, 0.05), (0.02, 0.04)),
            ((-0.05, -0.01), (-0.04, -0.02)),
            ((-0.05, -0.01), (-0.04, 0.02)),
        ),
        (
            (lambda a, b: planted.verdict(b, a), "now the patients' interval is what is never looked at"),
            (lambda a, b: "holds" if min(a[0], b[0]) > 0 else "not shown", "both intervals below 0 say something, too: reversed"),
            (lambda a, b: "holds" if a[0] + b[0] > 0 else "reversed" if a[1] + b[1] < 0 else "not shown", "each on its own"),
        ),
        bug=planted.verdict,
    ),
    "by_luck": Exercise(
        claims_solutions.by_luck,
        ((40, 0.95), (100, 0.9), (1, 0.99)),
        (
            (lambda n, c: n * (1 - c), "half of the misses are on the other side, and would be called reversed"),
            (lambda n, c: n * c / 2, "that counts the intervals that do not miss"),
            (lambda n, c: 1 - c**n, "that is the chance of at least one miss; asked is how many, on average"),
        ),
    ),
}
