"""Sections and sentences of a report, as spans of its text."""

import re
import unicodedata

from .vocabulary import ABBREVIATIONS, SECTIONS

MAX_SENTENCE = 1000  # characters; what runs on longer is cut at a space, so that the work stays linear
_LOOKALIKE = str.maketrans({"–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-", "×": "x", "’": "'", "“": '"', "”": '"', "·": "•"})
_LOOKALIKE |= {0xFF01 + i: 0x21 + i for i in range(94)}  # full-width letters and signs, as East Asian systems write them
# a tag that is never closed loses its bracket, or it would end where a later tag was
_TAG = re.compile(r"<(?:script|style)\b[^<]*|</?[a-z!][^<>]*>|<(?=/?[a-z!])|&(?:nbsp|#160|lt|gt|amp|quot);", re.IGNORECASE)
_BLOCK = re.compile(r"</?(?:p|br|div|li|ul|ol|tr|td|th|table|h\d|script|style)\b", re.IGNORECASE)
_NAMES = "|".join(f"(?P<{name}>{'|'.join(spellings)})" for name, spellings in SECTIONS.items())
_MORE = r"(?: ?(?:and|[&/]) ?\w{4,15})?(?: \([^()\n]{0,40}\))?"  # "FINDINGS AND IMPRESSION", "FINDINGS (CT chest)"
_HEADING = re.compile(rf"\b(?:{_NAMES}){_MORE}[ \t*]{{0,3}}(?::|(?=[ \t]{{0,3}}(?:\n|\Z)))", re.IGNORECASE)
# where a sentence may end: a stop, a stop without its space, a bullet or quotation mark that lists, a line, a paragraph
_END = re.compile(
    r"""(?P<stop>[.!?]++["')\]]{0,2})(?=\s|\Z)|(?P<tight>(?<=[a-z)])\.)(?=[A-Z])|(?P<mark>[•▪●]|(?<=\s)"(?=\s?[A-Z]))"""
    r"""|(?P<line>\n)(?=[ \t]{0,8}(?:[-*A-Z]|\d{1,2}[.)][ \t]|\n|\Z))"""
)
_LAST_WORD = re.compile(r"[\w.]+$")


def clean(text: str) -> str:
    """The same text, character for character as long, without markup, control characters and look-alike signs."""
    text = _TAG.sub(_blank, text.translate(_LOOKALIKE))
    return "".join(c if c.isascii() and c.isprintable() or c == "\n" else _plain(c) for c in text)


def sections(report: str) -> dict[str, str]:
    """indication, comparison, technique, findings, impression -> text, in the order of the report, empty ones left out.

    A heading stands at the start of a sentence or a line and ends in a colon or with its line. What precedes the first heading,
    or all of a report without headings, counts as findings, unless there is a section of that name ("preamble" then).
    """
    found: dict[str, list[str]] = {}
    for name, start, end in section_spans(report):
        found.setdefault(name, []).append(report[start:end].strip())
    return {name: "\n".join(filter(None, texts)) for name, texts in found.items() if any(texts)}


def section_spans(report: str) -> list[tuple[str, int, int]]:
    """(name, start, end) of each section's text, heading left out."""
    text = clean(report)
    heads = [m for m in _HEADING.finditer(text) if _opens(text, m)]
    names = [m.lastgroup for m in heads]
    first = "preamble" if "findings" in names else "findings"
    starts, stops = [0, *(m.end() for m in heads)], [*(m.start() for m in heads), len(text)]
    return [(n, a, b) for n, a, b in zip([first, *names], starts, stops, strict=True) if text[a:b].strip()]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences, outer blanks left out.

    Decimals, abbreviations and the number of an enumeration ("1. No effusion.") end none; a paragraph, a bullet, an
    enumeration on a new line and MAX_SENTENCE do.
    """
    text = clean(text)
    found, start = [], 0
    for match in [*_END.finditer(text), None]:
        end = match.end() if match else len(text)
        if match and match["stop"] and not _is_stop(text, start, match):
            continue
        found += _trimmed(text, start, match.start() if match and match["mark"] else end)
        start = end
    return found


def told(report: str, *, names: tuple[str, ...] = ("findings", "impression")) -> list[str]:
    """The sentences of some sections, in order, each on one line; of all the report if it has none of them."""
    spans = [(a, b) for name, a, b in section_spans(report) if name in names] or [(0, len(report))]
    found = (" ".join(report[a + i : a + j].split()) for a, b in spans for i, j in sentences(report[a:b]))
    return [sentence for sentence in found if sentence]


def _blank(tag: re.Match) -> str:
    return ("\n\n" if _BLOCK.match(tag[0]) else "").ljust(len(tag[0]))


def _plain(char: str) -> str:
    """Blank for what is no letter, number, sign or punctuation; a letter whose lower case is longer than it stays as it is."""
    return " " if unicodedata.category(char)[0] in "ZC" else char


def _opens(text: str, head: re.Match) -> bool:
    """Whether a heading stands where a sentence or line begins; without a colon it must have the line to itself."""
    before = text[max(0, head.start() - 20) : head.start()]
    told = before.rstrip(" \t\n*#")
    own_line = "\n" in before[len(told) :] or not (told or head.start() > len(before))
    return own_line or (head[0].endswith(":") and told[-1:] in (".", "!", "?", ";"))


def _is_stop(text: str, start: int, match: re.Match) -> bool:
    word = _LAST_WORD.search(text[max(start, match.start() - 12) : match.start()])
    if match["stop"] == "." and word:
        alone = not text[start : match.start() - len(word[0])].strip(" \t\n-\"'(")[:1]
        return word[0].lower() not in ABBREVIATIONS and not (alone and (word[0].isdigit() or len(word[0]) == 1))
    following = text[match.end() : match.end() + 3].strip()
    return "?" not in match["stop"] or not following or not following[0].islower()


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The span without outer blanks, in pieces of at most MAX_SENTENCE; none if blank."""
    pieces = []
    while end - start > MAX_SENTENCE:
        space = text.rfind(" ", start + MAX_SENTENCE // 2, start + MAX_SENTENCE)
        cut = space if space > 0 else start + MAX_SENTENCE
        pieces.append((start, cut))
        start = cut
    spans = [(a + len(text[a:b]) - len(text[a:b].lstrip()), a + len(text[a:b].rstrip())) for a, b in [*pieces, (start, end)]]
    return [(a, b) for a, b in spans if a < b]
