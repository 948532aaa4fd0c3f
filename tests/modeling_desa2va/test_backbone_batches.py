"""Batches of every family: left padding, positions and key frames leave each row what it is alone."""

import numpy as np
import pytest
import torch
from transformers import StaticCache

CLOSE = {"rtol": 0, "atol": 1e-4}
QWEN = ["qwen2_5_vl", "qwen3_vl", "qwen3_5"]
FAMILIES = ["internvl/qwen2", *QWEN]
TEXTS = ["the red circle", "find the blue square and the star", "star"]


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def opened(make_backbone):
    """`opened(backbone)`: one model and its processor for each, not to be changed."""
    known = {}

    def get(backbone):
        if backbone not in known:
            known[backbone] = make_backbone(backbone)
        return known[backbone]

    return get


def conversations():
    """A clip, a wide picture, text alone, and a picture in a longer history: rows of four lengths."""
    clip = {"type": "video", "video": pixels(5, 30, 60)}
    wide, small = ({"type": "image", "image": pixels(*size, seed=1)} for size in ((30, 90), (30, 30)))
    return [
        [{"role": "user", "content": [clip, {"type": "text", "text": TEXTS[1]}]}],
        [{"role": "user", "content": [wide, {"type": "text", "text": TEXTS[2]}]}],
        [{"role": "user", "content": TEXTS[0]}],
        [
            {"role": "user", "content": [small, {"type": "text", "text": TEXTS[0]}]},
            {"role": "assistant", "content": "Sure it is [SEG]."},
            {"role": "user", "content": TEXTS[2]},
        ],
    ]


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_row_of_a_mixed_batch_is_what_it_is_alone(opened, backbone):
    """Padding that is attended to, a picture of another row, or a step that counts on from another place moves logits
    by a thousand tolerances.
    """
    model, processor = opened(backbone)
    rows = conversations()
    options = {"num_key_frames": 3}
    batch = processor(messages=rows, **options)
    assert not batch["attention_mask"].all()
    with torch.no_grad():
        read = model(**batch).logits
    said = model.generate(**batch, max_new_tokens=6, output_logits=True)
    for number, row in enumerate(rows):
        single = processor(messages=[row], **(options if number == 0 else {}))  # the clip alone has key frames
        kept = batch["attention_mask"][number].bool()
        assert batch["input_ids"][number][kept].tolist() == single["input_ids"][0].tolist()
        with torch.no_grad():
            torch.testing.assert_close(read[number][kept], model(**single).logits[0], **CLOSE)
        alone = model.generate(**single, max_new_tokens=6, output_logits=True)
        length = alone.sequences.shape[1]
        assert said.sequences[number, :length].tolist() == alone.sequences[0].tolist()
        steps = [torch.stack(entry.logits)[:length] for entry in (said, alone)]
        torch.testing.assert_close(steps[0][:, number], steps[1][:, 0], **CLOSE)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_what_is_generated_has_the_positions_of_what_is_read(opened, backbone):
    """The steps of generation and one reading of prompt and answer are the same; `rope_deltas` joins the two."""
    model, processor = opened(backbone)
    batch = processor(messages=conversations(), num_key_frames=3)
    said = model.generate(**batch, max_new_tokens=5, output_logits=True)
    answer = said.sequences
    whole = {**batch, "input_ids": torch.cat([batch["input_ids"], answer], dim=1)}
    whole["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(answer)], dim=1)
    if "mm_token_type_ids" in batch:
        whole["mm_token_type_ids"] = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(answer)], dim=1)
    with torch.no_grad():
        read = model(**whole).logits[:, -answer.shape[1] - 1 : -1]
    torch.testing.assert_close(torch.stack(said.logits, dim=1)[:, : read.shape[1]], read, **CLOSE)


def published_positions(ids, image_token, grids, merge):
    """M-RoPE as published: a text token counts on in all three axes; an image's tokens share the time of its place,
    and rows and columns count from there; what follows begins after the largest of them. Long (3, N).
    """
    columns, start, place, left = [], 0, 0, list(grids)
    while place < len(ids):
        if ids[place] != image_token:
            columns.append([start] * 3)
            start, place = start + 1, place + 1
            continue
        _, height, width = left.pop(0)
        height, width = height // merge, width // merge
        columns += [[start, start + row, start + column] for row in range(height) for column in range(width)]
        start, place = start + max(height, width), place + height * width
    return torch.tensor(columns).T


@pytest.mark.parametrize("backbone", QWEN)
def test_positions_of_padded_rows_are_the_published_ones(opened, backbone):
    """Rotations are relative: a row that is shifted as a whole gives the same logits, so the numbers are compared."""
    model, processor = opened(backbone)
    batch = processor(messages=conversations(), num_key_frames=3)
    grids = batch["image_grid_thw"][batch["image_index"]]
    places, deltas = model.mllm.model.get_rope_index(
        batch["input_ids"],
        image_grid_thw=grids,
        attention_mask=batch["attention_mask"],
        mm_token_type_ids=batch["mm_token_type_ids"],
    )
    left, image = grids.tolist(), model.config.mllm_config.image_token_id
    for row, kept in enumerate(batch["attention_mask"].bool()):
        ids = batch["input_ids"][row][kept].tolist()
        expected = published_positions(ids, image, left, processor.merge_size)
        assert torch.equal(places[:, row][:, kept], expected)
        assert int(deltas[row]) == int(expected.max()) + 1 - len(ids)
        starts = ids.count(processor.assembler.start_id)
        left = left[starts:]
    assert not left


@pytest.mark.parametrize("backbone", QWEN)
def test_positions_are_the_published_ones(opened, backbone):
    """Frames are images: time stands still within each, and none shares its place with another."""
    model, processor = opened(backbone)
    batch = processor(videos=[pixels(5, 30, 90)], text=TEXTS[0], num_key_frames=3)
    grids = batch["image_grid_thw"][batch["image_index"]].tolist()
    image = model.config.mllm_config.image_token_id
    assert torch.equal(batch["mm_token_type_ids"].bool(), batch["input_ids"] == image)
    places = published_positions(batch["input_ids"][0].tolist(), image, grids, processor.merge_size)
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")
    plain = {name: batch[name] for name in names}
    with torch.no_grad():
        expected = model.mllm(**plain, position_ids=places[:, None]).logits
        shifted = model.mllm(**plain, position_ids=places[:, None].clamp(max=12)).logits
        read = model(**batch).logits
    torch.testing.assert_close(read, expected, **CLOSE)
    assert not torch.allclose(shifted, expected, atol=0.1)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_clips_of_three_four_and_five_key_frames_are_their_singles(opened, backbone):
    """Rows of twelve images; cut at the wrong place, a clip would see a frame of its neighbour."""
    model, processor = opened(backbone)
    clips = [pixels(6, 30, 60, seed=seed) for seed in range(3)]
    chosen = [[0, 2, 5], [0, 1, 3, 5], [0, 1, 2, 3, 5]]
    batch = processor(videos=clips, text=TEXTS, task="segment", key_frames=chosen)
    assert batch["image_index"].tolist() == list(range(12))
    assert len(batch["sam_pixel_values"]) == 12
    assert len(batch["num_tiles"] if "num_tiles" in batch else batch["image_grid_thw"]) == 12
    said = model.generate(**batch, max_new_tokens=4)
    assert len(said.track_logits) == 3
    with torch.no_grad():
        read = model(**batch).logits
    for number, (clip, text, frames) in enumerate(zip(clips, TEXTS, chosen, strict=True)):
        single = processor(videos=[clip], text=text, task="segment", key_frames=frames)
        kept = batch["attention_mask"][number].bool()
        with torch.no_grad():
            torch.testing.assert_close(read[number][kept], model(**single).logits[0], **CLOSE)
        alone = model.generate(**single, max_new_tokens=4)
        assert said.sequences[number].tolist() == alone.sequences[0].tolist()
        torch.testing.assert_close(said.track_logits[number], alone.track_logits[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_picture_is_the_same_picture_as_a_clip_of_one_frame(opened, backbone):
    """Inputs and masks; pictures of InternVL without tiles, which frames never have."""
    model, processor = opened(backbone)
    picture = pixels(30, 60)
    tiles, processor.max_tiles = processor.max_tiles, 1
    try:
        still = processor(images=picture, text=TEXTS[0], task="segment")
        clip = processor(videos=[picture[None]], text=TEXTS[0], task="segment")
    finally:
        processor.max_tiles = tiles
    names = [name for name, value in still.items() if isinstance(value, torch.Tensor)]
    assert names == [name for name, value in clip.items() if isinstance(value, torch.Tensor)]
    for name in names:
        assert torch.equal(still[name], clip[name]), name
    first, second = (model.generate(**batch, max_new_tokens=4) for batch in (still, clip))
    assert torch.equal(first.sequences, second.sequences)
    torch.testing.assert_close(first.track_logits[0], second.track_logits[0], rtol=0, atol=0)
    masks = [processor.post_process(*pair)[0].objects[0].mask(0) for pair in ((first, still), (second, clip))]
    assert np.array_equal(*masks)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_choice_of_frames_is_another_input(opened, backbone):
    """A choice that the model never sees would be an option without effect."""
    model, processor = opened(backbone)
    clip = pixels(9, 30, 60)
    choices = [
        {"key_frames": "first", "num_key_frames": 3},
        {"key_frames": "uniform", "num_key_frames": 3},
        {"key_frames": "uniform", "num_key_frames": 4},
        {"key_frames": [0, 3, 8]},
        {"key_frames": [0, 4, 7]},
        {"key_frames": "all"},
    ]
    states = []
    for choice in choices:
        batch = processor(videos=[clip], text=TEXTS[0] + " [SEG]", **choice)
        with torch.no_grad():
            states.append(model(**batch).logits[0, -1])
    for number, state in enumerate(states):
        assert all((state - other).abs().max() > 1e-3 for other in states[:number])


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_cache_of_fixed_size_says_the_same(opened, backbone, monkeypatch):
    """What a compiled step of a GPU needs; a mask or positions made for a growing cache would count places that are
    still empty.
    """
    model, processor = opened(backbone)
    batch, made, begin = processor(messages=conversations(), num_key_frames=3), [], StaticCache.__init__

    def counted(cache, *arguments, **options):
        made.append(cache)
        begin(cache, *arguments, **options)

    monkeypatch.setattr(StaticCache, "__init__", counted)
    options = {"max_new_tokens": 6, "output_logits": True}
    grown = model.generate(**batch, **options)
    assert not made
    fixed = model.generate(**batch, **options, cache_implementation="static")
    assert made
    assert grown.sequences.tolist() == fixed.sequences.tolist()
    torch.testing.assert_close(torch.stack(fixed.logits), torch.stack(grown.logits), **CLOSE)
