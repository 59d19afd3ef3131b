"""How long lessons take: what was measured here, else what was measured elsewhere, scaled by how fast this machine is."""

import csv
import io
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .. import config
from ..files import write_text

REPEATS = 5  # of the benchmark; the fastest counts


@dataclass(frozen=True)
class RunTime:
    """What one lesson took."""

    preset: str
    lesson: str
    seconds: float
    peak_mib: int  # of memory
    benchmark_s: float  # what `benchmark` said on the machine it ran on; 0 where nobody asked


def shipped() -> list[RunTime]:
    """The measured times that come with the course; none is an empty list."""
    path = _path()
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        kinds = {f.name: f.type for f in fields(RunTime)}
        return [RunTime(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def _path() -> Path:
    return config.shipped("notebooks") / "results" / "run_times.csv"


def here(benchmark_s: float = 0.0) -> list[RunTime]:
    """The times in this machine's reports, of lessons that ended well on the data they were written for."""
    from .course import lessons
    from .site import read_outcomes

    own_data = {lesson.number: lesson.parameters["DATASET"] for lesson in lessons()}
    ended = [o for o in read_outcomes(config.reports_dir()) if not o.error and own_data.get(o.number) == o.dataset]
    peaks = [int(o.metrics.get("peak_memory_mib", 0)) for o in ended]
    return [RunTime(o.preset, o.number, o.seconds, peak, benchmark_s) for o, peak in zip(ended, peaks, strict=True)]


def expected(benchmark_s: float) -> dict[tuple[str, str], float]:
    """Seconds by (lesson, preset) on a machine of this benchmark, from the shipped times."""
    return {(t.lesson, t.preset): t.seconds * benchmark_s / t.benchmark_s for t in shipped()}


def memory_gib(preset: str) -> float:
    """What the two hungriest lessons of a preset took together: `run` runs two at once. 0 if none was measured."""
    return sum(sorted(t.peak_mib for t in shipped() if t.preset == preset)[-2:]) / 1024


def save(benchmark_s: float) -> Path:
    """Puts the times of this machine's reports in place of the shipped ones; rows of other lessons and presets stay."""
    new = here(benchmark_s)
    if not new:
        raise ValueError(f"{config.reports_dir()}: no lesson has run here; run `medclip-nb run` first")
    rows = {(t.preset, t.lesson): t for t in [*shipped(), *new]}
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [f.name for f in fields(RunTime)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(rows[key]) for key in sorted(rows))
    return write_text(_path(), text.getvalue())


def benchmark() -> float:
    """Seconds for a fixed piece of training on one thread, the fastest of five: convolutions, forth and back, as lessons do."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return min(_training_s(torch) for _ in range(REPEATS))
    finally:
        torch.set_num_threads(threads)


def _training_s(torch) -> float:
    layers = [torch.nn.Conv2d(a, b, 3, stride=2) for a, b in ((3, 32), (32, 64), (64, 128))]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    images = torch.linspace(-1, 1, 64 * 3 * 64 * 64).reshape(64, 3, 64, 64)
    started = time.perf_counter()
    for _ in range(4):
        net(images).square().mean().backward()
    return round(time.perf_counter() - started, 4)
