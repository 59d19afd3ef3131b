"""One lesson run by papermill in a process of its own, and what it leaves made fit to be passed on.

The notebook runs in a scratch folder; nothing reaches `reports/` before it is complete.
"""

import ast
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import nbformat

from .. import config
from ..leash import kill_tree
from .tidy import private_names, scrub, tidy

PARAMETERS = ("PRESET", "SEED", "DATASET")


class Runner:
    """Starts lesson processes and can end them all, kernels included."""

    def __init__(self):
        self.stopped = False
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()

    def run(self, command: list[str], *, cwd: str, env: dict[str, str], log: Path) -> int:
        """Exit code of a command whose outputs go to the file `log`."""
        with log.open("wb") as sink:
            with self._lock:
                if self.stopped:
                    return -1
                # a session of its own: Ctrl-C reaches this process alone, which then ends the others in order; stdin is the leash
                process = subprocess.Popen(
                    command, cwd=cwd, env=env, stdout=sink, stderr=sink, stdin=subprocess.PIPE, start_new_session=True
                )
                self._running.add(process)
            with process.stdin:
                code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def stop(self):
        """Ends every process and its descendants; later calls of `run` start nothing."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                kill_tree(process.pid)


def execute(path: Path, parameters: dict, *, runner: Runner, one_thread: bool) -> tuple[nbformat.NotebookNode, str | None]:
    """The executed notebook (as far as it came) and None, or what stopped it: error and cell in one line."""
    with tempfile.TemporaryDirectory(prefix="medclip_nb_", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        source, result, log = folder / "lesson.ipynb", folder / "executed.ipynb", folder / "papermill.log"
        source.write_bytes(path.read_bytes())
        code = runner.run(
            _command(source, result, parameters), cwd=scratch, env=_environment(folder, one_thread=one_thread), log=log
        )
        notebook = _read_either(result, source)
        error = _first_error(notebook)
        if error is None and code != 0:
            error = (log.read_text(errors="replace").strip().splitlines() or [f"papermill ended with code {code}"])[-1]
        if error is None and injected(notebook) != parameters:
            error = f"parameters were not injected: wanted {parameters}, found {injected(notebook)}"
        names = private_names(folder, *(str(parameters.get(name, "")) for name in ("DATASET", "TOWER")))
        return tidy(notebook, names), error and scrub(error, names)


def _read_either(result: Path, source: Path) -> nbformat.NotebookNode:
    # papermill may have been killed before or while it wrote
    try:
        return nbformat.read(result, as_version=4)
    except (OSError, ValueError):
        return nbformat.read(source, as_version=4)


def _command(source: Path, result: Path, parameters: dict) -> list[str]:
    options = ["--no-progress-bar", "--kernel", "python3", "--language", "python", "--cwd", str(source.parent)]
    # JSON is YAML: unlike `-p`, it keeps "007" a text
    return [
        sys.executable,
        "-m",
        "medclip_nb.leash",
        "papermill",
        str(source),
        str(result),
        *options,
        "-y",
        json.dumps(parameters),
    ]


def kernel_environment() -> dict[str, str]:
    """This process's variables, with run products, imports, figures and the kernel as notebooks need them."""
    root = Path(__file__).parents[2]
    added = {
        "MEDCLIP_NB_HOME": str(config.home()),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # another one in the shell would leave pages without figures
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's python3 kernel, not another one of the same name
        "PYTHONIOENCODING": "utf-8",
    }
    if root.name not in ("site-packages", "dist-packages"):
        added["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return os.environ | added


def _environment(scratch: Path, *, one_thread: bool) -> dict[str, str]:
    added = {
        "TQDM_DISABLE": "1",  # a progress bar is no result
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "jupyter"),
    }
    return kernel_environment() | added | ({"OMP_NUM_THREADS": "1"} if one_thread else {})


def literals(source: str) -> dict:
    """Names and values of the literal assignments in a cell, e.g. {"SEED": 0}."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            found[node.target.id] = ast.literal_eval(node.value)
    return found


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    """The code cells that carry `tag`."""
    return [c for c in notebook.cells if c.cell_type == "code" and tag in c.metadata.get("tags", [])]


def injected(notebook: nbformat.NotebookNode) -> dict:
    """The parameters papermill wrote into the notebook; empty when the cell is not there."""
    cells = tagged(notebook, "injected-parameters")
    return literals(cells[0].source) if cells else {}


def _first_error(notebook: nbformat.NotebookNode) -> str | None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                message = (output.evalue.strip().splitlines() or [""])[0]
                return f"cell [{cell.execution_count}]: {output.ename}: {message}".rstrip(": ")
    return None
