"""An executed notebook made fit to be passed on: no folders of this machine, no live widgets, no papermill notes."""

import re
import sys
import sysconfig
import tempfile
from pathlib import Path

import nbformat

from .. import config

_ADDED_TAGS = {"injected-parameters", "papermill-error-cell-tag"}  # cells that papermill wrote
_WIDGET = "application/vnd.jupyter.widget-view+json"


def private_names(scratch: Path, *paths: str) -> dict[str, str]:
    """Folders of this machine and what is written instead of them, longest first."""
    names = {
        str(Path.home()): "~",
        tempfile.gettempdir(): "tmp",
        sys.prefix: "python",
        sys.base_prefix: "python",
        sysconfig.get_path("purelib"): "site-packages",
        str(Path(__file__).parents[2]): ".",
        str(config.home()): ".",
        str(scratch): ".",
    }
    names |= {str(path.parent): path.parent.name or "." for path in map(Path, paths) if path.is_absolute()}
    names |= {str(Path(folder).resolve()): name for folder, name in names.items()}
    return {folder: names[folder] for folder in sorted(names, key=len, reverse=True) if folder != "/"}


def scrub(text: str, names: dict[str, str]) -> str:
    """`text` without the folders of this machine."""
    text = re.sub(r"[^\s\"'<>]*ipykernel_\d+[/\\]\d+\.py", "cell", text)
    for folder, name in names.items():
        # after a word character it is part of another path or address, unless a terminal colour ends there
        text = re.sub(rf"(^|[^\w.~-]|\x1b\[[\d;]*m){re.escape(folder)}(?![\w-])", rf"\g<1>{name}", text)
    return text


def tidy(notebook: nbformat.NotebookNode, names: dict[str, str]) -> nbformat.NotebookNode:
    """The notebook without papermill's notes, live widgets and folders of this machine; changed in place."""
    notebook.cells = [c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}} | {
        key: value for key, value in notebook.metadata.items() if key in ("language_info", "medclip_nb")
    }
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = scrub(cell.source, names)
        if cell.cell_type == "code":
            kept = [o for o in cell.outputs if not _only_widget(o)]
            cell.outputs = [_scrub_output(output, names) for output in kept]
    return nbformat.from_dict(notebook)


def _only_widget(output: dict) -> bool:
    """Whether nothing is left to see without a kernel; a widget that brings a picture or a table keeps that alone."""
    return output.get("data", {}).pop(_WIDGET, None) is not None and not {"image/png", "text/html"} & set(output["data"])


def _scrub_output(node, names: dict[str, str]):
    if isinstance(node, str):
        return scrub(node, names)
    if isinstance(node, list):
        return [_scrub_output(item, names) for item in node]
    if isinstance(node, dict):
        return {k: v if k.startswith("image/") else _scrub_output(v, names) for k, v in node.items()}
    return node


def committed(original: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`original` with the outputs of `executed`, numbered 1...n, without stderr; sources and metadata untouched."""
    ran = [c for c in executed.cells if c.cell_type == "code" and not _ADDED_TAGS & set(c.metadata.get("tags", []))]
    cells = [c for c in original.cells if c.cell_type == "code"]
    for number, (cell, result) in enumerate(zip(cells, ran, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [o for o in result.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    original.metadata.pop("widgets", None)
    return original
