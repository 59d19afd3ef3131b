"""The lesson room: what a notebook starts and finishes with, and the runner that makes the report."""
