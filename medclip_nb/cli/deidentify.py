"""The command `medclip-nb data deidentify`."""

import argparse
from pathlib import Path

EXAMPLES = {
    "data deidentify": "examples:\n  medclip-nb data deidentify ./scans -o ./clean      copies without names; originals stay\n"
    "  medclip-nb data deidentify ./scans -o ./clean --key ~/secret.key   same pseudonyms next time"
}
MOST_NAMED = 20  # files left out of which each is named


def add_command(parser: argparse.ArgumentParser) -> None:
    """What `data deidentify` takes."""
    parser.add_argument("data", metavar="PATH", help="a file, or a folder of DICOM, NIfTI, PNG, JPEG and tables")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="a new or empty folder outside of it")
    parser.add_argument("--key", metavar="FILE", help="keeps the secret behind the pseudonyms, or takes it from there")
    parser.add_argument("--looked-at", action="store_true", help="you looked: copy what only seems to have text burnt in")
    parser.set_defaults(command=deidentify_command)


def deidentify_command(args: argparse.Namespace) -> int:
    """Writes the copies and prints what became of each file; 1 if one was not copied."""
    from ..data.deidentify import NO_PROMISE, deidentify

    copies = deidentify(Path(args.data), Path(args.output), key=args.key, looked_at=args.looked_at)
    for word, named in (("refused", copies.refused), ("suspected", copies.suspected)):
        print("".join(f"{word}, not copied: {name}: {why}\n" for name, why in named.items()), end="")
    if copies.suspected:
        print("look at the suspected ones; --looked-at copies them")
    if copies.left_out:
        print(f"{len(copies.left_out)} files of other kinds left out: {', '.join(copies.left_out[:MOST_NAMED])}")
    print("".join(f"note: {note}\n" for note in copies.notes), end="")
    kinds = ", ".join(f"{n} {kind}" for kind, n in copies.copied.items()) or "nothing"
    print(f"{copies.folder}: {kinds}; our audit finds no identifier in them\n{NO_PROMISE}")
    return int(bool(copies.refused or copies.suspected))
