"""Records to samples: alternatives, text alone, region prompts; the rest is tested through the fine-tune file."""

import numpy as np
import pytest
from PIL import Image

from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.record_dataset import RecordDataset
from desa2va.training.data.records import Dialogue, Record, expression_dialogue

SIZE = (24, 32)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def mask():
    return np.arange(SIZE[1])[None] < np.full((SIZE[0], 1), 8)


def of(picture, *dialogues):
    return Record("row 0", (picture,), False, SIZE, 1, dialogues, "set")


def test_a_sample_has_one_sentence_of_each_object(picture):
    """Guards groups: five sentences of one object are one request, drawn anew, not five at once."""
    code = (encode_mask(mask()),)
    dialogues = [expression_dialogue(f"{name} {k}", code, group=g) for g, name in enumerate("ab") for k in range(5)]
    dialogues.insert(3, expression_dialogue("alone", None))
    data = RecordDataset([of(picture, *dialogues)], "set", repeat=12)
    drawn = [[c.turns[0][0] for c in data[index].conversations] for index in range(12)]
    assert all(len(texts) == 3 for texts in drawn)
    assert all(["Please segment a" in a, "alone" in n, "Please segment b" in b] == [True] * 3 for a, n, b in drawn)
    assert len({tuple(texts) for texts in drawn}) > 3
    assert drawn == [[c.turns[0][0] for c in data[index].conversations] for index in range(12)]


def test_text_alone_goes_through_the_collator(picture, processor):
    """Guards records without a picture beside ones with: no frames, no masks, no error."""
    chat = Dialogue("chat", (("What is two and two?", "Four."),))
    text = Record("row 1", (), False, (0, 0), 0, (chat,), "set")
    seen = of(picture, expression_dialogue("the block", (encode_mask(mask()),)))
    data = RecordDataset([text, seen], "set", image_size=16)
    assert data[0].frames is None
    batch = processor.collate([data[0], data[1]])
    assert len(batch["mask_labels"]) == 1


def test_regions_shrink_with_the_picture(picture):
    """Guards against a region prompt that keeps the size of the large picture."""
    dialogue = Dialogue("region", (("What is <region1>?", "A block."),), regions=(encode_mask(mask()),))
    (conversation,) = RecordDataset([of(picture, dialogue)], "set", image_size=16)[0].conversations
    assert np.array_equal(conversation.regions[0], mask()[1::2, 1::2])


def test_no_records():
    with pytest.raises(ValueError, match="set: no records"):
        RecordDataset([], "set")
