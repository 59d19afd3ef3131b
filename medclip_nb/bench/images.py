"""Benchmarks of the data room: reading preprocessed studies again, and how an audit grows with the table."""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from ..config import PRESETS
from ..data import cache, catalog, preprocessing
from ..data.preprocessing import Preprocessing, preprocess
from ..data.readers import read_image
from .rows import Row, Sizes, beside


def image_cache(sizes: Sizes) -> list[Row]:
    """Reading preprocessed studies a second time, against MONAI's PersistentDataset on the same transforms."""
    from monai.data import PersistentDataset
    from monai.data.utils import pickle_hashing
    from monai.transforms import Lambda

    data = catalog.load("torso", PRESETS[sizes.preset])
    paths = [data.root / name for name in data.manifest["image"][: sizes.studies]]
    transform = Lambda(partial(_read, contract=data.contract), track_meta=False)  # a bare function it would not cache
    with tempfile.TemporaryDirectory() as folder:
        theirs = PersistentDataset(
            [str(p) for p in paths], transform, cache_dir=folder, hash_transform=pickle_hashing, weights_only=False
        )
        again = lambda: [np.asarray(theirs[i]) for i in range(len(paths))]  # noqa: E731
        ours = lambda: [preprocessing.cached(p, data.contract) for p in paths]  # noqa: E731
        again()  # the first reading, which fills it
        seconds = beside(ours, again, same=np.array_equal, repeats=sizes.repeats)
        disk = _bytes(cache.file_of(preprocessing.cache_name(p, data.contract)) for p in paths), _bytes(Path(folder).iterdir())
    note = f"{len(paths)} torso studies, one thread; rival: MONAI PersistentDataset, same transforms"
    return [
        Row("second reading of images", *seconds, "s", note),
        Row("image cache on disk", disk[0] / 2**20, disk[1] / 2**20, "MiB", note),
    ]


def _read(path: str, *, contract: Preprocessing) -> np.ndarray:
    return preprocess(read_image(path, units=contract.units), contract)


def _bytes(files) -> int:
    return sum(f.stat().st_size for f in files)


def audit_growth(sizes: Sizes) -> list[Row]:
    """Seconds for validating, hashing and auditing tables of small pictures, per row; the rival is the smaller table."""
    few, many = (_audit_seconds(n) / n * 1000 for n in sizes.audited)
    note = f"per row, {sizes.audited[1]:,} rows, linear growth is a ratio of 1; rival: {sizes.audited[0]:,} rows"
    return [Row("audit of pictures", many, few, "ms", note)]


def _audit_seconds(n_rows: int) -> float:
    import pandas as pd
    from PIL import Image

    from ..data.audit import audit
    from ..data.manifest import read_manifest, save_manifest

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n_rows):
            Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).resize((64, 64)).save(Path(folder) / f"{i}.png")
        words = np.array([f"word{k}" for k in range(2000)])
        table = pd.DataFrame({"study_id": [f"s{i}" for i in range(n_rows)], "patient_id": [f"p{i // 2}" for i in range(n_rows)]})
        texts = [" ".join(words[rng.integers(0, len(words), 30)]) for _ in range(n_rows)]
        split = np.array(["train", "val", "test", "train"])[(np.arange(n_rows) // 2) % 4]
        table = table.assign(image=[f"{i}.png" for i in range(n_rows)], report=texts, split=split, modality="DX")
        path = save_manifest(table, Path(folder) / "manifest.csv")
        start = time.perf_counter()
        audit(read_manifest(path))
        return time.perf_counter() - start
