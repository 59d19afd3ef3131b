"""What all tests share: no network, products in a temporary folder, one tiny cohort for the whole session."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
NO_NETWORK = Path(__file__).parent / "no_network"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(NO_NETWORK), os.environ.get("PYTHONPATH")]))
os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="agg", TQDM_DISABLE="1")


def _block_network() -> None:
    import runpy

    runpy.run_path(str(NO_NETWORK / "sitecustomize.py"))


_block_network()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell; children would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory) -> Path:
    """Where products go during the tests: never into the checkout."""
    folder = tmp_path_factory.mktemp("home")
    os.environ["MEDCLIP_NB_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real datasets, from $MEDCLIP_NB_REAL_DATA."""
    folder = os.environ.get("MEDCLIP_NB_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MEDCLIP_NB_REAL_DATA names no folder of real datasets")
    return Path(folder)


@pytest.fixture(scope="session")
def torso(home):
    """The synthetic cohort at preset smoke, made once."""
    from medclip_nb.config import PRESETS
    from medclip_nb.data.catalog import load

    return load("torso", PRESETS["smoke"])


@pytest.fixture(scope="session")
def torso_units(torso):
    """Slices of the smoke cohort with their captions."""
    from medclip_nb.data.studies import load_units

    return load_units(torso)


@pytest.fixture(scope="session")
def encoder():
    """A slice encoder that has learnt nothing: for what holds whatever the weights."""
    from medclip_nb.config import RECIPES, SLICE_TOWER
    from medclip_nb.model.dual_encoder import build_model

    return build_model(RECIPES["radclip"], image_tower=SLICE_TOWER, channels=3, seed=0).eval()


@pytest.fixture(scope="session")
def volumes(encoder, torso, torso_units):
    """The smoke cohort as stacks of that encoder's embeddings."""
    from medclip_nb.lesson import radclip

    return radclip.volumes(encoder, torso, torso_units)


@pytest.fixture(scope="session")
def heads(home):
    """Two sequences of the synthetic head MR at preset smoke, with what they show in SeLIP's form."""
    from medclip_nb.config import PRESETS
    from medclip_nb.data.catalog import load
    from medclip_nb.lesson.selip import head_units

    return head_units(load("head", PRESETS["smoke"]), sequences=("FLAIR", "DWI"))


@pytest.fixture
def picture_folder(tmp_path) -> Path:
    """A folder of twelve PNG images of six patients with a CSV of texts."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (20, 16), np.uint8)).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(12)], "text": [f"finding {i % 4}" for i in range(12)]})
    table.assign(patient_id=[f"p{i // 2}" for i in range(12)]).to_csv(tmp_path / "texts.csv", index=False)
    return tmp_path


def pytest_terminal_summary(terminalreporter):
    """The table of hostile inputs: what each kind came to."""
    rows = [
        (kind, outcome)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, kind in getattr(report, "user_properties", ())
        if name == "hostile"
    ]
    if not rows:
        return
    counts = {
        word: sum(f"|{word}|" in kind and outcome == "passed" for kind, outcome in rows) for word in ("refused", "repaired")
    }
    terminalreporter.section("hostile inputs")
    for kind, outcome in sorted(rows) if terminalreporter.verbosity >= 0 else []:
        terminalreporter.write_line(f"{outcome:6}  {kind.replace('|', '  ')}")
    silent = len(rows) - sum(counts.values())
    told = ", ".join(f"{n} {word}" for word, n in counts.items())
    terminalreporter.write_line(f"{len(rows)} kinds: {told}, {silent} wrong (-v shows the table)")
