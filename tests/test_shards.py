"""Preparing images in shards: every row once, nothing twice, nothing half, and a list of what cannot be read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medclip_nb import cli, config
from medclip_nb.config import PRESETS
from medclip_nb.data import cache, preprocessing
from medclip_nb.data.catalog import load
from medclip_nb.data.shards import prepare, shard_rows
from medclip_nb.data.studies import read_images

SMOKE = PRESETS["smoke"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty cache."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(folder))
    return folder


def held() -> dict[str, bytes]:
    """What the cache holds, by name."""
    return {p.name: p.read_bytes() for p in cache.folder().rglob("*") if p.is_file()}


@given(st.integers(0, 50), st.integers(1, 60))
def test_the_shards_of_all_machines_are_every_row_once(n_rows, n_shards):
    together = np.concatenate([shard_rows(n_rows, i + 1, n_shards) for i in range(n_shards)])
    assert sorted(together.tolist()) == list(range(n_rows))


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 0)])
def test_a_shard_that_is_not_there_is_refused(shard):
    with pytest.raises(ValueError, match=f"there is no shard {shard[0]} of {shard[1]}"):
        shard_rows(10, *shard)


def test_what_is_prepared_is_what_training_reads_and_it_opens_no_image_again(picture_folder, monkeypatch):
    data = load(picture_folder, SMOKE)
    wanted = read_images(data)
    cache.clear()
    assert prepare(data, np.arange(12)) == (12, 0, [])
    monkeypatch.setattr(preprocessing, "read_image", None)
    assert np.array_equal(read_images(data), wanted)
    assert prepare(data, np.arange(12)) == (0, 12, [])


def test_a_run_goes_on_from_what_another_left(picture_folder):
    data = load(picture_folder, SMOKE)
    prepare(data, shard_rows(12, 2, 3))
    assert len(held()) == 4
    assert prepare(data, np.arange(12)) == (8, 4, [])


def test_an_interrupt_leaves_whole_files_and_the_rest_is_made_next_time(picture_folder, monkeypatch):
    data, real, seen = load(picture_folder, SMOKE), preprocessing.read_image, []

    def stops(path, **settings):
        seen.append(path)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return real(path, **settings)

    monkeypatch.setattr(preprocessing, "read_image", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(data, np.arange(12))
    assert [name for name in held() if not name.endswith(".lz4") or name.startswith(".")] == []
    assert prepare(data, np.arange(12)) == (7, 5, [])


def test_images_that_cannot_be_read_are_listed_by_row_and_the_others_are_made(picture_folder, capsys):
    (picture_folder / "3.png").write_bytes(b"no picture")
    (picture_folder / "7.png").unlink()
    table = (picture_folder / "texts.csv").rename(picture_folder / "manifest.csv")
    lines = ["study_id," + table.read_text().splitlines()[0].replace("text", "report")]
    table.write_text("\n".join(lines + [f"s{i},{x}" for i, x in enumerate(table.read_text().splitlines()[1:])]))
    assert cli.main(["data", "prepare", str(picture_folder), "--preset", "smoke", "--workers", "1"]) == 2
    said = capsys.readouterr()
    assert "10 made, 0 were there, 2 cannot be used" in said.out
    rows = [line.split(": ")[1] for line in said.err.splitlines()]
    assert rows == ["row 5, column 'image'", "row 9, column 'image'"]


def test_a_disk_that_is_full_stops_all(picture_folder, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "whole", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(load(picture_folder, SMOKE), np.arange(12))


def test_two_processes_make_what_one_makes(picture_folder, monkeypatch):
    (picture_folder / "3.png").write_bytes(b"no picture")
    data = load(picture_folder, SMOKE)
    alone = prepare(data, np.arange(12))
    wanted = held()
    cache.clear()
    assert prepare(data, np.arange(12), workers=2) == alone
    assert held() == wanted


def test_shards_on_the_command_line_add_up(picture_folder, capsys):
    run = ["data", "prepare", str(picture_folder), "--preset", "smoke", "--workers", "1", "--shard"]
    assert [cli.main([*run, f"{i}/5"]) for i in range(1, 6)] == [0] * 5
    made = [int(line.split(": ")[2].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert made == [3, 3, 2, 2, 2]
    assert len(held()) == 12


@pytest.mark.parametrize("options", [["--shard", "0/8"], ["--shard", "9/8"], ["--shard", "3"], ["--workers", "0"]])
def test_options_that_mean_nothing_are_refused_in_one_line(picture_folder, capsys, options):
    assert cli.main(["data", "prepare", str(picture_folder), *options]) == 2
    said = capsys.readouterr().err
    assert options[0].strip("-") in said
    assert said.count("\n") == 1


def test_a_cache_beyond_its_limit_is_told(picture_folder, monkeypatch, capsys):
    monkeypatch.setenv("MEDCLIP_NB_CACHE_GB", "1e-6")
    assert cli.main(["data", "prepare", str(picture_folder), "--preset", "smoke", "--workers", "1"]) == 0
    assert "MEDCLIP_NB_CACHE_GB raises it" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, given):
    monkeypatch.setenv("MEDCLIP_NB_CACHE_GB", given)
    with pytest.raises(ValueError, match=f"MEDCLIP_NB_CACHE_GB is '{given}'"):
        config.cache_bytes()
