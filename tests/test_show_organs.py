"""Figures of organs: what is given is drawn, named and on its side; what does not fit together is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from scipy.ndimage import center_of_mass
from test_plots import cut_off

from medclip_nb.show import organs, plots

IMAGES = np.random.default_rng(0).integers(0, 255, (3, 20, 16), np.uint8)
NAMES = ["lung_right", "heart", "kidney_left", "spleen"]
TITLES = ["a", "b", "c"]
COUNTS = {"spleen": {"empty": 3, "used": 40, "small": 7}, "aorta": {"used": 49, "misplaced": 1}}


@pytest.fixture(autouse=True)
def close_figures():
    plots.set_style()
    yield
    plt.close("all")


def label_maps() -> np.ndarray:
    """A lung as a ring around a heart; a kidney at the edge; nothing in the last slice."""
    labels = np.zeros(IMAGES.shape, np.uint8)
    labels[0, 2:14, 2:14] = 1
    labels[0, 5:11, 5:11] = 2
    labels[1, 15:, 12:] = 3
    return labels


def texts(ax) -> list[str]:
    return [t.get_text() for t in ax.texts]


def legend_of(figure: Figure) -> list[str]:
    return [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def outlines(ax) -> list[np.ndarray]:
    """Points of each contour that was drawn, without empty ones."""
    return [path.vertices for c in ax.collections for path in c.get_paths() if len(path.vertices)]


def cells(n: int = 2, *, lesion: bool = True, shift: float = 0) -> tuple[Figure, np.ndarray]:
    heat = np.random.default_rng(1).normal(size=(n, 20, 16)) + shift
    mask = np.zeros(heat.shape, bool)
    mask[:, 4:9, 6:9] = lesion
    return organs.cell_maps(IMAGES[:n], heat, mask, [f"finding {i}" for i in range(n)]), heat


def batch() -> tuple[np.ndarray, list[str], list[str]]:
    """Three units of two organs; their three texts, then three of the dictionary; every relation but one occurs."""
    relation = np.array([[2, 0, 3, 1, 0, 1], [0, 2, 0, 0, 1, 0], [1, 0, 2, 3, 0, 1]])
    return relation, ["spleen", "heart", "spleen"], ["spleen", "heart", "spleen", "spleen", "heart", "spleen"]


def states(counts: dict = COUNTS) -> pd.DataFrame:
    rows = [(organ, state, n) for organ, found in counts.items() for state, n in found.items()]
    return pd.DataFrame(rows, columns=["organ", "state", "n"])


def test_an_overlay_shows_each_slice_with_its_sides_and_the_names_of_its_organs():
    figure = organs.overlay(IMAGES, label_maps(), NAMES, TITLES)
    assert [a.get_title() for a in figure.axes] == TITLES
    assert all(np.array_equal(a.images[0].get_array(), image) for a, image in zip(figure.axes, IMAGES, strict=True))
    assert all(a.images[0].get_clim() == (0, 255) and a.images[0].get_cmap().name == "gray" for a in figure.axes)
    assert [texts(a) for a in figure.axes] == [["R", "L", "lung right", "heart"], ["R", "L", "kidney left"], ["R", "L"]]
    assert all(a.texts[0].get_position()[0] < 0.5 < a.texts[1].get_position()[0] for a in figure.axes)
    assert legend_of(figure) == ["lung right", "heart", "kidney left"]


def test_each_organ_is_filled_where_it_is_and_named_inside_of_it_even_a_ring():
    labels = label_maps()
    figure = organs.overlay(IMAGES, labels, NAMES, TITLES)
    assert labels[0][tuple(int(x) for x in center_of_mass(labels[0] == 1))] == 2  # the middle of the ring is the heart
    for ax, drawn, label in ((figure.axes[0], 0, 1), (figure.axes[0], 1, 2), (figure.axes[1], 0, 3)):
        of_slice = labels[figure.axes.index(ax)]
        assert np.array_equal(np.asarray(ax.images[drawn + 1].get_array().filled(0)) == 1, of_slice == label)
        column, row = ax.texts[drawn + 2].get_position()
        assert of_slice[row, column] == label
    assert {int(x) for x in figure.axes[0].texts[3].get_position()} <= {7, 8}  # the middle of the heart


def test_a_lesion_alone_is_named_in_the_legend_and_not_written_over():
    figure = organs.overlay(IMAGES, (label_maps() == 1).astype(np.uint8), NAMES, TITLES)
    assert {t for a in figure.axes for t in texts(a)} == {"R", "L", ""}
    assert legend_of(figure) == ["lung right"]


def test_an_organ_keeps_its_colour_in_every_slice_and_in_the_legend():
    labels = np.stack([np.where(label_maps()[0] == 1, 1, 0), label_maps()[0], np.where(label_maps()[0] == 2, 2, 0)])
    figure = organs.overlay(IMAGES, labels.astype(np.uint8), NAMES, TITLES)
    edges = [[to_hex(c.get_edgecolor()[0]).upper() for c in ax.collections] for ax in figure.axes]
    lung, heart = (to_hex(line.get_color()).upper() for line in figure.legends[0].get_lines())
    assert edges == [[lung], [lung, heart], [heart]]


def test_fourteen_organs_look_different_and_none_is_black():
    assert len(set(organs.LOOKS)) == len({colour for colour, _ in organs.LOOKS}) == 14
    assert min(max(to_rgba(colour)[:3]) for colour, _ in organs.LOOKS) > 0.5


def test_more_organs_than_looks_are_still_named():
    labels = np.arange(IMAGES[0].size, dtype=np.uint8).reshape(1, 20, 16) % 17
    names = [f"organ {i}" for i in range(16)]
    assert legend_of(organs.overlay(IMAGES[:1], labels, names, ["a"])) == names


def test_the_outline_of_an_organ_at_the_edge_is_closed_and_the_picture_keeps_its_frame():
    ax = organs.overlay(IMAGES, label_maps(), NAMES, TITLES).axes[1]
    (points,) = outlines(ax)
    assert points[0].tolist() == points[-1].tolist()
    assert points.max(0).tolist() == [15.5, 19.5]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 15.5), (19.5, -0.5))


def test_pixels_are_as_high_and_wide_as_they_are_in_the_body():
    figure = organs.overlay(IMAGES, label_maps(), NAMES, TITLES, spacing=(6.0, 2.0))
    assert {a.get_aspect() for a in figure.axes} == {3}


def test_a_label_without_a_name_is_refused():
    with pytest.raises(ValueError, match="label 3 has no name: there are 2 names"):
        organs.overlay(IMAGES, label_maps(), NAMES[:2], TITLES)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_overlays_of_any_number_of_slices_are_complete(n):
    images, labels = (np.resize(a, (n, 20, 16)) for a in (IMAGES, label_maps()))
    figure = organs.overlay(images, labels, NAMES, [f"slice {i}" for i in range(n)])
    assert [a.get_title() for a in figure.axes if a.images] == [f"slice {i}" for i in range(n)]
    assert cut_off(figure) == []


def test_a_slice_without_organs_is_drawn_without_them():
    figure = organs.overlay(IMAGES[:1], np.zeros((1, 20, 16), np.uint8), [], ["a"])
    assert (legend_of(figure), texts(figure.axes[0])) == ([], ["R", "L"])


@pytest.mark.parametrize("kind", [bool, float, np.float32])
def test_a_sheet_has_a_crop_per_patient_and_organ_with_the_edge_of_its_mask(kind):
    crops = np.random.default_rng(0).integers(0, 255, (2, 3, 12, 12), np.uint8)
    inside = np.zeros(crops.shape, kind)
    inside[:, :, 3:6, 4:10] = 1
    inside[1, 2] = 0
    axes = np.array(organs.crop_sheet(crops, inside, NAMES[:3], ["one", "two"]).axes).reshape(2, 3)
    assert [a.get_title() for a in axes[0]] == ["lung\nright", "heart", "kidney\nleft"]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["one", "two"]
    assert all(np.array_equal(axes[place].images[0].get_array(), crops[place]) for place in np.ndindex(2, 3))
    assert [[len(outlines(a)) for a in row] for row in axes] == [[1, 1, 1], [1, 1, 0]]
    assert [outlines(axes[0, 0])[0].min(0).tolist(), outlines(axes[0, 0])[0].max(0).tolist()] == [[3.5, 2.5], [9.5, 5.5]]
    assert all(texts(a) == ["R", "L"] for a in axes.flat)


def test_a_soft_mask_has_its_edge_at_one_half():
    inside = np.tile(np.linspace(0, 1, 11), (11, 1))[None, None]
    ax = organs.crop_sheet(np.zeros((1, 1, 11, 11), np.uint8), inside, ["heart"], ["one"]).axes[0]
    assert outlines(ax)[0][:, 0].min() == pytest.approx(5)
    assert cut_off(ax.figure) == []


@pytest.mark.parametrize(
    ("names", "rows"), [(NAMES[:2], ["one"]), (NAMES, ["one"]), (NAMES[:3], []), (NAMES[:3], ["one", "two"])]
)
def test_a_sheet_with_other_names_than_crops_is_refused(names, rows):
    crops = np.zeros((1, 3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="zip"):
        organs.crop_sheet(crops, crops > 0, names, rows)


def test_a_batch_is_sorted_by_organ_within_its_own_texts_and_the_dictionary():
    relation, unit_organ, text_organ = batch()
    ax = organs.batch_picture(relation, unit_organ, text_organ, 3).axes[0]
    assert np.array_equal(ax.images[0].get_array(), relation[[1, 0, 2]][:, [1, 0, 2, 4, 3, 5]])
    assert ax.lines[-1].get_xdata() == [2.5, 2.5]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["heart", "spleen"]
    assert ax.get_yticks().tolist() == [0, 1.5]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["heart", "spleen"] * 2
    assert ax.get_xticks().tolist() == [0, 1.5, 3, 4.5]
    assert (ax.get_ylabel(), ax.get_title("left")) == ("3 units", "3 texts of the batch's units | 3 of the dictionary")


def test_a_batch_says_how_many_pairs_of_each_kind_there_are_in_their_colours():
    figure = organs.batch_picture(*batch(), 3)
    assert [int(name.split("(")[1].split()[0]) for name in legend_of(figure)] == [8, 5, 3, 2]
    picture = figure.axes[0].images[0]
    shown = [to_hex(picture.to_rgba(k)) for k in range(4)]
    assert shown == [to_hex(patch.get_facecolor()) for patch in figure.legends[0].get_patches()]
    assert len(set(shown)) == 4
    assert cut_off(figure) == []


@pytest.mark.parametrize("n_owned", [0, 1])
def test_a_batch_of_one_pair_is_drawn(n_owned):
    figure = organs.batch_picture(np.array([[2]]), ["heart"], ["heart"], n_owned)
    assert figure.axes[0].images[0].get_array().tolist() == [[2]]
    assert cut_off(figure) == []


def test_relations_that_are_none_or_of_other_units_are_refused():
    relation, unit_organ, text_organ = batch()
    for wrong in (
        (relation + 1, unit_organ),
        (relation - 1, unit_organ),
        (relation, unit_organ[1:]),
        (relation[:, 1:], unit_organ),
    ):
        with pytest.raises(ValueError, match="relation must hold 0 to 3 for [23] units and 6 texts"):
            organs.batch_picture(*wrong, text_organ, 3)


def test_each_picture_stands_beside_its_cosines_and_both():
    figure, heat = cells()
    axes = np.array(figure.axes[:-1]).reshape(2, 3)
    assert [[a.get_title() for a in row] for row in axes] == [["picture", "cosine", "both"]] * 2
    assert [a.get_ylabel() for a in axes[:, 0]] == ["finding 0", "finding 1"]
    for place in np.ndindex(2, 3):
        grey, over = (image.get_array() for image in axes[place].images)
        assert np.array_equal(grey, IMAGES[place[0]])
        assert np.array_equal(over, heat[place[0]])
        assert len(outlines(axes[place])) == 1
    assert [axes[0, k].images[1].get_alpha() for k in (0, 1)] == [0, 1]
    assert figure.axes[-1].get_ylabel() == "cosine with the prompt"


def test_all_pictures_share_one_scale_that_is_even_around_0_where_both_signs_occur():
    figure, heat = cells()
    most = np.abs(heat).max()
    assert {a.images[1].get_clim() for a in figure.axes[:-1]} == {(-most, most)}
    opacity = figure.axes[2].images[1].get_alpha()
    assert opacity == pytest.approx(organs.HEAT * np.abs(heat[0]) / most)


@pytest.mark.parametrize("shift", [-9, 9])
def test_cosines_of_one_sign_are_drawn_from_the_lowest_to_the_highest(shift):
    figure, heat = cells(shift=shift)
    assert {a.images[1].get_clim() for a in figure.axes[:-1]} == {(heat.min(), heat.max())}
    opacity = np.stack([figure.axes[k].images[1].get_alpha() for k in (2, 5)])
    assert opacity == pytest.approx(organs.HEAT * (heat - heat.min()) / np.ptp(heat))


def test_without_a_lesion_there_is_no_outline():
    figure, _ = cells(1, lesion=False)
    assert [outlines(a) for a in figure.axes[:3]] == [[], [], []]
    assert cut_off(figure) == []


def test_unknown_cosines_are_not_drawn_and_at_least_one_must_be_known():
    heat = np.full((1, 20, 16), np.nan)
    with pytest.raises(ValueError, match="no cosine is known: all 320 are NaN"):
        organs.cell_maps(IMAGES[:1], heat, heat > 0, ["a"])
    heat[0, 3, 4] = 0.25
    figure = organs.cell_maps(IMAGES[:1], heat, heat > 9, ["a"])
    cut_off(figure)  # draws it
    assert figure.axes[1].images[1].get_array().mask.sum() == 319
    assert np.isfinite(figure.axes[2].images[1].get_alpha()).all()


def test_pictures_without_their_titles_are_refused():
    heat = np.ones(IMAGES.shape)
    with pytest.raises(ValueError, match="zip"):
        organs.cell_maps(IMAGES, heat, heat > 2, TITLES[:2])


def test_bars_stand_end_to_end_in_the_order_of_the_table():
    ax = organs.state_bars(states())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["spleen", "aorta"]
    assert ax.get_ylim() == (1.5, -0.5)
    drawn = {bars.get_label(): [(bar.get_x(), bar.get_width()) for bar in bars] for bars in ax.containers}
    assert drawn == {
        "used": [(0, 40), (0, 49)],
        "small": [(40, 7), (49, 0)],
        "misplaced": [(47, 0), (49, 1)],
        "empty": [(47, 3), (50, 0)],
    }
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list(drawn)


@pytest.mark.parametrize("factor", [1, 20])
def test_every_count_is_written_in_its_bar_or_behind_where_it_is_too_narrow(factor):
    table = states()
    ax = organs.state_bars(table.assign(n=table["n"] * factor))
    numbers = [40, 49, 7, 3]
    assert [t for t in texts(ax) if t] == [*(str(factor * n) for n in numbers), f"{factor} misplaced"]
    assert ax.texts[-1].get_position()[0] > 50 * factor
    assert cut_off(ax.figure) == []


def test_states_differ_without_their_colours_and_used_is_the_darkest():
    grey = {state: np.dot(to_rgba(colour)[:3], (0.3, 0.6, 0.1)) for state, colour in organs.STATES.items()}
    assert min(grey, key=grey.get) == "used"
    assert len({(organs.HATCHES[state], round(value, 1)) for state, value in grey.items()}) == 7


def test_rows_of_one_organ_and_state_are_added_up():
    ax = organs.state_bars(pd.concat([states({"kidney_left": {"used": 2}})] * 3))
    assert [bar.get_width() for bar in ax.patches] == [6]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["kidney left"]


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="unknown state lost; known are: used, small, cut, misplaced, empty"):
        organs.state_bars(states({"heart": {"lost": 1}}))
