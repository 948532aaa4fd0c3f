import pytest

from desa2va.processing.tiny_tokenizer import (
    CONTROL_TOKENS,
    build_tiny_tokenizer,
    extend_tiny_tokenizer,
    is_tiny_tokenizer,
)
from desa2va.training.data.refshapes.language import vocabulary_corpus


def test_every_word_of_the_corpus_is_one_token():
    """A word split in bytes would make the tiny model spell instead of name."""
    tokenizer = build_tiny_tokenizer(["small red circle", "Please"])
    assert tokenizer.tokenize("Please") == ["Please"]
    assert tokenizer.tokenize("circle red small circle") == ["circle", "Ġred", "Ġsmall", "Ġcircle"]


def test_refshapes_sentences_have_one_token_per_word():
    tokenizer = build_tiny_tokenizer(vocabulary_corpus(), max_size=1000)
    for sentence in vocabulary_corpus():
        for word in sentence.replace("[SEG]", " ").replace("<p>", " ").replace("</p>", " ").split():
            letters = word.strip(".,?!:;'")
            assert not letters.isalpha() or len(tokenizer.tokenize(letters)) == 1, letters
    assert len(tokenizer) < 1000


@pytest.mark.parametrize("text", ["zebra", "红色的圆 слово", "emoji 🙂\ttab\n", "  two  spaces ", "a\u0000b"])
def test_any_text_survives_encoding(text, tokenizer):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_vocabulary_depends_on_the_set_of_words_only():
    """Ids that depend on the order of the corpus would make checkpoints of two runs incompatible."""
    first = build_tiny_tokenizer(["red circle", "blue square", "red"])
    second = build_tiny_tokenizer(["blue square", "red circle"])
    assert first.get_vocab() == second.get_vocab()


def test_control_tokens_come_first_and_pad_is_zero(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(CONTROL_TOKENS)) == list(range(len(CONTROL_TOKENS)))
    assert tokenizer.pad_token_id == 0
    assert tokenizer.eos_token == "<|im_end|>"


def test_chat_template_is_chatml(tokenizer):
    messages = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "It is red."}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert rendered == ("<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\nIt is red.<|im_end|>\n")


def test_reload_keeps_words_whole(tmp_path, tokenizer):
    """`ignore_merges` lost on disk would split every word after a reload."""
    tokenizer.save_pretrained(tmp_path)
    loaded = type(tokenizer).from_pretrained(tmp_path)
    assert loaded.tokenize("Please segment the circle [SEG]") == tokenizer.tokenize("Please segment the circle [SEG]")


def test_too_large_corpus_and_single_string_are_refused():
    with pytest.raises(ValueError, match="max_size=266"):
        build_tiny_tokenizer(["word"], max_size=266)
    with pytest.raises(ValueError, match="list of strings"):
        build_tiny_tokenizer("red circle")


def test_new_words_come_behind_all_ids_and_change_none(tmp_path):
    """A vocabulary built anew with more words has other ids, and trained rows would mean other words."""
    tokenizer = build_tiny_tokenizer(["Please segment the circle"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["[SEG0]"]}, replace_extra_special_tokens=False)
    known = tokenizer.get_vocab()
    before = tokenizer("every zebra")["input_ids"]
    spelled = extend_tiny_tokenizer(tokenizer, ["every", "circle"])
    first = max(known.values()) + 1
    assert list(spelled) == [first, first + 1]
    assert {word: index for word, index in tokenizer.get_vocab().items() if index < first} == known
    assert tokenizer.tokenize("every circle every") == ["every", "Ġcircle", "Ġevery"]
    assert spelled[tokenizer.convert_tokens_to_ids("every")] == before[: len("every")]
    assert tokenizer.decode(tokenizer("every zebra")["input_ids"]) == "every zebra"
    assert extend_tiny_tokenizer(tokenizer, ["every"]) == {}
    tokenizer.save_pretrained(tmp_path)
    loaded = type(tokenizer).from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.tokenize("every [SEG0]") == tokenizer.tokenize("every [SEG0]")
    assert is_tiny_tokenizer(loaded)
