"""Notebooks are executed and become pages; the pages of `data audit` and `data organs`."""
