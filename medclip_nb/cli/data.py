"""The commands on data: `medclip-nb data list | get | check | audit | prepare | organs | deidentify` and `medclip-nb cache`."""

import argparse
import json
from collections import Counter
from pathlib import Path

from .. import config
from ..files import one_line, whole
from . import deidentify, prepare

EXAMPLES = {
    "data": "examples:\n  medclip-nb data list\n  medclip-nb data get mednist\n  medclip-nb data audit ./my_images",
    "data list": "examples:\n  medclip-nb data list                    what is known, how it is had, under which licence",
    "data get": "examples:\n  medclip-nb data get mednist             shows licence and size, downloads nothing\n"
    "  medclip-nb data get mednist --accept-licence\n"
    "  medclip-nb data get ixi --accept-licence --to /data/ixi",
    "data check": "examples:\n  medclip-nb data check ./my_images          the table and whether its files are there\n"
    "  medclip-nb data check manifest.csv --images   every image opened, too\n"
    "  medclip-nb data check scan.nii.gz             what one file says",
    "data audit": "examples:\n  medclip-nb data audit ./my_images       what could make a score a lie, on one page\n"
    "  medclip-nb data audit torso --preset smoke -o torso.html",
    **prepare.EXAMPLES,
    "data organs": "examples:\n  medclip-nb data organs ct.nii.gz segmentations/     which organs can be used, and why not\n"
    "  medclip-nb data organs ct.nii.gz mask.nii.gz -o organs.png --model MODEL_FOLDER",
    **deidentify.EXAMPLES,
    "cache": "examples:\n  medclip-nb cache                        where it is and how large\n  medclip-nb cache clear",
    "cache clear": "examples:\n  medclip-nb cache clear                  deletes what can be made again",
}
MOST_SPACINGS = 5  # that are listed
SEVERITIES = ("serious", "warning", "note")


def add_commands(commands, command_parser) -> None:
    """Adds `data ...` and `cache ...` to the command line; `command_parser` makes a parser with its examples."""
    data = command_parser(commands.add_parser, "data", help="The catalogue of datasets.")
    inside = data.add_subparsers(required=True, metavar="COMMAND")
    listing = command_parser(inside.add_parser, "data list", help="List the datasets.")
    listing.set_defaults(command=list_command)
    _add_get(command_parser(inside.add_parser, "data get", help="Download a dataset into artifacts/datasets/NAME."))
    for name, command, help in (
        ("data check", check_command, "Read a manifest or a folder as strictly as training does."),
        ("data audit", audit_command, "Look for leaks, duplicates, wrong units, identifiers; write a page."),
    ):
        parser = command_parser(inside.add_parser, name, help=help)
        parser.add_argument("data", metavar="NAME_OR_PATH", help="a dataset's name, folder or manifest")
        parser.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="of embedded cohorts (%(default)s)")
        parser.set_defaults(command=command)
        if command is check_command:
            parser.add_argument("--images", action="store_true", help="open every image")
        else:
            parser.add_argument("-o", "--output", metavar="FILE", help="the page (default: reports/audit-NAME.html)")
    prepare.add_options(command_parser(inside.add_parser, "data prepare", help="Bring all images into the cache."))
    _add_organs(command_parser(inside.add_parser, "data organs", help="Look at one CT with its organ masks."))
    help = "Write copies without names, dates, UIDs and free text."
    deidentify.add_command(command_parser(inside.add_parser, "data deidentify", help=help))
    cache = command_parser(commands.add_parser, "cache", help="What was kept so as not to be computed twice.")
    cache.set_defaults(command=cache_command)
    clear = command_parser(cache.add_subparsers(metavar="COMMAND").add_parser, "cache clear", help="Delete it all.")
    clear.set_defaults(command=clear_command)


def _add_get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="see `medclip-nb data list`")
    parser.add_argument("--accept-licence", action="store_true", help="you read the licence and agree to it")
    parser.add_argument("--to", metavar="DIR", help="a new folder (default: artifacts/datasets/NAME)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="without a byte before giving up (default: a minute)")
    parser.set_defaults(command=get_command)


def _add_organs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a CT: NIfTI, or a DICOM file or folder")
    parser.add_argument("mask", metavar="MASK", help="one NIfTI of many labels, or a folder with one per organ")
    parser.add_argument("-o", "--output", metavar="FILE", help="a picture of some slices with the organs' outlines")
    parser.add_argument("--model", metavar="FOLDER", help="an organ encoder (lesson 07's): which name is nearest to each organ")
    parser.set_defaults(command=organs_command)


def organs_command(args: argparse.Namespace) -> int:
    """Prints a row per organ and what the masks give reason to tell; 1 if no organ can be used."""
    from ..pages import organ_page

    scan, organs, table = organ_page.examine(Path(args.image), Path(args.mask))
    usable = (table["use"] == "used").to_numpy()
    if args.model:
        table["nearest name"] = organ_page.nearest_names(Path(args.model), scan, organs, usable)
    table["millilitres"] = table["millilitres"].map("{:.1f}".format, na_action="ignore")
    cells = table.astype(object).where(table.notna(), None).to_numpy()
    print_table([list(table), *(["-" if cell is None else str(cell) for cell in row] for row in cells)])
    print("".join(f"note: {note}\n" for note in organs.notes), end="")
    if args.output:
        with whole(args.output) as part:
            organ_page.picture(scan, organs).savefig(part, dpi=120, bbox_inches="tight")
        print(args.output)
    return int(not usable.any())


def list_command(args: argparse.Namespace) -> int:
    """Prints a line per dataset."""
    from ..data import catalog

    columns = ("name", "here", "how", "modality", "licence", "title")
    rows = [card | {"here": _here(card, catalog)} for card in catalog.list_cards()]
    print_table([columns, *([str(row[c]) for c in columns] for row in rows)])
    return 0


def _here(card: dict, catalog) -> str:
    return "yes" if card["how"] == "embedded" or catalog.local_copy(card["name"]).exists() else "-"


def print_table(rows: list) -> None:
    """Prints rows of words as columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def get_command(args: argparse.Namespace) -> int:
    """Downloads a dataset and prints where it is and what was measured."""
    from ..data import download

    timeout_s = download.TIMEOUT_S if args.timeout is None else args.timeout
    folder = download.get(args.name, accept_licence=args.accept_licence, folder=args.to, timeout_s=timeout_s)
    record = json.loads((folder / "download.json").read_text(encoding="utf-8"))
    for file in record["files"]:
        print(f"{file['url']}: {file['bytes']} bytes, sha256 {file['sha256']}")
    print(f"{folder} (licence: {record['licence']})")
    return 0


def check_command(args: argparse.Namespace) -> int:
    """Reads a dataset strictly and prints what is in it."""
    from ..data import catalog
    from ..data.manifest import patients_across_splits

    if Path(args.data).is_file() and not args.data.lower().endswith((".csv", ".parquet", ".npz", ".tgz")):
        return _describe(Path(args.data))
    dataset = catalog.load(args.data, config.PRESETS[args.preset], columns=(*catalog.SKELETON, "sha256"))
    table = dataset.manifest
    spacings = _open_all(dataset) if args.images else {}
    people, seen = table["patient_id"].nunique(), "images opened" if args.images else "files are there"
    print(f"{dataset.name}: {len(table)} rows, {people} patients, all {seen}")
    for column in ("split", "modality", "body_part"):
        counts = table[column].replace("", "not given").value_counts()
        print(f"  {column}: {one_line(', '.join(f'{value} {n}' for value, n in counts.items()))}")
    if spacings:
        print(
            f"  spacing mm (slices x rows x columns): {', '.join(f'{s} ({n})' for s, n in spacings.most_common(MOST_SPACINGS))}"
        )
    crossing = patients_across_splits(table)
    notes = [*dataset.notes, *([f"{len(crossing)} patients are in more than one split: see `data audit`"] if crossing else [])]
    print("".join(f"  note: {note}\n" for note in notes), end="")
    return 0


def _describe(path: Path) -> int:
    """Prints what the reader says of one image."""
    from ..data.readers import read_image
    from ..data.selfcheck import hu_state

    image = read_image(path)
    print(f"{path}: {' x '.join(map(str, image.array.shape))} voxels (slices x rows x columns)")
    print(f"  spacing mm: {_spacing(image)}\n  orientation: {image.orientation or 'not stated'}")
    print(f"  values: {image.array.min():g} to {image.array.max():g}; if this is CT, they look like: {hu_state(image.array)}")
    return 0


def _spacing(image) -> str:
    return " x ".join(f"{mm:.3f}" for mm in image.spacing_mm) if image.spacing_mm else "not stated"


def _open_all(dataset) -> Counter:
    """Opens every image; how many have which spacing. Raises ManifestError naming the first that cannot be read."""
    from tqdm.auto import tqdm

    from ..data.manifest import ManifestError
    from ..data.readers import ImageError, read_image
    from ..data.studies import refuse_exchanged

    bad, spacings = [], Counter()
    for row, name in tqdm(dataset.manifest["image"].items(), total=len(dataset.manifest), desc="images", leave=False):
        try:
            spacings[_spacing(read_image(dataset.root / name, units=dataset.contract.units))] += 1
        except ImageError as error:
            bad.append(f"row {row + 2}, column 'image': {error}")
    if bad:
        more = f" (and {len(bad) - 1} more of {len(dataset.manifest)} images)" if len(bad) > 1 else ""
        raise ManifestError(f"{dataset.manifest.attrs['name']}: {bad[0]}{more}")
    refuse_exchanged(dataset.manifest)
    return spacings


def audit_command(args: argparse.Namespace) -> int:
    """Prints what the audit found, by severity, and where the page is; 1 if anything is serious."""
    from ..data import catalog
    from ..data.audit import audit
    from ..pages.audit_page import write_page

    dataset = catalog.load(args.data, config.PRESETS[args.preset], lenient=True)
    found = audit(dataset.manifest)
    for severity in SEVERITIES:
        some = found[found["severity"] == severity]
        print(f"{severity}: {len(some)}")
        for check, rows, what in zip(some["check"], some["rows"], some["what"], strict=True):
            print(f"  {check} ({len(rows)} rows): {one_line(what)}")
    output = Path(args.output) if args.output else config.reports_dir() / f"audit-{dataset.name}.html"
    print(write_page(found, dataset.manifest, output))
    return int((found["severity"] == "serious").any())


def cache_command(args: argparse.Namespace) -> int:
    """Prints where the cache is and how large."""
    from ..data import cache

    files, n_bytes = cache.size()
    print(f"{cache.folder()}: {files} files, {n_bytes / 1e6:.1f} MB")
    return 0


def clear_command(args: argparse.Namespace) -> int:
    """Empties the cache."""
    from ..data import cache

    print(f"freed {cache.clear() / 1e6:.1f} MB")
    return 0
