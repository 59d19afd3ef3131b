"""What pretraining is worth on head MR with few labels: probes, fine-tuning, and the studies of lesson 12 at preset smoke."""

import copy
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb.claims import transfer as studies
from medclip_nb.claims.runner import cell_folder
from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.data.catalog import load
from medclip_nb.data.phantoms.head import examination
from medclip_nb.data.readers import read_mask
from medclip_nb.data.selfcheck import small_map
from medclip_nb.learn import head_labels, segmentation
from medclip_nb.learn.checkpoint import save_model
from medclip_nb.learn.head_labels import Classifier, fit_labels, label_scores
from medclip_nb.lesson import little_data, transfer
from medclip_nb.lesson.real_head import Head
from medclip_nb.measure.auc import auc
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.segmenter import Segmenter

SMOKE = replace(PRESETS["smoke"], n_bootstrap=50)
COLUMNS = ["variant", "measure", "finding", "seed", "value", "low", "high", "n", "unit", "chance"]


def encoder(seed: int = 0):
    return build_model(RECIPES["clip"], image_tower="patch_cnn", channels=1, seed=seed, dims=3, map_pooling="grid").eval()


def bright_or_dark(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Volumes that are bright or dark, and in their front or their back brighter; two labels."""
    rng, labels = np.random.default_rng(0), np.stack([np.arange(n) % 2 == 0, np.arange(n) % 3 == 0], axis=1)
    images = rng.integers(0, 40, (n, 1, 8, 16, 16)).astype(np.uint8)
    images[labels[:, 0]] += 90
    images[labels[:, 1], :, :, :8] += 60
    return images, labels


@pytest.fixture
def short(monkeypatch) -> None:
    """Few steps, for what does not depend on what is learnt."""
    monkeypatch.setattr(head_labels, "N_STEPS", 3)
    monkeypatch.setattr(segmentation, "N_STEPS", 3)


@pytest.fixture(scope="module")
def heads(home):
    return studies.heads_of(SMOKE, "structured", studies.SEQUENCES, 0)


@pytest.fixture(scope="module")
def saved(heads):
    """A model where the study "selip" leaves that of seed 0; the same for both recipes."""
    data = load("head", SMOKE)
    for variant in filter(None, studies.STARTS.values()):
        folder = cell_folder("selip", variant, 0, SMOKE) / "model"
        save_model(encoder(7), folder, contract=data.contract, seen=small_map(heads.units.images[:1]), card="# toy\n")


# fine-tuning on labels


def test_what_is_plain_to_see_is_learnt(monkeypatch):
    monkeypatch.setattr(head_labels, "N_STEPS", 40)
    images, labels = bright_or_dark(36)
    scores = label_scores(fit_labels(encoder(), images[:24], labels[:24], seed=0), images[24:])
    assert min(auc(labels[24:, k], scores[:, k]) for k in (0, 1)) > 0.9


def test_fine_tuning_moves_a_copy_and_the_same_seed_gives_the_same(short):
    start, (images, labels) = encoder(), bright_or_dark()
    before = copy.deepcopy(start.state_dict())
    one, two, other = (fit_labels(start, images, labels, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(before[k], v) for k, v in start.state_dict().items())
    assert not torch.equal(one.encoder.tower.stem[0].weight, start.tower.stem[0].weight)
    assert np.array_equal(label_scores(one, images), label_scores(two, images))
    assert not np.array_equal(label_scores(one, images), label_scores(other, images))


def test_a_logit_is_linear_in_the_features_that_a_probe_reads():
    model, images = Classifier(encoder(), 2).eval(), torch.from_numpy(bright_or_dark()[0])
    torch.nn.init.normal_(model.out.weight)
    with torch.no_grad():
        found, wanted = model(images), model.encoder.features(images) @ model.out.weight.T
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("n_images", "n_labels"), [(5, 4), (1, 1)])
def test_labels_that_are_missing_or_too_few_are_refused(n_images, n_labels):
    images, labels = bright_or_dark()
    with pytest.raises(ValueError, match=f"{n_images} volumes and {n_labels} rows of labels"):
        fit_labels(encoder(), images[:n_images], labels[:n_labels], seed=0)


# the cohort's part


def test_a_mask_holds_the_lesions_of_its_sequence_and_no_others(heads):
    root, table = load("head", SMOKE).root, heads.table.iloc[heads.rows("val")]
    found = little_data.lesion_labels(root, table)
    n_hidden = 0
    for own, row in zip(found, table.to_dict("records"), strict=True):
        whole = read_mask(root / row["lesions"])
        shown = {f["label"] for f in json.loads(row["findings"]) if f["kind"] not in ("wide ventricles", "atrophy")}
        assert set(np.unique(own)) - {0} <= shown
        assert all(np.array_equal(own == label, whole == label) for label in shown)
        n_hidden += bool(set(np.unique(whole)) - {0} - shown)
    assert n_hidden > 0


def test_masks_lie_on_the_images_where_acute_infarcts_are_bright_on_dwi(heads):
    table = heads.table[(heads.table["sequence"] == "DWI") & heads.table["findings"].str.contains("acute infarct")]
    labels = little_data.lesion_labels(load("head", SMOKE).root, table)
    for own, row in zip(labels, table.to_dict("records"), strict=True):
        image = heads.units.images[row["image"], 0]
        for label in [f["label"] for f in json.loads(row["findings"]) if f["kind"] == "acute infarct"]:
            assert image[own == label].mean() > 1.3 * image[(own == 0) & (image > 20)].mean()


def test_a_unit_is_focal_where_its_mask_has_a_lesion(heads):
    labels = little_data.lesion_labels(load("head", SMOKE).root, heads.table)
    sick = (labels > 0).any((1, 2, 3))
    assert not sick[~little_data.focal(heads)].any()
    assert sick[little_data.focal(heads)].mean() > 0.95  # a lesion may be painted over by a later one


@pytest.mark.parametrize("n", [1, 5, 10_000])
def test_labelled_studies_are_whole_training_studies_with_a_lesion(heads, n):
    rows, split = little_data.labelled(heads, n, seed=0), heads.table["split"]
    assert set(split.iloc[rows]) == {"train"}
    studied = heads.table["study_id"].map(examination)
    focal = pd.Series(little_data.focal(heads)).groupby(studied.to_numpy()).any()
    chosen = set(studied.iloc[rows])
    assert len(rows) == 2 * len(chosen)
    assert focal[list(chosen)].all()
    assert len(chosen) == min(n, int(focal[studied[split == "train"].unique()].sum()))


def test_more_labelled_studies_include_the_fewer_and_seeds_differ(heads):
    few, many, other = (set(little_data.labelled(heads, n, seed)) for n, seed in ((3, 0), (9, 0), (3, 1)))
    assert few < many
    assert few != other


# the studies


def test_masks_are_studied_from_each_start_with_a_difference_from_scratch(heads, saved, short):
    variants = [f"{start}, 5 studies" for start in studies.STARTS]
    cells = {(v, 0): studies.masks_cell(v, 0, SMOKE) for v in variants}
    table = studies.masks_table(cells, SMOKE)
    assert list(table.columns) == COLUMNS
    one = cells[variants[0], 0]
    sick = little_data.focal(heads)[heads.rows("test")]
    assert len(one["Dice"]) == sick.sum()
    assert len(one["volumes with a false alarm"]) == (~sick).sum()
    assert all(len(values) == len(one[f"{name}, whose"]) for name, values in one.items() if "whose" not in name)
    dice = table[(table["measure"] == "Dice") & (table["seed"] == f"minus {variants[0]}")]
    assert dice["variant"].tolist() == variants[1:]
    assert dice["value"].tolist() == pytest.approx([cells[v, 0]["Dice"].mean() - one["Dice"].mean() for v in variants[1:]])


def test_labels_are_studied_both_ways_from_each_start(heads, saved, short):
    variants = [f"{start}, 10 %" for start in studies.STARTS]
    cells = {(v, 0): studies.labels_cell(v, 0, SMOKE) for v in variants}
    table = studies.labels_table(cells, SMOKE)
    assert list(table.columns) == COLUMNS
    gain = table[table["seed"] == f"minus {variants[0]}"]
    assert list(zip(gain["variant"], gain["measure"], strict=True)) == [
        (v, f"AUC, {way}") for way, v in product(studies.WAYS, variants[1:])
    ]
    assert np.array_equal(cells[variants[1], 0]["probe"], cells[variants[2], 0]["probe"])  # the same toy model
    assert not np.allclose(cells[variants[0], 0]["probe"], cells[variants[1], 0]["probe"])


def made_up(dice: dict[tuple[str, int], list], distance: list[float]) -> dict:
    """Cells of four volumes of two patients."""
    whose = np.array(["a", "a", "b", "b"])
    values = {studies.DISTANCE: np.array(distance), studies.TOUCHED: np.ones(4, bool), studies.ALARMS: np.zeros(4, bool)}
    named = {f"{name}, whose": whose for name in (studies.DICE, *values)}
    return {key: values | named | {studies.DICE: np.array(own)} for key, own in dice.items()}


def test_a_table_of_masks_has_the_mean_over_seeds_and_pairs_volumes():
    cells = made_up({("from scratch, 5 studies", 0): [0, 0.2, 0.4, 0.6], ("from scratch, 5 studies", 1): [0.2, 0.4, 0.6, 0.8],
                     ("selip, 5 studies", 0): [0.3, 0.5, 0.7, 0.9]}, [1.0, 2.0, np.nan, 6.0])  # fmt: skip
    table = studies.masks_table(cells, SMOKE).set_index(["variant", "measure", "seed"])["value"]
    assert table["from scratch, 5 studies", "Dice", "mean"] == pytest.approx(0.4)
    assert table["selip, 5 studies", "Dice", "minus from scratch, 5 studies"] == pytest.approx(0.3)  # of the seed that both have
    assert table["selip, 5 studies", studies.DISTANCE, "mean"] == pytest.approx(3.0)


def test_a_distance_that_nobody_knows_is_not_in_the_table():
    table = studies.masks_table(made_up({("clip, 20 studies", 0): [0.0] * 4}, [np.nan] * 4), SMOKE)
    assert studies.DISTANCE not in set(table["measure"])
    assert set(table["measure"]) == {studies.DICE, studies.TOUCHED, studies.ALARMS}


# pictures of masks, and real heads


def test_the_slice_with_most_of_the_first_mask_is_shown_once_with_each_mask():
    images = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2).astype(np.uint8)
    truth, found = np.zeros(images.shape, bool), np.zeros(images.shape, bool)
    truth[0, 2, 0], truth[1, 1, 1, 1], found[0, 2, 1, 1] = True, True, True
    pictures, labels, titles = transfer.stacked(images, {"truth": truth, "found": found}, ["FLAIR", "DWI"])
    assert [p.tolist() for p in pictures] == [images[i, k].tolist() for i, k in ((0, 2), (0, 2), (1, 1), (1, 1))]
    assert titles == ["FLAIR: truth", "FLAIR: found", "DWI: truth", "DWI: found"]
    assert [int(one.sum()) for one in labels] == [2, 1, 1, 0]


def says(logit: float) -> Segmenter:
    """A network that says the same of every voxel."""
    network = Segmenter(encoder().tower).eval()
    torch.nn.init.zeros_(network.out.weight)
    torch.nn.init.constant_(network.out.bias, logit)
    return network


def test_real_heads_are_scored_against_their_own_masks():
    lesions = np.zeros((2, 8, 16, 16), np.int32)
    lesions[0, 2:4, 5:9, 5:9], lesions[1] = 7, 1
    heads = [Head(f"S{k}", {"FLAIR": np.zeros((8, 16, 16), np.uint8)}, own, 1, 1, 1.0) for k, own in enumerate(lesions)]
    marked, table = transfer.marked_on_real(heads, {"all": says(9), "none": says(-9)})
    assert table["subject"].tolist() == ["S0", "S1"]
    assert table["Dice, all"].tolist() == pytest.approx([2 * 32 / (32 + 2048), 1])
    assert table["Dice, none"].tolist() == [0, 0]
    assert marked["all"].all()
    assert not marked["none"].any()
