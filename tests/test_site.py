"""The report site: its texts come from data and from strangers, and it is read on phones, in the dark and on paper."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medclip_nb import config
from medclip_nb.data.audit import audit
from medclip_nb.data.catalog import list_cards, load
from medclip_nb.pages import site
from medclip_nb.pages.audit_page import write_page
from medclip_nb.pages.render import cells_html, harmless, markdown_html

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)></svg><a href='javascript:alert(4)'>\"x"
FOLDER = "<img src=x onerror=alert(5)>"
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
CSS = (site.TEMPLATES / "style.css").read_text()
PAPERS, WORDS = ("paper", "card", "code"), ("ink", "soft", "accent", "chance", "bad", "note", "good", "word", "string", "number")
READ = [*product(WORDS, PAPERS), ("ink", "bad-paper"), ("bad", "bad-paper"), ("soft", "bad-paper"), ("accent", "bad-paper")]


class Document(HTMLParser):
    """What a browser would make of a page: its elements, and the texts outside of style sheets."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, *tags: str) -> list[dict]:
        """Attributes of all elements of these kinds."""
        return [attributes for tag, attributes in self.elements if tag in tags]


def harmful(text: str) -> list:
    """Elements that run something, handlers and addresses that do, and pictures that are not inside the page."""
    found = []
    for tag, attributes in Document(text).elements:
        runs = [k for k, v in attributes.items() if k.startswith("on") or re.match(r"\s*javascript:", v or "", re.IGNORECASE)]
        outside = tag == "img" and not attributes.get("src", "").startswith("data:")
        if tag in ("script", "iframe", "object", "embed", "base") or runs or outside:
            found.append((tag, attributes))
    return found


def outcome(number: str = "05", **about) -> site.Outcome:
    given = {"title": "T", "question": "Q?", "preset": "cpu", "dataset": "torso", "seed": 0, "seconds": 1.0, "date": "2026-01-02"}
    return site.Outcome(number=number, name=f"{number}_x", **given | about)


def output_page(data: dict, *, alt: str = "", kind: str = "display_data") -> str:
    """A page with one code cell that has one output."""
    output = nbformat.v4.new_output(kind, data) if kind == "display_data" else nbformat.v4.new_output(kind, **data)
    cell = nbformat.v4.new_code_cell("x", outputs=[output], metadata={"alt": alt} if alt else {})
    return site.page(nbformat.v4.new_notebook(cells=[cell]), outcome())


@pytest.fixture
def reports(tmp_path, monkeypatch) -> Path:
    """A site of four lessons, one of them stopped, the texts of all of them hostile; lesson 05 left a model."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    figure = {"name": EVIL, "value": 0.6, "low": 0.5, "high": 0.7, "chance": 0.25, "n": 9, "unit": EVIL, "key": True}
    about = {
        "title": EVIL,
        "question": EVIL,
        "dataset": FOLDER,
        "metrics": {"figures": [figure], "notes": [EVIL], "synthetic": False},
    }
    model = config.run_dir("05", preset="cpu", dataset=FOLDER, seed=0) / "model"
    model.mkdir(parents=True)
    (model / "MODEL_CARD.md").write_text(f"# Model {EVIL}\n\nTrained on `{FOLDER}`, {EVIL}\n\n```mermaid\n{EVIL}\n```\n")
    (model / "model.safetensors").write_bytes(bytes(2**20))
    for number in ("01", "05", "09", "90"):
        one = outcome(number, **about, error=EVIL if number == "09" else None, thumbnail=f'"{EVIL}')
        site.write_report(nbformat.v4.new_notebook(), one, tmp_path / "reports")
    site.write_index(tmp_path / "reports")
    return tmp_path / "reports"


def test_the_finder_of_harm_finds_each_kind():
    assert len(harmful(EVIL)) == 4
    assert harmful('<img src="data:image/png;base64,AA"><a href="x.html">') == []


def test_every_page_of_the_site_shows_hostile_texts_as_text(reports):
    pages = sorted(reports.rglob("*.html"))
    assert {p.relative_to(reports).as_posix() for p in pages} >= {"index.html", "05_x.html", "cards/model-05-model.html"}
    assert [(p.name, harm) for p in pages if (harm := harmful(p.read_text()))] == []
    for page in ("index.html", "05_x.html", "09_x.html", "cards/model-05-model.html"):
        assert EVIL in "".join(Document((reports / page).read_text()).texts)


def test_templates_escape_all_but_the_style_sheet_and_the_rendered_cells():
    trusted = [re.findall(r"(\w+) \| safe", path.read_text()) for path in site.TEMPLATES.glob("*.html")]
    assert {name for names in trusted for name in names} == {"style", "body"}
    assert site.template("index.html").environment.autoescape is True


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": EVIL},
        {"text/html": pd.DataFrame({EVIL: [EVIL]}, index=[EVIL])._repr_html_()},
        {"text/html": pd.DataFrame({EVIL: [EVIL]}).style.format(precision=2).to_html()},
        {"text/html": f"<style>{EVIL}</style>{EVIL}"},
        {"text/markdown": f"{EVIL}\n\n# {EVIL}\n\n```mermaid\n{EVIL}\n```\n\n[x](javascript:alert(1)) ${EVIL}$"},
        {"text/plain": EVIL},
        {"image/png": f'"><{EVIL}'},
        {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>{EVIL}</svg>"},
    ],
)
def test_no_output_of_a_cell_becomes_part_of_the_page(data):
    page = output_page(data, alt=EVIL)
    assert harmful(page) == []
    assert "alert(2)" in page or "image/svg+xml" in data


@pytest.mark.parametrize(
    ("kind", "data"),
    [("stream", {"name": "stdout", "text": EVIL}), ("error", {"ename": "E", "evalue": EVIL, "traceback": [f"\x1b[31m{EVIL}"]})],
)
def test_what_a_cell_printed_is_text(kind, data):
    page = output_page(data, kind=kind)
    assert harmful(page) == []
    assert EVIL in "".join(Document(page).texts)


def test_a_table_and_a_marked_report_keep_their_looks():
    from medclip_nb.show.text import marked_report
    from medclip_nb.text.reports import findings

    report = marked_report("No nodule. A 5 mm nodule.", findings("No nodule. A 5 mm nodule."))._repr_html_()
    assert Document(harmless(report)).all("mark") == Document(report.replace('2px"', '2px;"')).all("mark") != []
    table = pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2)]))._repr_html_()
    assert Document(harmless(table)).all("th") == Document(table).all("th") != []
    assert "<style" not in harmless(table)


def test_a_sentence_in_a_table_may_break_into_lines_and_a_number_may_not():
    html = harmless(pd.DataFrame({"a": ["a sentence that is rather long", "short"], "b": 0.5})._repr_html_())
    assert [a.get("class") for a in Document(html).all("td")] == ["long", None, None, None]


def test_a_link_to_another_lessons_notebook_leads_to_its_page():
    cells = [nbformat.v4.new_markdown_cell(t) for t in ("# 05 · T", "See [lesson 03](03_reports.ipynb) and [this](data.ipynb).")]
    links = [a["href"] for a in Document(site.page(nbformat.v4.new_notebook(cells=cells), outcome())).all("a")]
    assert {"03_reports.html", "data.ipynb"} <= set(links)


def test_a_style_that_lays_something_over_the_page_is_dropped():
    html = harmless('<div style="position:fixed;inset:0;z-index:9;color:red">x</div><form action="//x"><input></form>')
    assert Document(html).elements == [("div", {"style": "color:red;"})]


def test_the_authors_own_html_stays_where_the_text_is_trusted():
    assert "<summary>Predict</summary>" in markdown_html("<details><summary>Predict</summary>\n\nText\n\n</details>")
    assert "<summary>" not in markdown_html("<details><summary>Predict</summary></details>", trusted=False)


def test_the_audit_of_hostile_data_shows_text(tmp_path):
    folder = hostile_folder(tmp_path, n=12)
    table = load(folder, config.PRESETS["smoke"], lenient=True).manifest
    page = write_page(audit(table), table, tmp_path / "audit.html").read_text()
    assert harmful(page) == []
    assert FOLDER in "".join(Document(page).texts)
    assert EVIL in "".join(Document(page).texts)


def hostile_folder(where: Path, *, n: int) -> Path:
    """Pictures with a table whose every text is hostile, in a folder of such a name."""
    rng, folder = np.random.default_rng(0), where / FOLDER
    folder.mkdir()
    names = [f"<b onmouseover=alert(6)>{i}.png" for i in range(n)]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (20, 16), np.uint8)).save(folder / name)
    table = pd.DataFrame({"study_id": [f"s{i}{EVIL}" for i in range(n)], "image": names})
    table["text"], table["patient_id"] = (
        [f"A {i + 4} mm nodule in the left upper lobe. No effusion. {EVIL}" for i in range(n)],
        [f"p{i // 2}{EVIL}" for i in range(n)],
    )
    table.assign(modality=["MR", "CT"] * (n // 2), body_part=["a", "b" + EVIL] * (n // 2)).to_csv(
        folder / "texts.csv", index=False
    )
    return folder


def test_lessons_on_hostile_data_show_text(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    arguments = ["run", "01", "03", "--preset", "smoke", "--data", str(hostile_folder(tmp_path, n=40))]
    done = subprocess.run([sys.executable, "-m", "medclip_nb.cli", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = sorted((tmp_path / "home" / "reports").glob("*.html"))
    assert [p.name for p in pages] == ["01_curation.html", "03_reports.html", "index.html"]
    assert [(p.name, harm) for p in pages if (harm := harmful(p.read_text()))] == []
    shown = ["".join(Document(p.read_text()).texts) for p in pages]
    assert EVIL in shown[1]
    assert "<script>alert(1)" in shown[0]  # pandas cuts long cells
    assert all(FOLDER in text for text in shown)


def test_lessons_lead_to_their_neighbours_and_to_their_cards(reports):
    links = {n: [a["href"] for a in Document((reports / f"{n}_x.html").read_text()).all("a")] for n in ("01", "05", "90")}
    turns = {"01": ["05_x.html"], "05": ["01_x.html", "09_x.html"], "90": ["09_x.html"]}
    assert {n: [h for h in hrefs if h.endswith("_x.html")] for n, hrefs in links.items()} == turns
    assert "cards/model-05-model.html" in links["05"]


def test_every_link_of_the_site_leads_somewhere(reports):
    for page in sorted(reports.rglob("*.html")):
        document = Document(page.read_text())
        ids = {attributes.get("id") for _, attributes in document.elements}
        hrefs = [a["href"] for a in document.all("a") if not a["href"].startswith("http")]
        assert [h for h in hrefs if h.startswith("#") and h[1:] not in ids] == []
        assert [h for h in hrefs if h[0] != "#" and not (page.parent / h.split("#")[0]).is_file()] == []


def test_the_index_stands_in_parts_and_names_what_stopped(reports):
    index = (reports / "index.html").read_text()
    parts = [name for name, *_ in site.parts(site.read_outcomes(reports))]
    assert parts == ["Look at the data", "Three methods", "Measure what was learnt", "Your own data"]
    assert re.findall(r"<h2[^>]*>([^<]+)", index) == ["Start here", *parts, "Cards"]
    assert index.count('class="card broken"') == 1
    assert index.index('role="alert"') < index.index("Start here")


def test_a_lesson_run_again_is_still_between_its_neighbours(reports):
    site.write_report(nbformat.v4.new_notebook(), outcome("05"), reports)
    assert "09_x.html" not in (reports / "05_x.html").read_text()
    site.write_index(reports)
    assert (reports / "05_x.html").read_text().count("09_x.html") == 1


def test_every_dataset_has_a_page_with_its_licence_and_its_traps(reports):
    for card in list_cards():
        text = " ".join("".join(Document((reports / "cards" / f"data-{card['name']}.html").read_text()).texts).split())
        assert all(" ".join(str(fact).split()) in text for fact in (card["title"], card["licence"], *card.get("traps", ())))


def test_a_folder_that_is_called_like_a_cohort_is_not_taken_for_it(tmp_path):
    own, drawn = outcome("05", metrics={"synthetic": False}), outcome("06", metrics={"synthetic": True})
    for one in (own, drawn):
        site.write_report(nbformat.v4.new_notebook(), one, tmp_path)
    site.write_index(tmp_path)
    assert ["data-torso" in (tmp_path / f"{o.name}.html").read_text() for o in (own, drawn)] == [False, True]


def colours(scheme: str) -> dict[str, str]:
    """The variables of a colour scheme, the light one's where the dark one has no own."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)[:2]
    )
    return light if scheme == "light" else light | dark


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out_from_all_papers(scheme):
    shades = colours(scheme)
    contrasts = {}
    for word, paper in READ:
        low, high = sorted((luminance(shades[word]), luminance(shades[paper])))
        contrasts[word, paper] = (high + 0.05) / (low + 0.05)
    assert {pair: round(c, 2) for pair, c in contrasts.items() if c < 4.5} == {}


def test_no_colour_of_words_is_written_outside_of_the_schemes():
    rules = re.sub(r":root \{.*?\}", "", CSS, flags=re.S)
    assert re.findall(r"(?<![-\w])color: (?!var\(|inherit)[^;}]+", rules) == []


def test_paper_is_light_and_shows_what_a_screen_hides():
    assert re.findall(r"@media (?!screen and)[^{]*prefers-color-scheme", CSS) == []
    paper = CSS[CSS.index("@media print") :]
    assert "white-space: pre-wrap" in paper
    assert ".scroll, pre { overflow: visible; }" in paper


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.name)
def document(request) -> Document:
    """The page of a shipped notebook as it was committed."""
    return Document(site.page(nbformat.read(request.param, as_version=4), outcome()))


def test_a_page_has_landmarks_a_way_past_them_and_headings_in_order(document):
    assert [len(document.all(tag)) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    first = document.all("a")[0]
    assert (first["class"], first["href"]) == ("skip", "#" + document.all("main")[0]["id"])
    assert all(nav.get("aria-label") for nav in document.all("nav"))


def test_every_anchor_of_a_page_is_there_once(document):
    ids = [a["id"] for _, a in document.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in document.all("a") if a.get("href", "").startswith("#")} <= set(ids)


def test_every_figure_has_words_of_its_own(document):
    alts = [image.get("alt", "") for image in document.all("img")]
    assert len(set(alts)) == len(alts) > 0
    assert min(map(len, alts)) > 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_cell_with_a_figure_says_what_it_shows(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    figures = [c for c in cells if any("image/png" in o.get("data", {}) for o in c.outputs)]
    assert [c.id for c in figures if not c.metadata.get("alt")] == []


def test_code_is_shown_or_hidden_without_a_script(document):
    switches = [a for a in document.all("input") if a.get("name") == "code"]
    assert [a["id"] for a in switches if "checked" in a] == ["code-some"]
    assert all(f"#{a['id']}:checked) .code" in CSS for a in switches if "checked" not in a)


def test_figures_of_one_cell_are_counted():
    outputs = [nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="}) for _ in range(2)]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, metadata={"alt": "Two maps"})
    html = cells_html(nbformat.v4.new_notebook(cells=[cell]))
    assert re.findall('alt="([^"]*)"', html) == ["Two maps (1 of 2)", "Two maps (2 of 2)"]
