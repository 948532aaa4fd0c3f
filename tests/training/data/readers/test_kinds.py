"""Which kind of data set a path is."""

import json

import pytest

from desa2va.training.data.readers.coco import read_coco
from desa2va.training.data.readers.finetune import read_finetune
from desa2va.training.data.readers.folder import read_folder
from desa2va.training.data.readers.kinds import KINDS, own_reader
from desa2va.training.data.readers.tables import read_table

FILES = {
    "train.json": ("\ufeff [{}]", read_finetune),
    "lines.json": ('{"image": "a.png"}\n', read_finetune),
    "train.jsonl": ('{"image": "a.png", "text": ["it"], "mask": [null]}\n', read_finetune),
    "chat.jsonl": ('{"image": "a.png", "caption": "it"}\n', read_finetune),
    "broken.jsonl": ("{\n", read_finetune),
    "rows.jsonl": ('{"image": "a.png", "text": "it", "object": 1}\n', read_folder),
    "rows.csv": ("image,object,text\n", read_folder),
    "coco.json": (json.dumps({"info": {}, "images": []}, indent=1), read_coco),
    "a.parquet": ("", read_table),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path, name):
    content, reader = FILES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert own_reader(str(tmp_path / name)) is reader


def test_folders(tmp_path):
    for kind, names, reader in (
        ("a", ["images/a.jpg", "expressions.csv"], read_folder),
        ("b", ["videos/a.mp4", "rows.tsv"], read_folder),
        ("c", ["images/a.jpg", "instances.json", "expressions.json"], read_coco),
        ("d", ["data/train-00000-of-00001.parquet"], read_table),
        ("e", ["dataset_dict.json"], read_table),
    ):
        for name in names:
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / name).write_text("")
        assert own_reader(str(tmp_path / kind)) is reader
    assert own_reader("hub:somebody/something") is read_table


@pytest.mark.parametrize("name", ["empty", "notes.txt", "nowhere"])
def test_no_known_kind_lists_all(tmp_path, name):
    """Guards the one error: whoever gives something else learns what would be right."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises((ValueError, FileNotFoundError), match=name) as error:
        own_reader(str(tmp_path / name))
    assert all(kind in str(error.value) for kind in KINDS)
