"""Executed notebooks -> self-contained pages and an index: no script, no network, light and dark."""

import html
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path

import nbformat

from ..files import write_text
from ..show.uris import uri

TEMPLATES = Path(__file__).parent / "templates"
PARTS = {  # number of a part's first lesson -> its name and what it is for
    "01": ("Look at the data", "Before a model learns anything: what is in the table, in the images and in the reports."),
    "04": ("One equation", "All three methods are one formula with other units and other right answers."),
    "05": ("Three methods", "RadCLIP on slices and volumes, CT-GLIP on organs, SeLIP on similar reports."),
    "09": ("Measure what was learnt", "Scores beside chance, with intervals over patients, and the ways they deceive."),
    "14": ("Grow", "What a larger batch buys and costs, what stays the same on eight GPUs, and what is only said to."),
    "15": ("The verdict", "What the papers claim, asked again by one rule over five trainings, failures included."),
    "90": ("Your own data", "What medclip-nb experiment runs for each recipe and seed on a folder of yours."),
}
TURN = re.compile(r"<!-- turn -->.*?<!-- /turn -->", re.DOTALL)  # what is known only when the other pages are
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Outcome:
    """One lesson's run; kept in the executed notebook's metadata, from which the index is rebuilt."""

    number: str
    name: str  # file name without suffix
    title: str
    question: str
    preset: str
    dataset: str
    seed: int
    seconds: float
    date: str  # ISO 8601, local time
    error: str | None = None
    metrics: dict = field(default_factory=dict)
    thumbnail: str = ""  # data URI

    @property
    def key_figure(self) -> dict | None:
        """The figure shown on the index: the first one marked `key`, else the first."""
        figures = self.metrics.get("figures") or []
        return next((f for f in figures if f.get("key")), figures[0] if figures else None)


def heading(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """Title (without the number) and question from the first cell; empty where they are missing."""
    first = notebook.cells[0].source if notebook.cells and notebook.cells[0].cell_type == "markdown" else ""
    title = re.search(r"^#\s+(?:\d\d\s*·\s*)?(.+)$", first, re.MULTILINE)
    quoted = re.findall(r"^>\s?(.*)$", first, re.MULTILINE)
    return (title.group(1).strip() if title else ""), _plain(" ".join(quoted))


def heading_text(markdown: str) -> tuple[str, str]:
    """The first heading of a text in markdown, and the text without it."""
    title, _, rest = markdown.strip().partition("\n")
    return (title.lstrip("# "), rest) if title.startswith("# ") else ("", markdown)


def _plain(markdown: str) -> str:
    return re.sub(r"(\*\*|__|\*|`)(.+?)\1", r"\2", markdown).strip()


def write_report(notebook: nbformat.NotebookNode, outcome: Outcome, folder: Path):
    """Writes the executed notebook and its page into `folder`."""
    notebook.metadata.setdefault("medclip_nb", {})["outcome"] = asdict(outcome)
    write_text(folder / f"{outcome.name}.ipynb", nbformat.writes(notebook) + "\n")
    write_text(folder / f"{outcome.name}.html", page(notebook, outcome))


def page(notebook: nbformat.NotebookNode, outcome: Outcome) -> str:
    """The page of one executed lesson."""
    from .render import cells_html, sections

    # a reader who follows one page to another lesson wants its page, not its source
    body = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', cells_html(_without_heading(notebook)))
    contents = [(anchor, html.unescape(title)) for anchor, title in sections(body)]
    return template("page.html").render(lesson=outcome, body=body, contents=contents, style=style())


def _without_heading(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    # the page's header says both already
    notebook = nbformat.from_dict(notebook)
    if notebook.cells and notebook.cells[0].cell_type == "markdown":
        source = re.sub(r"\A\s*#\s+.*\n?", "", notebook.cells[0].source)
        notebook.cells[0].source = re.sub(r"\A\s*(>.*\n?)+", "", source)
    return notebook


def write_index(folder: Path) -> Path:
    """Rebuilds `index.html` and the cards from every executed lesson in the folder, and leads its pages to each other."""
    from .cards import write_cards

    lessons = read_outcomes(folder)
    cards = write_cards(folder, lessons)
    _turn(folder, lessons, cards)
    about = {"lessons": lessons, "ran": {o.number: o for o in lessons}, "parts": parts(lessons), "cards": cards, "style": style()}
    return write_text(folder / "index.html", template("index.html").render(**about, **_run_facts(lessons)))


def _turn(folder: Path, lessons: list[Outcome], cards: list) -> None:
    for before, lesson, after in zip([None, *lessons], lessons, [*lessons[1:], None], strict=False):
        path = folder / f"{lesson.name}.html"
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        own = [card for card in cards if lesson.number in card.lessons]
        links = template("turn.html").render(before=before, after=after, cards=own)
        new = TURN.sub(lambda _, links=links: links, old, count=1)
        if new != old:
            write_text(path, new)


def parts(lessons: list[Outcome]) -> list[tuple[str, str, list[Outcome]]]:
    """The parts of the course that lessons ran of: name, what it is for, its lessons."""
    first = {o.number: max((n for n in PARTS if n <= o.number), default="01") for o in lessons}
    return [(*PARTS[n], [o for o in lessons if first[o.number] == n]) for n in PARTS if n in first.values()]


def read_outcomes(folder: Path) -> list[Outcome]:
    """Outcomes of the executed lessons in a folder, by number; other notebooks are passed over."""
    outcomes = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))["metadata"]["medclip_nb"]["outcome"]
        except (ValueError, KeyError, TypeError):
            continue
        known = {f.name for f in fields(Outcome)}
        outcomes.append(Outcome(**{k: v for k, v in record.items() if k in known} | {"name": path.stem}))
    return outcomes


def _run_facts(lessons: list[Outcome]) -> dict:
    return {
        "presets": sorted({o.preset for o in lessons}),
        "datasets": sorted({o.dataset for o in lessons}),
        "date": max((o.date for o in lessons), default="")[:16].replace("T", " "),
        "seconds": sum(o.seconds for o in lessons),
        "synthetic": sorted({bool(o.metrics["synthetic"]) for o in lessons if "synthetic" in o.metrics}),
        "failed": [o for o in lessons if o.error],
    }


def number_text(value) -> str:
    """A figure to the digits one reads: 0.61, 0.013, 12.3, 1,204; an en dash where there is none."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    size = abs(value)
    if isinstance(value, int) or size >= 100:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"
    return text.replace("-", "−")


def duration_text(seconds: int | float) -> str:
    """A run time in words: 8.2 s, 3 min 05 s, 1 h 02 min."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def on_unit_scale(figure: dict) -> bool:
    """Whether value, interval and chance can be drawn on a line from 0 to 1."""
    numbers = [figure.get(k) for k in ("value", "low", "high")]
    drawn = [*numbers, 0 if figure.get("chance") is None else figure["chance"]]
    return all(isinstance(v, int | float) and 0 <= v <= 1 for v in drawn)


def data_uri(path: Path) -> str:
    """A PNG file as a data URI; empty when there is none."""
    return uri(path.read_bytes()) if path.is_file() else ""


@cache
def style() -> str:
    """The style sheet that every page carries inside."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


def template(name: str):
    """A template of this folder; what it is given is escaped, unless the template itself says `safe`."""
    return _environment().get_template(name)


@cache
def _environment():
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number_text, "duration": duration_text, "on_unit_scale": on_unit_scale}
    environment.globals["content_policy"] = CONTENT_POLICY
    return environment
