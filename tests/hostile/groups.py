"""The modules of kinds, in the order of the table."""

from . import images, volumes

ALL = (images, volumes)
