"""Files that are not the published ones."""

import hashlib

import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.training.data.readers.published_files import REVOS, VLMEVALKIT, check_published
from desa2va.training.data.readers.question_tables import FILES
from desa2va.training.data.readers.revos import read_revos, read_revos_foreground
from tests.eval.benchmarks.question_layouts import choice, picture_cell, write_tsv


def test_every_table_has_its_published_checksum():
    """A table added without one would pass unseen."""
    assert {name for splits in FILES.values() for name in splits.values()} == set(VLMEVALKIT)
    assert {len(value) for value in VLMEVALKIT.values()} == {32}
    assert {len(value) for value in REVOS.values()} == {64}


@pytest.mark.parametrize(("name", "algorithm"), [("MD5", "md5"), ("SHA-256", "sha256")])
def test_another_file_of_a_published_name(tmp_path, name, algorithm):
    """Figures on other data would stand beside published ones; a file of another name is anybody's own."""
    path = tmp_path / "MMStar.tsv"
    path.write_bytes(b"index")
    found, other = (hashlib.new(algorithm, content).hexdigest() for content in (b"index", b"other"))
    told = f"MMStar.tsv is not the published file: its {name} is {found}, not {other}, .*; download MMStar.tsv anew"
    with pytest.raises(ValueError, match=told):
        check_published(path, {path.name: other})
    check_published(path, {path.name: found})
    check_published(path, {"MME.tsv": other})
    check_published(tmp_path / "MME.tsv", {"MME.tsv": other})


def test_neither_evaluation_nor_check_takes_another_table(tmp_path, capsys):
    """Guards against a reader that does not look: this table is sound but for being another."""
    write_tsv(tmp_path / "LMUData" / "MMStar.tsv", [choice(1, picture_cell(10), "A")])
    with pytest.raises(ValueError, match=r"MMStar.tsv is not the published file"):
        open_benchmark("mmstar-val").records(tmp_path)
    assert main(["data", "check", "mmstar", "--option", f"root={tmp_path}", "--option", "split=val"]) == 2
    assert "MMStar.tsv is not the published file" in "".join(capsys.readouterr())


def test_revos_validation_is_the_published_one(tmp_path):
    """All three files that its figures are made of; other splits have no published figures and are not looked at."""
    folder = tmp_path / "video_datas" / "revos"
    folder.mkdir(parents=True)
    for name in ("meta_expressions_valid_.json", "mask_dict_foreground.json", "meta_expressions_train_.json"):
        (folder / name).write_text('{"videos": {}}')
    with pytest.raises(ValueError, match=r"meta_expressions_valid_.json is not the published file: its SHA-256"):
        list(read_revos(tmp_path, "valid"))
    with pytest.raises(ValueError, match=r"mask_dict_foreground.json is not the published file"):
        read_revos_foreground(tmp_path)
    (folder / "meta_expressions_valid_.json").unlink()
    (folder / "mask_dict.json").write_text("{}")
    with pytest.raises(ValueError, match=r"mask_dict.json is not the published file"):
        list(read_revos(tmp_path, "valid"))
    assert list(read_revos(tmp_path, "train")) == []
