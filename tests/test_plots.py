"""Figures draw the values they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

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
    assert {t.get_text() for t in ax.texts} == {"sees nothing", "floor (identical texts)"}
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


def test_recall_curves_start_at_k_1_each_with_its_chance():
    ax = plots.recall_curve({"to text, once": np.array([[0.2, 0.1], [0.6, 0.3]])})
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["to text, once"].get_xdata().tolist() == [1, 2]
    assert lines["to text, once"].get_ydata().tolist() == [0.2, 0.6]
    assert lines["chance, to text"].get_ydata().tolist() == [0.1, 0.3]
    assert len({line.get_color() for line in ax.lines}) == 1


def test_answers_tick_the_right_texts_and_cut_long_ones():
    figure = pictures.answers(IMAGES[0], ["x" * 500, "b"], [True, False], title="query")
    long, short = (t.get_text() for t in figure.axes[1].texts)
    assert short == "2. ✗ b"
    assert long[:6] == "1. ✓ x"
    assert long[-1] == "…"
    assert len(long) < 130
    assert np.array_equal(figure.axes[0].images[0].get_array(), IMAGES[0])


def test_a_plot_is_drawn_into_the_axes_it_is_given(history):
    ax = plt.subplots()[1]
    calls = (
        lambda: plots.loss_curve(history, ax=ax),
        lambda: plots.recall_curve({"a": np.ones((1, 2))}, ax=ax),
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
