"""Many pictures and videos: shared, resumed, reported; nothing twice and nothing lost."""

import json
import os
import signal

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from desa2va.bulk import run as run_module
from desa2va.bulk.items import folder_items, list_items, table_items
from desa2va.bulk.journal import Journal, all_rows
from desa2va.bulk.run import BulkSettings, run_items
from desa2va.processing.files import VideoWriter, decode_mask
from desa2va.processing.results import SegmentationResult

WHAT = ["the red circle", "the ring"]


@pytest.fixture(scope="module")
def pictures(scenes, tmp_path_factory):
    """Five pictures, one of them in a folder, a video, a broken picture, and what does not count."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.jpg", "d.png", "more/a.png")):
        Image.fromarray(np.asarray(scenes[number].frames[0])).save(folder / name)
    with VideoWriter(folder / "clip.mp4", 4) as writer:
        for shift in range(3):
            writer.write(np.roll(np.asarray(scenes[0].frames[0]), 4 * shift, axis=1))
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.md").write_text("no picture either")
    (folder / ".hidden.png").write_bytes(b"x")
    return folder


def settings(**more):
    return BulkSettings(WHAT, max_new_tokens=4, about={"what": WHAT}, **more)


def rows_of(out):
    return [row for path in sorted((out / "table").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def names(out):
    return sorted(row["item"] for row in rows_of(out))


ALL = sorted(2 * ["a.png", "b.png", "c.jpg", "d.png", "more/a.png", "clip.mp4"])


@pytest.mark.parametrize("batch", [1, 4])
def test_every_item_is_in_the_table_and_a_broken_one_in_the_report(pictures, tmp_path, model, processor, batch):
    """One broken file among many must neither end the run nor be passed over in silence."""
    out = tmp_path / "out"
    report = run_items(model, processor, folder_items(pictures), out, settings(batch=batch))
    assert names(out) == ALL
    assert (report["items"], report["done"], report["failed"], report["left"]) == (7, 6, 1, 0)
    assert report["kinds"] == {"image": 5, "video": 1}
    assert list(report["errors"]) == ["broken.png"]
    assert "not a picture" in report["errors"]["broken.png"]
    assert json.loads((out / "report.json").read_text()) == report
    assert not list(out.glob("journal-*"))
    assert (out / "items" / "more" / "a.png" / "overlay.png").is_file()
    assert (out / "items" / "clip.mp4" / "overlay.mp4").is_file()


def test_rows_hold_the_masks_of_the_python_api(pictures, tmp_path, model, processor):
    """A table whose rows are one off is worse than none."""
    out = tmp_path / "out"
    run_items(model, processor, folder_items(pictures), out, settings(table_only=True, batch=8))
    assert not (out / "items").exists()
    for name in ("b.png", "more/a.png"):
        inputs = processor(images=str(pictures / name), text=WHAT, task="segment")
        wanted = processor.post_process(model.generate(**inputs, max_new_tokens=4), inputs)
        rows = {row["request"]: row for row in rows_of(out) if row["item"] == name}
        for request, result in zip(WHAT, wanted, strict=True):
            row = rows[request]
            assert (row["raw_text"], row["status"], row["height"]) == (result.raw_text, result.status, result.height)
            for entry, found in zip(row["objects"], result.objects, strict=True):
                assert np.array_equal(decode_mask(entry["codes"][0]), found.mask())
                assert entry["iou_scores"] == pytest.approx(found.iou_scores, rel=1e-5)
    video = next(row for row in rows_of(out) if row["kind"] == "video")
    assert video["num_frames"] == 3
    assert all(len(entry["codes"]) == 3 for entry in video["objects"])


def test_processes_share_the_items_and_the_last_one_has_the_whole_report(pictures, tmp_path, model, processor):
    """Each item once, whichever process ends first, and however late another begins."""
    out, items = tmp_path / "out", folder_items(pictures)
    first = run_items(model, processor, items, out, settings(table_only=True), rank=1, count=3)
    assert 0 < first["left"] < 7
    for rank in (2, 0):
        last = run_items(model, processor, items, out, settings(table_only=True), rank=rank, count=3)
    assert last["left"] == 0
    assert names(out) == ALL


def test_a_finished_run_does_nothing_again_and_failed_items_are_tried_again(
    pictures, tmp_path, model, processor, monkeypatch
):
    """A repeated command is how one asks whether a run is complete."""
    out, items = tmp_path / "out", folder_items(pictures)
    run_items(model, processor, items, out, settings(table_only=True))
    asked = []
    monkeypatch.setattr(run_module, "answer_questions", lambda *arguments: asked.append(arguments))
    again = run_items(model, processor, items, out, settings(table_only=True))
    assert (asked, again["done"], again["failed"]) == ([], 6, 1)
    assert names(out) == ALL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["answer", "folder", "table"])
def test_a_killed_run_goes_on_with_nothing_twice_and_nothing_lost(
    pictures, tmp_path, model, processor, moment, number, monkeypatch
):
    """At each of the places where a kill leaves something half done: before the third answer, between an item's folder
    and its line, and between the table's file and the emptied journal.
    """
    out, items = tmp_path / "out", folder_items(pictures)
    places = {
        "answer": (run_module, "answer_questions", 3),
        "folder": (Journal, "write", 3),
        "table": (os, "truncate", 1),
    }
    owner, name, at = places[moment]
    child = os.fork()
    if not child:
        usual, calls = getattr(owner, name), []

        def dies(*arguments, **options):
            calls.append(name)
            if len(calls) == at:
                os.kill(os.getpid(), number)
            return usual(*arguments, **options)

        setattr(owner, name, dies)
        try:
            run_items(model, processor, items, out, settings(table_only=moment != "folder"))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    before = {row["item"] for row in all_rows(out, ["item"])}
    asked, plain = [], run_module.answer_questions

    def counted(model, processor, questions, options):
        asked.extend(questions)
        return plain(model, processor, questions, options)

    monkeypatch.setattr(run_module, "answer_questions", counted)
    report = run_items(model, processor, items, out, settings(table_only=moment != "folder"))
    assert before
    assert len(asked) == len({*ALL} - before - {"clip.mp4"})
    assert report["left"] == 0
    assert names(out) == ALL


def test_a_cut_line_is_cut_off(tmp_path):
    """A kill in the middle of a write leaves half a line, which no reader may take for a result."""
    journal = Journal(tmp_path, 0)
    result = SegmentationResult("it is", "it is", [], "no_seg_token", "none", 2, 2, 1)
    journal.write("one", "image", [result])
    journal._file.write(b'{"item": "two", "ro')
    journal._file.close()
    journal._claim.release()
    again = Journal(tmp_path, 0)
    assert again.done == {"one"}
    again.write("two", "image", [result])
    again.close()
    assert [row["item"] for row in rows_of(tmp_path)] == ["one", "two"]


def test_the_table_is_cut_into_files_and_read_by_datasets(tmp_path, monkeypatch):
    """A million rows in one file are read by nobody; and the output of one run is the input of the next."""
    monkeypatch.setattr("desa2va.bulk.journal.ITEMS_PER_FILE", 2)
    journal = Journal(tmp_path, 3)
    for number in range(5):
        journal.write(f"{number}", "image", [SegmentationResult("", "", [], "ok", "", 2, 2, 1)])
    journal.close()
    files = sorted(path.name for path in (tmp_path / "table").iterdir())
    assert files == [f"part-00003-{number:05d}.parquet" for number in range(3)]
    table = datasets.load_dataset(
        "parquet", data_dir=str(tmp_path / "table"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert table["item"] == ["0", "1", "2", "3", "4"] or list(table["item"]) == ["0", "1", "2", "3", "4"]


def test_two_runs_of_one_share_and_another_run_in_the_folder_are_refused(pictures, tmp_path, model, processor):
    """Two processes that append to one file would mix their lines."""
    out, items = tmp_path / "out", folder_items(pictures)
    run_items(model, processor, items, out, settings(table_only=True), rank=0, count=9)
    held = Journal(out, 0)
    with pytest.raises(ValueError, match="process 0 of another run works in"):
        run_items(model, processor, items, out, settings(), rank=0, count=9)
    held.close()
    other = BulkSettings(["the star"], about={"what": ["the star"]})
    with pytest.raises(ValueError, match="holds a run with another what"):
        run_items(model, processor, items, out, other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="not an empty folder"):
        run_items(model, processor, items, tmp_path / "mine", settings())


def test_a_fault_of_the_package_ends_the_run(pictures, tmp_path, model, processor, monkeypatch):
    """Two hundred items that failed with a KeyError are a bug, not two hundred broken pictures."""

    def broken(*_):
        raise KeyError("oops")

    monkeypatch.setattr(run_module, "answer_questions", broken)
    with pytest.raises(KeyError):
        run_items(model, processor, folder_items(pictures), tmp_path / "out", settings())


def test_lists_and_data_sets_are_items_too(pictures, scenes, tmp_path, model, processor):
    """A list counts from its own folder; a row's other columns are what requests name."""
    listed = pictures / "list.txt"
    listed.write_text(
        "a.png\n# mine\n\nmore/a.png\nnowhere.png\n", encoding="utf-8-sig"
    )  # as editors of Windows write it
    report = run_items(model, processor, list_items(listed), tmp_path / "listed", settings(table_only=True))
    listed.unlink()
    assert names(tmp_path / "listed") == sorted(2 * ["000000_a", "000001_a"])
    assert "nowhere.png" in report["errors"]["000002_nowhere"]
    table = datasets.Dataset.from_dict(
        {
            "image": [Image.fromarray(np.asarray(scene.frames[0])) for scene in scenes[:3]],
            "label": ["ring", "star", "cup"],
        }
    )
    table.save_to_disk(tmp_path / "set")
    about = BulkSettings(["the {label}"], max_new_tokens=4, table_only=True, about={})
    run_items(model, processor, table_items(str(tmp_path / "set"), "image", "train"), tmp_path / "rows", about)
    assert [row["request"] for row in rows_of(tmp_path / "rows")] == ["the ring", "the star", "the cup"]
    wrong = BulkSettings(["the {lable}"], max_new_tokens=4, table_only=True, about={})
    failed = run_items(model, processor, table_items(str(tmp_path / "set"), "image", "train"), tmp_path / "no", wrong)
    assert "there are: label" in failed["errors"]["00000000"]
    with pytest.raises(ValueError, match="no column 'picture'; there are: image, label"):
        table_items(str(tmp_path / "set"), "picture", "train")
