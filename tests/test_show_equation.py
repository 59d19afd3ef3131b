"""Figures of lesson 04 draw the values they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from medclip_nb.show import equation as draw
from medclip_nb.show.plots import set_style

GROUP = np.array([0, 0, 1])
NAMES = ["a", "a", "b"]
TEXTS = np.array([0.0, 0.0, np.pi])


@pytest.fixture(autouse=True)
def close_figures():
    set_style()
    yield
    plt.close("all")


def test_temperature_panels_draw_both_curves_of_each_wrong_text_and_the_marks():
    scales = np.array([1.0, 10, 100])
    effects = {"0.0": (scales / 200, scales / 2), "0.9": (scales / 300, scales)}
    figure = draw.temperature_panels(scales, effects, marks={"CLIP": 14.0})
    for part, ax in enumerate(figure.axes):
        assert [list(line.get_ydata()) for line in ax.lines[:2]] == [list(curves[part]) for curves in effects.values()]
        assert list(ax.lines[2].get_xdata()) == [14, 14]
        assert [t.get_text() for t in ax.texts] == ["CLIP"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["0.0", "0.9"]


def test_fit_panels_draw_loss_floor_and_scale_of_each_fit():
    fit = pd.DataFrame({"step": [0, 1], "loss": [3.0, 2], "scale": [14.0, 15], "floor": [0.1, 0.2]})
    figure = draw.fit_panels({"sound": fit, "bug": fit + 1})
    loss, scale = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3, 2], [0.1, 0.2], [4, 3], [1.1, 1.2]]
    assert [list(line.get_ydata()) for line in scale.lines] == [[14, 15], [15, 16]]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["sound", "bug"]


def test_circle_panels_draw_arrows_along_the_circle_as_long_as_the_push_in_all_panels():
    pushes = {"one": np.array([1.0, 0, -2]), "two": np.array([0.0, 4, 0])}
    figure = draw.circle_panels(np.array([0.0, np.pi / 2, np.pi]), TEXTS, pushes, names=NAMES, group=GROUP)
    arrows = [[t for t in ax.texts if getattr(t, "arrow_patch", None)] for ax in figure.axes]
    assert [[t.xyann for t in some] for some in arrows] == [
        [pytest.approx((1, 0)), pytest.approx((-1, 0))],
        [pytest.approx((0, 1))],
    ]
    tips = [t.xy for some in arrows for t in some]
    unit = draw.ARROW / 4
    assert tips == [pytest.approx((1, unit)), pytest.approx((-1, 2 * unit)), pytest.approx((-4 * unit, 1))]


def test_circle_panels_name_each_text_once_and_number_each_image():
    figure = draw.circle_panels(TEXTS + 1, TEXTS, {"one": np.ones(3)}, names=NAMES, group=GROUP)
    said = [t.get_text() for t in figure.axes[0].texts if t.get_text()]
    assert said == ["a", "b", "0", "1", "2"]


def test_path_panels_keep_the_angle_and_go_outwards():
    path = np.array([[0.1, 0.2, 3.0], [0.3, 0.4, 3.1], [0.5, 0.6, 3.2]])
    figure = draw.path_panels({"softmax": {"x": path, "y": path + 1}}, TEXTS, names=NAMES, group=GROUP)
    drawn = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert len(drawn) == 6
    for line, wanted in zip(drawn, [*path.T, *(path + 1).T], strict=True):
        np.testing.assert_allclose(np.exp(1j * wanted), (line[:, 0] + 1j * line[:, 1]) / np.hypot(*line.T), atol=1e-12)
        assert (np.diff(np.hypot(*line.T)) > 0).all()
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["x", "y"]


@pytest.mark.parametrize(("signed", "limits"), [(False, (0, 1)), (True, (-0.5, 0.5))])
def test_matrix_panels_write_the_numbers_that_are_not_0(signed, limits):
    tables = {str(k): pd.DataFrame([[0.5, 0.0], [-0.25, 0.001]], ["u", "v"], ["a", "b"]) for k in range(5)}
    figure = draw.matrix_panels(tables, signed=signed)
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == list(tables)
    assert [[t.get_text() for t in ax.texts] for ax in shown] == [["0.50", "-0.25"]] * 5
    assert {ax.images[0].get_clim() for ax in shown} == {limits}
    assert [t.get_text() for t in shown[4].get_yticklabels()] == ["u", "v"]
    assert len([ax for ax in figure.axes if not ax.axison]) == 3


def test_a_gap_strip_draws_every_gap_on_its_own_line():
    table = pd.DataFrame({"case": ["x", "y", "x"], "gap": [1e-16, 0.5, 2e-16]})
    ax = draw.gap_strip(table)
    assert [list(line.get_xdata()) for line in ax.lines] == [[1e-16, 2e-16], [0.5]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]
    assert ax.get_xscale() == "log"
