"""The training loop: that it learns, repeats itself, and refuses what would make its result worthless."""

import numpy as np
import pandas as pd
import pytest
import torch
from toy import toy_features, toy_units

from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.data.catalog import load
from medclip_nb.data.studies import load_units
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.pretrain import Plan, UnitBatches, plan, pretrain, validate
from medclip_nb.model.dual_encoder import build_model

COLUMNS = ["epoch", "train_loss", "val_loss", "no_learning", "floor", "scale", "seconds"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny batches lose by several threads, and by far where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(*, epochs: int = 2, seed: int = 0, recipe: str = "clip", units=None, features=None, rate: float = 3e-3, batch: int = 8):
    units = units or toy_units(16)
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=seed)
    how = Plan(epochs=epochs, batch_size=batch, learning_rate=rate, precision="no", seed=seed)
    features = toy_features(len(units.texts)) if features is None else features
    return model, pretrain(model, units, features, recipe=RECIPES[recipe], plan=how)


def test_the_same_seed_gives_the_same_history_and_weights():
    (one, history), (two, again) = run(seed=1), run(seed=1)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), again.drop(columns="seconds"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_another_seed_gives_another_history():
    assert run(seed=1)[1]["train_loss"].tolist() != run(seed=2)[1]["train_loss"].tolist()


@pytest.mark.parametrize("recipe", ["clip", "siglip"])
def test_it_overfits_sixteen_pairs(recipe):
    model, history = run(epochs=60, batch=16, recipe=recipe)
    last = history.iloc[-1]
    assert last["train_loss"] < 0.2 * last["no_learning"]
    units = toy_units(16)
    logits = model(torch.from_numpy(units.images[:16]), toy_features(16))
    assert (logits.argmax(1) == torch.arange(16)).all()


def test_the_history_has_a_row_per_epoch_and_its_levels():
    model, history = run(epochs=3)
    assert list(history.columns) == COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["no_learning"].tolist() == pytest.approx([np.log(8)] * 3)
    assert history["floor"].tolist() == [0, 0, 0]
    assert not model.training


def test_training_moves_every_trained_weight_the_temperature_included():
    before = build_model(RECIPES["siglip"], image_tower="slice_cnn", channels=1, seed=0).named_parameters()
    after = dict(run(recipe="siglip")[0].named_parameters())
    assert [name for name, old in before if torch.equal(old, after[name])] == []


def test_no_gradient_is_carried_from_one_step_to_the_next():
    assert [name for name, p in run()[0].named_parameters() if p.grad is not None] == []


def test_the_mean_text_is_that_of_the_training_texts_only():
    units, features = toy_units(16), toy_features(16)
    units.table.loc[units.table["split"] == "train", "text_id"] = np.arange(16) % 4
    assert torch.allclose(run(units=units, features=features)[0].text_mean, features[:4].mean(0))


def test_test_images_are_never_looked_at():
    units = toy_units(16, splits=("train", "val", "test"))
    _, history = run(units=units)
    units.images[units.rows("test")] = 77
    _, again = run(units=units)
    assert history["train_loss"].tolist() == again["train_loss"].tolist()
    assert history["val_loss"].tolist() == again["val_loss"].tolist()


def test_a_patient_in_two_splits_is_refused():
    units = toy_units(16)
    units.table.loc[20, "patient_id"] = "train3"
    with pytest.raises(ValueError, match=r"1 patients are in more than one split \(first: train3\); split by patient"):
        run(units=units)


def test_a_reason_in_words_lets_patients_overlap_and_is_kept():
    units, features = toy_units(16), toy_features(16)
    units.table.loc[20, "patient_id"] = "train3"
    model, how = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0), Plan(1, 8, 1e-3, "no", 0)
    train = lambda why: pretrain(model, units, features, recipe=RECIPES["clip"], plan=how, overlap_because=why)  # noqa: E731
    assert train("to show what leakage does").attrs["overlap_because"] == "to show what leakage does"
    with pytest.raises(ValueError, match="in at least 3 words"):
        train("yes")


@pytest.mark.parametrize(("splits", "words"), [(("train",), "train has 16 and val 0"), (("val",), "train has 0 and val 16")])
def test_an_empty_split_is_refused(splits, words):
    with pytest.raises(ValueError, match=f"{words} units; each needs at least 2"):
        run(units=toy_units(16, splits=splits))


def test_a_loss_that_is_not_finite_stops_the_run():
    features = toy_features(16)
    features[3] = torch.nan
    with pytest.raises(FloatingPointError, match="the loss is nan in batch 0; lower the learning rate"):
        run(features=features)


def test_a_batch_larger_than_the_data_still_trains():
    assert np.isfinite(run(batch=1000)[1]["train_loss"]).all()


def test_a_batch_holds_the_images_features_and_texts_of_its_units():
    units, features = toy_units(4, splits=("train",)), toy_features(4)
    units.table["text_id"] = [2, 0, 2, 1]
    batch = UnitBatches(units, features, np.array([3, 0, 1])).__getitems__([2, 0])
    assert batch["text_ids"].tolist() == [0, 1]
    assert torch.equal(batch["features"], features[[0, 1]])
    assert torch.equal(batch["images"], torch.from_numpy(units.images[[1, 3]]))


def test_validation_weighs_batches_by_their_size():
    model, units, features = run(epochs=1)[0], toy_units(8, splits=("val",)), toy_features(16)
    data = UnitBatches(units, features, units.rows("val"))
    batches = [data.__getitems__(list(range(6))), data.__getitems__([6, 7])]
    losses = [recipe_loss(RECIPES["clip"], model(b["images"], b["features"]), b["text_ids"]).item() for b in batches]
    assert validate(model, batches, RECIPES["clip"])["val_loss"] == pytest.approx((6 * losses[0] + 2 * losses[1]) / 8, rel=1e-5)


def test_a_pretrained_tower_gets_a_lower_rate_and_no_larger_batch():
    small, large = plan(PRESETS["gpu"], seed=3, pretrained_tower=True), plan(PRESETS["gpu"], seed=3)
    assert small.learning_rate < large.learning_rate
    assert small.batch_size <= large.batch_size
    assert small.epochs == PRESETS["gpu"].pretrained_epochs
    assert (large.epochs, large.seed) == (PRESETS["gpu"].epochs, 3)


def test_a_folder_of_pictures_can_be_trained_on(picture_folder):
    units = load_units(load(picture_folder, PRESETS["smoke"]))
    _, history = run(units=units, epochs=1, batch=4)
    assert np.isfinite(history[["train_loss", "val_loss"]]).all(axis=None)
