"""SeLIP's rulers for texts against slow loops written from what they promise, and by their properties."""

import math

import numpy as np
import pytest

from medclip_nb.text.alike import PLACE_SHARE, RULERS, text_similarity

A = ("left basal ganglia", "patchy high signal")
B = ("right basal ganglia", "punctate high signal")
C = ("left basal ganglia", "low signal")
D = [("left frontal lobe", "patchy high signal"), ("right occipital lobe", "low signal")]
PLACES = ("left frontal lobe", "right frontal lobe", "pons", "ventricular system")
SIGNALS = ("patchy high signal", "high signal", "large low signal", "mass-like mixed signal", "enlargement")
BY_FINDINGS = [name for name, rule in RULERS.items() if rule]
REPAIRED = ["best", "place", "rare"]


def some_texts(n: int = 20, *, seed: int = 0, least: int = 0) -> list[list[tuple[str, str]]]:
    """Texts of `least` to three findings, healthy ones included where that is 0."""
    rng = np.random.default_rng(seed)
    finding = lambda: (PLACES[rng.integers(len(PLACES))], SIGNALS[rng.integers(len(SIGNALS))])  # noqa: E731
    return [[finding() for _ in range(rng.integers(least, 4))] for _ in range(n)]


def embeddings(n: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)


def kind(signal: str) -> str:
    return next((c for c in ("high", "low") if f"{c} signal" in signal), signal)


def rarity(texts: list, part):
    """Log of 1 + texts with findings / those that have the name, by counting; what none has is as rare as what one has."""
    owned = [{part(f) for f in own} for own in texts if own]
    return lambda name: math.log(1 + len(owned) / max(1, sum(name in own for own in owned)))


def weights(ruler: str, counted: list) -> tuple:
    """What a location and what a class of signal weigh."""
    if ruler == "rare":
        return rarity(counted, lambda f: f[0]), rarity(counted, lambda f: kind(f[1]))
    share = PLACE_SHARE if ruler == "place" else 0.5
    return lambda name: share, lambda name: 1 - share


def slow_score(a, b, of_place, of_signal) -> float:
    shared = of_place(a[0]) * (a[0] == b[0]) + of_signal(kind(a[1])) * (kind(a[1]) == kind(b[1]))
    mean = sum(of_place(place) + of_signal(kind(signal)) for place, signal in (a, b)) / 2
    x, y = (set(" ".join(f).replace("-", " ").split()) for f in (a, b))
    return shared / mean * 2 * len(x & y) / (len(x) + len(y))


def slow_similarity(ruler: str, one: list, other: list, counted: list) -> float:
    if not one or not other:
        return float(not one and not other and ruler != "selip")
    scores = np.array([[slow_score(a, b, *weights(ruler, counted)) for b in other] for a in one])
    if ruler in REPAIRED:
        return (scores.max(1).mean() + scores.max(0).mean()) / 2
    return scores.mean()


@pytest.mark.parametrize("ruler", BY_FINDINGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_ruler_by_findings_agrees_with_slow_loops(ruler, seed):
    texts = some_texts(seed=seed)
    slow = [[slow_similarity(ruler, a, b, texts) for b in texts] for a in texts]
    assert np.allclose(text_similarity(ruler, texts, embeddings(20)), slow, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [([A], [A], 1), ([A], [B], 1 / 3), ([A], [C], 4 / 11), ([B], [C], 0), ([A], D, 1 / 6), (D, D, 1 / 2), ([B], D, 1 / 12)],
)
def test_selip_is_its_formula_counted_by_hand_with_words_for_characters(one, other, value):
    assert text_similarity("selip", [one, other], embeddings(2))[0, 1] == pytest.approx(value, abs=1e-6)


def test_meaning_alone_is_the_cosine_and_never_negative():
    texts, emb = some_texts(), embeddings(20)
    unit = [v / math.sqrt(sum(v**2)) for v in emb]
    slow = [[max(0.0, float(sum(a * b))) for b in unit] for a in unit]
    assert np.allclose(text_similarity("semantic", texts, emb), slow, atol=1e-5)
    assert (np.array(slow) == 0).any()


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("seed", range(3))
def test_similarity_is_symmetric_and_from_0_to_1(ruler, seed):
    texts = [None if i % 5 == 0 else own for i, own in enumerate(some_texts(40, seed=seed))]
    sim = text_similarity(ruler, texts, embeddings(40, seed=seed))
    assert np.allclose(sim, sim.T, atol=1e-6)
    assert sim.min() >= 0
    assert sim.max() <= 1 + 1e-6


@pytest.mark.parametrize("ruler", REPAIRED)
def test_a_text_with_findings_is_fully_like_itself_and_any_order_of_them(ruler):
    texts = some_texts(20, least=1)
    sim = text_similarity(ruler, [*texts, *(own[::-1] for own in texts)], embeddings(40))
    assert np.allclose(np.diag(sim), 1, atol=1e-6)
    assert np.allclose(np.diag(sim[:20, 20:]), 1, atol=1e-6)


@pytest.mark.parametrize(("ruler", "alike"), [("selip", 0), *((name, 1) for name in ("selip_healthy", *REPAIRED))])
def test_healthy_texts_are_alike_but_for_the_published_ruler(ruler, alike):
    sim = text_similarity(ruler, [[], [A], []], embeddings(3))
    assert sim[[0, 0, 2], [0, 2, 2]].tolist() == [alike] * 3
    assert sim[1, [0, 2]].tolist() == [0, 0]


def test_place_counts_more_than_signal_where_it_is_told_to():
    same_place, same_signal = (
        [("pons", "high signal"), ("pons", "low signal")],
        [("pons", "low signal"), ("thalamus", "low signal")],
    )
    for ruler, ratio in (("best", 1), ("place", PLACE_SHARE / (1 - PLACE_SHARE))):
        one, other = (text_similarity(ruler, [[a], [b]], embeddings(2))[0, 1] for a, b in (same_place, same_signal))
        assert one / other == pytest.approx(ratio, rel=1e-5)  # both pairs share two words of three


def test_to_share_a_rare_location_counts_more_than_to_share_a_frequent_one():
    place = lambda name: [[(name, "high signal")], [(name, "low signal")]]  # noqa: E731
    texts = [*place("pons"), *place("thalamus"), *place("thalamus") * 4]
    for ruler, more in (("rare", True), ("place", False), ("best", False)):
        sim = text_similarity(ruler, texts, embeddings(len(texts)))
        assert (sim[0, 1] > sim[2, 3] + 0.05) == more
        assert more or sim[0, 1] == pytest.approx(sim[2, 3])


@pytest.mark.parametrize("fit_on", [some_texts(9, seed=7), [[A], None, [], [A, B]], [[("nowhere", "nothing")]]])
def test_what_is_rare_is_counted_in_the_texts_to_fit_on_alone(fit_on):
    texts = some_texts(12)
    counted = [own for own in fit_on if own]
    slow = [[slow_similarity("rare", a, b, counted) for b in texts] for a in texts]
    assert np.allclose(text_similarity("rare", texts, embeddings(12), fit_on=fit_on), slow, atol=1e-5)


@pytest.mark.parametrize("ruler", [name for name in BY_FINDINGS if name != "rare"])
def test_other_rulers_do_not_ask_what_is_rare(ruler):
    texts, emb = some_texts(), embeddings(20)
    assert np.array_equal(text_similarity(ruler, texts, emb, fit_on=[[A]]), text_similarity(ruler, texts, emb))


@pytest.mark.parametrize("ruler", RULERS)
def test_a_text_that_was_not_understood_goes_by_its_embedding_and_leaves_the_others_alone(ruler):
    texts, emb = some_texts(12), embeddings(12)
    unread = [None if i in (2, 7) else own for i, own in enumerate(texts)]
    found = text_similarity(ruler, unread, emb, fit_on=texts)
    meaning, whole = (text_similarity(name, texts, emb) for name in ("semantic", ruler))
    there = np.array([own is not None for own in unread])
    assert np.array_equal(found[~there], meaning[~there])
    assert np.array_equal(found[:, ~there], meaning[:, ~there])
    assert np.allclose(found[np.ix_(there, there)], whole[np.ix_(there, there)], atol=1e-6)


@pytest.mark.parametrize("ruler", RULERS)
def test_where_no_text_was_understood_meaning_is_all_there_is(ruler):
    emb = embeddings(4)
    assert np.array_equal(text_similarity(ruler, [None] * 4, emb), text_similarity("semantic", [[]] * 4, emb))


@pytest.mark.parametrize("ruler", BY_FINDINGS)
def test_texts_that_are_all_healthy_are_all_alike_or_all_strange(ruler):
    assert np.array_equal(text_similarity(ruler, [[], [], []], embeddings(3)), np.full((3, 3), float(ruler != "selip")))


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("odd", ["<b>x</b>", "\x00\ud7ff", "ä" * 10_000, "在"])
def test_a_single_text_of_odd_words_is_like_itself(ruler, odd):
    assert text_similarity(ruler, [[(odd, odd)]], embeddings(1)) == pytest.approx(1, abs=1e-6)


def test_an_unknown_ruler_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown ruler 'dice'; choose one of: selip, selip_healthy, best, place, rare, semantic"
    ):
        text_similarity("dice", [[A]], embeddings(1))


@pytest.mark.parametrize("ruler", RULERS)
def test_no_text_at_all_gives_an_empty_matrix_and_other_embeddings_are_refused(ruler):
    assert text_similarity(ruler, [], np.zeros((0, 3), np.float32)).shape == (0, 0)
    with pytest.raises(ValueError, match="1 texts and 3 embeddings"):
        text_similarity(ruler, [[("pons", "high signal")]], np.eye(3, dtype=np.float32))


def test_where_no_training_text_finds_anything_all_words_are_equally_rare():
    found = [[("pons", "high signal")], [("pons", "low signal")]]
    sim = text_similarity("rare", found, np.eye(2, dtype=np.float32), fit_on=[[], None])
    assert np.allclose(sim, text_similarity("best", found, np.eye(2, dtype=np.float32)))
