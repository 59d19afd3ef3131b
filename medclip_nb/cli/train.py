"""The command `medclip-nb train`, without the heavy imports of what it runs."""

import argparse
from collections.abc import Callable

from .. import config

EXAMPLES = {
    "train": "examples:\n  medclip-nb train torso --recipe radclip_true --preset gpu\n"
    "  accelerate launch --multi_gpu --num_processes 2 -m medclip_nb train torso    two GPUs, or else two processes, one batch\n"
    "  torchrun --nproc-per-node 2 -m medclip_nb train torso                        the same\n\n"
    "The progress bar shows units per second and the share of time that reading takes; history.csv has both for each epoch.",
}


def seed(text: str) -> int:
    """A seed as all that draws by lot can take it: 0 to 2**32 - 1."""
    if not text.isdecimal() or int(text[:12]) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no seed; give a whole number from 0 to 2**32 - 1")
    return int(text)


def add_commands(commands, make: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `make` is the command line's maker of parsers."""
    made = make(commands.add_parser, "train", help="Train one recipe on one dataset, in one process or several.")
    made.add_argument("data", metavar="DATA", help="a dataset's name, folder or manifest")
    made.add_argument("--recipe", choices=list(config.RECIPES), default="clip", help="what is right (default: %(default)s)")
    made.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="how much work (default: %(default)s)")
    made.add_argument("--seed", type=seed, default=0, help="of everything random (default: %(default)s)")
    made.set_defaults(command=train_command)


def train_command(args: argparse.Namespace) -> int:
    """Trains and says where the model is; called again after a kill, it goes on."""
    from ..explore import train

    folder, told = train.run(args.data, args.recipe, preset=args.preset, seed=args.seed)
    print(*told, folder, sep="\n")
    return 0
