"""The cache: what is kept, what is made again, and what goes first when it grows too large."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from medclip_nb.data import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))


def never() -> np.ndarray:
    raise AssertionError("made again")


def test_what_is_kept_is_not_made_again():
    first = cache.fetch("a/b", lambda: np.arange(3))
    assert np.array_equal(cache.fetch("a/b", never), first)


@pytest.mark.parametrize("content", [b"", b"\n", b"[1]\n", b'{"dtype": "O", "shape": [3]}\n', b"no array at all"])
def test_a_damaged_file_is_made_again(content):
    cache.fetch("a", lambda: np.arange(3))
    (cache.folder() / "a.lz4").write_bytes(content)
    assert cache.fetch("a", lambda: np.arange(5)).size == 5
    assert cache.fetch("a", never).size == 5


def test_an_array_cut_off_in_the_middle_is_made_again():
    cache.fetch("a", lambda: np.arange(1000))
    file = cache.folder() / "a.lz4"
    file.write_bytes(file.read_bytes()[:-100])
    assert cache.fetch("a", lambda: np.arange(1000))[-1] == 999


def test_a_write_that_fails_leaves_no_half_file(monkeypatch):
    def half(path, content):
        path.write_text("half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        pytest.raises(OSError, cache.fetch, "a", lambda: np.arange(3))
    assert list(cache.folder().iterdir()) == []
    assert cache.fetch("a", lambda: np.arange(3)).size == 3


def test_two_threads_may_make_one_entry_at_the_same_time():
    both = Barrier(2, timeout=30)

    def make() -> np.ndarray:
        both.wait()
        return np.arange(9)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: cache.fetch("a", make), range(2))
    assert one.tolist() == two.tolist() == cache.fetch("a", never).tolist()
    assert len(list(cache.folder().iterdir())) == 1


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.arange(6.0).reshape(1, 2, 3), np.float16([[1], [2]]), np.array(7)])
def test_type_and_shape_come_back(array):
    cache.fetch("a", lambda: array)
    again = cache.fetch("a", never)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert np.array_equal(again, array)


def test_what_was_not_used_for_longest_goes_first():
    for hours, name in ((5, "old"), (4, "older but used"), (3, "new")):
        cache.fetch(name, lambda: np.random.default_rng(0).integers(0, 255, 1000, np.uint8))
        os.utime(cache.folder() / f"{name}.lz4", (time.time() - 3600 * hours,) * 2)
    cache.fetch("older but used", never)
    assert cache.trim(2500) > 1000
    assert sorted(f.stem for f in cache.folder().iterdir()) == ["new", "older but used"]


def test_a_run_does_not_eat_its_own_data():
    cache.fetch("just used", lambda: np.zeros(1000, np.uint8))
    assert cache.trim(0) == 0
    assert cache.size()[0] == 1


def test_clearing_frees_what_the_size_says():
    for name in "abc":
        cache.fetch(f"{name}/x", lambda: np.zeros(100))
    files, held = cache.size()
    assert files == 3
    assert cache.clear() == held > 0
    assert cache.size() == (0, 0)


def test_an_empty_cache_is_no_error():
    assert cache.size() == (0, 0)
    assert cache.clear() == 0
