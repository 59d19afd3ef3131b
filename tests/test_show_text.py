"""Marked reports hold every character once and no script; figures draw the values they are given."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from medclip_nb.show import text

REPORT = "No left effusion. Possible nodule, 12 mm. Cyst & <b>stone</b>."


def finding(words: str, *, present: bool = True, uncertain: bool = False, report: str = REPORT, **about):
    start = report.index(words)
    defaults = {"organ": "lung", "finding": words, "side": "", "size_mm": None}
    return SimpleNamespace(start=start, end=start + len(words), present=present, uncertain=uncertain, **defaults | about)


class Page(HTMLParser):
    """Text, tags and marks of a fragment."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.marks, self.text, self.stack = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "mark":
            self.marks.append(dict(attrs))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def marked():
    found = [
        finding("left effusion", present=False, side="left"),
        finding("nodule", uncertain=True, size_mm=12.0),
        finding("stone", organ="kidney"),
    ]
    return text.marked_report(REPORT, found)


def test_a_marked_report_says_each_state_by_a_sign(marked):
    assert repr(marked) == "No [− left effusion]. Possible [? nodule], 12 mm. Cyst & <b>[+ stone]</b>."


def test_a_marked_report_says_each_state_by_colour_and_by_underline(marked):
    styles = [mark["style"] for mark in Page(marked._repr_html_()).marks]
    assert len({re.search(r"underline (\w+)", s)[1] for s in styles}) == 3
    assert len({re.search(r"background:(#\w+)", s)[1] for s in styles}) == 3


def test_hovering_names_state_organ_finding_and_size(marked):
    titles = [mark["title"] for mark in Page(marked._repr_html_()).marks]
    assert titles[:3] == ["denied: left lung, left effusion", "uncertain: lung, nodule, 12 mm", "present: kidney, stone"]


def test_the_page_holds_every_character_once_and_the_key(marked):
    shown = re.sub(r"[+?−]\u202f", "", Page(marked._repr_html_()).text)
    assert shown.startswith(REPORT)
    assert re.findall(r"\w+", shown[len(REPORT) :]) == ["present", "uncertain", "denied"]


def test_nothing_of_a_report_becomes_markup():
    evil = '<script>alert(1)</script><img src=x onerror="x"> nodule"><b>'
    page = Page(text.marked_report(evil, [finding("nodule", report=evil, organ='"><script>')])._repr_html_())
    assert set(page.tags) == {"div", "mark", "b", "p"}
    assert page.text.startswith("<script>alert(1)</script>")
    assert page.marks[0]["title"] == 'present: "><script>, nodule'


def test_control_characters_are_shown_as_unknown_and_lines_stay():
    marked = text.marked_report("a\x00b\nc\x1b\x9f\td", [])
    assert repr(marked) == "a�b\nc��\td"


def test_overlapping_findings_are_all_named_under_the_first_mark():
    found = [finding("left effusion", present=False), finding("effusion", uncertain=True), finding("effusion")]
    marked = text.marked_report(REPORT, found)
    assert repr(marked).startswith("No [− left ][+ effusion].")
    assert [m["title"].count(";") for m in Page(marked._repr_html_()).marks[:2]] == [0, 2]


def test_a_report_without_findings_and_an_empty_one_are_plain():
    assert repr(text.marked_report("Normal.", [])) == "Normal."
    assert repr(text.marked_report("", [])) == ""


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (5, 4), (0, 99)])
def test_a_finding_of_another_report_is_refused(start, end):
    wrong = SimpleNamespace(**vars(finding("stone")) | {"start": start, "end": end})
    with pytest.raises(ValueError, match=rf"'stone' at {start} to {end} is outside the report \({len(REPORT)} characters\)"):
        text.marked_report(REPORT, [wrong])


def test_the_dictionary_shows_the_most_frequent_phrases_of_each_organ():
    ax = text.dictionary_figure({"liver": {"a": 1, "b": 5, "c": 3}, "none": {}, "kidney": {"d": 2}}, n_phrases=2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "c", "d"]
    assert [bar.get_width() for bar in ax.patches] == [5, 3, 2]
    assert [t.get_text().strip() for t in ax.texts if "phrases" in t.get_text()] == ["liver, 3 phrases", "kidney, 1 phrases"]
    assert ax.patches[0].get_facecolor() != ax.patches[2].get_facecolor()


def test_a_name_stands_on_the_line_above_its_organs_bars():
    ax = text.dictionary_figure({"liver": {"a": 1, "b": 5}, "kidney": {"d": 2}})
    names = [t.get_position()[1] for t in ax.texts if "phrases" in t.get_text()]
    bars = [bar.get_y() + bar.get_height() / 2 for bar in ax.patches]
    assert np.allclose(bars, [1, 2, 4])
    assert names == [0, 3]


@pytest.mark.parametrize("counts", [{}, {"liver": {}}])
def test_a_dictionary_without_phrases_is_refused(counts):
    with pytest.raises(ValueError, match="no phrases to show for . organs"):
        text.dictionary_figure(counts)


def test_similarity_panels_share_their_scale_and_write_their_values():
    sim = np.array([[1, 0.25], [0.25, 0.5]])
    figure = text.similarity_panels({"x": sim, "y": 1 - sim}, ["A", "B"])
    panels = [a for a in figure.axes if a.images]
    assert [a.get_title(loc="left") for a in panels] == ["x", "y"]
    assert all(a.images[0].get_clim() == (0, 1) for a in panels)
    assert np.array_equal(panels[1].images[0].get_array(), 1 - sim)
    assert [t.get_text() for t in panels[0].texts] == ["1.00", "0.25", "0.25", "0.50"]


def test_large_similarity_panels_are_left_without_numbers():
    n = text.MAX_ANNOTATED + 1
    figure = text.similarity_panels({"x": np.eye(n)}, [str(i) for i in range(n)])
    assert list(figure.axes[0].texts) == []
