"""One line on stderr while lessons run, and one that stays for each that ended."""

import sys
import time
from collections.abc import Iterable

from tqdm import tqdm

from .site import Outcome, duration_text


class Progress:
    """Shows which lessons run and for how long; without a terminal only the lines that stay."""

    def __init__(self, total: int):
        self._since: dict[str, float] = {}
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
        self._bar.set_description_str("  ".join(f"{name} {now - t:.0f} s" for name, t in self._since.items()))

    def finished(self, outcome: Outcome):
        """Writes the line that stays."""
        sign = "✗" if outcome.error else "✓"
        line = f"{sign} {outcome.name}  {duration_text(outcome.seconds)}  {outcome.error or ''}".rstrip()
        tqdm.write(line, file=sys.stderr)
        self._bar.update()
