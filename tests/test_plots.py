"""Figures draw the values they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from medclip_nb.show import pictures, plots

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 4, 3), np.uint8)


@pytest.fixture(autouse=True)
def close_figures():
    plots.set_style()
    yield
    plt.close("all")


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame(
        {"epoch": [1, 2], "train_loss": [3.0, 2], "val_loss": [3.5, 2.5], "no_learning": [4.0, 4], "floor": [0.5, 0.5]}
    )


def test_a_contact_sheet_shows_each_image_under_its_title_and_hides_empty_places():
    figure = pictures.contact_sheet(IMAGES, [f"t{i}" for i in range(5)], n_columns=3)
    shown = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in shown] == [f"t{i}" for i in range(5)]
    assert all(np.array_equal(a.images[0].get_array(), image) for a, image in zip(shown, IMAGES, strict=True))
    assert all(a.images[0].get_clim() == (0, 255) for a in shown)
    assert not any(a.axison for a in figure.axes)


def test_a_contact_sheet_of_one_image_works():
    assert len(pictures.contact_sheet(IMAGES[:1], ["a\nb"]).axes) == 1


def test_split_bars_count_rows_and_patients():
    table = pd.DataFrame({"split": ["val", "train", "train", "train"], "patient_id": list("abbc")})
    ax = plots.split_bars(table, by="split")
    assert [[b.get_width() for b in bars] for bars in ax.containers] == [[3, 1], [2, 1]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["train", "val"]


def test_a_loss_curve_shows_both_losses_and_both_levels(history):
    ax = plots.loss_curve(history)
    drawn = [line.get_ydata() for line in ax.lines]
    assert [list(y) for y in drawn] == [[3, 2], [3.5, 2.5], [4, 4], [0.5, 0.5]]
    named = [t.get_text() for t in ax.get_legend().get_texts()]
    assert named == ["training", "validation", "sees nothing", "floor (identical texts)"]
    assert ax.get_ylim()[1] > 4.1  # the upper level is no part of the frame
    assert ax.get_ylim()[0] == 0


def test_score_bars_show_value_interval_and_chance():
    scores = pd.DataFrame(
        {"name": ["a", "b"], "value": [0.5, 0.8], "low": [0.4, None], "high": [0.7, None], "chance": [0.25, 0.5]}
    )
    ax = plots.score_bars(scores, xlabel="share")
    (errors,) = ax.containers
    assert errors.lines[0].get_xdata().tolist() == [0.5, 0.8]
    assert errors.lines[2][0].get_segments()[0][:, 0].tolist() == pytest.approx([0.4, 0.7])
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0.25, 0.5]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


def test_a_map_puts_every_point_in_the_group_of_its_label():
    points, labels = np.random.default_rng(0).normal(size=(30, 2)), np.array(list("cab") * 10)
    ax = plots.map_scatter(points, labels)
    assert [c.get_label() for c in ax.collections] == ["a", "b", "c"]
    for group in ax.collections:
        assert np.array_equal(group.get_offsets(), points[labels == group.get_label()])
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == []


def test_groups_beyond_the_palette_differ_by_marker():
    labels = np.array([f"{i:02}" for i in range(16)])
    ax = plots.map_scatter(np.random.default_rng(0).normal(size=(16, 2)), labels)
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 16


def test_a_confusion_table_writes_its_counts():
    counts = pd.DataFrame([[3, 1], [0, 0]], index=["x", "y"], columns=["x", "y"])
    ax = plots.confusion(counts)
    assert [t.get_text() for t in ax.texts] == ["3", "1", "0", "0"]
    assert ax.collections[0].get_array().ravel().tolist() == [0.75, 0.25, 0, 0]


def test_a_similarity_matrix_is_drawn_as_it_is():
    sim = np.linspace(-1, 1, 6).reshape(2, 3)
    ax = plots.similarity_matrix(sim, title="t", xlabel="x", ylabel="y")
    assert np.array_equal(ax.images[0].get_array(), sim)
    assert ax.images[0].get_clim() == (-1, 1)


def test_curves_over_the_size_of_the_list_have_their_interval_and_their_chance():
    curve = np.array([[1.0, 0.9, 1, 1], [0.6, 0.5, 0.7, 0.1]])
    ax = plots.list_size_curves({"R@10": curve}, np.array([10, 250]))
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["R@10"].get_ydata().tolist() == [1, 0.6]
    assert lines["chance, R@10"].get_ydata().tolist() == [1, 0.1]
    assert len({line.get_color() for line in ax.lines}) == 1
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "100", "250"]
    low, high = ax.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (0.5, 1)


def test_a_plot_is_drawn_into_the_axes_it_is_given(history):
    ax = plt.subplots()[1]
    calls = (
        lambda: plots.loss_curve(history, ax=ax),
        lambda: plots.list_size_curves({"a": np.ones((1, 4))}, np.array([10]), ax=ax),
        lambda: plots.map_scatter(np.zeros((1, 2)), np.array(["a"]), ax=ax),
    )
    assert all(call() is ax for call in calls)
    assert isinstance(ax, Axes)
    assert len(plt.get_fignums()) == 1


def test_anatomy_says_which_side_is_which_and_keeps_proportions():
    figure = pictures.anatomy(list(IMAGES[:2]), ["a", "b"], height=2.5)
    assert [[t.get_text() for t in a.texts] for a in figure.axes] == [["R", "L"]] * 2
    assert [a.get_title() for a in figure.axes] == ["a", "b"]
    assert all(a.get_aspect() == 2.5 for a in figure.axes)


def test_a_histogram_shows_each_window_over_its_range():
    hu = np.random.default_rng(0).normal(0, 300, (2, 20, 20)).astype(np.float32)
    ax = plots.hu_histogram(hu, {"lung": (-1350.0, 150.0), "bone": (-300.0, 900.0)})
    assert [list(line.get_xdata()) for line in ax.lines] == [[-1350, 150], [-300, 900]]
    assert [t.get_text() for t in ax.texts] == ["lung", "bone"]
    assert sum(p.get_height() for p in ax.patches) == ((hu >= -1100) & (hu <= 1580)).sum()


def test_leak_bars_show_a_point_per_split_and_chance():
    scores = pd.DataFrame({"split": ["a", "a", "b"], "score": [0.4, 0.5, 0.2], "chance": 0.1})
    ax = plots.leak_bars(scores)
    assert sorted(round(x, 3) for c in ax.collections for x in c.get_offsets()[:, 0]) == [0.2, 0.4, 0.5]
    assert list(ax.lines[-1].get_xdata()) == pytest.approx([0.1, 0.1])


def cut_off(figure) -> list[str]:
    """Texts that do not lie within their figure, as it is drawn."""
    figure.draw_without_rendering()
    page, beyond = figure.bbox.padded(1), labels_beyond_the_ends(figure)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in beyond]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    return [text for text, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]


def labels_beyond_the_ends(figure) -> set[Text]:
    """Of ticks outside of their axis, which matplotlib keeps and does not draw."""
    axes = [axis for ax in figure.findobj(Axes) for axis in (ax.xaxis, ax.yaxis)]
    ticks = [(tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()]
    return {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}


def test_the_search_for_texts_outside_of_a_figure_finds_one():
    ax = plt.subplots()[1]
    assert cut_off(ax.figure) == []
    ax.text(3, 0.5, "far out", transform=ax.transAxes, in_layout=False)
    assert cut_off(ax.figure) == ["far out"]


def pairs_of(n: int) -> pd.DataFrame:
    values = np.random.default_rng(0).uniform(0.4, 1, (n, 2))
    return pd.DataFrame(values, columns=["within the region", "within the organ"], index=[f"finding {i}" for i in range(n)])


@pytest.mark.parametrize("n", [1, 2, 15])
def test_paired_points_join_first_and_second_value_of_each_row(n):
    table = pairs_of(n)
    ax = plots.paired_points(table, xlabel="AUC", chance=0.5)
    lines, first, second = ax.collections
    assert [s[:, 0].tolist() for s in lines.get_segments()] == table.to_numpy().tolist()
    assert first.get_offsets().tolist() == [[x, i] for i, x in enumerate(table.iloc[:, 0])]
    assert second.get_offsets().tolist() == [[x, i] for i, x in enumerate(table.iloc[:, 1])]
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5]
    assert [t.get_text() for t in ax.get_yticklabels()] == list(table.index)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [*table.columns, "chance"]
    assert cut_off(ax.figure) == []


@pytest.mark.parametrize("n", [1, 17])
def test_extent_bars_colour_what_is_focal(n):
    shares = pd.Series(np.linspace(0.13, 0.5, n), index=[f"finding {i}" for i in range(n)])
    ax = plots.extent_bars(shares, 0.13)
    (bars,) = ax.containers
    assert [b.get_width() for b in bars] == shares.tolist()
    assert len({b.get_facecolor() for b in bars[1:]}) == min(1, n - 1)
    assert bars[0].get_facecolor() not in {b.get_facecolor() for b in bars[1:]}
    assert list(ax.lines[0].get_xdata()) == [0.13, 0.13]
    assert [t.get_text() for t in ax.get_yticklabels()] == list(shares.index)
    assert cut_off(ax.figure) == []


def study_rows(n: int) -> pd.DataFrame:
    """A study's table for one measure: means, seeds, and differences, which have no place in the chart."""
    rows = []
    for i in range(n):
        seeds = [(f"variant_{i}", str(s), 0.6 + i / 40 + s / 100, 0.5, 0.9, 0.5) for s in range(3)]
        rows += [(f"variant_{i}", "mean", 0.61 + i / 40, 0.55, 0.95, 0.5), *seeds]
        rows += [(f"variant_{i}", "minus variant_0", 0.01, -0.1, 0.1, 0.0)] * (i > 0)
    return pd.DataFrame(rows, columns=["variant", "seed", "value", "low", "high", "chance"])


@pytest.mark.parametrize("n", [1, 11])
def test_variant_scores_show_means_with_intervals_and_every_seed(n):
    table = study_rows(n)
    ax = plots.variant_scores(table, xlabel="mean AUC")
    (errors,), seeds = ax.containers, ax.collections[-1].get_offsets()
    assert errors.lines[0].get_xdata().tolist() == table.loc[table["seed"] == "mean", "value"].tolist()
    assert [s[:, 0].tolist() for s in errors.lines[2][0].get_segments()] == [pytest.approx([0.55, 0.95])] * n
    assert seeds[:, 0].tolist() == table.loc[table["seed"].str.isdigit(), "value"].tolist()
    assert np.floor(seeds[:, 1]).tolist() == np.repeat(np.arange(n), 3).tolist()
    assert list(ax.lines[-1].get_xdata()) == [0.5, 0.5]
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"variant {i}" for i in range(n)]
    assert cut_off(ax.figure) == []


def test_seeds_may_be_numbers_as_well_as_words():
    table = study_rows(2)
    table["seed"] = [int(s) if s.isdigit() else s for s in table["seed"]]
    assert len(plots.variant_scores(table, xlabel="").collections[-1].get_offsets()) == 6


def test_panels_side_by_side_have_one_legend_and_keep_their_width():
    axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)[1]
    for ax in axes:
        plots.variant_scores(study_rows(9), xlabel="mean AUC", ax=ax)
    plots.legend_below(axes[0])
    figure = axes[0].figure
    (legend,) = figure.legends
    assert {t.get_text() for t in legend.get_texts()} == {"mean of seeds, 95 % interval", "one seed", "chance"}
    assert cut_off(figure) == []
    assert legend.get_window_extent().y1 <= axes[0].get_tightbbox().y0 + 1
    assert all(ax.get_position().width > 0.35 for ax in axes)
