"""Model cards and data cards as pages in `reports/cards`: what was trained, on what, and what it is not fit for."""

from dataclasses import dataclass
from pathlib import Path

from .. import config
from ..data.catalog import card_text, list_cards
from ..files import write_text
from .render import markdown_html
from .site import Outcome, heading_text, style, template

FACTS = ("how", "modality", "body_parts", "text", "size", "splits", "licence", "access", "homepage", "citation")


@dataclass(frozen=True)
class Card:
    """A page in the folder of cards."""

    kind: str  # "model" or "data"
    name: str  # of the model folder, or of the dataset
    title: str
    lessons: tuple[str, ...]  # numbers of the lessons that made the model, or read the data

    @property
    def page(self) -> str:
        """Address from the folder of reports; a lesson's number keeps apart what several lessons call `model`."""
        return f"cards/{self.kind}-{'-'.join([*self.lessons, self.name] if self.kind == 'model' else [self.name])}.html"


def write_cards(folder: Path, lessons: list[Outcome]) -> list[Card]:
    """Writes a page for each model folder that these lessons made, and for each card in `data_manifests`."""
    return [card for lesson in lessons for card in _model_cards(folder, lesson)] + _data_cards(folder, lessons)


def _model_cards(folder: Path, lesson: Outcome) -> list[Card]:
    products = config.run_dir(lesson.number, preset=lesson.preset, dataset=lesson.dataset, seed=lesson.seed)
    cards = []
    for path in sorted(products.glob("**/MODEL_CARD.md")):
        title, text = heading_text(path.read_text(encoding="utf-8"))
        where = path.parent.relative_to(products)
        card = Card("model", "-".join(where.parts), title, (lesson.number,))
        about = {"lesson": lesson, "where": f"lessons/{products.name}/{where.as_posix()}", "mib": _size_mib(path.parent)}
        _write(folder, card, body=markdown_html(text, trusted=False), **about)
        cards.append(card)
    return cards


def _size_mib(model: Path) -> float:
    return sum(f.stat().st_size for f in model.iterdir() if f.is_file()) / 2**20


def _data_cards(folder: Path, lessons: list[Outcome]) -> list[Card]:
    cards = []
    for about in list_cards():
        # a folder of the reader's own may be called like an embedded cohort
        read = [o for o in lessons if o.dataset == about["name"] and o.metrics.get("synthetic") == about["synthetic"]]
        card = Card("data", about["name"], about["title"], tuple(o.number for o in read))
        source = card_text(about["name"])
        facts = {name.replace("_", " "): about[name] for name in FACTS if name in about}
        _write(folder, card, about=about, facts=facts, source=source, read=read)
        cards.append(card)
    return cards


def _write(folder: Path, card: Card, **about) -> None:
    write_text(folder / card.page, template("card.html").render(card=card, style=style(), **about))
