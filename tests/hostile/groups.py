"""The modules of kinds, in the order of the table."""

from . import dicom, images, masks, volumes

ALL = (images, volumes, dicom, masks)
