"""The modules of kinds, in the order of the table."""

from . import checkpoints, dicom, downloads, images, manifests, masks, states, tables, texts, volumes

ALL = (images, volumes, dicom, masks, manifests, tables, texts, checkpoints, states, downloads)
