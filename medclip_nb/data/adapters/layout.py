"""What an adapter hands over, and the three things that most adapters need."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ...config import artifacts_dir
from ...files import whole

MADE_FROM_LABELS = "the dataset has no texts: each report is made from the image's label and is no radiologist's sentence"
NO_PATIENTS = "no patients are published: each image counts as its own, so intervals are too narrow"


@dataclass(frozen=True)
class Layout:
    """A dataset as its publisher laid it out: rows with some of the manifest's columns, not yet checked."""

    table: pd.DataFrame
    root: Path  # the folder that the paths in the table are relative to
    source: Path  # the file that the rows come from; errors name it
    notes: list[str] = field(default_factory=list)  # what was dropped or assumed, with counts


def holder(path: Path, *patterns: str) -> Path | None:
    """The folder, `path` or one right below it, that holds a match of every pattern; None if there is none."""
    if not path.is_dir():
        return None
    folders = (path, *sorted(p for p in path.iterdir() if p.is_dir()))
    return next((f for f in folders if all(any(f.glob(p)) for p in patterns)), None)


def by_stem(root: Path, *suffixes: str) -> dict[str, str]:
    """Names without suffix -> paths relative to `root`, of all files below it that end so."""
    files = sorted(p for suffix in suffixes for p in root.rglob(f"*{suffix}"))
    return {p.name.removesuffix(s): p.relative_to(root).as_posix() for p in files for s in suffixes if p.name.endswith(s)}


def converted(name: str, sources: list[Path], write: Callable[[Path], None]) -> Path:
    """A folder that `write` filled once from `sources` (known by path, size and date), whole or not at all."""
    stamp = "".join(f"{s.resolve()} {s.stat().st_size} {s.stat().st_mtime_ns}\n" for s in sources)
    folder = artifacts_dir() / "converted" / f"{name}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not folder.exists():
        with whole(folder, keep=True) as part:
            part.mkdir()
            write(part)
    return folder


def spoken_label(label: str) -> str:
    """A class's name in words: "BreastMRI" -> "Breast MRI", "lung_opacity" -> "lung opacity"."""
    return " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", label).split())


def joined(*parts: str) -> str:
    """Texts as one: white space tidied, empty ones left out, a full stop between them."""
    tidy = [" ".join(part.split()) for part in parts if part.strip()]
    return " ".join([p if p.endswith((".", "!", "?")) else f"{p}." for p in tidy[:-1]] + tidy[-1:])
