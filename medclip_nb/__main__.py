"""`python -m medclip_nb` is `medclip-nb`; started several times by `accelerate launch` or `torchrun`, it trains as one."""

import os
import sys

from .cli import main

TOGETHER = "train"  # the command that several processes do together


def refused(argv: list[str], environment: dict[str, str]) -> str:
    """Why several processes cannot do this; empty if they can, or if there is one."""
    several = int(environment.get("WORLD_SIZE", "1")) > 1
    if not several or argv[:1] == [TOGETHER]:
        return ""
    return f"{' '.join(argv[:1]) or 'this'} is done by one process; several do: medclip_nb {TOGETHER} DATA"


if __name__ == "__main__":
    if reason := refused(sys.argv[1:], dict(os.environ)):
        sys.exit(f"medclip-nb: error: {reason}")
    if int(os.environ.get("RANK", "0")) > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the first process says it
    sys.exit(main())
