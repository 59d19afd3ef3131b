"""One line on stderr while lessons run, and one that stays for each that ended."""

import sys
import time
from collections.abc import Iterable

from tqdm import tqdm

from .site import Outcome, duration_text


class Progress:
    """Shows which lessons run and for how long; without a terminal only the lines that stay."""

    def __init__(self, total: int, *, at_once: int = 0):
        """With `at_once`, how many run at the same time, all are taken to last as long as those that ended."""
        self._since: dict[str, float] = {}
        self._total, self._at_once, self._seconds = total, at_once, []
        form = "{n_fmt}/{total_fmt} [{elapsed}] {desc}"
        self._bar = tqdm(total=total, bar_format=form, file=sys.stderr, disable=None, leave=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def show(self, running: Iterable):
        """Redraws the line for the lessons that run now."""
        now = time.monotonic()
        self._since = {lesson.path.stem: self._since.get(lesson.path.stem, now) for lesson in running}
        shown = [f"{name} {now - t:.0f} s" for name, t in self._since.items()]
        self._bar.set_description_str("  ".join([*shown, self._left()]))

    def finished(self, outcome: Outcome):
        """Writes the line that stays."""
        sign = "✗" if outcome.error else "✓"
        self._seconds.append(outcome.seconds)
        line = f"{sign} {outcome.name}  {duration_text(outcome.seconds)}  {self._left()}  {outcome.error or ''}".rstrip()
        tqdm.write(line, file=sys.stderr)
        self._bar.update()

    def _left(self) -> str:
        n_left = self._total - len(self._seconds)
        if not (self._at_once and self._seconds and n_left):
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * n_left / self._at_once
        return f"{n_left} left, about {duration_text(seconds)}"
