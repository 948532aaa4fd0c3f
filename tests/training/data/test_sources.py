"""Wrong rows: own data is refused, of a published set they are left out and told."""

import logging
from dataclasses import replace

import datasets
import pytest

from desa2va.training.data import record_index
from desa2va.training.data.readers import READERS, Reader
from desa2va.training.data.records import Record, RecordError, expression_dialogue
from desa2va.training.data.sources import open_source, reader_options
from desa2va.training.field_check import check_fields

WRONG = [RecordError(f"refs.p, row {number}", "mask", "no pixel") for number in range(7)]


def right(count):
    said = expression_dialogue("it", None)
    return [Record(f"{number}", (f"/{number}.png",), False, (9, 9), 1, (said,), "set") for number in range(count)]


@pytest.fixture
def published(monkeypatch):
    """A published set of these items."""

    def publish(items):
        reader = Reader(lambda root, split: iter(items), READERS["refcoco"].present, ("train",))
        monkeypatch.setitem(READERS, "refcoco", reader)
        return open_source("refcoco")

    return publish


def test_a_few_wrong_rows_are_left_out_and_told(published, caplog):
    """One row of 40,000 that nobody can mend stopped the training. Two problems of one row are one wrong row."""
    good = right(693)
    again = RecordError(WRONG[0].record, "text", "empty")
    source = published([*good[:5], WRONG[0], again, *good[5:], *WRONG[1:]])
    with caplog.at_level(logging.WARNING):
        assert source.records() == good
    (told,) = caplog.messages
    assert "7 of its 700 records are wrong" in told
    assert all(str(problem) in told for problem in WRONG[:5])
    assert "row 5" not in told
    assert "2 more: `desa2va data check refcoco --option split=train`" in told
    assert "left out" in told


def test_more_than_one_in_a_hundred_refuses(published, caplog):
    """Guards against learning from the remains of a set that was unpacked wrongly."""
    source = published([*WRONG, *right(692)])
    with pytest.raises(ValueError, match=r"7 of its 699 records are wrong \(at most 1% may be\): refs.p, row 0"):
        source.records()
    assert not caplog.messages


def test_a_right_set_says_nothing(published, caplog):
    """Guards the silence of the usual case."""
    assert len(published(right(3)).records()) == 3
    assert not caplog.messages


def test_scores_do_not_find_what_a_training_left_out(monkeypatch, tmp_path):
    """Guards the index on disk: a refusal of wrong rows passed once a training had written its index without them."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(record_index, "HELD", 10)
    reader = Reader(lambda root, split: iter([*right(120), WRONG[0]]), READERS["refcoco"].present, ("train",))
    monkeypatch.setitem(READERS, "refcoco", reader)
    source = open_source("refcoco")
    assert len(source.records()) == len(source.records()) == 120
    with pytest.raises(ValueError, match="1 of its records are wrong: refs.p, row 0"):
        replace(source, published=False).records()


def test_readers_may_call_options_of_other_kinds_alike():
    """`captions` is true or false of COCO and long, short or both of Ref-SAV: before the data set is known both are
    right. The last reader's kind refused `data.options.captions=both` on the command line.
    """
    known = reader_options(None)
    assert check_fields({"captions": "both"}, known, "data.options") == {"captions": "both"}
    assert check_fields({"captions": True}, known, "data.options") == {"captions": True}
    with pytest.raises(ValueError, match="captions"):
        check_fields({"captions": "all"}, known, "data.options")
    assert check_fields({"captions": "long"}, reader_options("ref_sav"), "data.options") == {"captions": "long"}
