"""Fine-tuning on a few labelled studies."""

import copy

import numpy as np
import pytest
import torch
from test_organ_units import toy_units

from medclip_nb.learn import few_labels as module
from medclip_nb.learn.few_labels import SHARPNESS, OrganClassifier, fit_labels, label_scores
from medclip_nb.learn.organ_units import OrganUnits
from medclip_nb.measure.organs import embed_organs
from medclip_nb.model.organ_encoder import OrganConfig, OrganEncoder

NAMES, ORGAN = ("spleen", "liver"), np.array([0, 1, 1])  # what is asked of: the spleen, and two states of the liver
ROWS = np.arange(12)
LABELS = np.stack([ROWS % 2 == 0, ROWS % 3 == 0, ROWS % 3 != 0], axis=1)


def bright_units(unused=()) -> OrganUnits:
    """Fourteen studies; organs with a state are brighter than those without."""
    units = toy_units(("Normal.",) * 14, ("train",) * 12 + ("val",) * 2, names=NAMES, unused=unused)
    for k, crops in enumerate(units.organs.crops):
        crops[:12, 0, 0] = crops[:12, 0, 0] // 4 + 150 * LABELS[:, k, None, None, None].astype(np.uint8)
    return units


def encoder(form: str = "crops") -> OrganEncoder:
    torch.manual_seed(0)
    return OrganEncoder(OrganConfig(NAMES, form, channels=1, embed_dim=8)).eval()


def fitted(units: OrganUnits, *, rows=ROWS, seed: int = 0, model: OrganEncoder | None = None) -> OrganClassifier:
    return fit_labels(model or encoder(), units, rows, LABELS[rows], ORGAN, seed=seed)


@pytest.fixture(scope="module")
def units() -> OrganUnits:
    return bright_units(unused=((1, "spleen"), (2, "liver"), (13, "liver")))


@pytest.fixture(scope="module")
def model(units) -> OrganClassifier:
    return fitted(units)


@pytest.fixture
def short(monkeypatch) -> int:
    """Few steps of few studies, for what does not depend on what is learnt; how many."""
    monkeypatch.setattr(module, "N_STEPS", 7)
    monkeypatch.setattr(module, "BATCH", 4)
    return 7


def test_what_is_plain_to_see_is_learnt(units, model):
    scores = label_scores(model, units, ROWS)
    for k in range(3):
        known = ~np.isnan(scores[:, k])
        assert scores[known & LABELS[:, k], k].min() > scores[known & ~LABELS[:, k], k].max()


def test_the_same_seed_gives_the_same_scores(units, short):
    one, two, other = (label_scores(fitted(units, seed=seed), units, ROWS) for seed in (3, 3, 4))
    assert np.array_equal(one, two, equal_nan=True)
    assert not np.allclose(one, other, equal_nan=True)


def test_an_organ_that_cannot_be_used_has_no_score(units, model):
    scores = label_scores(model, units, np.array([0, 1, 2, 12, 13]))
    assert np.isnan(scores).tolist() == [
        [False] * 3, [True, False, False], [False, True, True], [False] * 3, [False, True, True]
    ]  # fmt: skip


def test_a_label_of_an_organ_that_cannot_be_used_does_not_count(units, short):
    turned, known = LABELS.copy(), LABELS.copy()
    turned[1, 0], turned[2, 1:], known[3, 0] = ~turned[1, 0], ~turned[2, 1:], ~known[3, 0]
    one, other, third = (fit_labels(encoder(), units, ROWS, labels, ORGAN, seed=0) for labels in (LABELS, turned, known))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.encoder.head[1].weight, other.encoder.head[1].weight)
    assert not torch.equal(one.weight, third.weight)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_number_of_steps_does_not_depend_on_the_number_of_labels(units, n, short):
    start, calls = encoder(), []
    start.head.register_forward_hook(lambda *_: calls.append(1))
    fitted(units, rows=ROWS[:n], model=start)
    assert len(calls) == short


def test_fitting_leaves_the_encoder_alone_and_gives_a_model_in_eval_mode(units, short):
    start = encoder()
    before = copy.deepcopy(start.state_dict())
    found = fitted(units, model=start)
    assert not found.training
    assert all(torch.equal(before[k], v) for k, v in start.state_dict().items())
    moved = [k for k, p in found.encoder.named_parameters() if not torch.equal(p, before[k])]
    assert {"tower.stem.0.weight", "head.1.weight"} <= set(moved)


@pytest.mark.parametrize("form", ["crops", "map"])
def test_a_logit_is_linear_in_the_embedding_of_its_own_organ(units, form):
    model, rows = OrganClassifier(encoder(form), ORGAN).eval(), np.array([5, 1, 2])
    with torch.no_grad():
        model.weight.normal_(generator=torch.Generator().manual_seed(0))
        model.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
        found = model(units, rows)
    emb = np.nan_to_num(embed_organs(model.encoder, units, rows))
    for i, s in np.ndindex(3, 3):
        wanted = SHARPNESS * emb[i, ORGAN[s]] @ model.weight[s].detach().numpy() + model.bias[s].item()
        assert found[i, s].item() == pytest.approx(wanted, abs=1e-4)


def test_scores_of_many_studies_are_those_of_each(units, model):
    rows = np.concatenate([ROWS, ROWS[::-1], [13, 12]])
    alone = np.concatenate([label_scores(model, units, rows[[i]]) for i in range(len(rows))])
    assert np.allclose(label_scores(model, units, rows), alone, atol=1e-4, equal_nan=True)


def test_a_study_without_any_usable_organ_is_scored_nan_and_harmless_in_training(short):
    units = bright_units(unused=tuple((i, name) for i in (0, 13) for name in NAMES))
    found = fitted(units)
    assert np.isnan(label_scores(found, units, np.array([13]))).all()
    assert not np.isnan(label_scores(found, units, ROWS[1:])).any()


def test_it_starts_from_what_was_learnt_before(units, monkeypatch):
    monkeypatch.setattr(module, "N_STEPS", 0)
    found = fitted(units, model=(start := encoder()))
    assert all(torch.equal(found.encoder.state_dict()[k], v) for k, v in start.state_dict().items())
    assert not np.nan_to_num(label_scores(found, units, ROWS)).any()
