"""The figure of the benchmarks draws the figures it is given."""

import matplotlib.pyplot as plt
import pytest

from medclip_nb.show.benches import bench_figure, budget_dots, growth_lines, rival_dots, save

MET = {
    "what": "a",
    "ours": 0.5,
    "rival": 2.0,
    "unit": "s",
    "ratio": 4.0,
    "budget": 1.0,
    "met": "yes",
    "note": "n; rival: loop, slow",
}
MISSED = MET | {"what": "b", "ours": 3.0, "ratio": 0.66, "met": "no"}
BELOW_ZERO = MET | {"what": "c", "ours": -2.0, "rival": None, "ratio": None, "unit": "%", "budget": 5.0}
CURVE = {
    "what": "growth",
    "over": "n",
    "unit": "s",
    "points": {"ours": [[10, 1.0], [100, 10.0]], "rival": [[10, 2.0]]},
    "budget": [100, 20.0],
    "most_exponent": 2,
    "exponents": {"ours": 1.0, "rival": 2.04},
}


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


def words(ax) -> list[str]:
    """What stands on the right side."""
    return [label.get_text() for axis in ax.child_axes for label in axis.get_yticklabels()]


def test_a_missed_budget_has_another_marker_and_says_so(ax):
    budget_dots([MET, MISSED], ax=ax)
    met, missed, line = ax.lines
    assert (met.get_xdata()[0], missed.get_xdata()[0], line.get_xdata()[0]) == (0.5, 3, 1)
    assert met.get_marker() != missed.get_marker()
    assert words(ax) == ["met: 500 ms of 1 s", "MISSED: 3 s of 1 s"]


def test_a_figure_below_zero_is_drawn_at_the_left_edge(ax):
    budget_dots([BELOW_ZERO], ax=ax)
    assert 0 < ax.get_xlim()[0] <= ax.lines[0].get_xdata()[0] < 0.01
    assert words(ax) == ["met: -2 % of 5 %"]


def test_a_rival_that_is_better_is_marked_and_named(ax):
    rival_dots([MET, MISSED], ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a | loop", "b | loop"]
    assert [text.endswith("WORSE") for text in words(ax)] == [False, True]


def test_a_curve_has_its_points_exponents_and_budgets(ax):
    growth_lines(CURVE, ax=ax)
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == [[1, 10], [2]]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["ours: exponent 1.00", "rival: exponent 2.04", "budget: 20 s at 100", "budget: exponent 2"]
    assert list(ax.lines[-1].get_ydata()) == [1, 100]


@pytest.mark.parametrize(
    ("rows", "curves", "n_panels"), [([MET, BELOW_ZERO], [CURVE] * 4, 2 + 4), ([], [CURVE], 1), ([MISSED], [], 2)]
)
def test_the_figure_has_a_panel_for_each_kind_and_each_curve(rows, curves, n_panels, tmp_path):
    figure = bench_figure(rows, curves)
    assert sum(ax.get_visible() for part in figure.subfigs for ax in part.axes) == n_panels
    assert save(figure, tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
