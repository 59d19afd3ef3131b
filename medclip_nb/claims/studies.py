"""All studies by name."""

from ..model.pooling import POOLINGS
from . import heads, organs, radclip, real, towers, transfer
from .runner import Study

STUDIES = {
    "slices": Study(("radclip", "radclip_organ", "radclip_true"), radclip.slices_cell, radclip.slices_table),
    "slices_search": Study(tuple(radclip.SEARCH), radclip.search_cell, radclip.search_table, needs=(("slices", radclip.BASE),)),
    "towers": Study(towers.VARIANTS, towers.towers_cell, towers.towers_table, needs=towers.NEEDS),
    "pooling": Study(
        (*POOLINGS, f"attention_4{radclip.END_TO_END}", *radclip.UNTRAINED),
        radclip.pooling_cell,
        radclip.pooling_table,
        needs=(("slices", radclip.BASE),),
    ),
    "organs": Study(tuple(organs.FORMS), organs.organs_cell, organs.organs_table),
    "organ_parts": Study(tuple(organs.PARTS), organs.organs_cell, organs.organs_table),
    "organ_dictionary": Study(tuple(organs.DICTIONARY), organs.organs_cell, organs.organs_table),
    "organ_ideas": Study(tuple(organs.COMBINED), organs.organs_cell, organs.organs_table),
    "organ_search": Study(tuple(organs.SEARCH), organs.organs_cell, organs.search_table),
    "organ_labels": Study(organs.LABELS, organs.labels_cell, organs.labels_table, needs=organs.NEEDS),
    "selip": Study(tuple(heads.MAIN), heads.selip_cell, heads.selip_table),
    "selip_sizes": Study(tuple(heads.SIZES), heads.selip_cell, heads.selip_table),
    "selip_search": Study(tuple(heads.SEARCH), heads.selip_cell, heads.search_table),
    "selip_batches": Study(tuple(heads.BATCHES), heads.selip_cell, heads.search_table),
    "selip_settings": Study(tuple(heads.SETTINGS), heads.selip_cell, heads.selip_table),
    "transfer_labels": Study(transfer.LABELS, transfer.labels_cell, transfer.labels_table, needs=transfer.NEEDS),
    "transfer_masks": Study(transfer.MASKS, transfer.masks_cell, transfer.masks_table, needs=transfer.NEEDS),
    "pictures": Study(real.VARIANTS, real.pictures_cell, real.pictures_table, data=real.DATA),
    "stacks": Study(
        real.POOLINGS, real.stacks_cell, real.stacks_table, needs=(("pictures", real.START),), data=(real.TRAINED_ON,)
    ),
}
