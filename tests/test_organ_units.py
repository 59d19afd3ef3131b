"""Organs with what reports say of them: which unit owns which sentence, and what the dictionary draws."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toy import TEXT_DIM

from medclip_nb.data.catalog import Dataset
from medclip_nb.data.manifest import all_columns
from medclip_nb.data.organs import STATES, Organs, load_organs
from medclip_nb.data.preprocessing import ct_contract, mr_contract
from medclip_nb.learn import organ_units as module
from medclip_nb.learn.organ_units import NONE, Negatives, OrganUnits, organ_units
from medclip_nb.text.organ_texts import normal_sentence, spoken

NAMES = ("kidney_left", "liver", "kidney_right", "spleen")
SMALL, LARGE, GRID = (3, 4, 4), (4, 6, 6), (4, 8, 8)  # sizes of crops and volumes that are made up
REPORTS = (
    "Cyst in the left kidney. Hepatic cyst.",
    "Hepatic steatosis. Stone in the right kidney.",
    "A 12 mm cyst in the left kidney. There is splenomegaly.",
    "Hepatic cyst.",
    "Two hepatic cysts. Hepatic steatosis.",
    "Normal.",
    "Stone in the left kidney.",
    "Hepatic cyst. Cyst in the left kidney.",
    "Splenomegaly.",
    "Multiple liver metastases.",
)
SPLITS = ("train",) * 6 + ("val",) * 2 + ("test",) * 2
COUNTS = np.array([[16, 4, 1, 9], [3, 3, 0, 0], [0, 0, 0, 0]])
NEGATIVES = Negatives(10 + np.arange(12).reshape(3, 4), COUNTS)
SAID: dict[bytes, str] = {}  # the text behind each feature that was made up


def features_of(texts: list[str]) -> torch.Tensor:
    """Stand-ins for the text tower's features: the same for the same text, and known in SAID."""
    vectors = [np.random.default_rng(list(text.encode())).normal(size=TEXT_DIM) for text in texts]
    found = torch.from_numpy(np.array(vectors).reshape(len(texts), TEXT_DIM)).float()
    SAID.update(zip((row.numpy().tobytes() for row in found), texts, strict=True))
    return found


def texts_of(features: torch.Tensor) -> list[str]:
    return [SAID[row.numpy().tobytes()] for row in features]


def toy_organs(n: int, names: tuple[str, ...], channels: int, unused: tuple) -> Organs:
    """Random crops; `unused` are the (study, organ) that are cut."""
    state, rng = np.zeros((n, len(names)), np.uint8), np.random.default_rng(0)
    for study, name in unused:
        state[study, names.index(name)] = STATES.index("cut")
    n_large = names.count("liver")
    shapes = ((n, k, channels + 1, *size) for k, size in ((len(names) - n_large, SMALL), (n_large, LARGE)))
    return Organs(names, state, tuple(rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes))


def toy_units(
    reports=REPORTS, splits=SPLITS, *, names: tuple[str, ...] = NAMES, channels: int = 1, unused: tuple = ()
) -> OrganUnits:
    """Studies with these reports and random images, a patient each; no file is read and no text tower runs."""
    n, rng = len(reports), np.random.default_rng(1)
    ids = [f"s{i}" for i in range(n)]
    table = all_columns(pd.DataFrame({"study_id": ids, "patient_id": ids, "report": reports, "split": splits}))
    table.attrs["name"] = "made up"
    contract = ct_contract(GRID) if channels == 3 else mr_contract(GRID)
    labels = rng.integers(0, len(names) + 1, (n, *GRID)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_organs", lambda dataset, names: toy_organs(n, names, channels, unused))
        patch.setattr(module, "embed_texts", features_of)
        patch.setattr(module, "read_images", lambda dataset: rng.integers(0, 256, (n, channels, *GRID)).astype(np.uint8))
        patch.setattr(module, "label_maps", lambda dataset, names: labels)
        units = organ_units(Dataset("made up", table, contract, synthetic=True), names)
        assert len(units.volumes) == 2  # made while no file is read
    return units


def columns_of(units: OrganUnits, study: int, organ: str) -> list[tuple[str, str, set[str]]]:
    """Organ, sentence and findings of the columns that a unit owns."""
    texts, number = units.texts, units.unit[study, units.organs.names.index(organ)]
    own = texts.own_column[texts.own_unit == number]
    told = texts_of(units.features[texts.sentence[own]])
    stated = [{units.states[f] for f in np.flatnonzero(texts.findings[c])} for c in own]
    return sorted(zip((units.organs.names[o] for o in texts.organ[own]), told, stated, strict=True), key=lambda c: c[:2])


@pytest.fixture(scope="module")
def units() -> OrganUnits:
    return toy_units(unused=((0, "spleen"), (4, "liver"), (9, "kidney_left")))


@pytest.fixture(scope="module")
def cohort(torso) -> OrganUnits:
    """Some studies of the smoke cohort of each split, as they are trained on."""
    rows = torso.manifest.groupby("split", sort=False).head(6)
    return organ_units(replace(torso, manifest=rows), ("lung_left", "lung_right", "kidney_left", "liver"))


# negatives


def test_one_draw_holds_no_phrase_twice_and_never_padding():
    for m, seed in np.ndindex(6, 20):
        drawn = NEGATIVES.draw(np.random.default_rng(seed), m, power=0.5)
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(NEGATIVES.column[COUNTS > 0])


@pytest.mark.parametrize(("m", "n"), [(0, (0, 0, 0)), (1, (1, 1, 0)), (2, (2, 2, 0)), (3, (3, 2, 0)), (99, (4, 2, 0))])
def test_every_organ_gives_so_many_phrases_and_never_more_than_it_has(m, n):
    drawn = NEGATIVES.draw(np.random.default_rng(0), m, power=0.5)
    assert tuple(np.isin(own, drawn).sum() for own in NEGATIVES.column) == n
    assert len(drawn) == sum(n)


@pytest.mark.parametrize(("power", "shares"), [(0.5, (4, 2, 1, 3)), (0.0, (1, 1, 1, 1)), (1.0, (16, 4, 1, 9))])
def test_phrases_are_drawn_by_their_count_to_the_power(power, shares):
    rng = np.random.default_rng(0)
    first = Counter(int(NEGATIVES.draw(rng, 1, power=power)[0]) for _ in range(3000))
    seen = np.array([first[column] for column in NEGATIVES.column[0]]) / 3000
    assert np.allclose(seen, np.array(shares) / sum(shares), atol=0.045)  # five standard errors


def test_the_second_of_two_phrases_is_drawn_among_the_others():
    rng, weights = np.random.default_rng(0), np.array([4, 2, 1, 3]) / 10
    pairs = np.array([np.isin(NEGATIVES.column[0], NEGATIVES.draw(rng, 2, power=0.5)) for _ in range(3000)])
    wanted = [w + sum(v * w / (1 - v) for j, v in enumerate(weights) if j != i) for i, w in enumerate(weights)]
    assert np.allclose(pairs.mean(0), wanted, atol=0.045)


def test_the_same_seed_draws_the_same():
    one, two, other = (NEGATIVES.draw(np.random.default_rng(seed), 2, power=0.5).tolist() for seed in (3, 3, 5))
    assert one == two != other


@pytest.mark.parametrize("n_phrases", [0, 3])
def test_nothing_is_drawn_from_an_empty_dictionary(n_phrases):
    nothing = Negatives(*np.zeros((2, 4, n_phrases), int))
    assert nothing.draw(np.random.default_rng(0), 5, power=0.5).tolist() == []


# texts


def test_every_usable_organ_has_a_number_and_no_other(units):
    assert sorted(units.unit[units.organs.used]) == list(range(units.organs.used.sum()))
    assert (units.unit[~units.organs.used] == -1).all()


def test_each_unit_owns_what_its_report_says_of_it(units):
    for study, organ in np.argwhere(units.organs.used):
        name = NAMES[organ]
        said = {(e.organ, e.text): set(e.findings) or {NONE} for e in units.entries[study] if e.organ == name}
        assert columns_of(units, study, name) == sorted((*key, found) for key, found in said.items())


def test_units_of_one_wording_own_the_same_column_and_of_one_normal_organ_the_normal_one(units):
    owned = lambda study, organ: columns_of(units, study, organ)  # noqa: E731
    assert owned(0, "kidney_left") == owned(7, "kidney_left") == [("kidney_left", "Cyst in the left kidney.", {"cyst"})]
    assert owned(2, "kidney_left") == [("kidney_left", "A 12 mm cyst in the left kidney.", {"cyst"})]
    assert owned(5, "spleen") == owned(3, "spleen") == [("spleen", normal_sentence("spleen"), {NONE})]
    texts = units.texts
    pairs = list(zip(texts.organ.tolist(), texts.sentence.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)


def test_a_sentence_about_two_organs_is_a_column_of_each_with_what_it_finds_there():
    text = "Cyst in the left kidney and stone in the right kidney."
    units = toy_units((text,) * 4, ("train", "train", "val", "val"))
    assert columns_of(units, 0, "kidney_left") == [("kidney_left", text, {"cyst"})]
    assert columns_of(units, 0, "kidney_right") == [("kidney_right", text, {"stone"})]
    assert len(texts_of(units.features)) == len(set(texts_of(units.features)))


def test_a_sentence_that_finds_two_things_in_an_organ_states_both():
    text = "Cyst of the left kidney, bilateral renal stones."
    units = toy_units((text,) * 4, ("train", "train", "val", "val"))
    assert columns_of(units, 0, "kidney_left") == [("kidney_left", text, {"cyst", "stone"})]


def test_none_is_stated_by_normal_sentences_alone(units):
    states = units.texts.findings
    told, organs = texts_of(units.features[units.texts.sentence]), [NAMES[k] for k in units.texts.organ]
    normal = [text == normal_sentence(organ) for text, organ in zip(told, organs, strict=True)]
    assert units.states[0] == NONE
    assert states[:, 0].tolist() == normal
    assert (states.sum(1) >= 1).all()
    assert not states[states[:, 0], 1:].any()


def test_the_dictionary_is_that_of_the_training_reports_of_all_their_organs(units):
    counts = {organ: {text: phrase.count for text, phrase in own.items()} for organ, own in units.dictionary.items()}
    assert counts == {
        "kidney_left": {"a cyst in the left kidney": 1, "cyst in the left kidney": 1},
        "kidney_right": {"stone in the right kidney": 1},
        "liver": {"hepatic cyst": 2, "hepatic steatosis": 2, "two hepatic cysts": 1},
        "spleen": {"there is splenomegaly": 1},
    }


def test_negatives_are_the_dictionary_as_columns(units):
    texts, (column, count) = units.texts, (units.negatives.column, units.negatives.count)
    for k, name in enumerate(NAMES):
        own = column[k][count[k] > 0]
        phrases = units.dictionary.get(name, {})
        assert dict(zip(texts_of(units.features[texts.sentence[own]]), count[k][count[k] > 0], strict=True)) == {
            text: phrase.count for text, phrase in phrases.items()
        }
        assert (texts.organ[own] == k).all()
        assert [{units.states[f] for f in np.flatnonzero(texts.findings[c])} for c in own] == [
            set(phrase.findings) for phrase in phrases.values()
        ]


def test_names_are_the_organs_as_they_are_spoken_of(units):
    assert texts_of(units.names) == [spoken(name) for name in NAMES]


def test_reports_that_find_nothing_give_units_without_a_dictionary():
    units = toy_units(("Normal.",) * 4, ("train", "train", "val", "val"))
    assert (units.dictionary, units.states, units.negatives.count.sum()) == ({}, (NONE,), 0)
    assert len(units.features) == len(NAMES)


# units of a batch, in both forms


@pytest.mark.parametrize("form", ["crops", "map"])
def test_of_names_each_usable_organ_once(units, form):
    rows = np.array([9, 0, 4])
    study, organ = units.of(rows, form=form)
    found = sorted(zip(rows[study].tolist(), organ.tolist(), strict=True))
    assert found == sorted((i, k) for i in rows.tolist() for k in range(len(NAMES)) if units.organs.used[i, k])


def test_crops_come_with_their_mask_and_organ_in_the_order_of_their_units(units):
    rows = np.array([4, 0, 9, 3])
    study, organ = units.of(rows)
    images, n = units.images(rows), 0
    assert len(images) == 6
    for large in (0, 1):
        crops, masks, organs = images[3 * large : 3 * large + 3]
        for crop, mask, k in zip(crops, masks, organs, strict=True):
            kind, place = units.organs.group[:, k]
            kept = units.organs.crops[large][rows[study[n]], place]
            assert (kind, k) == (large, organ[n])
            assert np.array_equal(np.concatenate([crop, mask[None]]), kept)
            n += 1
    assert n == len(study) == units.organs.used[rows].sum()


def test_volumes_come_with_their_label_map_and_the_organs_that_can_be_used(units):
    rows = np.array([4, 0, 9])
    images, labels, wanted = units.images(rows, form="map")
    study, organ = units.of(rows, form="map")
    assert torch.equal(images, torch.from_numpy(units.volumes[0][rows]))
    assert torch.equal(labels, torch.from_numpy(units.volumes[1][rows]))
    assert np.array_equal(wanted.numpy(), units.organs.used[rows])
    assert torch.equal(wanted.nonzero(), torch.from_numpy(np.stack([study, organ], axis=1)))


def test_boxes_hide_the_mask_and_nothing_else(units):
    rows = np.array([1, 2])
    plain, boxes = units.images(rows), units.images(rows, boxes=True)
    for k, (one, other) in enumerate(zip(plain, boxes, strict=True)):
        assert torch.equal(other, torch.full_like(one, 255) if k % 3 == 1 else one)


@pytest.mark.parametrize("form", ["crops", "map"])
def test_a_study_without_any_usable_organ_gives_no_unit(form):
    units = toy_units(unused=tuple((3, name) for name in NAMES))
    study, organ = units.of(np.array([3]), form=form)
    assert (len(study), len(organ)) == (0, 0)
    if form == "crops":
        assert [len(t) for t in units.images(np.array([3]))] == [0] * 6


def test_asking_for_units_changes_no_array(units):
    before = units.organs.crops[0].copy()
    images = units.images(np.array([0, 1]))
    images[0].fill_(0)
    assert np.array_equal(units.organs.crops[0], before)


# the embedded cohort


def test_the_cohorts_organs_have_sentences_of_their_own_side(cohort):
    for study, organ in np.argwhere(cohort.organs.used):
        name = cohort.organs.names[organ]
        own = [e for e in cohort.entries[study] if e.organ == name]
        other = {"left": "right", "right": "left"}.get(name.rsplit("_")[-1], "-")
        assert own
        assert not [e.text for e in own if other in e.text.lower() and spoken(name).split()[0] not in e.text.lower()]


def test_the_cohorts_units_are_those_its_masks_can_be_used_of(cohort):
    assert np.array_equal(cohort.unit >= 0, load_organs(cohort.dataset, cohort.organs.names).used)
    assert cohort.features.shape[1] == cohort.names.shape[1] == TEXT_DIM
    assert cohort.texts.own_unit.max() + 1 == cohort.organs.used.sum()


def test_the_cohorts_dictionary_knows_no_phrase_of_other_splits(cohort):
    train = {e.text for i in cohort.rows("train") for e in cohort.entries[i] if e.findings}
    n = sum(phrase.count for own in cohort.dictionary.values() for phrase in own.values())
    assert n == sum(bool(e.findings) for i in cohort.rows("train") for e in cohort.entries[i])
    assert len({text for own in cohort.dictionary.values() for text in own}) <= len(train)
