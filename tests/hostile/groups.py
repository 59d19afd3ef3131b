"""The modules of kinds, in the order of the table."""

from . import images, manifests

ALL = (
    images,
    manifests,
)
