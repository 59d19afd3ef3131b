"""The modules of kinds, in the order of the table."""

from . import (
    checkpoints,
    downloads,
    images,
    manifests,
    tables,
)

ALL = (
    images,
    manifests,
    tables,
    checkpoints,
    downloads,
)
