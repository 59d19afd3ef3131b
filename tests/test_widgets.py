"""Things to move: the moving form shows what it is asked for, each has a still form, hostile texts stay texts."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from medclip_nb.pages.render import cells_html
from medclip_nb.pages.tidy import tidy
from medclip_nb.show import organs, plots
from medclip_nb.show.prompt_board import WARNING, ranked
from medclip_nb.show.slice_viewer import VIEW_PX
from medclip_nb.show.widget_parts import fill, image_html
from medclip_nb.show.widgets import Gallery, PromptBoard, RetrievalExplorer, SimilarityHover, SliceViewer, Strip

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 255, (2, 20, 16, 8)).astype(np.uint8)
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>\' \x00'
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def close_figures():
    plots.set_style()
    yield
    plt.close("all")


def every(widget) -> list:
    """A widget and all inside it."""
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in every(child))]


def named(box, description: str):
    """The control that is called so."""
    return next(w for w in every(box) if description in getattr(w, "description", ""))


def html(box) -> str:
    """All that the panes of a live form show."""
    return "\n".join(w.value for w in every(box) if type(w).__name__ == "HTML")


def picture_in(text: str) -> np.ndarray:
    """The first picture inside HTML."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", text)[1]))))


def small(box) -> np.ndarray:
    return picture_in(html(box))[VIEW_PX // 16 :: VIEW_PX // 8, VIEW_PX // 16 :: VIEW_PX // 8, 0]


def viewer(**more) -> SliceViewer:
    return SliceViewer(VOLUME, channels=["lung", "bone"], **more)


def outlines() -> dict[str, np.ndarray]:
    liver = np.zeros((20, 16, 8), bool)
    liver[8:12, 4:12, 2:7] = True
    return {"liver": liver, "lesion": np.roll(liver, 4, axis=1)}


def strip() -> Strip:
    return Strip(
        {"attention_4": RNG.dirichlet(np.ones(20)), "prompt": RNG.dirichlet(np.ones(20))}, np.isin(np.arange(20), [7, 8])
    )


def test_the_controls_choose_slice_and_window():
    box = viewer().live()
    assert np.array_equal(small(box), VOLUME[0, 10])
    named(box, "slice").value, named(box, "window").value = 4, 1
    assert np.array_equal(small(box), VOLUME[1, 3])
    assert (named(box, "slice").min, named(box, "slice").max) == (1, 20)
    assert "Slice 4 of 20, bone" in html(box)


def test_a_switched_outline_changes_pixels_on_the_outline_only():
    masks, box = outlines(), viewer(outlines=outlines()).live()
    named(box, "lesion").value = False
    on = picture_in(html(box)).astype(int)
    named(box, "liver").value = False
    off = picture_in(html(box)).astype(int)
    mask = np.asarray(Image.fromarray(masks["liver"][10].astype(np.uint8)).resize(off.shape[1::-1], 0)) > 0
    band = mask & ~binary_erosion(mask, iterations=3)
    changed = (on != off).any(-1)
    assert changed.any()
    assert not (changed & ~band).any()
    rgb = tuple(int(organs.LOOKS[0][0][i : i + 2], 16) for i in (1, 3, 5))
    assert (on[mask & ~binary_erosion(mask, iterations=2)] == rgb).all()
    assert np.array_equal(np.repeat(off[..., :1], 3, axis=2), off)


def test_what_is_outlined_on_a_slice_is_said_in_words():
    box = viewer(outlines=outlines()).live()
    assert "outlined here: liver, lesion" in html(box)
    named(box, "slice").value = 1
    assert "outlined here: nothing" in html(box)


def test_the_strip_marks_the_current_slice_and_those_that_show_it():
    given = strip()
    box = viewer(strip=given).live()
    assert named(box, "slice").value == 8
    assert html(box).count("▼") == 1
    assert html(box).count("▲") == 2
    for number, name in ((3, "attention_4"), (9, "prompt")):
        named(box, "slice").value, named(box, "weights of").value = number, list(given.weights).index(name)
        group = next(g for g in html(box).split("<g>") if "▼" in g)
        assert f"slice {number}: weight {given.weights[name][number - 1]:.3f}" in group
        assert ("▲" in group) == (number == 9) == ("this slice shows it" in html(box))


def test_bars_of_the_strip_are_as_tall_as_weights():
    given = strip()
    heights = re.findall(r'height="([\d.]+)" fill="(?:#|cur)', html(viewer(strip=given).live()))
    tall = np.array(heights, float)
    assert tall / tall.max() == pytest.approx(given.weights["attention_4"] / given.weights["attention_4"].max(), abs=0.01)


def test_a_page_without_a_kernel_gets_a_picture():
    bundle = viewer(start=1, outlines=outlines())._repr_mimebundle_()
    assert WIDGET in bundle
    assert Image.open(io.BytesIO(bundle["image/png"])).size[0] > 200
    assert plt.get_fignums() == []


def test_the_still_shows_evenly_spaced_slices_upwards():
    figure = viewer(outlines=outlines()).still()
    axes = [a for a in figure.axes if a.images]
    numbers = [int(a.get_title().split()[1]) for a in axes]
    assert numbers == sorted(numbers)
    assert len(axes) == 12
    assert np.array_equal(axes[0].images[0].get_array(), VOLUME[0, numbers[0] - 1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["liver", "lesion"]
    drawn = [number for number, a in zip(numbers, axes, strict=True) if a.collections]
    assert drawn == [number for number in numbers if 9 <= number <= 12]


def test_the_still_with_weights_shows_the_slices_around_what_is_sought():
    figure = viewer(strip=strip()).still()
    titles = [a.get_title() for a in figure.subfigs[0].axes]
    assert {"slice 8", "slice 9"} <= set(titles)
    assert len(titles) == 10
    assert [a.get_ylabel() for a in figure.subfigs[1].axes] == ["attention 4", "prompt"]


def test_a_volume_of_one_slice_works():
    for strips in (None, Strip({"mean": np.ones(1)}, np.zeros(1, bool))):
        one = SliceViewer(VOLUME[:, :1], channels=["a", "b"], strip=strips)
        one.live()
        assert len([a for a in (*one.still().axes, *one.still().subfigs) if a]) > 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": 2}, "2 names for 2 channels, start 2"),
        ({"outlines": {"liver": np.zeros((20, 8, 16), bool)}}, r"outline 'liver' is \(20, 8, 16\)"),
        ({"outlines": {f"o{i}": np.zeros((20, 16, 8), bool) for i in range(15)}}, "at most 14"),
        ({"strip": Strip({"mean": np.ones(19)}, np.zeros(20, bool))}, "'mean' has shape"),
        ({"strip": Strip({"mean": np.ones(20)}, np.zeros(3, bool))}, "'shows' has shape"),
        ({"strip": Strip({"mean": np.full(20, np.nan)}, np.zeros(20, bool))}, "NaN"),
    ],
)
def test_a_viewer_refuses_what_does_not_fit(wrong, said):
    with pytest.raises(ValueError, match=said):
        viewer(**wrong)


VECTORS = RNG.normal(size=(30, 4)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
CAPTIONS = [f"caption number {i} here" for i in range(30)]
PRESETS = ("a nodule", "no nodule", "a red bicycle")


def embed(texts: list[str]) -> np.ndarray:
    """A vector that depends on the text and on nothing else."""
    rows = np.array([[sum(map(ord, t)) % 7 - 3, len(t) % 5 - 2, t.count("o"), 1] for t in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def gallery(**more) -> Gallery:
    return Gallery(**{"name": "slices", "embed": embed, "vectors": VECTORS, "captions": CAPTIONS} | more)


def shown(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"caption number (\d+) here", text)]


def test_the_board_ranks_as_numpy_does():
    box = PromptBoard([gallery()], presets=PRESETS).live()
    for sentence in ("something else", "a stone in the left kidney"):
        named(box, "sentence").value = sentence
        cosine = VECTORS.astype(float) @ embed([sentence])[0]
        best = np.argsort(-cosine)[:5]
        assert shown(html(box)) == best.tolist()
        assert re.findall(r"\d\. (-?\d\.\d\d)</b>", html(box)) == [f"{cosine[i]:.2f}" for i in best]
        assert f"best {cosine.max():.2f}, middle {np.median(cosine):.2f}, of 30" in html(box)


def test_of_equals_the_first_comes_first():
    assert ranked(gallery(vectors=VECTORS[[0] * 30]), "a")[0].tolist() == list(range(30))


def test_a_preset_is_asked_by_its_button():
    box = PromptBoard([gallery()], presets=PRESETS).live()
    named(box, PRESETS[2]).click()
    assert named(box, "sentence").value == PRESETS[2]
    assert PRESETS[2] in html(box)


def test_the_still_board_answers_every_preset_and_warns():
    pictures = RNG.integers(0, 255, (30, 8, 8)).astype(np.uint8)
    board = PromptBoard([gallery(pictures=pictures), gallery(name="organs", vectors=-VECTORS)], presets=PRESETS)
    still = board.still()
    expected = [sign * VECTORS @ embed([p])[0] for p in PRESETS for sign in (1, -1)]
    assert shown(still) == np.concatenate([np.argsort(-cosine)[:5] for cosine in expected]).tolist()
    assert np.array_equal(picture_in(still), pictures[shown(still)[0]])
    assert still.count("<img") == 15
    assert still.count("<b>organs</b>") == 3
    assert WARNING in still


def test_an_error_is_shown_in_the_widget_and_the_next_answer_replaces_it():
    def fails(texts):
        raise RuntimeError(f"no <weights> for {texts[0]}")

    box = PromptBoard([gallery(embed=lambda t: fails(t) if t[0] == "bad" else embed(t))], presets=PRESETS).live()
    named(box, "sentence").value = "bad"
    assert 'role="alert"' in html(box)
    assert "RuntimeError: no &lt;weights&gt; for bad" in html(box)
    named(box, "sentence").value = "  "
    assert "the sentence is empty" in html(box)
    named(box, "sentence").value = "good"
    assert "alert" not in html(box)
    assert len(shown(html(box))) == 5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"captions": CAPTIONS[:-1]}, "30 vectors, 29 captions"),
        ({"pictures": np.zeros((2, 4, 4), np.uint8)}, "2 pictures"),
        ({"vectors": np.full((30, 4), np.nan, np.float32)}, "NaN"),
        ({"vectors": 2 * VECTORS}, "length is off 1 by 1"),
        ({"vectors": VECTORS[:0], "captions": []}, "is empty"),
    ],
)
def test_a_board_refuses_what_does_not_fit(wrong, said):
    with pytest.raises(ValueError, match=said):
        PromptBoard([gallery(**wrong)], presets=PRESETS)


def test_a_sentence_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"the sentence became \(1, 5\), the items are vectors of 4"):
        ranked(gallery(embed=lambda texts: np.ones((1, 5), np.float32)), "a")
    with pytest.raises(ValueError, match="NaN"):
        ranked(gallery(embed=lambda texts: np.full((1, 4), np.nan, np.float32)), "a")
    with pytest.raises(ValueError, match="0 presets"):
        PromptBoard([gallery()], presets=())


RULES = {"own patient": ("patient_id",), "same text": ("text",), "same finding and region": ("finding", "body_part")}


def table(n: int, *, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    drawn = {"patient_id": ["p1", "p2", "p3"], "finding": ["", "stone", "cyst"], "body_part": ["chest", "abdomen"]}
    rows = pd.DataFrame({name: rng.choice(values, n) for name, values in drawn.items()})
    return rows.assign(text=rows["body_part"] + " CT " + rows["finding"])


def explorer(**more) -> RetrievalExplorer:
    sim = np.random.default_rng(2).normal(size=(6, 40)).round(1)
    about = {"queries": table(6, seed=0), "items": table(40, seed=1), "rules": RULES, "examples": (0, 2, 5)} | more
    return RetrievalExplorer(about.pop("sim", sim), **about)


def slow_reasons(board: RetrievalExplorer, query: int, item: int) -> list[bool]:
    """Rule by rule, value by value."""
    a, b = board.queries.to_dict("records")[query], board.items.to_dict("records")[item]
    return [all(a[c] == b[c] and a[c] != "" for c in columns) for columns in RULES.values()]


def test_the_explorer_gives_the_right_reasons_in_the_right_order():
    board = explorer()
    box = board.live()
    for query in range(6):
        named(box, "query").value = query + 1
        rows = re.findall(r"<tr><td.*?</tr>", html(box))
        order = sorted(range(40), key=lambda i: (-board.sim[query, i], i))
        for row, item in zip(rows, order[:5], strict=True):
            assert [f"✓ {name}<" in row for name in RULES] == slow_reasons(board, query, item)
            assert ("✗ by no rule" in row) == (not any(slow_reasons(board, query, item)))
            assert f">{board.sim[query, item]:.3f}<" in row


def test_the_list_of_queries_and_the_slider_move_each_other():
    box = explorer().live()
    named(box, "or click").value = 4
    assert named(box, "query").value == 5
    assert "query 5:" in html(box)
    named(box, "query").value = 2
    assert named(box, "or click").value == 1


def test_the_rank_of_the_first_right_answer_has_wrong_ones_first_among_equals():
    board = explorer()
    for query in range(6):
        for k, name in enumerate(RULES):
            right = [i for i in range(40) if slow_reasons(board, query, i)[k]]
            best = max((board.sim[query, i] for i in right), default=np.inf)
            rank = 1 + sum(board.sim[query, i] >= best for i in range(40) if i not in right)
            unknown = any(board.queries[c][query] == "" for c in RULES[name])
            expected = "not known" if unknown else f"rank {rank} ({len(right)} right)" if right else "none is right"
            assert f"✓ {name}</span> {expected}" in board.answer(query).split("among 40")[1]


def test_an_unknown_value_is_no_reason():
    items = table(4, seed=0).assign(finding="", patient_id="p1", text="chest", body_part="chest")
    board = explorer(sim=np.eye(4), queries=items, items=items, examples=())
    assert board.reasons(0).tolist() == [[True] * 4, [True] * 4, [False] * 4]


def test_the_still_explorer_answers_its_examples_with_pictures():
    pictures = list(RNG.integers(0, 255, (40, 8, 8)).astype(np.uint8))
    board = explorer(items=table(40, seed=1).assign(picture=pictures))
    still = board._repr_mimebundle_()["text/html"]
    assert re.findall(r"query (\d+):", still) == ["1", "3", "6"]
    assert np.array_equal(picture_in(still), pictures[int(board.neighbours(0)[0])])
    assert still.count("<img") == 15


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sim": np.zeros((6, 39))}, r"sim is \(6, 39\) for 6 queries and 40 items"),
        ({"sim": np.full((6, 40), np.nan)}, "NaN"),
        ({"items": table(40, seed=1).drop(columns="finding")}, "items have no column finding"),
        ({"examples": (0, 6)}, r"examples \[6\]"),
    ],
)
def test_an_explorer_refuses_what_does_not_fit(wrong, said):
    with pytest.raises(ValueError, match=said):
        explorer(**wrong)


SIM = np.array([[1, 0.25, 0.5], [0.25, 1, 0], [0.5, 0, 1]])
TEXTS = ["left thalamus high", "right thalamus high", "healthy"]
TARGETS = {"CLIP": np.eye(3), "SeLIP": np.full((3, 3), 1 / 3)}


def test_a_chosen_cell_tells_both_texts_their_score_and_targets():
    box = SimilarityHover(SIM, TEXTS, targets=TARGETS).live()
    named(box, "row").value, named(box, "column").value = 3, 1
    pane = html(box).split("<table")[0]
    assert TEXTS[2] in pane
    assert TEXTS[0] in pane
    assert TEXTS[1] not in pane
    assert [float(x) for x in re.findall(r"<b>(\d\.\d\d)</b>", pane)] == [0.5, 0, 0.33]
    framed = re.findall(r'title="([^"]*)"[^>]*outline', html(box))
    assert framed == ["3. healthy&#10;1. left thalamus high&#10;similarity 0.50"]


def test_every_cell_of_the_still_table_tells_its_texts_on_hovering():
    still = SimilarityHover(SIM, TEXTS, targets=TARGETS)._repr_mimebundle_()["text/html"]
    cells = re.findall(r'<td title="([^"]*)"[^>]*>(-?\d\.\d\d)</td>', still)
    expected = [(TEXTS[i], TEXTS[j], SIM[i, j]) for i in range(3) for j in range(3)]
    assert [(*(t.split(". ")[1] for t in title.split("&#10;")[:2]), float(x)) for title, x in cells] == expected
    assert "target, SeLIP <b>0.33</b>" in still


@pytest.mark.parametrize(
    ("sim", "texts", "more", "said"),
    [
        (SIM[:2], TEXTS, {}, r"sim is \(2, 3\) for 3 texts"),
        (SIM, TEXTS, {"targets": {"CLIP": np.eye(2)}}, r"CLIP is \(2, 2\)"),
        (SIM * np.nan, TEXTS, {}, "NaN"),
        (SIM[:1, :1], TEXTS[:1], {}, "choose 2 to 16"),
        (SIM, TEXTS, {"start": (0, 3)}, "no cell"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(sim, texts, more, said):
    with pytest.raises(ValueError, match=said):
        SimilarityHover(sim, texts, **more)


def hostile() -> dict:
    """Every widget with a hostile text wherever one can be."""
    strange = table(4, seed=0).assign(text=HOSTILE)
    mask = {HOSTILE: outlines()["liver"]}
    return {
        "slice-viewer": SliceViewer(VOLUME, channels=[HOSTILE, "b"], outlines=mask, strip=strip()),
        "prompt-board": PromptBoard([gallery(name=HOSTILE, captions=[HOSTILE] * 30)], presets=(HOSTILE,)),
        "retrieval-explorer": RetrievalExplorer(np.eye(4), strange, strange, rules={HOSTILE: ("text",)}, examples=[0]),
        "similarity": SimilarityHover(SIM, [HOSTILE] * 3, targets={HOSTILE: np.eye(3)}),
    }


@pytest.mark.parametrize("name", ["slice-viewer", "prompt-board", "retrieval-explorer", "similarity"])
def test_hostile_texts_stay_texts_and_the_class_name_is_stable(name):
    widget = hostile()[name]
    box = widget.live()
    still = widget.still()
    assert not any(getattr(w, "description_allow_html", False) for w in every(box))
    for text in (html(box), *([still] if isinstance(still, str) else [])):
        assert not re.search(r"<script|<img src=x|\x00", text)
    assert "&lt;script&gt;" in html(box)
    assert f"medclip-{name}" in box._dom_classes


@pytest.mark.parametrize("name", ["slice-viewer", "prompt-board", "retrieval-explorer", "similarity"])
def test_every_control_has_a_name_and_a_tooltip(name):
    controls = [w for w in every(hostile()[name].live()) if hasattr(w, "description") and type(w).__name__ != "HTML"]
    assert controls
    assert all(w.description and w.tooltip for w in controls)
    assert not any(w.tabbable is False or getattr(w, "disabled", False) for w in controls)


def executed(widget):
    """A notebook with one output, as a run leaves it."""
    import nbformat

    data = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in widget._repr_mimebundle_().items()}
    cell = nbformat.v4.new_code_cell("widget", outputs=[nbformat.v4.new_output("execute_result", data)], execution_count=1)
    return tidy(nbformat.v4.new_notebook(cells=[cell]), {})


def test_still_forms_reach_the_report_and_run_nothing():
    board = PromptBoard([gallery(pictures=RNG.integers(0, 255, (30, 8, 8)).astype(np.uint8))], presets=PRESETS)
    notebook = executed(board)
    assert WIDGET not in notebook.cells[0].outputs[0].data
    page = cells_html(notebook)
    assert all(preset in page for preset in PRESETS)
    assert "data:image/png;base64" in page
    assert '<div class="scroll html"' in cells_html(executed(SimilarityHover(SIM, TEXTS)))
    assert "<figure><img" in cells_html(executed(viewer()))


def test_a_filled_pane_shows_what_is_made_or_what_went_wrong():
    import ipywidgets

    pane = ipywidgets.HTML()
    fill(pane, lambda: "<b>x</b>")
    assert "<b>x</b></div>" in pane.value
    fill(pane, lambda: {}["<gone>"])
    assert "KeyError: &#x27;&lt;gone&gt;&#x27;" in pane.value


def test_a_picture_inside_html_is_the_picture():
    assert np.array_equal(picture_in(image_html(VOLUME[0, 0], alt='a "b"', width=80)), VOLUME[0, 0])
    assert 'alt="a &quot;b&quot;"' in image_html(VOLUME[0, 0], alt='a "b"', width=80)
