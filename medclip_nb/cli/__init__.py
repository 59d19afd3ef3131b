"""The command line: `medclip-nb run` and `experiment`; the modules beside this one add the rest.

Heavy imports wait until a command needs them.
"""

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path

from .. import __version__, config
from ..files import WriteError, explained, one_line
from . import data, evaluate, lab, measure, train

EXAMPLES = {
    "": "examples:\n  medclip-nb check                is everything here, and how long will it take\n"
    "  medclip-nb run                  all lessons, then open reports/index.html\n"
    "  medclip-nb run 05 --preset smoke\n  medclip-nb data list\n  medclip-nb lab",
    "run": "examples:\n  medclip-nb run                          the whole course, preset cpu\n"
    "  medclip-nb run 05 11 --preset smoke     two lessons, in seconds\n"
    "  medclip-nb run 05 --data ./my_images    a folder of images with a table of texts\n"
    "  medclip-nb run 05 --commit              new outputs into notebooks/05_*.ipynb",
    "experiment": "examples:\n  medclip-nb experiment ./my_images           recipes that suit the data, three seeds each\n"
    "  medclip-nb experiment torso --recipe ct_glip clip --seed 0 --preset smoke\n"
    "  medclip-nb experiment ./my_ct --recipe ct_glip -o reports/my_ct\n"
    "  medclip-nb experiment ./my_mr --recipe selip --pooling grid mean attention\n"
    "  medclip-nb experiment ./my_images --again   anew, also what is finished",
    **lab.EXAMPLES,
    **data.EXAMPLES,
    **evaluate.EXAMPLES,
    **measure.EXAMPLES,
    **train.EXAMPLES,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """A usage error in one line, like every other error."""
        self.exit(2, f"medclip-nb: error: {message} (see {self.prog} --help)\n")


def main(argv: list[str] | None = None) -> int:
    """Runs one command; 0 when it went well, 1 when a lesson failed, 2 for an error, 130 for an interrupt."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with explained(config.home()):
            return _said(args.command(args))
    except KeyboardInterrupt:
        print("medclip-nb: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        if args.debug:
            traceback.print_exc()
        print(f"medclip-nb: error: {one_line(str(error)) or type(error).__name__}", file=sys.stderr)
        return 2


def _said(code: int) -> int:
    """The exit code, once all that was printed has arrived, or nobody reads on."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again at its end
        if not isinstance(error, BrokenPipeError):
            raise WriteError(f"the standard output cannot be written to: {error.strerror}; send it elsewhere") from None
    return code


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = _command_parser(_Parser, "", prog="medclip-nb", help="A Jupyter-first course on medical vision-language pretraining.")
    top.add_argument("--version", action="version", version=f"medclip-nb {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    data.add_commands(commands, _command_parser)
    _add_experiment(commands)
    evaluate.add_commands(commands, _command_parser)
    train.add_commands(commands, _command_parser)
    measure.add_commands(commands, _command_parser)
    lab.add_commands(commands, _command_parser)
    return top


def _command_parser(make, name: str, *, help: str, prog: str | None = None) -> argparse.ArgumentParser:
    style = {"description": help, "epilog": EXAMPLES[name], "formatter_class": argparse.RawDescriptionHelpFormatter}
    made = make(prog=prog, **style) if prog else make(name.split()[-1], help=help, **style)
    # SUPPRESS: a subcommand without the option does not undo the one before it
    default = False if prog else argparse.SUPPRESS
    made.add_argument("--debug", action="store_true", default=default, help="show the traceback of an error")
    return made


def _add_run(commands):
    run = _command_parser(commands.add_parser, "run", help="Execute lessons and write reports/index.html.")
    run.add_argument("lessons", nargs="*", metavar="NN", help="lesson numbers; all when none is given")
    run.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="how much work (default: %(default)s)")
    run.add_argument("--data", metavar="NAME_OR_PATH", help="a dataset's name, folder or manifest (default: each lesson's own)")
    run.add_argument("--seed", type=train.seed, default=0, help="of everything random (default: %(default)s)")
    run.add_argument("--commit", action="store_true", help="write the outputs back into the shipped notebooks (preset cpu)")
    run.set_defaults(command=run_command)


def _add_experiment(commands):
    help = "Train recipes with several seeds on one dataset; write a report each and a page that compares them."
    made = _command_parser(commands.add_parser, "experiment", help=help)
    made.add_argument("data", metavar="DATA", help="a dataset's name, folder, manifest or CSV")
    suits = "clip siglip ct_glip where there are organ masks, else clip siglip selip"
    names = f"of {', '.join(config.RECIPES)} (default: {suits})"
    made.add_argument("--recipe", nargs="+", default=[], metavar="NAME", help=names)
    made.add_argument("--seed", type=train.seed, nargs="+", default=[0, 1, 2], help="one training each (default: 0 1 2)")
    pools = "pictures: mean_max, grid; volumes also mean, max, attention, ... of slices; organs: mean, mean_max, query"
    made.add_argument("--pooling", nargs="+", default=[], metavar="NAME", help=f"{pools} (default: the usual one)")
    towers = "image tower: a name (slice_cnn, resnet18, vit, ...) or a folder with a Hugging Face checkpoint"
    made.add_argument("--tower", nargs="+", default=[], metavar="NAME_OR_FOLDER", help=f"{towers} (default: the usual one)")
    made.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="how much work (default: %(default)s)")
    made.add_argument("-o", "--output", metavar="DIR", help="folder of the reports (default: reports/experiments/NAME)")
    made.add_argument("--again", action="store_true", help="run what is finished, too")
    made.set_defaults(command=experiment_command)


def experiment_command(args: argparse.Namespace) -> int:
    """Runs recipes and seeds that are not finished, and says where the comparison is; 1 if a run failed."""
    from ..explore import grid

    folder = Path(args.output) if args.output else None
    asked = grid.Asked(*(tuple(dict.fromkeys(given)) for given in (args.recipe, args.seed, args.pooling, args.tower)))
    page, outcomes = grid.run(args.data, asked, preset=args.preset, folder=folder, again=args.again)
    print(page)
    return int(any(outcome.error for outcome in outcomes))


def run_command(args: argparse.Namespace) -> int:
    """Runs lessons, or renews the outputs of the shipped ones."""
    from ..pages import course

    if args.commit:
        return _commit(args, course)
    dataset = _dataset(args.data, args.preset) if args.data else None
    outcomes = course.run_course(args.lessons, preset=args.preset, dataset=dataset, seed=args.seed)
    print(config.reports_dir() / "index.html")
    return int(any(outcome.error for outcome in outcomes))


def _commit(args: argparse.Namespace, course) -> int:
    if (args.preset, args.data, args.seed) != ("cpu", None, 0):
        raise ValueError("--commit goes with preset cpu, seed 0 and each lesson's own data: leave the other options out")
    for lesson in course.choose(args.lessons):
        course.render_committed(lesson.number)
        print(lesson.path)
    return 0


def _dataset(name_or_path: str, preset: str) -> str:
    """A catalogue name, or the absolute path of data that can be used; raises ValueError before anything runs.

    Every image is read here once (and cached for the lessons): a bad one is an error, not a lesson that fails.
    """
    from ..data import catalog, studies

    if name_or_path in catalog.EMBEDDED:
        return name_or_path
    studies.load_units(catalog.load(name_or_path, config.PRESETS[preset]))
    return str(catalog.locate(name_or_path).resolve())
