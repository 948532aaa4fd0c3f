"""Key frames `auto`: the frames that show the objects best, wherever in the video they are."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.answering.key_frame_choice import best_frames, choose_key_frames


def test_every_object_keeps_its_best_frame_first():
    """The frames of one large object would otherwise crowd out the only frame of another."""
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.1], [0.1, 0.1, 0.1, 0.1, 0.3]])
    assert best_frames(scores, scores > 0.2, 3) == [0, 1, 4]
    assert best_frames(scores, scores > 0.2, 1) == [0]
    assert best_frames(scores, scores > 0.2, 9) == [0, 1, 2, 3, 4]


def test_absent_objects_do_not_decide_while_others_are_present():
    """A high predicted IoU of an empty mask is no sight of the object."""
    scores = torch.tensor([[0.5, 0.9, 0.4], [0.2, 0.2, 0.9]])
    present = torch.tensor([[True, False, True], [False, False, False]])
    assert best_frames(scores, present, 2) == [0, 2]
    assert best_frames(scores, present & False, 1) == [2]
    assert best_frames(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.bool), 2) == [0, 1]


def bright(length, shown, size=64):
    """Dark noise; frames in `shown` are white."""
    video = np.random.default_rng(0).integers(0, 60, (length, size, size, 3), np.uint8)
    video[list(shown)] = 255
    return video


@pytest.fixture
def watcher(make_model):
    """A model whose objects are present on white frames, and only there; also counts what is encoded."""
    model = make_model(3)
    model.encoded = []
    original, steps = model.decode_prompts, model.segmenter.encode_frames

    def encode(pixels):
        model.encoded.extend(pixels.mean((1, 2, 3)).tolist())
        features = steps(pixels)
        # Carried along with the features: how bright the frame is.
        features.high0[:, 0, 0, 0] = pixels.mean((1, 2, 3))
        return features

    def decode(features, frame_index, *args, **kwargs):
        passes, kept = original(features, frame_index, *args, **kwargs)
        white = features.high0[frame_index, 0, 0, 0] > 1.0
        masks = kept.fused
        masks.object_score = torch.where(white, 4.0, -4.0)
        masks.logits = torch.where(white[:, None, None], masks.logits.abs() + 1, masks.logits)
        return passes, kept

    model.decode_prompts, model.segmenter.encode_frames = decode, encode
    return model


def test_a_short_event_is_found_and_reported_absent_elsewhere(watcher, processor):
    """An object of frames 40 to 80 of 120; the first five frames never see it."""
    video = bright(120, range(40, 81))
    options = {"strategy": "per_frame", "max_new_tokens": 1, "num_key_frames": 4}
    found = {result.frame: result for result in watcher.stream(video, "it", processor, key_frames="auto", **options)}
    assert len(watcher.encoded) == 120
    for frame, result in found.items():
        (entry,) = result.objects
        assert (entry.status == "ok") == (40 <= frame <= 80)
        assert (entry.area > 0) == (40 <= frame <= 80)


@pytest.mark.parametrize("strategy", ["consistent", "memory", "per_frame"])
def test_no_frame_is_encoded_twice_and_chosen_frames_are_seen_by_language_and_tracker(watcher, processor, strategy):
    video = bright(24, (9, 10, 11))
    options = {"strategy": strategy, "max_new_tokens": 1, "num_key_frames": 3, "keep_images": True}
    stream = watcher.stream(video, ["it", "the other"], processor, key_frames="auto", **options)
    frames = {result.frame: result for result in stream}
    assert sorted(frames) == list(range(24))
    assert all(np.array_equal(result.image, video[frame]) for frame, result in frames.items())
    assert len(watcher.encoded) == 24
    assert set(stream.key_frames) & {9, 10, 11}
    assert len(stream.key_frames) == 3


def test_choice_reports_what_it_saw(watcher, processor):
    choice = choose_key_frames(watcher, processor, bright(60, range(30, 40)), "it", 2, 7, max_new_tokens=1)
    assert choice.candidates == [0, 10, 20, 30, 39, 49, 59]
    assert choice.key_frames == [30, 39]
    assert sorted(choice.known) == choice.candidates
    assert choice.scores.shape == (1, 7)
    with pytest.raises(ValueError, match="num_candidates=2"):
        choose_key_frames(watcher, processor, bright(9, ()), "it", 3, 2)


def test_groups_ask_every_sentence_about_every_group(processor):
    """One vision pass for all sentences; a group mixed up shows the language model other frames than are decoded."""
    batch = processor.frame_groups(bright(9, (4,)), ["the red circle", "the star"], [[0, 2], [4, 8], [5]], "segment")
    assert [info.key_frames for info in batch["visuals"]] == [[0, 2], [4, 8], [5]]
    assert batch["sequence_visual"].tolist() == [0, 1, 2, 0, 1, 2]
    assert batch["sam_frame_visual"].tolist() == [0, 0, 1, 1, 2]
    assert batch["image_index"].tolist() == [0, 1, 2, 3, 4] * 2
    assert len(batch["pixel_values"]) == 5


def test_the_processor_alone_names_the_ways(processor):
    with pytest.raises(ValueError, match=r"model\.stream"):
        processor(videos=[bright(9, ())], text="it", key_frames="auto")


@pytest.mark.parametrize("key_frames", ["auto", "uniform"])
def test_the_shipped_model_finds_an_object_of_frames_40_to_80_of_120(shipped, key_frames):
    """For real: the object is on a grey floor otherwise, and must be reported absent there on every frame."""
    from desa2va.training.data.refshapes.dataset import RefShapes

    model, processor = shipped
    scene = RefShapes("test", "easy", seed=7, conversations=1, video_fraction=1.0, num_frames=10, length=1)[0]
    empty = np.full_like(scene.frames[0], 128)
    clip = [scene.frames[(t - 40) // 4] if 40 <= t < 80 else empty for t in range(120)]
    with model.stream(clip, f"the {scene.conversations[0].labels[0]}", processor, key_frames=key_frames) as stream:
        seen = sorted(result.frame for result in stream if any(found.area for found in result.objects))
    assert set(seen) <= set(range(40, 80))
    assert len(seen) >= 36
