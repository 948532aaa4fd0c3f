"""Which pictures a step shows, and what of an answer is kept."""

import numpy as np
import pytest

from desa2va.annotation.frames import BLANK, YELLOW
from desa2va.annotation.masklets import find_sources, read_clip
from desa2va.annotation.prompts import read_prompts
from desa2va.annotation.stages import STEPS, frames_of, judged, make_ask
from tests.annotation.layouts import HEIGHT, WIDTH, squares, write_palettes

SAID = {step: f"what {step} said" for step in STEPS}


@pytest.fixture
def clip(tmp_path):
    (source,) = find_sources(*write_palettes(tmp_path, num_frames=8))
    return read_clip(source)


def ask_of(clip, step, number=0):
    return make_ask(step, read_prompts()[step], clip.record, clip.masklets[number], SAID)


def test_the_views_of_an_object(clip):
    """Alone before grey, cut out with what is around it, in its scene, outlined on eight frames."""
    frames, maps = squares(8)
    mask = maps[0] == 1
    alone, crop, scene, video = (ask_of(clip, step) for step in ("blanked", "crop", "scene", "video"))
    assert (alone.pictures[0][~mask] == BLANK).all()
    assert np.array_equal(alone.pictures[0][mask], frames[0][mask])
    assert crop.pictures[0].shape == (HEIGHT, WIDTH, 3)  # smaller than the least crop
    assert np.array_equal(scene.pictures[0], frames[0])
    assert len(video.pictures) == 8
    for picture, labels, drawn in zip(video.pictures, maps, video.masks, strict=True):
        assert np.array_equal(drawn, labels == 1)
        assert (picture[drawn] == (215, 40, 40)).all()
        assert (picture == YELLOW).all(axis=-1).sum() > 50


def test_words_carry_what_was_said_before(clip):
    assert SAID["crop"] in ask_of(clip, "check").prompt
    assert SAID["blanked"] in ask_of(clip, "check").prompt
    assert SAID["crop"] in ask_of(clip, "scene").prompt
    assert SAID["scene"] in ask_of(clip, "video").prompt
    assert SAID["video"] in ask_of(clip, "short").prompt
    assert not ask_of(clip, "check").pictures
    assert not ask_of(clip, "short").pictures
    assert ask_of(clip, "check").choices == ("yes", "no")
    assert [frames_of(step, clip.masklets[0]) for step in STEPS] == [[0], [0], [], [0], list(range(8)), []]


@pytest.mark.parametrize(
    ("step", "answer", "kept", "reason"),
    [
        ("crop", "  A red\n cup. ", "A red cup.", None),
        ("check", "Yes, they can.", "yes", None),
        ("check", "**no**", "no", "contradict"),
        ("check", "Hard to say.", "Hard to say.", "no verdict"),
        ("check", "", "", "no verdict"),
        ("scene", " \n", "", "no words"),
        ("scene", "... 12 !", "... 12 !", "no words"),
        ("video", "A dog [SEG].", "A dog [SEG].", "control token"),
        ("video", "A dog <|im_end|>", "A dog <|im_end|>", "control token"),
        ("video", "x < y and y > z in words", "x < y and y > z in words", None),
        ("crop", "I'm sorry, but I cannot help.", "I'm sorry, but I cannot help.", "a refusal"),
        ("short", "word " * 26, ("word " * 26).strip(), "26 words, more than 25"),
        ("video", "word " * 401, ("word " * 401).strip(), "401 words"),
    ],
)
def test_what_is_kept_of_an_answer(step, answer, kept, reason):
    """Nonsense must not become a training text."""
    text, why = judged(step, answer)
    assert text == kept
    assert (why is None) == (reason is None)
    assert reason is None or reason in why
