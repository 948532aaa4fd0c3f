"""RefShapes as a data set: keys, shares, pixels, masks, answers, vocabulary."""

import hashlib
import json
import re

import numpy as np
import pytest
from torch.utils.data import DataLoader

from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.geometry import inside_shape
from desa2va.training.data.refshapes.kinds import ALL_PICTURE_KINDS, VIDEO_ANSWER_KINDS
from desa2va.training.data.refshapes.language import NUMBERS, later_words, vocabulary_corpus
from desa2va.training.data.refshapes.scene import COLORS, RADII
from desa2va.training.data.sample import SEG

EVERYTHING = dict.fromkeys(ALL_PICTURE_KINDS, 1.0)
WORD = re.compile(r"\[SEG\]|</?p>| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]")


def identity(batch):
    return batch


def assert_same(first, second):
    assert first.name == second.name
    assert first.is_video == second.is_video
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.scene["instance_map"], second.scene["instance_map"])
    assert first.scene["objects"] == second.scene["objects"]
    assert len(first.conversations) == len(second.conversations)
    for one, other in zip(first.conversations, second.conversations, strict=True):
        assert (one.turns, one.labels, one.kind, one.targets) == (other.turns, other.labels, other.kind, other.targets)
        assert np.array_equal(one.masks, other.masks)
        assert (one.regions is None) == (other.regions is None)


def own_mask(item, size):
    """The whole shape on the full grid, without bounding boxes or other objects."""
    grid = np.arange(size, dtype=np.float32) + 0.5
    dx, dy = grid[None, :] - item["center_x"], grid[:, None] - item["center_y"]
    return inside_shape(item["shape"], item["radius"], item["angle"], dx, dy)


PINNED_KINDS = ("attribute", "relation", "superlative", "negation", "multiple", "no_target")
PINNED_KINDS += ("qa_color", "qa_count", "qa_exist", "caption", "region")
PINNED = {
    "standard": ({"length": 30, "relation_scenes": 0.6}, "2b502ba62f97fb88", 116.4043),
    "everything": (
        {"level": "full", "length": 40, "kinds": dict.fromkeys(PINNED_KINDS, 1.0)},
        "7abbc8812400e0ea",
        115.9340,
    ),
    "videos": (
        {"level": "full", "length": 12, "video_fraction": 1.0, "num_frames": 4, "size": 64},
        "b1374c7a4ca10090",
        115.6613,
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_samples_of_this_version_stay_what_they_were(name):
    """Guards published figures: an option that is off, or a draw more, must change no scene, no sentence, no picture.

    Single pixels may differ between NumPy versions, so their mean is pinned. Raise `VERSION` with these figures.
    """
    options, digest, brightness = PINNED[name]
    told, means = [], []
    for sample in RefShapes("train", **options):
        objects = [
            {key: round(value, 3) if isinstance(value, float) else value for key, value in item.items()}
            for item in sample.scene["objects"]
        ]
        told.append([sample.name, objects, [[c.turns, c.labels, c.kind, c.targets] for c in sample.conversations]])
        means.append(sample.frames.mean())
    assert hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16] == digest
    assert np.mean(means) == pytest.approx(brightness, abs=0.01)


def test_same_index_same_sample_in_any_order():
    """Guards hidden state: a generator shared between samples makes an item depend on what was read before."""
    one, two = (RefShapes("train", "full", length=8, video_fraction=0.3, kinds=None) for _ in range(2))
    backwards = {index: two[index] for index in reversed(range(8))}
    for index in range(8):
        assert_same(one[index], backwards[index])
    assert_same(one[-1], one[7])


def test_pictures_depend_neither_on_length_nor_on_the_number_of_conversations():
    """Guards published pools: asking more about a scene must not change it."""
    short, long = RefShapes("test", length=5, conversations=1), RefShapes("test", length=500, conversations=6)
    for index in range(5):
        assert np.array_equal(short[index].frames, long[index].frames)
        assert short[index].scene["objects"] == long[index].scene["objects"]


def test_parallel_workers_give_the_samples_of_one():
    """Guards per-worker seeds, which would repeat or change samples with the number of workers."""
    data = RefShapes("train", length=10, video_fraction=0.2)
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=identity)
    loaded = [sample for batch in loader for sample in batch]
    assert len(loaded) == 10
    for sample, index in zip(loaded, range(10), strict=True):
        assert_same(sample, data[index])


def test_no_scene_is_in_two_splits_seeds_or_indices():
    """Guards leakage: the same key for two splits would put test pictures into training."""
    seen = {}
    for split, seed in (("train", 0), ("validation", 0), ("test", 0), ("train", 1)):
        for sample in RefShapes(split, length=60, conversations=1, seed=seed):
            key = repr(sample.scene["objects"])
            assert key not in seen, f"{(split, seed)} repeats a scene of {seen[key]}"
            seen[key] = (split, seed)
            pixels = hashlib.sha256(sample.frames.tobytes()).hexdigest()
            assert pixels not in seen
            seen[pixels] = (split, seed)


def test_one_conversation_per_sample_keeps_the_shares_of_the_level():
    """Guards silent fall-back: relations exist in a quarter of free scenes and would be replaced by attributes."""
    kinds = [sample.conversations[0].kind for sample in RefShapes("test", length=400, conversations=1)]
    for kind, share in (("attribute", 0.5), ("relation", 0.3), ("superlative", 0.2)):
        assert abs(kinds.count(kind) / 400 - share) < 0.1  # four standard errors


def test_relation_scenes_raises_the_share_of_scenes_with_a_relation():
    """Guards the training mix: with `relation_scenes=1` every scene must carry a relation, whatever comes first."""
    data = RefShapes("train", length=30, relation_scenes=1.0, conversations=2, kinds={"superlative": 1, "relation": 1})
    for sample in data:
        kinds = [conversation.kind for conversation in sample.conversations]
        assert set(kinds) <= {"superlative", "relation"}
    only = RefShapes(
        "train", length=30, relation_scenes=1.0, conversations=3, kinds={"attribute": 1e-9, "relation": 1}
    )
    assert all(conversation.kind == "relation" for sample in only for conversation in sample.conversations)


@pytest.mark.parametrize(("level", "most"), [("easy", 4), ("standard", 5), ("full", 6)])
def test_number_of_objects_and_radii_follow_the_level(level, most):
    """Guards the difficulty the published figures refer to."""
    counts = set()
    for sample in RefShapes("train", level, length=150, conversations=1):
        counts.add(len(sample.scene["objects"]))
        for item in sample.scene["objects"]:
            low, high = RADII[item["size"]]
            assert low <= item["radius"] <= high
    assert counts == set(range(2, most + 1))


@pytest.mark.parametrize("size", [64, 128, 200])
def test_instance_map_is_the_stack_of_the_shapes(size):
    """Guards bounding boxes that cut shapes and masks that disagree with the drawing order."""
    for sample in RefShapes("train", "full", length=12, size=size, conversations=1):
        expected = np.zeros((size, size), np.uint8)
        for index, item in enumerate(sample.scene["objects"]):
            expected[own_mask(item, size)] = index + 1
        assert sample.frames.shape == (1, size, size, 3)
        differing = np.count_nonzero(expected != sample.scene["instance_map"][0])
        assert differing <= 2  # float32 rounding on an edge
        for index, item in enumerate(sample.scene["objects"]):
            assert (expected == index + 1).sum() >= 0.59 * own_mask(item, size).sum()


def test_masks_are_disjoint_exact_and_of_the_named_colour():
    """Guards masks shifted against the pixels and labels of the wrong object."""
    palette = np.array(list(COLORS.values()))[:, None] * np.linspace(0.85, 1.05, 9)[:, None]  # (8, 9, 3): jitter
    for sample in RefShapes("train", "full", length=25, kinds={"caption": 1, "multiple": 1}):
        for conversation in sample.conversations:
            assert conversation.masks.sum(0).max() <= 1
            for mask, target, label in zip(conversation.masks, conversation.targets, conversation.labels, strict=True):
                item = sample.scene["objects"][target]
                assert np.array_equal(mask, sample.scene["instance_map"] == target + 1)
                assert label == f"{item['size']} {item['color']} {item['shape']}"
                mean = sample.frames[mask].mean(0)
                nearest = list(COLORS)[int(np.abs(palette - mean).sum(-1).min(1).argmin())]
                assert nearest == item["color"]


def test_answers_hold_one_seg_per_target_and_questions_none():
    """Guards the contract of the collator: the i-th [SEG] is the i-th mask; users never send control tokens."""
    kinds = set()
    for sample in RefShapes("train", "full", length=120, kinds=EVERYTHING):
        for conversation in sample.conversations:
            user, answer = ("\n".join(texts) for texts in zip(*conversation.turns, strict=True))
            kinds.add(conversation.kind)
            assert SEG not in user
            assert "<p>" not in user
            assert answer.count(SEG) == len(conversation.targets) == len(conversation.masks)
            phrases = answer.count("<p>")
            if conversation.kind == "mixed_turns":
                assert phrases == answer.count("</p>")
            elif conversation.kind in ("set", "example", "turns"):
                assert phrases == answer.count("</p>") <= 1
            else:
                assert phrases == answer.count("</p>") in (0, len(conversation.targets))
            if conversation.kind.startswith("qa_") or conversation.kind in ("no_target", "caption_plain", "region"):
                assert not len(conversation.masks)
            assert (conversation.regions is not None) == (conversation.kind in ("region", "example", "verify"))
    assert kinds == set(ALL_PICTURE_KINDS)


def test_corpus_holds_every_word_of_500_samples():
    """Guards the tokenizer built from the corpus: a word it lacks would be spelt in pieces."""
    have = {word for text in vocabulary_corpus() for word in WORD.findall(text)}
    have |= {word for text in (*later_words(), *NUMBERS) for word in (text, f" {text}")}
    missing = {}
    pictures = RefShapes("train", "full", length=350, kinds=EVERYTHING, size=48)
    clips = {"length": 100, "video_fraction": 1.0, "size": 64, "num_frames": 3}
    described = dict.fromkeys(VIDEO_ANSWER_KINDS, 1.0)
    videos = (*RefShapes("train", "full", **clips), *RefShapes("train", kinds=described, **clips))
    for sample in (*pictures, *videos):
        for conversation in sample.conversations:
            for text in (text for turn in conversation.turns for text in turn):
                missing.update({word: text for word in WORD.findall(text) if word not in have})
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "hard"}, "level 'hard' is unknown"),
        ({"kinds": {"colour": 1.0}}, "kinds must map"),
        ({"kinds": {"motion": 1.0}}, "none of the kinds"),
        ({"kinds": {"relation": 1.0}, "video_fraction": 0.5}, "none of the kinds"),
        ({"relation_scenes": 1.5}, "relation_scenes must be"),
        ({"num_frames": 1}, "num_frames must be"),
        ({"kinds": {"attribute": -1.0}}, "kinds must map"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Guards late failures: a wrong mix must not surface as a strange error inside a worker."""
    with pytest.raises(ValueError, match=message):
        RefShapes("train", **arguments)


@pytest.mark.parametrize("split", ["tset", "../../esc", ""])
def test_a_made_up_split_is_refused(split):
    """Any name made a split of its own, so a misspelled one was trained on and scored without a word."""
    with pytest.raises(ValueError, match="split .* is unknown"):
        RefShapes(split)


def test_index_outside_ends_iteration():
    """Guards endless `for sample in dataset` loops."""
    data = RefShapes("train", length=3, conversations=1)
    assert len(list(data)) == 3
    with pytest.raises(IndexError):
        data[3]
