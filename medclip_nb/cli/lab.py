"""The commands around JupyterLab: `medclip-nb check` looks at this machine, `medclip-nb lab` opens a lesson."""

import argparse
import json
import os
import shutil
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from .. import checkup, config
from ..files import whole
from .data import print_table

EXAMPLES = {
    "check": "examples:\n  medclip-nb check                what is here, what is missing, how long lessons will take\n"
    "  medclip-nb check --quick        without PyTorch and without run times, in a second\n"
    "  medclip-nb check --json\n\nexit code: 0 all in order, 1 something of it will not work, 2 lessons will not run",
    "lab": "examples:\n  medclip-nb lab                          JupyterLab at lesson 01\n"
    "  medclip-nb lab --lesson 05\n"
    "  medclip-nb lab --no-browser --port 8890   on a server; then open the address it prints",
}
OURS = Path(__file__).parents[1] / "pages" / "jupyter"  # JupyterLab's settings that ask no website for news or updates


def add_commands(commands, command_parser) -> None:
    """Adds `check` and `lab` to the command line; `command_parser` makes a parser with its examples."""
    check = command_parser(commands.add_parser, "check", help="Look at this machine: what is missing, and how to mend it.")
    check.add_argument("--quick", action="store_true", help="leave PyTorch and run times out")
    check.add_argument("--json", action="store_true", help="print it as JSON")
    commit = "write the run times in reports/ to where estimates come from; after `run`, on an idle machine"
    check.add_argument("--commit", action="store_true", help=commit)
    check.set_defaults(command=check_command)
    lab = command_parser(commands.add_parser, "lab", help="JupyterLab at a lesson, in a checked environment.")
    lab.add_argument("--lesson", metavar="NN", default="01", help="which one to open (default: %(default)s)")
    lab.add_argument("--port", type=int, metavar="N", help="this one; 0 for any (default: the first free one from 8888)")
    lab.add_argument("--no-browser", action="store_true", help="print the address only")
    lab.set_defaults(command=lab_command)


def check_command(args: argparse.Namespace) -> int:
    """Says what was found and how to mend it; 0 all in order, 1 a warning, 2 a problem."""
    from ..pages import run_times

    if args.commit:
        print(run_times.save(run_times.benchmark()))
        return 0
    findings = checkup.quick() if args.quick else checkup.full()
    # without PyTorch there is no benchmark
    speed = 0.0 if args.quick or checkup.worst(findings) == 2 else run_times.benchmark()
    times = _times(speed) if speed else []
    if args.json:
        about = {"findings": [asdict(f) for f in findings], "benchmark_s": speed, "lessons": times}
        print(json.dumps(about | {"exit_code": checkup.worst(findings)}, indent=1))
    else:
        _print_findings(findings)
        _print_times(times)
    return checkup.worst(findings)


def _times(speed: float) -> list[dict]:
    """Per lesson: its name, and seconds by preset, measured here where it has run, else estimated, else None."""
    from ..pages import course, run_times

    here = {(t.lesson, t.preset): t.seconds for t in run_times.here()}
    times = run_times.expected(speed) | here
    return [
        {
            "lesson": lesson.path.stem,
            "seconds": {preset: times.get((lesson.number, preset)) for preset in config.PRESETS},
            "measured_here": [preset for preset in config.PRESETS if (lesson.number, preset) in here],
        }
        for lesson in course.choose(None)
    ]


def _print_findings(findings: list[checkup.Finding]) -> None:
    print_table([["what", "state", "found"], *([f.name, f.state, f.found] for f in findings)])
    to_do = [f for f in findings if f.remedy]
    print("".join(f"\n{f.name} ({f.state}):\n  {f.remedy}\n" for f in to_do), end="")


def _print_times(times: list[dict]) -> None:
    if not times:
        return
    rows = [[row["lesson"], *(_said(row, preset) for preset in config.PRESETS)] for row in times]
    print(f"\nrun times, two lessons at once on {checkup.n_cores()} cores (* measured here; others estimated, roughly)")
    print_table([["lesson", *config.PRESETS], *rows, ["together", *(_together(times, preset) for preset in config.PRESETS)]])


def _said(row: dict, preset: str) -> str:
    from ..pages.site import duration_text

    seconds = row["seconds"][preset]
    return "not measured" if seconds is None else duration_text(seconds) + " *" * (preset in row["measured_here"])


def _together(times: list[dict], preset: str) -> str:
    from ..pages.site import duration_text

    seconds = [row["seconds"][preset] for row in times]
    return "not measured" if None in seconds else duration_text(sum(seconds) / min(2, checkup.n_cores()))


def lab_command(args: argparse.Namespace) -> NoReturn:
    """Becomes JupyterLab at a lesson, if nothing stands in its way."""
    from ..pages.execute import kernel_environment

    _check_environment()
    notebook = _notebook(args.lesson)
    # the address that is printed names the lesson, too, for whoever opens it by hand
    place = [f"--ServerApp.root_dir={notebook.parent}", f"--LabApp.default_url=/lab/tree/{notebook.name}"]
    quiet = ["-y", "--LabApp.extension_manager=readonly"]  # no question at Ctrl-C, no look at PyPI for extensions
    command = [sys.executable, "-m", "jupyterlab", *place, *quiet, *_server_options(args)]
    print(f"lesson {notebook.stem}; products go to {config.home()}; Ctrl-C ends it", flush=True)
    settings = os.pathsep.join(filter(None, [str(OURS), os.environ.get("JUPYTER_CONFIG_PATH")]))
    os.execve(sys.executable, command, kernel_environment() | {"JUPYTER_CONFIG_PATH": settings})


def _check_environment() -> None:
    findings = checkup.quick()
    lacking = [f for f in findings if f.state in ("warning", "problem")]
    for f in lacking:
        print(f"{f.state}: {f.name}: {f.found}\n  {f.remedy}", file=sys.stderr)
    # a warning for `run`, but nothing opens without it
    if checkup.worst(findings) == 2 or any(f.name == "jupyterlab" for f in lacking):
        raise ValueError("JupyterLab is not started: mend the above first, then see `medclip-nb check`")


def _notebook(number: str) -> Path:
    by_number = {path.name[:2]: path for path in sorted(writable_notebooks().glob("[0-9][0-9]_*.ipynb"))}
    if number.zfill(2) not in by_number:
        raise ValueError(f"unknown lesson {number!r}; known lessons: {', '.join(by_number) or 'none'}")
    return by_number[number.zfill(2)]


def _server_options(args: argparse.Namespace) -> list[str]:
    options = ["--no-browser"] * args.no_browser
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # in a container one is root; the server is on this machine only, behind its token
    if args.port is None:
        return options
    try:
        with socket.create_server(("127.0.0.1", args.port)):
            return [*options, f"--ServerApp.port={args.port}", "--ServerApp.port_retries=0"]
    except (OSError, OverflowError) as error:
        raise ValueError(f"port {args.port} cannot be used ({error}): choose another --port, or leave it out") from None


def writable_notebooks() -> Path:
    """The notebooks in a checkout; from a wheel a copy in `my_notebooks`, where no file is ever overwritten."""
    shipped = config.shipped("notebooks")
    if shipped.parent != Path(__file__).parents[1]:
        return shipped
    copy = config.home() / "my_notebooks"
    for source in sorted(p for p in shipped.rglob("*") if p.is_file()):
        target = copy / source.relative_to(shipped)
        if not target.exists():
            with whole(target) as part:
                shutil.copyfile(source, part)
    return copy
