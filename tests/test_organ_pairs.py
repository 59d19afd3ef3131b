"""Batches of organs: what is right, what is asked at all, the organs' names, and the loss of several terms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_organ_units import GRID, NAMES, REPORTS, SPLITS, texts_of, toy_units

from medclip_nb.config import RECIPES
from medclip_nb.learn.losses import floor_level, no_learning_level, recipe_loss
from medclip_nb.learn.organ_pairs import OrganPairs
from medclip_nb.learn.pairs import Batch, Pairs, Term
from medclip_nb.learn.step import backward, batch_loss, loss_levels
from medclip_nb.learn.targets import from_relation
from medclip_nb.model.organ_encoder import OrganConfig, OrganEncoder
from medclip_nb.text.organ_texts import normal_sentence

RECIPE = replace(RECIPES["ct_glip"], n_dictionary=2)
ROWS = np.array([4, 0, 2, 7, 5])
UNUSED = ((0, "spleen"), (4, "liver"), (9, "kidney_left"))
UNITS = toy_units(unused=UNUSED)
FORMS = ["crops", "map"]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def encoder(form: str = "crops", *, seed: int = 0) -> OrganEncoder:
    """In eval mode, so that a unit does not depend on its batch."""
    torch.manual_seed(seed)
    return OrganEncoder(OrganConfig(NAMES, form, channels=1, embed_dim=8)).eval()


def stated(organ: str, text: str) -> set[str]:
    """What a column says, read from reports and dictionary and not from its arrays; "none" for a normal organ."""
    found = [e.findings for own in UNITS.entries for e in own if (e.organ, e.text) == (organ, text)]
    found += [UNITS.dictionary[organ][text].findings] if text in UNITS.dictionary.get(organ, {}) else []
    return set().union(*found) or {"none"}


def by_loops(form: str, batch: Batch, rows: np.ndarray) -> tuple[list[list[bool]], list[list[bool]]]:
    """Which columns are right for each unit, and which are asked, one pair at a time."""
    columns = list(zip(UNITS.texts.organ[batch.text_ids.numpy()], texts_of(batch.features), strict=True))
    right, valid = [], []
    for place, organ in zip(*UNITS.of(rows, form=form), strict=True):
        own = [e for e in UNITS.entries[rows[place]] if e.organ == NAMES[organ]]
        has = set().union(*(e.findings for e in own)) or {"none"}
        right.append([k == organ and text in [e.text for e in own] for k, text in columns])
        shared = [bool(stated(NAMES[k], text) & has) for k, text in columns]
        same = [k == organ for k, _ in columns]
        valid.append([s and (r or not f) for s, r, f in zip(same, right[-1], shared, strict=True)])
    return right, valid


def loss_of(model: OrganEncoder, batch: Batch) -> torch.Tensor:
    return batch_loss(RECIPE, model, model.encode_images(*batch.images), batch)


# what is right, and what is asked


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rng", [None, generator()])
def test_right_and_asked_texts_are_those_of_a_loop(form, rng):
    batch = OrganPairs(UNITS, RECIPE, form=form).batch(ROWS, rng)
    right, valid = by_loops(form, batch, ROWS)
    targets, targets_t = from_relation(torch.tensor(right))
    assert torch.equal(batch.targets, targets)
    assert torch.equal(batch.targets_t, targets_t)
    assert batch.valid.tolist() == valid


def test_a_unit_has_all_its_sentences_and_those_who_say_the_same_share_one():
    batch = OrganPairs(UNITS, RECIPE).batch(ROWS)
    study, organ = UNITS.of(ROWS)
    told, unit = texts_of(batch.features), {(ROWS[i], NAMES[k]): u for u, (i, k) in enumerate(zip(study, organ, strict=True))}
    owned = lambda *key: {told[c] for c in np.flatnonzero(batch.targets[unit[key]])}  # noqa: E731
    assert owned(0, "kidney_left") == owned(7, "kidney_left") == {"Cyst in the left kidney."}
    assert owned(2, "spleen") == {"There is splenomegaly."}
    assert owned(4, "spleen") == owned(5, "spleen") == {normal_sentence("spleen")}
    assert batch.targets.sum(1).tolist() == [1] * len(study)


def test_a_text_about_another_organ_is_never_asked():
    batch = OrganPairs(UNITS, RECIPE).batch(ROWS, generator())
    _, organ = UNITS.of(ROWS)
    column_organ = UNITS.texts.organ[batch.text_ids.numpy()]
    assert not batch.valid[torch.from_numpy(organ[:, None] != column_organ)].any()


def test_another_wording_of_the_same_finding_is_neither_right_nor_wrong():
    rows = np.array([0, 2])  # both have a cyst in the left kidney, in other words
    batch = OrganPairs(UNITS, replace(RECIPE, n_dictionary=9)).batch(rows, generator())
    told, (_, organ) = texts_of(batch.features), UNITS.of(rows)
    one, other = np.flatnonzero(organ == NAMES.index("kidney_left"))
    cysts = [c for c, text in enumerate(told) if "cyst in the left kidney" in text.lower()]
    assert len(cysts) == 4  # two sentences and two phrases of the dictionary
    assert batch.valid[one, cysts].tolist() == [t == "Cyst in the left kidney." for t in (told[c] for c in cysts)]
    assert batch.valid[other, cysts].tolist() == [t.startswith("A 12 mm") for t in (told[c] for c in cysts)]


def test_an_unlike_finding_and_a_normal_organ_are_wrong_answers():
    rows = np.array([0, 1, 3, 5])  # liver: cyst, steatosis, cyst, normal
    batch = OrganPairs(UNITS, RECIPE).batch(rows)
    told, (study, organ) = texts_of(batch.features), UNITS.of(rows)
    asked = {rows[study[u]]: {told[c] for c in np.flatnonzero(batch.valid[u])} for u in np.flatnonzero(organ == 1)}
    assert set(asked) == {0, 1, 3, 5}
    assert all(texts == {"Hepatic cyst.", "Hepatic steatosis.", normal_sentence("liver")} for texts in asked.values())


def test_dictionary_columns_stand_behind_those_with_an_owner_and_are_never_right():
    pairs, n_seen = OrganPairs(UNITS, RECIPE), 0
    plain = pairs.batch(ROWS)
    for seed in range(5):
        batch = pairs.batch(ROWS, generator(seed))
        n = len(batch.targets_t)
        assert n == len(plain.text_ids)
        assert not batch.targets[:, n:].any()
        assert set(batch.text_ids[n:].tolist()) <= set(UNITS.negatives.column[UNITS.negatives.count > 0].tolist())
        n_seen += len(batch.text_ids) - n
    assert n_seen > 0


def test_a_batch_with_the_dictionary_is_the_one_without_it_in_its_owned_part():
    pairs = OrganPairs(UNITS, RECIPE)
    plain, drawn = pairs.batch(ROWS), pairs.batch(ROWS, generator())
    n = len(plain.text_ids)
    assert len(drawn.text_ids) > n
    assert all(torch.equal(a, b) for a, b in zip(plain.images, drawn.images, strict=True))
    assert torch.equal(plain.text_ids, drawn.text_ids[:n])
    assert torch.equal(plain.features, drawn.features[:n])
    assert torch.equal(plain.targets, drawn.targets[:, :n])
    assert torch.equal(plain.targets_t, drawn.targets_t)
    assert torch.equal(plain.valid, drawn.valid[:, :n])


def test_without_dictionary_in_the_recipe_nothing_is_drawn():
    pairs, rng = OrganPairs(UNITS, replace(RECIPE, n_dictionary=0)), generator()
    assert torch.equal(pairs.batch(ROWS, rng).text_ids, pairs.batch(ROWS).text_ids)
    assert rng.bit_generator.state == generator().bit_generator.state


def test_a_batch_is_drawn_from_the_generator_alone():
    pairs = OrganPairs(UNITS, replace(RECIPE, n_dictionary=1))
    drawn = [pairs.batch(ROWS, generator(seed)).text_ids.tolist() for seed in (0, 0, *range(1, 6))]
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn}) > 1


# units


@pytest.mark.parametrize("form", FORMS)
def test_the_model_embeds_the_units_in_the_order_of_the_targets(form):
    model, batch = encoder(form), OrganPairs(UNITS, RECIPE, form=form).batch(ROWS)
    found = model.encode_images(*batch.images)
    study, organ = UNITS.of(ROWS, form=form)
    assert len(found) == len(batch.targets) == len(study)
    for row, i, k in zip(found, study, organ, strict=True):
        alone = UNITS.of(ROWS[i : i + 1], form=form)[1].tolist().index(k)
        images = UNITS.images(ROWS[i : i + 1], form=form)
        assert torch.allclose(row, model.encode_images(*images)[alone], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_studies_does_not_change_the_loss(form):
    model, pairs = encoder(form), OrganPairs(UNITS, RECIPE, form=form)
    losses = [loss_of(model, pairs.batch(rows, generator())).item() for rows in (ROWS, ROWS[::-1].copy(), np.roll(ROWS, 2))]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_an_organ_that_cannot_be_used_drops_its_unit_and_changes_nothing_else(form):
    fewer, rows = toy_units(unused=(*UNUSED, (5, "spleen"))), ROWS  # its normal sentence is owned by others too
    one, other = (OrganPairs(u, RECIPE, form=form).batch(rows, generator()) for u in (UNITS, fewer))
    study, organ = UNITS.of(rows, form=form)
    kept = torch.from_numpy(~((rows[study] == 5) & (organ == NAMES.index("spleen"))))
    assert (~kept).sum() == 1
    right = one.targets[kept] > 0
    assert torch.equal(other.text_ids, one.text_ids)
    assert torch.equal(other.valid, one.valid[kept])
    assert all(torch.equal(a, b) for a, b in zip(from_relation(right), (other.targets, other.targets_t), strict=True))
    model = encoder(form)
    assert torch.allclose(model.encode_images(*other.images), model.encode_images(*one.images)[kept], atol=1e-5)


def test_a_study_without_any_usable_organ_is_not_trained_on():
    nothing = tuple((i, name) for i in (1, 6) for name in NAMES)
    pairs = OrganPairs(toy_units(splits=("train",) * 6 + ("val",) * 4, unused=nothing), RECIPE)
    assert pairs.train.tolist() == [0, 2, 3, 4, 5]
    assert pairs.val.tolist() == [7, 8, 9]
    assert {i for rows in pairs.epoch(generator(), 2) for i in rows} <= set(pairs.train)


def test_too_few_studies_with_usable_organs_are_refused():
    unused = tuple((i, name) for i in (6,) for name in NAMES)
    with pytest.raises(ValueError, match=r"train has 6 and val 1 studies with an organ.*each needs 2: look at Organs.counts"):
        OrganPairs(toy_units(unused=unused), RECIPE)


def test_a_dataset_without_any_usable_organ_is_refused_in_words():
    unused = tuple((i, name) for i in range(len(REPORTS)) for name in NAMES)
    with pytest.raises(ValueError, match="organ"):
        OrganPairs(toy_units(unused=unused), RECIPE)


def test_a_patient_in_two_splits_is_refused_unless_there_is_a_reason():
    units = toy_units()
    units.table.loc[:, "patient_id"] = "one"
    with pytest.raises(ValueError, match="1 patients are in more than one split"):
        OrganPairs(units, RECIPE)
    assert len(OrganPairs(units, RECIPE, overlap_because="to see it leak").train) == 6


def test_an_epoch_has_every_training_study_once():
    pairs = OrganPairs(UNITS, RECIPE)
    one, two, other = (np.concatenate(pairs.epoch(generator(seed), 2)).tolist() for seed in (0, 0, 1))
    assert sorted(one) == pairs.train.tolist() == [i for i, split in enumerate(SPLITS) if split == "train"]
    assert one == two != other
    assert isinstance(pairs, Pairs)


def test_training_features_are_the_sentences_of_usable_organs_of_training_studies_once_each():
    found = texts_of(OrganPairs(UNITS, RECIPE).training_features())
    used = UNITS.organs.used
    wanted = {e.text for i in range(6) for e in UNITS.entries[i] if used[i, NAMES.index(e.organ)]}
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("boxes", [False, True])
def test_boxes_hide_the_masks_of_crops(boxes):
    images = OrganPairs(UNITS, RECIPE, boxes=boxes).batch(ROWS).images
    assert ((images[1] == 255).all() and (images[4] == 255).all()) == boxes


def test_a_map_batch_is_volumes_label_maps_and_wanted_organs():
    volumes, labels, wanted = OrganPairs(UNITS, RECIPE, form="map").batch(ROWS).images
    assert volumes.shape == (5, 1, *GRID)
    assert labels.shape == (5, *GRID)
    assert wanted.sum() == UNITS.organs.used[ROWS].sum()


# the term that aligns organs with their names


def test_every_unit_is_right_for_the_name_of_its_organ_alone():
    rows = np.array([0, 4])  # no spleen of the one, no liver of the other
    batch, (_, organ) = OrganPairs(UNITS, RECIPE).batch(rows), UNITS.of(rows)
    (names,) = batch.also
    assert texts_of(names.features) == [texts_of(UNITS.names)[k] for k in names.text_ids]
    assert sorted(names.text_ids.tolist()) == [0, 1, 2, 3]
    assert torch.equal(names.targets, (torch.from_numpy(organ)[:, None] == names.text_ids).float())
    assert names.valid is None
    assert names.weight == RECIPE.names_weight


def test_names_of_organs_that_no_unit_is_of_stand_last_and_have_no_row():
    units = toy_units(unused=tuple((i, name) for i in range(10) for name in ("kidney_left", "kidney_right")))
    batch = OrganPairs(units, RECIPE).batch(ROWS)
    (names,) = batch.also
    present, absent = {NAMES.index(name) for name in ("liver", "spleen")}, {0, 2}
    assert set(names.text_ids[:2].tolist()) == present
    assert set(names.text_ids[2:].tolist()) == absent
    assert names.targets_t.shape == (2, len(batch.targets))
    assert torch.allclose(names.targets_t, names.targets.T[:2] / names.targets.T[:2].sum(1, keepdim=True))


def test_without_weight_there_is_no_term_of_names():
    batch = OrganPairs(UNITS, replace(RECIPE, names_weight=0.0)).batch(ROWS)
    assert batch.also == ()
    assert len(batch.terms) == 1


# losses of several terms


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("weight", [0.0, 0.1, 2.5])
def test_the_loss_of_a_batch_is_the_weighted_sum_over_its_terms(loss, weight):
    recipe, model = replace(RECIPE, loss=loss, names_weight=weight or 1.0), encoder()
    batch = OrganPairs(UNITS, recipe).batch(ROWS, generator())
    (names,) = batch.also
    batch, emb = batch._replace(also=(names._replace(weight=weight),)), model.encode_images(*batch.images)
    parts = [
        recipe_loss(recipe, model.logits(emb, model.encode_texts(t.features)), t.targets, t.targets_t, t.valid)
        for t in (batch, names)
    ]
    assert batch_loss(recipe, model, emb, batch).item() == pytest.approx((parts[0] + weight * parts[1]).item(), rel=1e-6)
    assert parts[1].item() > 0.1


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_levels_are_the_weighted_sums_over_the_terms(loss):
    recipe = replace(RECIPE, loss=loss, names_weight=0.5)
    batch = OrganPairs(UNITS, recipe).batch(ROWS, generator())
    (names,) = batch.also
    nothing = [no_learning_level(loss, t.targets, t.targets_t, t.valid) for t in (batch, names)]
    floor = [floor_level(loss, t.targets, t.targets_t, t.text_ids, t.valid) for t in (batch, names)]
    assert loss_levels(recipe, batch) == pytest.approx((nothing[0] + 0.5 * nothing[1], floor[0] + 0.5 * floor[1]))


def test_terms_may_stand_in_any_order():
    model, batch = encoder(), OrganPairs(UNITS, RECIPE).batch(ROWS, generator())
    emb, (first, second) = model.encode_images(*batch.images), batch.terms
    both = [Batch(batch.images, *one[:5], also=(other,)) for one, other in
            ((first, second._replace(weight=1.0)), (second, first._replace(weight=1.0)))]  # fmt: skip
    losses = [batch_loss(RECIPE, model, emb, b).item() for b in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert loss_levels(RECIPE, both[0]) == pytest.approx(loss_levels(RECIPE, both[1]))


def test_the_first_term_of_a_batch_is_the_batch_itself_with_weight_1():
    batch = OrganPairs(UNITS, RECIPE).batch(ROWS)
    first, second = batch.terms
    assert isinstance(first, Term)
    assert all(a is b for a, b in zip(first[:5], batch[1:6], strict=True))
    assert first.weight == 1.0
    assert second is batch.also[0]


def test_an_untrained_models_loss_lies_between_the_levels():
    model, pairs = encoder(), OrganPairs(UNITS, RECIPE)
    with torch.no_grad():
        model.log_scale.fill_(-20.0)  # sees nothing
    batch = pairs.batch(ROWS, generator())
    nothing, floor = loss_levels(RECIPE, batch)
    assert loss_of(model, batch).item() == pytest.approx(nothing, rel=1e-4)
    assert floor < nothing


# a few at a time


@pytest.fixture
def accelerator():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    return Accelerator(mixed_precision="no", cpu=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("micro_batch", [0, 2, 3])
def test_a_few_studies_at_a_time_give_the_gradient_of_the_whole_batch(form, micro_batch, accelerator):
    model, plain = encoder(form), encoder(form)
    batch = OrganPairs(UNITS, RECIPE, form=form).batch(ROWS, generator())
    wanted = loss_of(plain, batch)
    wanted.backward()
    assert backward(model, batch, RECIPE, accelerator, micro_batch=micro_batch) == pytest.approx(wanted.item(), rel=1e-5)
    gradients = [torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in (model, plain)]
    assert torch.linalg.norm(gradients[0] - gradients[1]) <= 1e-4 * torch.linalg.norm(gradients[1])


def test_as_many_large_crops_as_small_ones_are_not_confused_a_few_at_a_time(accelerator):
    names, reports = ("liver", "spleen"), ("Hepatic cyst.", "Splenomegaly.", "Hepatic steatosis.", "Normal.") * 2
    units = toy_units(reports, ("train", "val") * 4, names=names)
    torch.manual_seed(0)
    model = OrganEncoder(OrganConfig(names, channels=1, embed_dim=8)).eval()
    batch = OrganPairs(units, RECIPE).batch(np.arange(8))
    assert backward(model, batch, RECIPE, accelerator, micro_batch=3) == pytest.approx(loss_of(model, batch).item(), rel=1e-5)


# similarity between the sentences about an organ

SIMILAR = replace(RECIPE, similarity="semantic", power=2.0, similarity_weight=0.4)


def test_softened_targets_are_those_of_a_loop():
    pairs = OrganPairs(UNITS, SIMILAR)
    batch, hard = pairs.batch(ROWS), OrganPairs(UNITS, RECIPE).batch(ROWS)
    right, organ = hard.targets > 0, UNITS.texts.organ[batch.text_ids.numpy()]
    emb = torch.nn.functional.normalize(batch.features - pairs.training_features().mean(0), dim=1)
    alike = torch.zeros_like(hard.targets)
    for u, k in enumerate(UNITS.of(ROWS)[1]):
        for c in np.flatnonzero(organ == k):
            nearest = max(float(emb[own] @ emb[c]) for own in np.flatnonzero(right[u]))
            alike[u, c] = 1.0 if right[u, c] else max(nearest, 0) ** 2
    for found, own, sim in ((batch.targets, right, alike), (batch.targets_t, right.T, alike.T)):
        own = own / own.sum(1, keepdim=True)
        assert torch.allclose(found, 0.6 * own + 0.4 * sim / sim.sum(1, keepdim=True), atol=1e-5)
    assert batch.valid[alike > 0].all()


def test_phrases_of_the_dictionary_stay_wrong_however_alike():
    batch = OrganPairs(UNITS, SIMILAR).batch(ROWS, generator())
    n_owned = len(batch.targets_t)
    assert batch.targets.shape[1] > n_owned
    assert (batch.targets[:, n_owned:] == 0).all()
    assert np.isfinite(batch_loss(SIMILAR, encoder(), encoder().encode_images(*batch.images), batch).item())


def test_without_weight_similarity_changes_nothing_but_what_is_asked():
    soft, hard = (OrganPairs(UNITS, recipe).batch(ROWS) for recipe in (replace(SIMILAR, similarity_weight=0.0), RECIPE))
    assert torch.allclose(soft.targets, hard.targets)
    assert torch.allclose(soft.targets_t, hard.targets_t)


def test_sentences_about_organs_are_compared_by_meaning_alone():
    with pytest.raises(ValueError, match="similarity is 'semantic', not 'rare'"):
        OrganPairs(UNITS, replace(RECIPE, similarity="rare"))
