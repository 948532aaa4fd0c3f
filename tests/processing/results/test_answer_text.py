import pytest

from desa2va.processing.batch.chat_encoding import ChatEncoder
from desa2va.processing.results.answer_text import AnswerParser


@pytest.fixture
def parse(tokenizer):
    """Parses a text in which the markers are control tokens."""

    def run(text, seg_ids=(6,)):
        ids = ChatEncoder(tokenizer, list(seg_ids)).answer(text)
        return AnswerParser(tokenizer, seg_ids).parse([*ids, tokenizer.eos_token_id, *ids])

    return run


@pytest.mark.parametrize(
    ("raw", "text", "phrases"),
    [
        ("<p> red circle </p> [SEG].", "red circle.", ["red circle"]),
        ("It is [SEG].", "It is.", [None]),
        ("[SEG]", "", [None]),
        (
            "A <p> red circle </p> [SEG] and <p>a dog</p> [SEG] here",
            "A red circle and a dog here",
            ["red circle", "a dog"],
        ),
        ("<p> two dogs </p> [SEG], [SEG] and [SEG].", "two dogs, and.", ["two dogs"] * 3),
        ("<p> dog </p> [SEG] near it [SEG]", "dog near it", ["dog", None]),
        ("<p> </p> [SEG]", "", [None]),
        ("There is no red circle. [SEG].", "There is no red circle.", [None]),
        ("Is it <p> a dog? </p> [SEG], [SEG].", "Is it a dog?", ["a dog?"] * 2),
        ("It is <p> a dog </p> [SEG]...", "It is a dog...", ["a dog"]),
        ("<p> never closed [SEG]", "never closed", [None]),
        ("no objects: 5 < 6 > 4", "no objects: 5 < 6 > 4", []),
        ("红 <p> 圆 </p> [SEG]。", "红 圆 。", ["圆"]),
    ],
)
def test_phrases_and_clean_text(parse, raw, text, phrases):
    """A span that ignores the removed markers underlines the wrong words."""
    answer = parse(raw)
    assert answer.text == text
    assert [answer.phrase(index) for index in range(len(phrases))] == phrases
    assert len(answer.spans) == len(phrases)
    assert answer.raw_text == raw.strip()


def test_only_real_control_tokens_count(tokenizer):
    """An answer that spells out [SEG] marks nothing."""
    ids = ChatEncoder(tokenizer, [6]).plain("say [SEG] or <p>")
    answer = AnswerParser(tokenizer, [6]).parse(ids)
    assert answer.text == "say [SEG] or <p>"
    assert answer.spans == []


def test_several_tokens_make_one_object(parse):
    assert len(parse("<p> dog </p> [SEG] and [SEG]", (6, 6, 6)).spans) == 2


def test_everything_after_the_end_token_is_ignored(tokenizer):
    ids = [*ChatEncoder(tokenizer, [6]).answer("It"), tokenizer.eos_token_id, 6, 6, tokenizer.pad_token_id]
    assert AnswerParser(tokenizer, [6]).parse(ids).spans == []
