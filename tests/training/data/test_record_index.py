"""Many records on disk: the same as in memory, read once, and anew when a file changes."""

import json
import pickle

import datasets
import numpy as np
import pytest
from PIL import Image

from desa2va.training.data import record_index
from desa2va.training.data.build import open_dataset
from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.record_index import IndexedRecords, hold_or_index
from desa2va.training.data.record_rows import record_to_row, row_to_record
from desa2va.training.data.records import Dialogue, Record, Target, expression_dialogue
from desa2va.training.data.sources import open_source

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(record_index, "HELD", 3)


def code(left):
    return encode_mask(np.arange(SIZE[1])[None] < np.full((SIZE[0], 1), left))


def record(number):
    """One with everything a record can hold."""
    targets = (Target("dog", (code(number), None), (None, code(3))), Target("cat", (None, code(9))))
    talk = Dialogue("several", (("a <region1>", "[SEG]"), ("b", "[SEG]")), targets, (code(5),), 2, {"ref_id": number})
    chat = Dialogue("chat", (("a", "b"),))
    return Record(
        f"row {number}", ("/a.png", "/b.png"), True, SIZE, 2, (talk, chat), "set", 6.0, "MIT", 4, (b"x\0", b"y")
    )


def test_rows_keep_everything():
    """Guards against a field that a prepared set forgets."""
    assert row_to_record(record_to_row(record(4))) == record(4)
    wrong = Record("row 0", ("/a.png",), False, (9, 9), 1, (expression_dialogue("a", (code(2),)),), "set")
    with pytest.raises(ValueError, match=r"row 0: a mask of \[24, 32\] but the visual is \[9, 9\]"):
        record_to_row(wrong)


def test_few_are_held_and_many_indexed(tmp_path):
    """Guards the two ways: equal records, also in another process of a loader."""
    assert hold_or_index(map(record, range(3)), "few") == [record(number) for number in range(3)]
    found = hold_or_index(map(record, range(1203)), "many")
    assert isinstance(found, IndexedRecords)
    assert len(found) == 1203
    assert [found[number] for number in (0, 3, 1202)] == [record(number) for number in (0, 3, 1202)]
    assert pickle.loads(pickle.dumps(found))[700] == record(700)


def test_long_texts_are_found_without_making_records(monkeypatch):
    """Guards a start that made every one of a million records to look for a text that is too long."""

    def talk(number):
        first = Dialogue("chat", (("a", "ä" * number), ("c", "d")))
        turns = (Dialogue("chat", (("short", "b"),)), *([first] if number % 2 else []))
        return Record(f"row {number}", (), False, (0, 0), 0, turns, "set")

    found = hold_or_index(map(talk, range(1203)), "long")
    made = []
    monkeypatch.setattr(record_index, "row_to_record", lambda row: made.append(row["name"]) or row_to_record(row))
    wanted = [f"row {number}" for number in range(1203) if number % 2 and 2 * number + 3 + 4 > 2000]
    assert [item.name for item in found.with_long_texts(2000)] == wanted
    assert made == wanted


def test_an_error_leaves_no_index(tmp_path):
    """Guards against half an index that the next run takes for whole."""

    def broken():
        yield from map(record, range(600))
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        hold_or_index(broken(), "half")
    assert record_index.known_records("half") is None
    assert not list((tmp_path / "cache" / "desa2va").iterdir())


def test_a_changed_file_is_read_anew(tmp_path):
    """Guards the key: the second start reads no annotation, a changed file another index."""
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.png")
    path = tmp_path / "train.jsonl"
    entry = {"image": "a.png", "text": ["it"], "mask": [code(3)]}
    path.write_text("\n".join([json.dumps(entry)] * 5))
    assert len(open_dataset(path)) == 5
    source = open_source(str(path))
    assert isinstance(source.records(), IndexedRecords)
    assert record_index.known_records(source.key()) is not None
    path.write_text("\n".join([json.dumps(entry)] * 6))
    assert len(open_dataset(path)) == 6
    (tmp_path / "a.png").unlink()
    path.write_text("\n".join([json.dumps(entry)] * 7))
    with pytest.raises(ValueError, match="7 of its records are wrong"):
        open_dataset(path)
