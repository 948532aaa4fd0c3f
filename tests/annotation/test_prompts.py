"""The words of the asks."""

import pytest

from desa2va.annotation.prompts import PLACEHOLDERS, Prompt, read_prompts


def test_every_step_has_its_words_and_its_places():
    prompts = read_prompts()
    assert list(prompts) == list(PLACEHOLDERS)
    assert {prompt.version for prompt in prompts.values()} == {"1"}
    assert "{" not in prompts["check"].filled({"crop": "A cat.", "blanked": "A dog."})


def test_braces_of_an_answer_stay():
    """Guards against an answer that is taken for a place, and names another step's answer."""
    assert (
        Prompt("1", "It is {crop} {blanked}").filled({"crop": "{blanked}", "blanked": "{x}"}) == "It is {blanked} {x}"
    )


def test_own_prompts_replace_some_and_tell_themselves_apart(tmp_path):
    text = "version: 1\n\nShorter: {video}\n"
    (tmp_path / "short.txt").write_text(text, encoding="utf-8-sig")  # as editors of Windows write it
    own, usual = read_prompts(tmp_path), read_prompts()
    assert own["short"].text == "Shorter: {video}"
    assert own["short"].identity != usual["short"].identity
    assert own["scene"] == usual["scene"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("shrot.txt", "version: 1\n\n{video}", "there is no such step"),
        ("short.txt", "{video}", "the first line must be"),
        ("short.txt", "version: 2\n\n", "the first line must be"),
        ("short.txt", "version: 2\n\nName it.", r"a prompt of this step has \{video\}"),
        ("crop.txt", "version: 2\n\nLike {scene}.", "has none"),
        ("crop.txt", "version: 2\n\nTr\xe8s bien.", r"crop\.txt is no UTF-8 text"),
    ],
)
def test_wrong_prompts_are_told_before_anything_is_asked(tmp_path, name, text, told):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=told):
        read_prompts(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder of prompts"):
        read_prompts(tmp_path / "absent")
