"""A stack and its weights: every value is drawn, the slices with the finding are marked."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from test_plots import cut_off

from medclip_nb.show import plots, stacks

IMAGES = np.random.default_rng(0).integers(0, 255, (10, 16, 16), np.uint8)
NUMBERS = np.arange(9, 19)
SHOWS = np.isin(np.arange(32), [12, 13])
NAMES = ("mean", "attention_4", "self_attention", "prompt")


@pytest.fixture(autouse=True)
def close_figures():
    plots.set_style()
    yield
    plt.close("all")


def drawn(n_images: int = 10, n_weights: int = 4) -> tuple[Figure, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    weights = {name: rng.dirichlet(np.ones(32)) for name in NAMES[:n_weights]}
    figure = stacks.weights_figure(IMAGES[:n_images], NUMBERS[:n_images], weights, SHOWS, title="a test study with: gallstone")
    return figure, weights


def parts(figure: Figure) -> tuple[list, list]:
    """Axes of the slices and of the charts."""
    return tuple(sub.axes for sub in figure.subfigs)


def test_slices_stand_in_a_row_under_their_numbers():
    slices, _ = parts(drawn()[0])
    assert [a.get_title() for a in slices] == [f"slice {n + 1}" for n in NUMBERS]
    assert all(np.array_equal(a.images[0].get_array(), image) for a, image in zip(slices, IMAGES, strict=True))
    assert all(a.images[0].get_clim() == (0, 255) for a in slices)


def test_only_slices_that_show_the_finding_have_a_frame():
    slices, _ = parts(drawn()[0])
    framed = [n for n, a in zip(NUMBERS, slices, strict=True) if all(s.get_visible() for s in a.spines.values())]
    assert framed == [12, 13]
    assert {s.get_edgecolor() for s in slices[3].spines.values()} == {to_rgba(stacks.SHOWN)}
    assert not any(s.get_visible() for s in slices[0].spines.values())


def test_every_weight_is_a_bar_and_equal_weights_a_line():
    figure, weights = drawn()
    for axis, (name, values) in zip(parts(figure)[1], weights.items(), strict=True):
        assert [bar.get_height() for bar in axis.patches] == values.tolist()
        assert list(axis.lines[0].get_ydata()) == [1 / 32, 1 / 32]
        assert axis.lines[1].get_xdata().tolist() == [13, 14]
        assert axis.get_ylabel() == name.replace("_", " ")
        assert axis.get_yticks().tolist() == [0, max(values)]


@pytest.mark.parametrize(("n_images", "n_weights"), [(10, 4), (10, 1), (1, 4), (1, 1)])
def test_no_text_is_cut_off_however_few_there_are(n_images, n_weights):
    figure, _ = drawn(n_images, n_weights)
    assert [len(axes) for axes in parts(figure)] == [n_images, n_weights]
    assert cut_off(figure) == []


def test_a_finding_that_no_slice_shows_has_no_mark():
    figure = stacks.weights_figure(IMAGES, NUMBERS, {"mean": np.full(32, 1 / 32)}, np.zeros(32, bool), title="")
    assert len(parts(figure)[1][0].lines[1].get_xdata()) == 0
