"""What holds in a lesson, and exercises: what a student's function must give, and a hint for each frequent mistake.

`attempt("first_ranks", my_first_ranks)` prints ○ (not attempted), ✓, or raises with input, expected, got and a hint.
A mistake is written down as the wrong function itself: the hint belongs to the answer that this function would give.
`mend("in_test", my_in_test)` is for a function that is shipped with a bug in it: ○ as long as the bug is there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .notebook import Lesson


@dataclass(frozen=True)
class Exercise:
    """The right function, inputs to try it on, and wrong functions with the hint that each deserves."""

    reference: Callable
    cases: tuple[tuple, ...]
    mistakes: tuple[tuple[Callable, str], ...]
    bug: Callable | None = None  # what is shipped, where the exercise is to find what is wrong with it


def that(name: str, holds: bool) -> None:
    """One line that says what was checked; AssertionError if it does not hold."""
    if not holds:
        raise AssertionError(f"check failed: {name}")
    print(f"✓ {name}")


def found(lesson: Lesson, name: str, holds: bool) -> None:
    """Like `that` for what a run should find out: on the embedded cohort beyond smoke it must hold.

    On other data, or with as little training as at smoke, the opposite is a finding too: it is printed, not raised.
    """
    if holds or (lesson.data.synthetic and lesson.preset.name != "smoke"):
        that(name, holds)
    else:
        print(f"✗ not so in this run: {name}")


def attempt(name: str, function: Callable) -> None:
    """Tries a student's function on all cases of an exercise. Raises AssertionError with a hint if it is wrong."""
    from .exercises import EXERCISES

    try:
        _refuse_wrong(EXERCISES[name], function)
    except NotImplementedError:
        print("○ not attempted yet")
    else:
        print("✓ correct")


def mend(name: str, function: Callable) -> None:
    """Like `attempt` for a function with a hidden bug: while it gives what it gave as shipped, this is said and not raised."""
    from .exercises import EXERCISES

    exercise = EXERCISES[name]
    if not all(_equal(function(*case), exercise.bug(*case)) for case in exercise.cases):
        _refuse_wrong(exercise, function)
        print("✓ mended")
        return
    case = next(c for c in exercise.cases if not _equal(exercise.bug(*c), exercise.reference(*c)))
    got, right = _show(exercise.bug(*case)), _show(exercise.reference(*case))
    print(f"○ the bug is still there: for input {_show(case)} you get {got}, right is {right}")


def _refuse_wrong(exercise: Exercise, function: Callable) -> None:
    for case in exercise.cases:
        got, wanted = function(*case), exercise.reference(*case)
        if not _equal(got, wanted):
            raise AssertionError(
                f"input {_show(case)}\nexpected {_show(wanted)}\ngot {_show(got)}\nhint: {_hint(exercise, case, got)}"
            )


def _hint(exercise: Exercise, case: tuple, got) -> str:
    for wrong, hint in exercise.mistakes:
        if _equal(got, wrong(*case)):
            return hint
    return "work the input through by hand and compare each step"


def _equal(a, b) -> bool:
    try:
        return np.shape(a) == np.shape(b) and bool(np.allclose(np.asarray(a, float), np.asarray(b, float), atol=1e-6))
    except (TypeError, ValueError):
        return isinstance(a, type(b)) and list(a) == list(b)


def _show(value) -> str:
    return re.sub(r",? dtype=[^)]*", "", " ".join(repr(value).split()))[:300]
