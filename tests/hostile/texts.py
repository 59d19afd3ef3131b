"""Texts that no radiologist wrote: markup, control characters, other alphabets, bombs for patterns, prompts of no form."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tiny import POSITIONS, save_bert

from medclip_nb.model.text_tower import embed_texts
from medclip_nb.text.prompts import ensemble
from medclip_nb.text.reports import findings, organ_texts
from medclip_nb.text.rulers import cosines, tfidf
from medclip_nb.text.sections import told
from medclip_nb.text.similarity import GRAMMARS, parse, similar_reports

from . import Kind
from .checkpoints import saved
from .making import first, guarded, manifest
from .outcome import command

MB = 2**20
RUN = 2**16  # characters; what grows with their square takes minutes
AIR, DENIED, FOUND = "pneumothorax", [("pneumothorax", False)], [("pneumothorax", True)]


def said(text: str) -> list[tuple[str, bool]]:
    """What the rules read, and whether it is present; each span must be the words of the report."""
    return [(f.finding, f.present) for f in findings(text) if len(text[f.start : f.end]) == f.end - f.start]


# name of the kind -> report, what must be read in it, in words
READ = {
    "empty": ("", [], "says nothing"),
    "blanks only": (" \t\u00a0\u3000\n", [], "says nothing"),
    "punctuation only": ("?!.,;:()[]{}--**//" * 50, [], "says nothing"),
    "emoji": (f"\U0001f600 No {AIR} \U0001fac1.", DENIED, "is no letter"),
    "control characters": (f"No\x07\x1b[0m {AIR}.", DENIED, "are blanks"),
    "null bytes": (f"No\0 {AIR}\0.", DENIED, "are blanks"),
    "from right to left": (f"\u202eNo\u202c {AIR}.", DENIED, "direction characters are blanks"),
    "wide blanks": (f"No\u00a0{AIR}\u2003is\u3000seen.", DENIED, "are blanks"),
    "full width": ("\uff2e\uff4f " + "".join(chr(ord(c) + 0xFEE0) for c in AIR) + "\uff0e", DENIED, "letters are letters"),
    "half of it full width": (f"\uff4e\uff4f {AIR}.", DENIED, "a denial is not lost"),
    "markup": (f"<p>No <b>{AIR}</b>.</p>", DENIED, "is no text"),
    "script": (f"There is a {AIR}.<script>no effusion, nodule, mass</script>", FOUND, "is not read"),
    "a tag never closed": (f"No {AIR} <b", DENIED, "is passed over"),
    "lines end as on Windows": (f"FINDINGS:\r\nNo {AIR}.\r\n", DENIED, "are lines"),
    "line within a sentence": (f"There is no\n{AIR}.", DENIED, "the sentence goes on"),
    "line within a sentence, Windows": (f"There is no\r\n{AIR}.", DENIED, "the sentence goes on"),
    "German": ("Es ist kein Pneumothorax und keine Raumforderung in der Lunge zu sehen.", [], "is not read"),
    "Chinese": ("未见气胸。肝脏大小正常。", [], "is not read"),
}  # fmt: skip
# what patterns may choke on, a long run of each: the time must not grow faster than the text
BOMBS = {
    "no no no": "no ",
    "brackets": "(",
    "nested brackets": "((()",
    "tags that open": "<",
    "tags within tags": "<p<p",
    "stops": ".",
    "numbered points": "1. ",
    "lines": "\n",
    "blanks": " ",
    "quotation marks": '"',
    "sides": "left and right ",
    "findings joined": "nodule and mass, ",
    "organs joined": "liver, spleen and kidneys ",
    "sizes": "3 x 4 x ",
    "question marks": "?",
    "one word": "a",
    "headings": "FINDINGS: ",
    "half a heading": "FINDINGS (",
    "hyphens": "no-",
}


def bomb(_: Path, *, unit: str) -> object:
    """A long run of it with a sentence behind, through everything that reads reports."""
    text = unit * (RUN // len(unit)) + f"\n\nThere is a {AIR}."
    return len(told(text)), len(organ_texts(text)), len(findings(text))


def embedded(folder: Path, *, texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """Their embeddings, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = embed_texts(texts, save_bert(folder / "bert"))
    return found.numpy(), [str(w.message) for w in caught]


def prompted(folder: Path, *, name: str = "p.json", content: str | None) -> str:
    """An evaluation with a file of prompts."""
    if content is not None:
        (folder / name).write_text(content, encoding="utf-8")
    data = manifest(folder / "data", label=list("ababab"))
    return command("evaluate", saved(folder), data, "--preset", "smoke", "--prompts", folder / name)


def audited(folder: Path, *, text: str) -> str:
    """What the audit says of a report."""
    return command("data", "audit", manifest(folder, report=first(text, others="clear")), "-o", folder / "audit.html")


SHAPE = r"p\.json: is no JSON of the form"
PROMPTS = {
    "empty": ("", SHAPE),
    "a list": ('["a", "b"]', SHAPE),
    "a number": ("3", SHAPE),
    "nothing": ("null", SHAPE),
    "no class": ("{}", r"has no prompt for class 'a'"),
    "a class missing": ('{"a": ["x"]}', r"has no prompt for class 'b'"),
    "a class twice": ('{"a": ["x"], "b": ["y"], "a": ["z"]}', r"a class is there twice"),
    "a class without prompts": ('{"a": [], "b": ["y"]}', r"has no prompt for class 'a'"),
    "a number for a prompt": ('{"a": 3, "b": ["y"]}', r"a prompt of class 'a' is blank or no text"),
    "an object for prompts": ('{"a": {"x": 1}, "b": ["y"]}', r"a prompt of class 'a' is blank or no text"),
    "a blank one": ('{"a": ["x", " "], "b": ["y"]}', r"a prompt of class 'a' is blank"),
    "one of unseen characters": ('{"a": ["\\u200b"], "b": ["y"]}', r"a prompt of class 'a' is blank"),
    "half a character": ('{"a": ["\\ud800"], "b": ["y"]}', r"a prompt of class 'a' is blank or no text"),
    "the same for two classes": ('{"a": ["x"], "b": ["x"]}', r"prompt 'x' is that of two classes"),
    "nested without end": ("[" * 10**5, SHAPE),
}  # fmt: skip
BLANK = {"empty": "", "blanks": " \n", "unseen characters": "\u200b\u202e\ufeff", "control characters": "\x07\x1b"}
REFUSED = [
    *((f"prompts: {name}", expect, partial(prompted, content=content)) for name, (content, expect) in PROMPTS.items()),
    *((f"embedding of nothing: {name}", "text 1 is blank", partial(embedded, texts=["chest", text])) 
      for name, text in BLANK.items()),
    ("prompts: no such file", r"p\.json: no such file of prompts", partial(prompted, content=None)),
    ("prompts: CSV without its columns", r"p\.csv: needs the columns class,prompt",
     partial(prompted, name="p.csv", content="a,b\n1,2\n")),
    ("prompts: CSV without rows", r"has no prompt for class 'a'", partial(prompted, name="p.csv", content="class,prompt\n")),
    ("classes from no such column", "column 'nothing' holds no classes", lambda f: command(
        "evaluate", saved(f), manifest(f / "data", label=list("ababab")), "--classes", "nothing", "--preset", "smoke")),
    ("limit of nought", "--limit is 0", lambda f: command("evaluate", f, "torso", "--limit", "0")),
    ("limit below nought", "--limit is -1", lambda f: command("evaluate", f, "torso", "--limit=-1")),
    ("limit in words", "argument --limit: invalid int value", lambda f: command("evaluate", f, "torso", "--limit", "few")),
    ("seed below nought", "'-1' is no seed", lambda f: command("train", "torso", "--seed=-1")),
    ("seed too large", "is no seed", lambda f: command("train", "torso", "--seed", 10**30)),
    ("seed that is no number", "'x' is no seed", lambda f: command("experiment", "torso", "--seed", "0", "x")),
    ("recipe of no such name", "unknown recipe 'nothing'", lambda f: command(
        "experiment", manifest(f), "--recipe", "nothing", "--preset", "smoke")),
    ("preset of no such name", "invalid choice: 'huge'", lambda f: command("train", "torso", "--preset", "huge")),
    ("prompts for nothing", "no prompts for nothing", lambda _: ensemble()),
    ("SeLIP's grammar broken", "does not read", lambda _: parse("左额叶表现为高信号")),
    ("SeLIP's grammar broken, place missing", "does not read", lambda _: parse("lobe shows high signal", GRAMMARS["en"])),
    ("similarity of no reports", "0 items", lambda _: similar_reports([], keep=3)),
    ("none of the similar kept", "of which 0 are to be kept", lambda _: similar_reports([[("lung", "nodule")]], keep=0)),
    ("embedding that is NaN, compared", "row 1 of the embeddings holds NaN",
     lambda _: cosines(np.array([[1.0, 0], [np.nan, 1]]))),
    ("texts without a word, compared", "none of the 2 texts to fit on has a word",
     lambda _: tfidf(["...", "!"])),
]  # fmt: skip


def right(wanted: list) -> Callable[[list], bool]:
    """Whether that was read and nothing else."""
    return lambda found: found == wanted


LONG = "chest " * POSITIONS
REPAIRED = [
    *((name, words, lambda _, text=text: said(text), right(wanted)) for name, (text, wanted, words) in READ.items()),
    *((f"a long run of {name}", "is read in one go", partial(bomb, unit=unit),
      lambda found: found[0] > 0) for name, unit in BOMBS.items()),
    ("longer than the text tower reads", "is cut, with a warning", partial(embedded, texts=[f"{LONG} head", f"{LONG} liver"]),
     lambda found: np.allclose(*found[0]) and f"2 of 2 texts are longer than {POSITIONS} tokens" in found[1][0]),
    ("a megabyte to embed", "is cut, with a warning", partial(embedded, texts=["chest " * (MB // 6)]),
     lambda found: "1 of 1 texts are longer" in found[1][0]),
    ("words that the tower does not know", "are told", partial(embedded, texts=["\U0001f600", "chest"]),
     lambda found: "1 of 2 texts hold no word that the text tower knows" in found[1][0]),
    ("ligatures", "the audit names them", partial(audited, text="no e\ufb00usion"),
     lambda text: "odd characters (1 rows)" in text),
    ("look-alike letters", "the audit names them", partial(audited, text="no \u0440neumothorax"),
     lambda text: "odd characters (1 rows)" in text),
    ("direction characters", "the audit names them", partial(audited, text="no \u202emass"),
     lambda text: "odd characters (1 rows)" in text),
    ("texts twice", "are embedded alike", partial(embedded, texts=["chest ct"] * 2), lambda found: np.array_equal(*found[0])),
]  # fmt: skip
KINDS = [Kind("text", name, expect, guarded(act)) for name, expect, act in REFUSED]
KINDS += [Kind("text", name, expect, guarded(act), ask) for name, expect, act, ask in REPAIRED]
