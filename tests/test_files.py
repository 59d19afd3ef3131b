"""Files are old or new, never half."""

import hashlib
import os
from pathlib import Path

import pytest

from medclip_nb.files import sha256, whole, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_text(tmp_path / "a.html", "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_an_error_in_the_block_leaves_nothing_behind(tmp_path):
    def half():
        with whole(tmp_path / "new" / "a.txt") as part:
            part.write_text("half")
            raise OSError("disk full")

    pytest.raises(OSError, half)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    for text in ("old", "new"):
        with whole(tmp_path / "model") as part:
            part.mkdir()
            (part / text).write_text(text)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folders_hash_knows_names_and_contents(tmp_path):
    for name, text in {"a/1": "x", "b/1": "x", "c/2": "x", "d/1": "y"}.items():
        write_text(tmp_path / name, text)
    a, b, c, d = (sha256(tmp_path / name) for name in "abcd")
    assert a == b != c != d != a
    assert sha256(tmp_path / "a/1") == hashlib.sha256(b"x").hexdigest()


def test_a_hash_is_remembered_only_while_the_file_is_the_same(tmp_path, monkeypatch):
    path = write_text(tmp_path / "a", "old")
    os.utime(path, (1, 1))
    first = sha256(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", None)
        assert sha256(path) == first
    path.write_text("new")
    assert sha256(path) != first
    path.write_text("yet")
    assert sha256(path) == hashlib.sha256(b"yet").hexdigest()


def test_a_folder_that_another_process_put_there_is_kept_if_asked(tmp_path):
    with whole(tmp_path / "study", keep=True) as part:
        part.mkdir()
        write_text(part / "a", "mine")
        write_text(tmp_path / "study" / "a", "theirs")  # while this one was being written
    assert (tmp_path / "study" / "a").read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["study"]
