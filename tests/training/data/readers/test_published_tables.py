"""Tables that are not the published files."""

import hashlib
import warnings

import pytest

from desa2va.training.data.readers import published_tables
from desa2va.training.data.readers.published_tables import MD5, warn_of_other_table
from desa2va.training.data.readers.question_tables import FILES


def test_every_table_has_its_published_checksum():
    """A table added without one would pass unseen."""
    assert {name for splits in FILES.values() for name in splits.values()} == set(MD5)
    assert all(len(value) == 32 for value in MD5.values())


def test_another_file_of_a_published_name_warns(tmp_path, monkeypatch):
    """Figures on other data stand beside published ones without a word; the published file itself is quiet."""
    path = tmp_path / "MMStar.tsv"
    path.write_bytes(b"index")
    with pytest.warns(UserWarning, match="MMStar.tsv is not the published file .*e1ecd2140806c1b1bbf54b43372efb9e"):
        warn_of_other_table(path)
    monkeypatch.setitem(published_tables.MD5, path.name, hashlib.md5(b"index").hexdigest())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_other_table(path)
        warn_of_other_table(tmp_path / "MME.tsv")
        path.rename(tmp_path / "mine.tsv")
        warn_of_other_table(tmp_path / "mine.tsv")
