"""The command `medclip-nb data prepare`: every image into the cache, by several processes and machines."""

import argparse
import sys

from .. import config

EXAMPLES = {
    "data prepare": "examples:\n  medclip-nb data prepare ./my_images           every image into the cache, once\n"
    "  medclip-nb data prepare manifest.parquet --preset gpu --workers 16\n"
    "  medclip-nb data prepare manifest.parquet --shard 3/8     the third of eight machines; again: goes on\n"
    "images that cannot be read are listed by row at the end (exit code 2). Machines share a cache by MEDCLIP_NB_HOME on a\n"
    "common disk; MEDCLIP_NB_CACHE_GB says how large it may grow",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `data prepare`."""
    parser.add_argument("data", metavar="DATA", help="a dataset's name, folder or manifest")
    parser.add_argument("--preset", choices=list(config.PRESETS), default="cpu", help="whose image size (%(default)s)")
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="every N-th row from row I on (default: all)")
    parser.add_argument("--workers", type=int, default=config.n_cores(), metavar="N", help="processes (default: %(default)s)")
    parser.set_defaults(command=prepare_command)


def _shard(text: str) -> tuple[int, int]:
    shard, slash, of = text.partition("/")
    if not (slash and shard.isdecimal() and of.isdecimal() and 1 <= int(shard) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard: write 1/8 to 8/8 for eight of them")
    return int(shard), int(of)


def prepare_command(args: argparse.Namespace) -> int:
    """Fills the cache with the images of a shard; prints what was done, and each row whose image cannot be used (then 2)."""
    from ..data import cache, catalog, shards

    if args.workers < 1:
        raise ValueError(f"--workers {args.workers}: at least one process is needed")
    preset = config.PRESETS[args.preset]
    dataset = catalog.load(args.data, preset, check_files=False, columns=catalog.SKELETON)
    table = dataset.manifest
    found = shards.prepare(dataset, shards.shard_rows(len(table), *args.shard), workers=args.workers)
    for row, why in found.bad:
        print(f"{table.attrs['name']}: row {table.index[row] + 2}, column 'image': {why}", file=sys.stderr)
    about = f"{found.made} made, {found.kept} were there, {len(found.bad)} cannot be used"
    print(f"{dataset.name}: shard {args.shard[0]}/{args.shard[1]} of {len(table)} rows: {about}")
    n_bytes, limit = cache.size()[1], config.cache_bytes()
    if n_bytes > limit:
        told = "what was not used for longest goes first at the next training; MEDCLIP_NB_CACHE_GB raises it"
        print(f"  note: the cache holds {n_bytes / 1e9:.1f} GB, more than its {limit / 1e9:g} GB: {told}")
    return 2 if found.bad else 0
