"""Tables that are not the published files."""

import hashlib

import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.training.data.readers import published_tables
from desa2va.training.data.readers.published_tables import MD5, check_table
from desa2va.training.data.readers.question_tables import FILES
from tests.eval.benchmarks.question_layouts import choice, picture_cell, write_tsv


def test_every_table_has_its_published_checksum():
    """A table added without one would pass unseen."""
    assert {name for splits in FILES.values() for name in splits.values()} == set(MD5)
    assert all(len(value) == 32 for value in MD5.values())


def test_another_file_of_a_published_name(tmp_path, monkeypatch):
    """Figures on other data would stand beside published ones; a file of another name is anybody's own."""
    path = tmp_path / "MMStar.tsv"
    path.write_bytes(b"index")
    found = hashlib.md5(b"index").hexdigest()
    told = (
        rf"MMStar.tsv is not the published file: its MD5 is {found}, .* {MD5['MMStar.tsv']}, .*; download MMStar.tsv"
    )
    with pytest.raises(ValueError, match=told):
        check_table(path)
    monkeypatch.setitem(published_tables.MD5, path.name, found)
    check_table(path)
    check_table(tmp_path / "MME.tsv")
    path.rename(tmp_path / "mine.tsv")
    check_table(tmp_path / "mine.tsv")


def test_neither_evaluation_nor_check_takes_another_table(tmp_path, capsys):
    """Guards against a reader that does not look: this table is sound but for being another."""
    write_tsv(tmp_path / "LMUData" / "MMStar.tsv", [choice(1, picture_cell(10), "A")])
    with pytest.raises(ValueError, match=r"MMStar.tsv is not the published file"):
        open_benchmark("mmstar-val").records(tmp_path)
    assert main(["data", "check", "mmstar", "--option", f"root={tmp_path}", "--option", "split=val"]) == 2
    assert "MMStar.tsv is not the published file" in "".join(capsys.readouterr())
