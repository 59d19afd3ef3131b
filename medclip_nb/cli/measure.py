"""`medclip-nb claims` and `medclip-nb bench`: what is said about methods, and how fast the package is."""

import argparse
import sys
from pathlib import Path

from .. import config
from .data import print_table
from .train import seed

SEEDS = range(config.N_SEEDS)
EXAMPLES = {
    "bench": "examples:\n  medclip-nb bench                        everything; minutes, on an idle machine\n"
    "  medclip-nb bench --quick                everything in small: whether it works\n"
    "  medclip-nb bench image_cache -o bench.json",
    "claims": "examples:\n  medclip-nb claims                       all studies, five seeds; about six hours on two cores\n"
    "  medclip-nb claims --preset smoke --seed 0 1   the same in small, minutes: whether it works, not what is true\n"
    "  medclip-nb claims pooling --seed 0 1    one study, two seeds; what was trained before is kept\n"
    "  medclip-nb claims slices --commit       the table into notebooks/results/",
}


def add_commands(commands, command_parser) -> None:
    """Adds both to the command line; `command_parser` makes a parser with its examples."""
    _add_claims(commands, command_parser)
    _add_bench(commands, command_parser)


def _add_claims(commands, command_parser) -> None:
    claims = command_parser(commands.add_parser, "claims", help="Train each method with several seeds; write tables.")
    claims.add_argument("studies", nargs="*", metavar="NAME", help="slices, pooling, organs, selip, ...; all when none is given")
    claims.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="how much work (default: %(default)s)")
    claims.add_argument(
        "--seed", type=seed, nargs="+", default=list(SEEDS), help=f"one training each (default: 0 to {SEEDS[-1]})"
    )
    claims.add_argument("-o", "--output", metavar="DIR", help="folder of the tables (default: reports/claims)")
    claims.add_argument(
        "--commit",
        action="store_true",
        help="write the tables where the lessons read them, and the README's summary (preset cpu)",
    )
    claims.set_defaults(command=claims_command)


def claims_command(args: argparse.Namespace) -> int:
    """Runs studies and prints where their tables are; an interrupted one goes on from the trainings that are done."""
    from ..claims import runner, verdicts
    from ..claims.studies import STUDIES

    seeds = tuple(dict.fromkeys(args.seed))
    if args.commit and (args.preset != "cpu" or len(seeds) < 3):
        raise ValueError("--commit goes with preset cpu and at least three different seeds")
    folder = config.shipped("notebooks") / "results" if args.commit else Path(args.output or config.reports_dir() / "claims")
    lacking = {} if args.studies else runner.lacking()
    for name, datasets in lacking.items():
        print(f"{name} is left out: `medclip-nb data get {datasets[0]}` first", file=sys.stderr)
    names = args.studies or [name for name in STUDIES if name not in lacking]
    tables = runner.run(names, preset=args.preset, seeds=seeds, into=folder)
    readme = config.shipped("notebooks").parent / "README.md"
    written = [folder / f"{name}.csv" for name in (*tables, runner.SUMMARY)]
    if args.commit and readme.exists():
        written.append(verdicts.into_readme(readme, verdicts.table()))
    print(*written, sep="\n")
    return 0


def _add_bench(commands, command_parser) -> None:
    bench = command_parser(commands.add_parser, "bench", help="Measure what is fast here beside its rivals, in one run.")
    names = "start_up, course_times, text_similarity, retrieval, slice_pooling, zero_shot, loss_memory, loss_time, image_cache"
    names += ", audit_growth, training_step; all when none is given"
    bench.add_argument("names", nargs="*", metavar="NAME", help=names)
    bench.add_argument("--quick", action="store_true", help="small sizes: whether it works, not how fast it is")
    bench.add_argument("-o", "--output", metavar="FILE", help="JSON, with a PNG beside it (default: reports/bench.json)")
    bench.set_defaults(command=bench_command)


def bench_command(args: argparse.Namespace) -> int:
    """Runs benchmarks; prints tables, and writes JSON and a figure."""
    from .. import bench

    path = Path(args.output) if args.output else config.reports_dir() / "bench.json"
    found = bench.run(args.names, path, quick=args.quick)
    from ..show.benches import bench_figure, save  # what starts slowly comes after the names were looked at

    columns = list(found["rows"][0])
    print_table([columns, *(["-" if row[c] is None else str(row[c]) for c in columns] for row in found["rows"])])
    for curve in found["curves"]:
        _print_curve(curve)
    figure = bench_figure(found["rows"], found["curves"], about=bench.about(found))
    print(bench.about(found), path, save(figure, path.with_suffix(".png")), sep="\n")
    return 0


def _print_curve(curve: dict) -> None:
    print()
    sizes = [n for n, _ in next(iter(curve["points"].values()))]
    rows = [[f"{curve['what']}, {curve['unit']}", *(f"{n:,}" for n in sizes), "exponent"]]
    for way, points in curve["points"].items():
        figures = {n: str(figure) for n, figure in points}
        rows.append([way, *(figures.get(n, "-") for n in sizes), str(curve["exponents"][way])])
    print_table(rows)
