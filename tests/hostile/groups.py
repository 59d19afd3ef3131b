"""The modules of kinds, in the order of the table."""

from . import (
    checkpoints,
    downloads,
    images,
    manifests,
    states,
    tables,
    texts,
)

ALL = (
    images,
    manifests,
    tables,
    texts,
    checkpoints,
    states,
    downloads,
)
