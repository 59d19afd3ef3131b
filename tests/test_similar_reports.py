"""What lessons 08 and 12 show: a study's texts, targets, pushes, ranked answers; and what claims make of head MR."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from medclip_nb import config
from medclip_nb.claims import heads as head_studies
from medclip_nb.data.manifest import ManifestError
from medclip_nb.explore.prepare import prepare
from medclip_nb.lesson import selip, selip_scores, transfer
from medclip_nb.lesson import similar_reports as look
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.show import heads as draw

SMOKE = config.PRESETS["smoke"]
ARMS = {name: config.RECIPES[name] for name in ("clip", "clip_same_text", "selip_rare")}


@pytest.fixture(scope="module")
def lesson(heads):
    return Lesson("08", preset=SMOKE, seed=0, dataset="head")


@pytest.fixture(scope="module")
def model(heads):
    return selip.head_model(heads, look.CLIP, seed=0).eval()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_sequence_is_outlined_only_where_it_shows_something(lesson):
    study = look.rich_study(lesson.data)
    images, labels, names, titles = look.study_pictures(lesson.data, study)
    assert images.shape == labels.shape
    assert len(images) == len(titles) == 4
    table = lesson.data.manifest[lesson.data.manifest["study_id"].str.startswith(f"{study}-")]
    for own, text in zip(labels, table["findings"], strict=True):
        seen = {f"{f['kind']}, {f['location']}" for f in selip.said(text)}
        assert {names[k - 1] for k in np.unique(own[own > 0])} <= seen
    assert labels.any()


def test_data_without_findings_are_refused_with_the_other_way(lesson):
    other = Lesson("08", preset=SMOKE, seed=0, dataset="head")
    other._data = replace(lesson.data, manifest=lesson.data.manifest.assign(findings=""))
    with pytest.raises(ManifestError, match="medclip-nb experiment PATH --recipe selip"):
        look.heads_of(other)


def test_twins_are_counted_as_a_slow_loop_counts_them(heads):
    n = len(heads.rows("train"))
    ids = heads.table["text_id"].to_numpy()[heads.rows("train")].tolist()
    slow = sum(ids.count(i) > 1 for i in ids) / n
    assert look.twins(heads, sizes=(n,)).iloc[0] == pytest.approx(slow)


def test_identical_texts_are_no_false_negatives_and_alike_ones_are_spared_by_similarity(model, heads):
    push = look.pushes(model, heads, ARMS, n_batches=2)
    assert push.columns.tolist() == list(ARMS)
    assert (push.loc["its own text"] < 0).all()
    assert np.allclose(push["clip"], push["clip_same_text"], atol=1e-6)
    assert push.loc["alike (half or more)", "selip_rare"] < push.loc["alike (half or more)", "clip"]


def test_levels_put_every_text_where_a_slow_look_puts_it(heads):
    rows = heads.rows("val")[:12]
    found, member = look._levels(heads, rows)
    ids = heads.table["text_id"].to_numpy()[rows]
    for a, i in enumerate(rows):
        for b, text in enumerate(sorted(set(ids.tolist()))):
            shared = selip_scores.gains([heads.shown[i]], [heads.found[text]])[0, 0]
            assert found[a, b] == (0 if ids[a] == text else 1 if shared >= 0.5 else 2 if shared > 0 else 3)
            assert member[a, b] == (ids[a] == text)


def test_ranked_texts_are_those_of_the_test_split_with_their_gain(model, heads):
    row = look.telling_query(heads, {"a": model})
    table = look.ranked_texts(heads, {"a": model}, row, n=3)
    texts = {heads.units.texts[i]: i for i in heads.table["text_id"].iloc[heads.rows("test")]}
    for line in table["a"]:
        gain, said = line[:4], line[6:]
        assert gain == f"{selip_scores.gains([heads.shown[row]], [heads.found[texts[said]]])[0, 0]:.2f}"


def test_a_better_agreement_with_shared_findings_is_a_higher_correlation(heads):
    table = look.ruler_table(heads, ("selip", "best", "rare"))
    assert (table.iloc[:, 1:].to_numpy() > 0).all()
    assert table.loc["best"].iloc[0] > table.loc["selip"].iloc[0]


# claims


def test_every_variant_is_compared_with_clip_in_its_own_setting():
    for variant in head_studies.VARIANTS:
        bases = head_studies.bases_of(variant, list(head_studies.VARIANTS))
        assert bases or variant.startswith(("clip", "free wording, clip", "four sequences, clip", "slices and attention, clip"))
        how = [head_studies.VARIANTS[v] for v in (variant, *bases)]
        assert len({(h.wording, h.sequences, h.n_train, h.adapter) for h in how}) == 1
        assert all(h.recipe.targets == "identity" for h in how[1:] if h.recipe.name != "selip")


def test_a_study_table_has_each_measure_with_seeds_and_paired_differences(heads):
    rng, rows = np.random.default_rng(0), heads.rows("test")
    queries = selip_scores.asked(heads, rows)
    names = {f"test {name}": len(queries.sick) for name in selip_scores.retrieval_chances(queries)}
    one = {name: rng.random(n) for name, n in names.items()}
    better = {name: values + 0.25 for name, values in one.items()}
    cells = {("clip", 0): one, ("clip", 1): one, ("selip", 0): better, ("selip", 1): better}
    table = head_studies.selip_table(cells, SMOKE)
    gain = table[(table["variant"] == "selip") & (table["seed"] == "minus clip")]
    assert np.allclose(gain[["value", "low", "high"]], 0.25)
    assert len(gain) == len(names)
    assert set(table["seed"]) == {"mean", "0", "1", "minus clip"}
    means = table[table["seed"] == "mean"]
    assert (means["low"] <= means["value"]).all() and (means["value"] <= means["high"]).all()  # noqa: PT018


# lesson 12


def test_a_curve_has_a_point_per_start_and_amount():
    rows = [(f"{s}, {n} studies", "Dice", "", "mean", 0.1 * n) for n in (5, 20) for s in ("from scratch", "clip")]
    table = pd.DataFrame(rows, columns=["variant", "measure", "finding", "seed", "value"]).assign(low=0.0, high=1.0)
    curve = transfer.curve(table, "Dice")
    assert curve["n"].tolist() == [5, 5, 20, 20]
    assert set(curve["start"]) == {"from scratch", "clip"}
    ax = draw.label_curves(curve, xlabel="n", ylabel="Dice")
    assert len(ax.get_legend_handles_labels()[0]) == 2


def test_cuts_show_the_truth_beside_what_each_start_marks(heads, lesson):
    lesions = transfer.true_lesions(lesson, heads)
    unit = int((lesions > 0).sum((1, 2, 3)).argmax())
    images, labels, titles = transfer.cuts(heads, {"nothing": np.zeros_like(lesions, bool)}, lesions, [unit])
    assert labels[0].any()
    assert not labels[1].any()
    assert np.array_equal(images[0], images[1])
    assert [t.partition(": ")[2] for t in titles] == ["truth", "nothing"]


# figures


def test_a_difference_map_is_bold_where_the_interval_leaves_out_zero():
    rows = [("a", "m", 0.05, 0.01, 0.09), ("b", "m", 0.02, -0.01, 0.05)]
    figure = draw.difference_map(pd.DataFrame(rows, columns=["variant", "measure", "value", "low", "high"]), label="points")
    texts = {t.get_text(): t.get_weight() for t in figure.axes[0].texts}
    assert texts == {"+5.0": "bold", "+2.0 ·": "normal"}


def test_targets_are_drawn_as_they_are():
    targets = {"a": np.eye(3), "b": np.full((3, 3), 1 / 3)}
    figure = draw.target_panels(targets)
    for ax, values in zip(figure.axes, targets.values(), strict=False):
        assert np.array_equal(ax.images[0].get_array(), values)


# own volumes


def test_volumes_of_ones_own_get_a_volume_tower_and_the_reports_their_findings(lesson, heads, tmp_path):
    table = lesson.data.manifest.iloc[::4].reset_index(drop=True)
    table.attrs.update(lesson.data.manifest.attrs)
    own = Lesson("90", preset=SMOKE, seed=0, dataset="head")
    own._data = replace(lesson.data, name="own", manifest=table, synthetic=False)
    made = prepare(own, "selip")
    assert made.model.config.dims == 3
    assert made.pairs.similarity.shape == (len(made.units.texts),) * 2
    assert len(made.units.table) == len(table)
    batch = made.pairs.batch(made.pairs.train[:4], np.random.default_rng(0))
    assert batch.images[0].ndim == 5
    assert np.allclose(batch.targets.sum(1), 1, atol=1e-5)
