"""What the course needs of this machine: what is here, what is missing, and the command that mends it.

Nothing but the standard library is imported before it is looked for: a broken environment is what this is for.
"""

import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from . import config
from .config import n_cores

PROJECT = "medclip_nb"
STATES = ("ok", "note", "warning", "problem")  # a problem stops lessons; a warning part of them; a note nothing
EXTRAS = {"": ("packages", "problem"), "offline": ("weights", "problem"), "lab": ("jupyterlab", "warning")}
DISK_GIB = {"smoke": 0.5, "cpu": 2.0}  # artifacts and reports of the whole course, measured and rounded up
GIB = 2**30
PIP = f"{shlex.quote(sys.executable)} -m pip install"
CPU_TORCH = "--extra-index-url https://download.pytorch.org/whl/cpu"
WIDGETS = ("labextensions", "@jupyter-widgets", "jupyterlab-manager")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is what to do about it, empty where nothing is to be done."""

    name: str
    state: str  # of STATES
    found: str
    remedy: str = ""


def quick() -> list[Finding]:
    """What can be seen in a second, without PyTorch."""
    wanted = {name: partial(packages, extra) for extra, (name, _) in EXTRAS.items()}
    machine = {"kernel": kernel, "widgets": widgets, "cores": cores, "memory": memory, "disk": disk}
    return _look({"python": python} | wanted | machine)


def full() -> list[Finding]:
    """All there is to see; imports PyTorch."""
    return quick() + _look({"pytorch": pytorch, "chromium": chromium})


def worst(findings: list[Finding]) -> int:
    """Exit code: 2 with a problem, 1 with a warning, else 0."""
    return max(0, max(STATES.index(f.state) for f in findings) - 1)


def _look(checks: dict[str, Callable]) -> list[Finding]:
    found = []
    for name, check in checks.items():
        try:
            result = check()
        except (ImportError, OSError, LookupError, ValueError) as error:
            result = Finding(name, "problem", f"cannot be looked at: {error}", _install(getattr(error, "name", None)))
        found += result if isinstance(result, list) else [result]
    return found


def _install(module: str | None) -> str:
    if module == PROJECT:
        return f'{PIP} -e ".[offline,lab]", in the folder of pyproject.toml'
    return f"{PIP} --force-reinstall --no-deps {module or 'NAME'}" + ", of the package that the message names" * (module is None)


def python() -> Finding:
    """The interpreter, against what the package asks for."""
    from packaging.specifiers import SpecifierSet

    wanted, here = metadata.metadata(PROJECT)["Requires-Python"], platform.python_version()
    if SpecifierSet(wanted).contains(here, prereleases=True):
        return Finding("python", "ok", f"{here} on {platform.system()}")
    return Finding("python", "problem", f"{here}, wanted {wanted}", "make the virtual environment with a newer Python")


def packages(extra: str = "") -> list[Finding]:
    """The requirements of one extra ("" for the package itself): one finding if all are met, else one for each that is not."""
    name, state = EXTRAS[extra]
    wanted = _requirements(extra)
    bad = [Finding(name, state, says, _mend(r)) for r in wanted if (says := _unmet(r))]
    if len(wanted) > 3:
        return bad or [Finding(name, "ok", f"{len(wanted)} installed, in the wanted ranges")]
    return bad or [Finding(name, "ok", ", ".join(f"{r.name} {metadata.version(r.name)}" for r in wanted))]


def _requirements(extra: str) -> list:
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires(PROJECT) or []]
    if not extra:
        return [r for r in every if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [r for r in every if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})]


def _unmet(requirement) -> str:
    try:
        here = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        here = None
    # None: a folder of metadata without any, as a broken installation leaves it
    if here is None:
        return f"{requirement.name} is missing"
    fits = requirement.specifier.contains(here, prereleases=True)
    return "" if fits else f"{requirement.name} {here}, wanted {requirement.specifier}"


def _mend(requirement) -> str:
    where = f" {CPU_TORCH}" if requirement.name == "torch" and sys.platform == "linux" and not _nvidia() else ""
    return f'{PIP} "{requirement.name}{requirement.specifier}"{where}'


def _nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None


def kernel() -> Finding:
    """Which Python the notebooks' kernel is, found as `medclip-nb run` and `lab` find it."""
    spec = _kernel_spec()
    # Jupyter puts its own interpreter where a bare name stands; links are not followed, as two environments may share a Python
    starts = Path(spec.argv[0])
    if starts.name == str(starts) or starts.parent == Path(sys.executable).parent:
        return Finding("kernel", "ok", "python3 is this Python")
    remedy = f"{shlex.quote(sys.executable)} -m ipykernel install --sys-prefix, and no JUPYTER_PATH that holds another"
    return Finding("kernel", "problem", f"python3 is {starts}, by {spec.resource_dir}", remedy)


def _kernel_spec():
    from jupyter_client.kernelspec import KernelSpecManager

    before = os.environ.get("JUPYTER_PREFER_ENV_PATH")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    try:
        return KernelSpecManager().get_kernel_spec("python3")
    finally:
        del os.environ["JUPYTER_PREFER_ENV_PATH"]
        if before is not None:
            os.environ["JUPYTER_PREFER_ENV_PATH"] = before


def widgets() -> Finding:
    """JupyterLab's widget manager: without it sliders are shown as text."""
    from jupyter_core.paths import jupyter_path

    if any(Path(folder).is_dir() for folder in jupyter_path(*WIDGETS)):
        return Finding("widgets", "ok", f"jupyterlab_widgets {metadata.version('jupyterlab_widgets')}")
    remedy = f"{PIP} --force-reinstall --no-deps jupyterlab_widgets, then reload the page"
    return Finding("widgets", "warning", "JupyterLab's widget manager is missing: sliders do not show", remedy)


def cores() -> Finding:
    """Processor cores, and what holds threads back."""
    n, said = n_cores(), os.environ.get("OMP_NUM_THREADS", "")
    here = f"{n} core{'s' * (n != 1)}, {platform.machine()}"
    if said.isdigit() and int(said) < n:
        return Finding("cores", "note", f"{here}; OMP_NUM_THREADS={said} uses {said}", "unset OMP_NUM_THREADS")
    return Finding("cores", "ok", here)


def memory() -> Finding:
    """Memory that is free, against what two lessons at once took at most."""
    import psutil

    from .pages.run_times import memory_gib

    free, need = psutil.virtual_memory().available / GIB, {preset: memory_gib(preset) for preset in DISK_GIB}
    return _enough("memory", free, need, "close other programs; run one lesson at a time")


def disk() -> Finding:
    """The disk that products go to: room, and whether it can be written to."""
    home = config.home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"0")
    except OSError as error:
        remedy = "MEDCLIP_NB_HOME=FOLDER medclip-nb ..., with a folder you may write to"
        return Finding("disk", "problem", f"{there} cannot be written to ({error.strerror})", remedy)
    free = shutil.disk_usage(there).free / GIB
    return _enough("disk", free, DISK_GIB, f"medclip-nb cache clear, or another MEDCLIP_NB_HOME than {home}")


def _enough(name: str, free: float, need: dict[str, float], remedy: str) -> Finding:
    found = f"{free:.1f} GiB free; the course needs " + ", ".join(f"{gib:.1f} at {p}" for p, gib in need.items())
    short = [preset for preset, gib in need.items() if free < gib]
    if not short:
        return Finding(name, "ok", found)
    # the first preset is the smallest: what is too little for it is too little for all
    state = "problem" if next(iter(need)) in short else "warning"
    return Finding(name, state, found, remedy)


def pytorch() -> list[Finding]:
    """PyTorch: that it can be imported, its threads, and a GPU."""
    import torch

    here = Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        return [here, Finding("gpu", "ok", f"{about.name}, {about.total_memory / GIB:.1f} GiB")]
    if torch.version.cuda and not _nvidia():
        remedy = f"to save gigabytes: {PIP} --force-reinstall --no-deps torch=={torch.__version__.split('+')[0]}+cpu {CPU_TORCH}"
        return [here, Finding("gpu", "note", "none; PyTorch is the CUDA build all the same", remedy)]
    return [here, Finding("gpu", "note", "none: presets smoke and cpu are made for that")]


def chromium() -> Finding:
    """A browser for the tests; lessons need none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    return Finding("chromium", "ok" if path else "note", path or "none: only browser tests need it")
