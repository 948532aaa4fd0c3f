"""Any image-text-to-text model of transformers as a describer; tiny random ones stand for all."""

import numpy as np
import pytest
import torch

from desa2va.annotation.asks import Ask
from desa2va.annotation.local_model import load_describer
from tests.annotation.models import tiny_describer

SEEN = np.random.default_rng(0).integers(0, 255, (4, 64, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "internvl"])
def describer(request, tmp_path_factory):
    return load_describer(str(tiny_describer(tmp_path_factory.mktemp("model"), request.param)), "cpu", None, 6)


def ask(step, words, count, **fields):
    return Ask(("v", "1"), step, words, tuple(SEEN[:count]), **fields)


def answered(describer, *asks):
    (found,) = describer.answers(list(asks))
    assert list(found) == list(range(len(asks)))
    return list(found.values())


def test_pictures_and_words_are_read(describer):
    """Guards against a prompt whose places for pictures are not those that are given, and padding that is answered."""
    both = answered(describer, ask("video", "the red object", 3), ask("video", "it moves to the left of a blue", 2))
    assert both == [
        *answered(describer, ask("video", "the red object", 3)),
        *answered(describer, ask("video", "it moves to the left of a blue", 2)),
    ]
    assert all(text.split() for text in both)
    logits = [
        describer.model(**describer._inputs([Ask(("v", "1"), "crop", "the", (seen,))])).logits
        for seen in (SEEN[0], 255 - SEEN[0])
    ]
    assert not torch.equal(*logits)
    assert answered(describer, ask("short", "the red object moves", 0))


def test_a_choice_is_the_likelier_word(describer):
    """A text such as "Well, both ..." would be no verdict."""
    question = ask("check", "is it red", 0, choices=("yes", "no"))
    inputs = describer._inputs([question])
    with torch.inference_mode():
        last = describer.model(**inputs).logits[0, -1]
    encode = describer.processor.tokenizer.encode
    forms = {word: (word, word.capitalize(), f" {word}", f" {word.capitalize()}") for word in ("yes", "no")}
    scores = {word: max(last[encode(form)[0]].item() for form in spelt) for word, spelt in forms.items()}
    assert answered(describer, question) == [max(scores, key=scores.get)]
    turned = ask("check", "is it red", 0, choices=("no", "yes"))
    assert answered(describer, turned) == answered(describer, question)


def test_words_that_begin_alike_are_no_choice(describer):
    with pytest.raises(ValueError, match="begins yellow and yonder alike"):
        answered(describer, ask("check", "is it red", 0, choices=("yellow", "yonder")))


def test_a_model_that_is_none(tmp_path):
    with pytest.raises((OSError, ValueError)):
        load_describer(str(tmp_path), "cpu", None, 6)
