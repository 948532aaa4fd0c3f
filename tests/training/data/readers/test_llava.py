"""LLaVA-665k: text alone, leading answers, placeholders, endings of OCR-VQA."""

import pytest

from desa2va.training.data.readers import READERS
from desa2va.training.data.record_dataset import RecordDataset
from tests.training.data.readers.picture_layouts import SIZE, picture, split_items, write


def said(*texts, first="human"):
    speakers = ["human", "gpt"] if first == "human" else ["gpt", "human"]
    return [{"from": speakers[number % 2], "value": text} for number, text in enumerate(texts)]


def read(root, *rows):
    write(root / "llava_data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json", list(rows))
    return split_items(READERS["llava"].read(root, "train"))


def test_text_alone_and_leading_answers(tmp_path):
    """Guards ShareGPT's rows: no picture, ids of either kind, an answer first, a question last."""
    chat = said("Hello!", "Why?", "Because.", "And?", first="gpt")
    (record,), problems = read(tmp_path, {"id": 7, "conversations": chat})
    assert not problems
    (dialogue,) = record.dialogues
    assert dialogue.turns == (("Why?", "Because."),)
    assert (record.paths, record.size, record.num_frames, dialogue.kind) == ((), (0, 0), 0, "chat")
    assert RecordDataset([record], "llava")[0].frames is None


@pytest.mark.parametrize("text", ["<image>\nWhat is it?", "What is it?\n<image>"])
def test_the_placeholder_goes_before_or_behind(tmp_path, text):
    """Guards the words: the processor puts the picture itself, `<image>` in a text would be a second one."""
    picture(tmp_path / "llava_data/llava_images/coco/train2017/1.jpg")
    row = {"id": "a", "image": "coco/train2017/1.jpg", "conversations": said(text, "A cat.", "Big?", "Yes.")}
    (record,), problems = read(tmp_path, row)
    assert not problems
    assert record.dialogues[0].turns == (("What is it?", "A cat."), ("Big?", "Yes."))
    assert record.size == SIZE
    assert dict(record.dialogues[0].ids) == {"id": "a"}


@pytest.mark.parametrize("ending", [".gif", ".png", ".jpg"])
def test_ocr_vqa_by_stem(tmp_path, ending):
    """Downloads of OCR-VQA differ in their endings; the mix names .jpg throughout."""
    picture(tmp_path / f"llava_data/llava_images/ocr_vqa/images/12{ending}")
    row = {"id": "a", "image": "ocr_vqa/images/12.jpg", "conversations": said("<image>\nWho?", "Nobody.")}
    (record,), problems = read(tmp_path, row)
    assert not problems
    assert record.paths[0].endswith(f"ocr_vqa/images/12{ending}")
    assert RecordDataset([record], "llava")[0].frames.shape == (1, *SIZE, 3)


def test_wrong_rows_are_named_and_empty_ones_left_out(tmp_path):
    """Guards the row in the message; a row without an answer teaches nothing and is no error."""
    good = {"conversations": said("Why?", "So.")}
    rows = [
        {"id": 1, "conversations": said("Why?", "So.") * 2 + said("Well?")},
        {"id": 2, "conversations": [*said("a", "b"), *said("c", first="gpt")]},
        {**good, "image": "../../../out.jpg"},
        {**good, "image": "coco/train2017/none.jpg"},
        {"conversations": said("Why?", "See [SEG].")},
        {"conversations": said("Why?")},
        "row",
    ]
    picture(tmp_path / "llava_data/llava_images/other.jpg")
    (tmp_path.parent / "out.jpg").write_bytes(b"")
    (record,), problems = read(tmp_path, *rows)
    assert len(record.dialogues[0].turns) == 2
    assert [(problem.record.split(", ")[1], problem.field) for problem in problems] == [
        ("row 1", "conversations"),
        ("row 2", "image"),
        ("row 3", "image"),
        ("row 4", "record"),
        ("row 6", "record"),
    ]
    assert "leads out of" in str(problems[1])
    assert "CC BY" in READERS["llava"].present(tmp_path).licence
