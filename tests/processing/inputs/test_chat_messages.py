import pytest

from desa2va.processing.inputs.chat_messages import parse_messages

USER = {"role": "user", "content": "What is it?"}


def test_strings_and_parts_give_the_same_texts():
    parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    assert parse_messages([USER]) == parse_messages([parts]) == ([[("user", "What is it?")]], [])


def test_visuals_are_found_in_the_first_user_message():
    first = {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "one"}]}
    second = {"role": "user", "content": [{"type": "video", "url": "b.mp4"}, {"type": "text", "text": "two"}]}
    conversations, visuals = parse_messages([[first], [{"role": "system", "content": "be kind"}, second]])
    assert visuals == [("image", "a.png"), ("video", "b.mp4")]
    assert conversations[1] == [("system", "be kind"), ("user", "two")]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "must be a list"),
        ("hello", "must be a list"),
        ([[]], r"messages\[0\] must be a list"),
        ([{"role": "user"}], "role and content"),
        ([{"role": "tool", "content": "x"}], "'tool' is unknown"),
        ([{"role": "user", "content": 5}], "got int"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "text, image or video"),
        (
            [{"role": "user", "content": [{"type": "image", "image": "a"}, {"type": "image", "image": "b"}]}],
            "2 visuals",
        ),
        ([USER, {"role": "assistant", "content": [{"type": "image", "image": "a"}]}], "first message of the user"),
        ([USER, {"role": "user", "content": [{"type": "image", "image": "a"}]}], "first message of the user"),
        ([[{"role": "user", "content": [{"type": "image", "image": "a"}]}]] * 2 + [[USER]], "2 of 3 conversations"),
    ],
)
def test_malformed_histories_are_errors(messages, message):
    with pytest.raises(ValueError, match=message):
        parse_messages(messages)
