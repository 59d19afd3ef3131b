"""`python -m medclip_nb.cli`, too, is `medclip-nb`."""

import sys

from . import main

sys.exit(main())
