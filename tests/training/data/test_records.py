"""Records: what every annotation file becomes, and what about it cannot be wrong."""

import numpy as np
import pytest
from PIL import Image

from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.record_media import measure, read_timed_frames
from desa2va.training.data.records import Dialogue, Record, RecordError, Target, expression_dialogue, inside

SIZE = (6, 8)


def block(left):
    mask = np.zeros(SIZE, bool)
    mask[1:4, left : left + 2] = True
    return mask


def clip(*dialogues, frames=3, **changes):
    paths = tuple(f"/data/{number}.png" for number in range(frames))
    return Record("clip", paths, True, SIZE, frames, dialogues, "set.json", **changes)


def test_masks_follow_the_frames_that_are_asked_for():
    """Guards against masks of other frames than the pictures', and against nulls that shift what follows."""
    codes = (encode_mask(block(0)), None, encode_mask(block(4)))
    dialogue = expression_dialogue("The dog.", codes, group=2, ids={"exp_id": "7"})
    conversation = clip(dialogue).conversation(dialogue, [2, 1])
    assert conversation.turns == (("Please segment the dog.", "Sure, it is [SEG]."),)
    assert conversation.labels == ("dog",)
    assert conversation.kind == "target"
    assert np.array_equal(conversation.masks[0], np.stack([block(4), np.zeros(SIZE, bool)]))
    assert clip(dialogue).masks(dialogue).shape == (1, 3, *SIZE)


def test_nothing_fits():
    dialogue = expression_dialogue("a cat", None)
    conversation = clip(dialogue).conversation(dialogue)
    assert conversation.turns[0][1] == "There is no cat."
    assert conversation.kind == "no_target"
    assert conversation.masks.shape == (0, 3, *SIZE)


def test_regions_and_several_targets():
    """Guards the order of targets, and region prompts as masks of the first frame."""
    targets = tuple(Target(name, (encode_mask(block(left)),) * 3) for name, left in (("a", 0), ("b", 5)))
    turns = (("Find <region1> and its twin.", "[SEG]"), ("And?", "The other is [SEG]."))
    dialogue = Dialogue("several", turns, targets, regions=(encode_mask(block(2)),))
    conversation = clip(dialogue).conversation(dialogue, [0])
    assert np.array_equal(conversation.masks[:, 0], np.stack([block(0), block(5)]))
    assert np.array_equal(conversation.regions, block(2)[None])


def test_what_does_not_add_up_is_refused():
    """Guards against records that fail in hour nine: masks for other frames, [SEG] without a mask, nothing said."""
    code = encode_mask(block(0))
    with pytest.raises(ValueError, match=r"1 \[SEG\] in the answers but 0 targets"):
        Dialogue("chat", (("a", "b [SEG]"),))
    with pytest.raises(ValueError, match="clip: target 'dog' has 1 codes for 3 frames"):
        clip(expression_dialogue("dog", (code,) * 3, ignored=(code,)))
    with pytest.raises(ValueError, match="clip: target 'dog' has 2 codes for 3 frames"):
        clip(expression_dialogue("the dog", (code, code)))
    with pytest.raises(ValueError, match="clip: nothing to learn"):
        clip()


def test_names_stay_inside_the_root(tmp_path):
    """An annotation file must not read what lies elsewhere."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "root" / "a.png").write_bytes(b"")
    assert inside(tmp_path / "root", "x/../a.png") == str(tmp_path / "root" / "a.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "x/../../secret.png"):
        with pytest.raises(ValueError, match="leads out of"):
            inside(tmp_path / "root", name)
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.png"):
        inside(tmp_path / "root", "b.png")


def test_problems_are_one_line():
    """Guards the report of a check: hostile names do not break its lines."""
    error = RecordError("a.json, row 3", "mask 0", "two\nlines \ud800 " + "x" * 900)
    assert str(error).startswith("a.json, row 3, mask 0: two lines \\ud800 xxx")
    assert len(str(error)) < 510


def test_pixels_from_files_and_from_cells(tmp_path):
    """Guards frames that come as bytes, and seconds of a rate that only the annotation knows."""
    for number in range(3):
        Image.new("RGB", SIZE[::-1], (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    paths = tuple(str(tmp_path / f"{number}.png") for number in range(3))
    assert measure(paths, True) == (SIZE, 3)
    dialogue = Dialogue("chat", (("a", "b"),))
    on_disk = Record("clip", paths, True, SIZE, 3, (dialogue,), "set.json", fps=2.0)
    in_cells = Record(
        "clip",
        ("0.png", "1.png", "2.png"),
        True,
        SIZE,
        3,
        (dialogue,),
        "set",
        fps=2.0,
        media=tuple((tmp_path / f"{number}.png").read_bytes() for number in range(3)),
    )
    for record in (on_disk, in_cells):
        pixels, seconds = read_timed_frames(record, [2, 0])
        assert pixels[:, 0, 0, 0].tolist() == [80, 0]
        assert seconds == (1.0, 0.0)
