"""The command `medclip-nb evaluate`: a trained model on any labelled or captioned data."""

import argparse
from pathlib import Path

from .. import config

EXAMPLES = {
    "evaluate": "examples:\n  medclip-nb evaluate artifacts/lessons/05-torso-cpu-seed0/model torso --limit 200\n"
    "  medclip-nb evaluate MODEL_FOLDER ./my_images          sub-folders are classes, or a CSV has image,text and label\n"
    "  medclip-nb evaluate MODEL_FOLDER ./my_images --prompts words.json -o reports/mine\n"
    "  medclip-nb evaluate ./clip-vit-base-patch32 mednist   a CLIP or SigLIP checkpoint in a folder",
}


def add_commands(commands, command_parser) -> None:
    """Adds `evaluate` to the command line; `command_parser` makes a parser with its examples."""
    help = "Score a trained model on any labelled or captioned data; write a page and metrics.json."
    made = command_parser(commands.add_parser, "evaluate", help=help)
    made.add_argument(
        "model", metavar="MODEL", help="a lesson's model folder, or the folder of a CLIP-like Hugging Face checkpoint"
    )
    made.add_argument("data", metavar="DATA", help="a dataset's name, folder or manifest; or one sub-folder per class")
    made.add_argument("--prompts", metavar="FILE", help="JSON {class: [prompt, ...]} or CSV class,prompt (default: templates)")
    made.add_argument("--classes", metavar="COLUMN", default="", help="of the classes (default: label, body_part, modality)")
    made.add_argument("--limit", type=int, metavar="N", help="images of each class and split, drawn by lot (default: all)")
    made.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="size of embedded cohorts (%(default)s)")
    made.add_argument("-o", "--output", metavar="DIR", help="folder of the page (default: reports/evaluations/MODEL-on-DATA)")
    made.set_defaults(command=evaluate_command)


def evaluate_command(args: argparse.Namespace) -> int:
    """Measures what the data allow; prints the scores and where the page is."""
    from ..explore import evaluate
    from ..pages.site import number_text
    from .data import print_table

    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit is {args.limit}; give 1 image or more")
    prompts = Path(args.prompts) if args.prompts else None
    found = evaluate.run(args.model, args.data, prompts=prompts, column=args.classes, limit=args.limit, preset=args.preset)
    scores = [(row.way, row.score) for row in found.rows]
    cells = [[way, s.name, *map(number_text, (s.value, s.low, s.high, s.chance)), s.whose] for way, s in scores]
    print_table([["what", "measure", "value", "low", "high", "chance", "over"], *cells])
    print("".join(f"warning: {warning}\n" for warning in found.warnings), end="")
    print(evaluate.write(found, Path(args.output) if args.output else None))
    return 0
