"""Qwen-VL: every image goes through the vision tower once, and nobody can tell from the answers."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.language.shared_vision import shared_images
from desa2va.modeling_desa2va.remembered import EncodingCache
from desa2va.processing.batch.batch_assembly import BatchPlan, SequencePlan

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
TEXTS = ["the red circle", "find the blue square", "star"]
BACKBONES = ["qwen2_5_vl", "qwen3_vl", "qwen3_5"]


@pytest.fixture(scope="module", params=BACKBONES)
def qwen(request, make_qwen):
    """One `(model, processor)` per backbone, not to be changed."""
    return make_qwen(request.param)


@pytest.fixture
def tower_rows(qwen):
    """Pixel rows of each call of the vision tower, appended while a test runs."""
    seen = []
    hook = qwen[0].mllm.model.visual.patch_embed.register_forward_hook(lambda m, args, o: seen.append(len(args[0])))
    yield seen
    hook.remove()


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def mixed_batch(processor):
    """A small and a wide picture; one shown by two sequences, both shown by one, and a sequence of text alone."""
    plan = BatchPlan()
    small, wide = plan.add_image(pixels(30, 30), 1), plan.add_image(pixels(30, 90, seed=1), 1)
    for number, images in enumerate(([wide], [], [small], [wide, small])):
        messages = [("user", TEXTS[number % 3] + " [SEG]" * (number % 2))]
        plan.sequences.append(SequencePlan(messages, images, name=str(number)))
    return processor.assembler.assemble(plan, training=False)


def spelled_out(batch):
    """The same batch in transformers' own layout: pixels and grids once per run of placeholders."""
    grids, order = batch["image_grid_thw"], batch["image_index"]
    parts = batch["pixel_values"].split(grids.prod(dim=1).tolist())
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    return {
        **{name: batch[name] for name in names},
        "pixel_values": torch.cat([parts[image] for image in order]),
        "image_grid_thw": grids[order],
    }


def test_sentences_about_one_video_share_its_encoding(qwen, tower_rows):
    """Three sentences cost three passes of the vision tower; what is said and meant must be that of single calls."""
    model, processor = qwen
    video = pixels(6, 30, 60)

    def ask(text):
        batch = processor(videos=[video], text=text, task="segment", key_frames=[0, 3])
        return model.answer_key_frames(**batch, max_new_tokens=3)

    together = ask(TEXTS)
    frames = processor(videos=[video], text="star", key_frames=[0, 3])["image_grid_thw"]
    assert tower_rows == [int(frames.prod(dim=1).sum())]
    assert together.object_sequence.unique().tolist() == [0, 1, 2]
    for row, text in enumerate(TEXTS):
        alone = ask(text)
        assert together.sequences[row].tolist() == alone.sequences[0].tolist()
        mine = together.object_sequence == row
        torch.testing.assert_close(together.seg_probability[mine], alone.seg_probability, **CLOSE)
        torch.testing.assert_close(together.prompts.visual[mine], alone.prompts.visual, **CLOSE)
    video = pixels(6, 30, 60, seed=5)
    assert not torch.allclose(ask("star").prompts.visual, alone.prompts.visual, rtol=0.05, atol=0.05)


def test_a_stream_encodes_its_key_frames_once(qwen, tower_rows):
    model, processor = qwen
    with model.stream(pixels(3, 30, 60), TEXTS, processor, num_key_frames=2, max_new_tokens=2) as stream:
        assert len(stream.key_frames) == 2
    rows = processor(videos=[pixels(3, 30, 60)], text="star", num_key_frames=2)["pixel_values"]
    assert tower_rows == [len(rows)]


def test_mixed_batches_are_transformers_own(qwen, tower_rows):
    """Pictures of different size, shown several times, in another order, beside text alone: tokens must not shift."""
    model, processor = qwen
    batch = mixed_batch(processor)
    assert batch["image_index"].tolist() == [1, 0, 1, 0]
    spelled = spelled_out(batch)
    with torch.no_grad():
        shared, theirs = model(**batch), model.mllm(**spelled)
    assert tower_rows == [len(batch["pixel_values"]), len(spelled["pixel_values"])]
    kept = batch["attention_mask"].bool()
    torch.testing.assert_close(shared.logits[kept], theirs.logits[kept], **CLOSE)
    said = model.generate(**batch, task="segment", max_new_tokens=4).sequences
    theirs = model.generate(**spelled, task="segment", max_new_tokens=4).sequences
    assert torch.equal(said, theirs)


def test_gradients_of_a_shared_picture_are_summed(qwen):
    """Training reads the same batches: a picture shown twice must teach the tower twice."""
    model, processor = qwen
    batch = mixed_batch(processor)
    weight = model.mllm.model.visual.patch_embed.proj.weight
    kept = batch["attention_mask"].bool()
    gradients = []
    for inputs in (batch, spelled_out(batch)):
        loss = model(**inputs).last_hidden_state[kept].square().mean()
        gradients.append(torch.autograd.grad(loss, weight)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_the_tower_is_its_own_again_after_an_error(qwen):
    """A hook left behind would give every later call the images of a call that failed."""
    model, processor = qwen
    batch = mixed_batch(processor)
    with (
        pytest.raises(RuntimeError, match="stop"),
        shared_images(model.mllm, batch["image_grid_thw"], batch["image_index"]),
    ):
        raise RuntimeError("stop")
    spelled = spelled_out(batch)
    output = model.mllm.model.get_image_features(spelled["pixel_values"], spelled["image_grid_thw"])
    assert sum(map(len, output.pooler_output)) == int(spelled["mm_token_type_ids"].sum())


def test_pictures_that_a_cache_knows_do_not_reach_the_tower(qwen, tower_rows):
    """A second question about a picture, alone or beside another picture, reads it from memory; and two pictures of as
    many patches in another grid are two pictures.
    """
    model, processor = qwen
    small, wide, high = pixels(30, 30), pixels(30, 90, seed=1), pixels(90, 30, seed=1)

    def ask(pictures, texts):
        batch = processor(images=pictures, text=texts, task="segment")
        return model.generate(**batch, max_new_tokens=3), batch["image_grid_thw"].prod(dim=1).tolist()

    plain = [ask([small], ["star"])[0], ask([small, wide, high], TEXTS)[0]]
    cache = EncodingCache()
    with cache.active():
        tower_rows.clear()
        ask([small], TEXTS[:1])
        assert len(tower_rows) == 1
        again, _ = ask([small], ["star"])
        assert len(tower_rows) == 1
        more, patches = ask([small, wide, high], TEXTS)
        assert tower_rows[1:] == [sum(patches[1:])]
    for one, other in zip(plain, (again, more), strict=True):
        assert torch.equal(one.sequences, other.sequences)
        for logits, same in zip(one.track_logits, other.track_logits, strict=True):
            torch.testing.assert_close(logits, same, **CLOSE)
    assert torch.equal(ask([small], ["star"])[0].sequences, plain[0].sequences)  # and without a cache as ever
    assert len(tower_rows) == 3
