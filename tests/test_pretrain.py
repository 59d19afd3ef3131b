"""The training loop: that it learns, repeats itself, goes on where it was killed, and says what is wrong."""

import math
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toy import toy_features, toy_pairs, toy_volumes

from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.data.catalog import load
from medclip_nb.data.studies import load_units
from medclip_nb.learn.losses import floor_level, recipe_loss
from medclip_nb.learn.pairs import ImagePairs
from medclip_nb.learn.plan import Plan, accelerator_of
from medclip_nb.learn.pretrain import Run, advice, pretrain
from medclip_nb.learn.resume import STATE
from medclip_nb.learn.step import overfit
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model

TIMES = ["data_s", "step_s", "seconds", "units_s", "data_share"]
COLUMNS = ["epoch", "train_loss", *TIMES, "val_loss", "no_learning", "floor", "scale"]
PLAN = Plan(epochs=2, batch_size=8, learning_rate=3e-3, precision="no", seed=0)
OTHERS = {
    "plain": {},
    "average and early stopping": {"ema": 0.7, "patience": 3},
    "a few at a time": {"micro_batch": 3},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny batches lose by several threads, and by far where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh(recipe: str = "clip", seed: int = 0):
    return build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=seed)


def run(plan: Plan = PLAN, *, pairs=None, model=None, folder=None):
    """A trained model and its history."""
    pairs = pairs or toy_pairs()
    model = model or fresh(pairs.recipe.name, plan.seed)
    return model, pretrain(model, pairs, recipe=pairs.recipe, plan=plan, folder=folder)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def assert_same_weights(one: dict, other: dict):
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []


def assert_same_run(one, other):
    """Weights bit by bit, and the history but for the seconds."""
    assert_same_weights(weights(one[0]), weights(other[0]))
    pd.testing.assert_frame_equal(*(history.drop(columns=TIMES) for _, history in (one, other)), check_exact=True)


def validation_loss(model, pairs, rows) -> float:
    batch = pairs.batch(rows)
    with torch.no_grad():
        return recipe_loss(pairs.recipe, model(batch.images, batch.features), batch.targets, batch.targets_t).item()


class Watched(ImagePairs):
    """Pairs that count epochs and training batches, and call `on_batch` before each batch is given."""

    begun, n_batches, validated = 0, 0, ()

    def epoch(self, rng, size):
        self.begun, self.n_batches = self.begun + 1, 0
        return super().epoch(rng, size)

    def batch(self, rows, rng=None):
        self.n_batches += rng is not None
        self.validated = (*self.validated, rows) if rng is None else ()
        return self.on_batch(super().batch(rows, rng), rng is not None)

    def on_batch(self, batch, training):
        return batch


def watched(on_batch, *, n: int = 16, recipe: str = "clip") -> Watched:
    """`on_batch(pairs, batch, training)` gives the batch that is used."""
    kind = type("Pairs", (Watched,), {"on_batch": on_batch})
    pairs = toy_pairs(n, recipe=recipe)
    return kind(pairs.units, pairs.features, pairs.recipe)


def killed_in(epoch: int, batch: int = 2, **pairs):
    def on_batch(self, given, training):
        if training and (self.begun, self.n_batches) == (epoch, batch):
            raise KeyboardInterrupt
        return given

    return watched(on_batch, **pairs)


def killed_now(*args):
    raise KeyboardInterrupt


# the same again


def test_the_same_seed_gives_the_same_history_and_weights():
    plan = replace(PLAN, seed=1)
    assert_same_run(run(plan), run(plan))


def test_another_seed_gives_another_history():
    assert run(replace(PLAN, seed=1))[1]["train_loss"].tolist() != run(replace(PLAN, seed=2))[1]["train_loss"].tolist()


def test_what_was_drawn_before_the_run_does_not_matter():
    model, other = fresh(), fresh()
    torch.manual_seed(99)
    assert_same_run(run(model=model), run(model=other))


def test_test_images_are_never_looked_at():
    pairs = toy_pairs(splits=("train", "val", "test"))
    first = run(pairs=pairs)
    pairs.units.images[pairs.units.rows("test")] = 77
    assert_same_run(first, run(pairs=pairs))


# it learns


@pytest.mark.parametrize("recipe", ["clip", "siglip"])
def test_it_overfits_sixteen_pairs(recipe):
    model, history = run(replace(PLAN, epochs=40), pairs=toy_pairs(recipe=recipe))
    batch, last = toy_pairs().batch(np.arange(16)), history.iloc[-1]
    assert last["train_loss"] < 0.2 * last["no_learning"]
    assert (model(batch.images, batch.features).argmax(1) == torch.arange(16)).all()


def test_overfitting_on_purpose_learns_by_heart_and_leaves_the_model_alone():
    model, pairs = fresh(), toy_pairs()
    before = weights(model)
    first, last, floor = overfit(model, pairs, recipe=RECIPES["clip"])
    assert floor == 0
    assert last < 0.2 * first
    assert_same_weights(before, weights(model))


def test_overfitting_on_purpose_fails_where_images_are_all_the_same():
    pairs = toy_pairs()
    pairs.units.images[:] = 100
    first, last, _ = overfit(fresh(), pairs, recipe=RECIPES["clip"], n_steps=30)
    assert min(first, last) > 0.95 * math.log(16)


@pytest.mark.parametrize("recipe", ["clip", "siglip"])
def test_training_moves_every_trained_weight_the_temperature_included(recipe):
    before = fresh(recipe)
    after = dict(run(pairs=toy_pairs(recipe=recipe))[0].named_parameters())
    still = [name for name, old in before.named_parameters() if torch.equal(old, after[name])]
    assert still == ([] if recipe == "siglip" else ["bias"])


def test_a_single_step_moves_the_weights():
    model, _ = run(Plan(1, 1000, 3e-3, "no", 0))
    assert not torch.equal(model.text_head.weight, fresh().text_head.weight)


def test_no_gradient_is_carried_from_one_step_to_the_next():
    assert [name for name, p in run()[0].named_parameters() if p.grad is not None] == []


def test_the_scale_stays_within_its_limit():
    model = fresh()
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    _, history = run(model=model)
    assert model.log_scale.item() <= math.log(100)
    assert (history["scale"] <= 100).all()


def test_one_run_may_have_another_precision_than_the_one_before():
    for precision in ("no", "bf16", "no"):
        assert np.isfinite(run(replace(PLAN, epochs=1, precision=precision))[1]["train_loss"]).all()


def test_bf16_learns_nearly_what_full_precision_learns():
    losses = [run(Plan(15, 16, 3e-3, precision, 0))[1]["train_loss"].iloc[-1] for precision in ("no", "bf16")]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.2)


# what is told


def test_the_history_has_a_row_per_epoch_and_its_levels():
    model, history = run(replace(PLAN, epochs=3))
    assert list(history.columns) == COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["no_learning"].tolist() == pytest.approx([np.log(8)] * 3)
    assert history["floor"].tolist() == [0, 0, 0]
    assert not model.training


def test_the_floor_of_the_history_is_that_of_the_validation_batches():
    pairs = toy_pairs()
    pairs.units.table["text_id"] = np.arange(32) % 4
    pairs = ImagePairs(pairs.units, pairs.features, pairs.recipe)
    _, history = run(replace(PLAN, batch_size=16), pairs=pairs)
    batch = pairs.batch(pairs.val)
    assert history["floor"].tolist() == pytest.approx([math.log(4)] * 2)
    assert floor_level("softmax", batch.targets, batch.targets_t, batch.text_ids) == pytest.approx(math.log(4))


def test_validation_weighs_batches_by_their_size():
    pairs = watched(lambda self, batch, training: batch)
    model, history = run(replace(PLAN, epochs=1, batch_size=6), pairs=pairs)
    batches = pairs.validated
    losses = [validation_loss(model, toy_pairs(), rows) for rows in batches]
    assert [len(rows) for rows in batches] == [6, 6, 4]
    assert sorted(np.concatenate(batches)) == pairs.val.tolist()
    assert history["val_loss"].item() == pytest.approx((6 * losses[0] + 6 * losses[1] + 4 * losses[2]) / 16, rel=1e-5)


def test_validation_batches_do_not_follow_the_table_and_are_the_same_in_each_epoch_and_for_each_seed():
    seen = []
    for seed in (0, 1):
        pairs = watched(lambda self, batch, training: batch)
        run(replace(PLAN, seed=seed), pairs=pairs)
        seen.append([rows.tolist() for rows in pairs.validated])
    assert seen[0] == seen[1]
    assert seen[0][0] != pairs.val[:8].tolist()


def test_the_mean_text_is_that_of_the_training_texts_only():
    pairs = toy_pairs()
    pairs.units.table.loc[pairs.train, "text_id"] = np.arange(16) % 4
    pairs = ImagePairs(pairs.units, pairs.features, pairs.recipe)
    assert torch.allclose(run(pairs=pairs)[0].text_mean, toy_features(16)[:4].mean(0))


def test_a_reason_to_train_on_patients_of_two_splits_stays_in_the_history():
    pairs = replace(toy_pairs(), overlap_because="to show what leakage does")
    assert run(replace(PLAN, epochs=1), pairs=pairs)[1].attrs["overlap_because"] == "to show what leakage does"


def test_a_good_run_gets_no_advice():
    assert run(replace(PLAN, epochs=20))[1].attrs["advice"] == []


def test_a_model_that_has_learnt_nothing_is_told():
    (said,) = run(replace(PLAN, learning_rate=0.0))[1].attrs["advice"]
    assert "at the level of a model that sees nothing (2.08)" in said


def test_slow_data_is_told():
    def on_batch(self, batch, training):
        time.sleep(0.5 * training)
        return batch

    history = run(Plan(1, 8, 3e-3, "no", 0), pairs=watched(on_batch))[1]
    assert any("the data is the bottleneck" in said for said in history.attrs["advice"])
    assert history["data_s"].item() >= 1
    assert history["data_s"].item() + history["step_s"].item() == pytest.approx(history["seconds"].item())


@pytest.mark.parametrize(("val_loss", "data_s", "n_said"), [(1.0, 1.0, 0), (1.99, 1.0, 1), (1.0, 9.0, 1), (2.5, 9.0, 2)])
def test_advice_is_read_off_the_history(val_loss, data_s, n_said):
    table = pd.DataFrame({"val_loss": [3.0, val_loss], "no_learning": 2.0, "data_s": data_s, "step_s": 3.0})
    assert len(advice(table)) == n_said


# a run that was killed goes on


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_that_was_killed_goes_on_to_the_same_end(tmp_path, change, epoch):
    plan = replace(PLAN, epochs=4, **change)
    whole = run(plan)
    with pytest.raises(KeyboardInterrupt):
        run(plan, pairs=killed_in(epoch), folder=tmp_path)
    pairs = watched(lambda self, batch, training: batch)
    assert_same_run(run(plan, pairs=pairs, folder=tmp_path), whole)
    assert pairs.begun == 4 - (epoch - 1)


def test_a_run_with_dropout_goes_on_to_the_same_end(tmp_path):
    def trained(folder, pairs):
        model = build_adapter("self_attention", fresh(), seed=0)
        return model, pretrain(model, pairs, recipe=RECIPES["clip"], plan=replace(PLAN, epochs=3), folder=folder)

    killed = toy_volumes(48)
    epochs = iter([killed.epoch, killed.epoch])
    killed.epoch = lambda rng, size: next(epochs, killed_now)(rng, size)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, killed)
    assert_same_run(trained(tmp_path, toy_volumes(48)), trained(None, toy_volumes(48)))


def test_a_run_may_be_killed_twice(tmp_path):
    plan = replace(PLAN, epochs=4)
    for pairs in (killed_in(2), killed_in(2, 1)):
        with pytest.raises(KeyboardInterrupt):
            run(plan, pairs=pairs, folder=tmp_path)
    assert_same_run(run(plan, folder=tmp_path), run(plan))


def test_a_folder_changes_nothing_but_keeps_the_run(tmp_path):
    assert_same_run(run(folder=tmp_path), run())


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_run_that_is_over_is_not_trained_again(tmp_path, change):
    plan, pairs = replace(PLAN, **change), watched(lambda self, batch, training: batch)
    first = run(plan, folder=tmp_path)
    assert_same_run(run(plan, pairs=pairs, folder=tmp_path), first)
    assert pairs.begun == 0


@pytest.mark.parametrize("change", [{"epochs": 3}, {"learning_rate": 1e-3}, {"seed": 5}, {"ema": 0.5}, {"batch_size": 4}])
def test_the_state_of_another_plan_is_not_gone_on_from(tmp_path, change):
    run(folder=tmp_path)
    plan = replace(PLAN, **change)
    assert_same_run(run(plan, folder=tmp_path), run(plan))


def other_images(pairs):
    pairs.units.images[:] = 255 - pairs.units.images


def other_features(pairs):
    pairs.features += 0.01


@pytest.mark.parametrize("change", [other_images, other_features])
def test_the_state_of_a_run_on_other_data_is_not_gone_on_from(tmp_path, change):
    run(folder=tmp_path)
    pairs = toy_pairs()
    change(pairs)
    assert_same_run(run(pairs=pairs, folder=tmp_path), run(pairs=pairs))


def test_the_state_of_another_model_is_not_gone_on_from(tmp_path):
    run(folder=tmp_path)
    assert_same_run(run(model=fresh(seed=7), folder=tmp_path), run(model=fresh(seed=7)))


def test_the_state_of_another_pooling_is_not_gone_on_from_though_its_weights_have_the_same_shapes(tmp_path):
    pairs, histories = toy_volumes(48), []
    for pooling, folder in (("mean", tmp_path), ("max", tmp_path), ("max", None)):
        model = build_adapter(pooling, fresh(), seed=0)
        histories.append(pretrain(model, pairs, recipe=RECIPES["clip"], plan=PLAN, folder=folder))
    mean, after, alone = (history["val_loss"].tolist() for history in histories)
    assert after == alone != mean


def test_what_a_model_was_given_does_not_change_by_going_on_twice(tmp_path):
    model, _ = run(folder=tmp_path)
    kept = weights(model)
    again, _ = run(folder=tmp_path)
    assert_same_weights(kept, weights(model))
    assert_same_weights(kept, weights(again))


# the average, early stopping


def test_the_average_follows_its_recursion_and_is_what_is_kept_and_validated():
    model, seen = fresh(), []

    def on_batch(self, batch, training):
        seen.append(model.text_head.weight.detach().clone())  # one batch, one validation: before each step and after it
        return batch

    pairs = watched(on_batch)
    _, history = run(Plan(6, 16, 3e-3, "no", 0, ema=0.8), pairs=pairs, model=model)
    average = seen[0]
    for after in seen[1::2]:
        average = 0.8 * average + 0.2 * after
    assert torch.allclose(model.text_head.weight, average, atol=1e-6)
    assert (seen[-1] - average).abs().max() > 1e-4
    assert history["val_loss"].iloc[-1] == pytest.approx(validation_loss(model, toy_pairs(), pairs.val), rel=1e-5)


def misled() -> ImagePairs:
    """Validation texts belong to other images than those of training: the better it is learnt, the worse it gets."""
    pairs = toy_pairs()
    pairs.units.table.loc[pairs.val, "text_id"] = np.roll(np.arange(16), 3)
    return ImagePairs(pairs.units, pairs.features, pairs.recipe)


@pytest.mark.parametrize("ema", [0.0, 0.6])
def test_early_stopping_stops_after_its_patience_and_goes_back_to_the_best_epoch(ema):
    plan = Plan(40, 16, 3e-3, "no", 0, patience=3, ema=ema)
    model, history = run(plan, pairs=misled())
    best = int(history["val_loss"].argmin())
    assert len(history) == best + 1 + 3 < 40
    assert validation_loss(model, misled(), misled().val) == pytest.approx(history["val_loss"].min(), rel=1e-5)
    assert history["val_loss"].iloc[-1] > history["val_loss"].min() + 0.01


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    plan = Plan(40, 16, 3e-3, "no", 0, patience=2)
    first = run(plan, pairs=misled(), folder=tmp_path)
    assert_same_run(run(plan, pairs=misled(), folder=tmp_path), first)


def test_without_patience_a_run_goes_to_its_end_however_bad_it_gets():
    assert len(run(Plan(12, 16, 3e-3, "no", 0), pairs=misled())[1]) == 12


# what is not finite


def poisoned(epoch: int, *, training: bool = True) -> Watched:
    """The second batch of an epoch, or its validation, has a text without a number."""

    def on_batch(self, batch, is_training):
        if self.begun == epoch and is_training == training and self.n_batches == 2:
            return batch._replace(features=batch.features * torch.nan)
        return batch

    return watched(on_batch)


@pytest.mark.parametrize(("training", "where"), [(True, r"epoch 3, batch 2"), (False, "validation")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_units(training, where):
    pairs, plan = poisoned(3, training=training), replace(PLAN, epochs=4)
    with pytest.raises(FloatingPointError, match=rf"the loss is nan in {where} \(units \d+, \d+, \d+, \d+, \.\.\.\)") as caught:
        run(plan, pairs=pairs)
    named = [int(n) for n in str(caught.value).split("units ")[1].split(", ...")[0].split(", ")]
    assert set(named) <= set(pairs.train if training else pairs.val)
    assert "Look at these units, or lower the learning rate" in str(caught.value)


@pytest.mark.parametrize("training", [True, False])
def test_after_a_loss_that_is_not_finite_model_and_folder_are_as_the_last_whole_epoch_left_them(tmp_path, training):
    plan, left = replace(PLAN, epochs=4), fresh()
    with pytest.raises(KeyboardInterrupt):
        run(plan, pairs=killed_in(3, 1), model=left)  # nothing of the third epoch is done
    broken = fresh()
    with pytest.raises(FloatingPointError):
        run(plan, pairs=poisoned(3, training=training), model=broken, folder=tmp_path)
    assert_same_weights(weights(left), weights(broken))
    state = load_file(tmp_path / STATE)
    assert_same_weights(weights(left), {k.removeprefix("model/"): v for k, v in state.items() if k.startswith("model/")})
    assert_same_run(run(plan, folder=tmp_path), run(plan))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_optimiser_steps(value):
    model, calls = fresh(), []
    model.text_head.weight.register_hook(lambda gradient: gradient * (value if calls.append(0) or len(calls) == 2 else 1))
    with pytest.raises(FloatingPointError, match=r"the gradient's norm is \w+ in epoch 1, batch 2 \(units \d+, .*Look at these"):
        run(model=model)
    assert_same_weights(weights(fresh()) | {"text_mean": toy_features(16).mean(0)}, weights(model))


def test_in_half_precision_a_gradient_that_overflows_is_left_to_the_scaler(monkeypatch):
    """The scaler needs a GPU: here the step is taken as it is where one would be."""
    one = Run(fresh(), toy_pairs(), RECIPES["clip"], PLAN, accelerator_of(PLAN))
    monkeypatch.setattr(one.accelerator, "clip_grad_norm_", lambda parameters, norm: torch.tensor(math.inf))
    monkeypatch.setattr(one.optimizer, "step", lambda: None)
    batch = one.pairs.batch(one.pairs.train[:4])
    with pytest.raises(FloatingPointError, match="gradient's norm is inf in here"):
        one.step(batch, 1e-3, where="here")
    one.plan = replace(PLAN, precision="fp16")
    assert math.isfinite(one.step(batch, 1e-3, where="here"))


def test_in_the_first_epoch_the_model_goes_back_to_what_was_given():
    model = fresh()
    with pytest.raises(FloatingPointError, match="epoch 1, batch 2"):
        run(pairs=poisoned(1), model=model)
    before = weights(fresh()) | {"text_mean": toy_features(16).mean(0)}
    assert_same_weights(before, weights(model))


# other data


def test_a_batch_larger_than_the_data_still_trains():
    assert np.isfinite(run(replace(PLAN, batch_size=1000))[1]["train_loss"]).all()


@pytest.mark.parametrize("recipe", ["radclip_true", "radclip_distinct"])
def test_slices_of_the_torso_cohort_can_be_trained_on(torso_units, recipe):
    pairs = ImagePairs(torso_units, toy_features(len(torso_units.texts)), RECIPES[recipe])
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=3, seed=0)
    history = pretrain(model, pairs, recipe=RECIPES[recipe], plan=Plan(1, 32, 4e-3, "no", 0))
    assert np.isfinite(history).all(axis=None)
    assert (history["floor"] < history["val_loss"]).all()


def test_a_folder_of_pictures_can_be_trained_on(picture_folder):
    units = load_units(load(picture_folder, PRESETS["smoke"]))
    pairs = ImagePairs(units, toy_features(len(units.texts)), RECIPES["clip"])
    assert np.isfinite(run(replace(PLAN, epochs=1, batch_size=4), pairs=pairs)[1][["train_loss", "val_loss"]]).all(axis=None)
