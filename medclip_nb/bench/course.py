"""Benchmarks of what one waits for: the import, the first line on the terminal, the course."""

import heapq
import subprocess
import sys
from functools import partial

from .. import config
from ..pages import course, run_times
from .rows import Row, Sizes, fastest

IMPORT_S, HELP_S, LESSON_S = 0.3, 1.0, 45.0  # budgets; the last at preset smoke
COURSE_S = {"smoke": 600.0, "cpu": 1800.0}
STARTS = {"import": ("-c", "import medclip_nb"), "help": ("-m", "medclip_nb", "--help"), "torch": ("-c", "import torch")}


def start_up(sizes: Sizes) -> list[Row]:
    """Fresh processes that import the package and say what the command line can do, against one that imports PyTorch."""
    ours, help, torch = fastest(*(partial(_start, args) for args in STARTS.values()), repeats=sizes.repeats)
    note = "a fresh Python process, its own start included; rival: import torch"
    return [Row("import medclip_nb", ours, torch, "s", note, IMPORT_S), Row("medclip-nb --help", help, torch, "s", note, HELP_S)]


def _start(args: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, *args], check=True, capture_output=True)


def course_times(sizes: Sizes) -> list[Row]:
    """Times of the notebooks as they were measured when the course was last run in whole; nothing is run here."""
    speed, chosen = run_times.benchmark(), course.choose(None)
    times = {(t.preset, t.lesson): t for t in run_times.shipped()}
    return [row for preset in COURSE_S for row in _of_preset(preset, chosen, times, speed)]


def _of_preset(preset: str, chosen: list[course.Lesson], times: dict, speed: float) -> list[Row]:
    known = {lesson: times[preset, lesson.number] for lesson in chosen if (preset, lesson.number) in times}
    if not known:
        return []
    seconds = {lesson: time.seconds for lesson, time in known.items()}
    then, missing = next(iter(known.values())).benchmark_s, [lesson.number for lesson in chosen if lesson not in known]
    note = f"a piece of training took {then:.2f} s then, takes {speed:.2f} s here; when and on which machine is not recorded"
    note += f"; not measured: {', '.join(missing)}" if missing else ""
    budget, most, pairs = COURSE_S[preset], LESSON_S if preset == "smoke" else None, two_at_a_time(seconds)
    return [
        *(Row(f"notebook {lesson.number}, {preset}", own, None, "s", "read, not run", most) for lesson, own in seconds.items()),
        Row(f"course at {preset}, two at a time", pairs, None, "s", f"as `run` goes, worked out; {note}", budget),
        Row(f"course at {preset}, summed", sum(seconds.values()), None, "s", "if notebooks ran one after another", budget),
    ]


def two_at_a_time(seconds: dict[course.Lesson, float]) -> float:
    """When the last lesson ends if two run at once, the lowest numbers first, each after those that it needs."""
    done, running, now = set(), [], 0.0
    waiting = sorted(seconds, key=lambda lesson: lesson.number)
    numbers = {lesson.number for lesson in waiting}
    while waiting or running:
        ready = [lesson for lesson in waiting if lesson.needs & numbers <= done][: min(2, config.n_cores()) - len(running)]
        for lesson in ready:
            waiting.remove(lesson)
            heapq.heappush(running, (now + seconds[lesson], lesson.number))
        now, number = heapq.heappop(running)
        done.add(number)
    return now
