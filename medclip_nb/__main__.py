"""`python -m medclip_nb`, and `accelerate launch -m medclip_nb`: the same commands as `medclip-nb`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
