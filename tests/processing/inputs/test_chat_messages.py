import pytest

from desa2va.processing.inputs.chat_messages import parse_messages

USER = {"role": "user", "content": "What is it?"}
PICTURE = {"type": "image", "image": "a.png"}
LONG = "iVBORw0KGgo" * 1000


def said(messages):
    return [dialogue.messages for dialogue in parse_messages(messages)]


def visuals(messages):
    parts = [dialogue.visual for dialogue in parse_messages(messages)]
    return [None if part is None else (part.kind, part.source) for part in parts]


def user(*parts):
    return {"role": "user", "content": list(parts)}


def text(words="What is it?"):
    return {"type": "text", "text": words}


def test_strings_and_parts_give_the_same_texts():
    marked = [user({"type": "image"}, text())]
    assert said([USER]) == said(marked) == [[("user", "What is it?")]]
    assert visuals([USER]) == [None]
    assert visuals(marked) == [("image", None)]


def test_each_conversation_has_its_own_visual_or_none():
    first = user({"type": "image", "image": "a.png"}, text("one"))
    second = user({"type": "video", "url": "b.mp4"}, text("two"))
    batch = [[first], [USER], [{"role": "system", "content": "be kind"}, second]]
    assert visuals(batch) == [("image", "a.png"), None, ("video", "b.mp4")]
    assert said(batch)[2] == [("system", "be kind"), ("user", "two")]


@pytest.mark.parametrize(
    ("part", "kind", "source"),
    [
        ({"type": "image", "url": "a"}, "image", "a"),
        ({"type": "image", "path": "a"}, "image", "a"),
        ({"type": "image", "base64": "AAAA"}, "image", b"\0\0\0"),
        ({"type": "image", "bytes": b"a", "path": None}, "image", b"a"),
        ({"type": "image_url", "image_url": "a"}, "image", "a"),
        ({"type": "image_url", "image_url": {"url": "a", "detail": "low"}}, "image", {"url": "a", "detail": "low"}),
        ({"type": "video_url", "video_url": {"url": "a"}}, "video", {"url": "a"}),
        # Columns of `datasets` give every part the same keys.
        (
            {"type": "image", "text": None, "image": {"bytes": b"a", "path": "x"}},
            "image",
            {"bytes": b"a", "path": "x"},
        ),
    ],
)
def test_every_spelling_of_a_part(part, kind, source):
    assert visuals([user(part, {**text(), "image": None})]) == [(kind, source)]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages must be a list"),
        ("hello", "messages must be a list"),
        (USER, "messages must be a list"),
        ([None], r"messages\[0\]\[0\]: a message is a dictionary with role and content, got None"),
        (["hello"], r"messages\[0\]\[0\]: a message is a dictionary with role and content, got 'hello'"),
        ([[]], r"messages\[0\] must be a list of messages, got \[\]"),
        ([[USER], USER], r"messages\[1\] must be a list of messages"),
        ([[[USER]]], r"messages\[0\]\[0\]: a message is a dictionary"),
        ([USER, "hello"], r"messages\[0\]\[1\]: a message is a dictionary"),
        ([{"role": "user"}], r"messages\[0\]\[0\]: .*role and content"),
        ([{"content": "hello"}], r"messages\[0\]\[0\]: .*role and content"),
        (
            [{"role": "tool", "content": "x"}],
            r"messages\[0\]\[0\]: role 'tool' is unknown; choose one of",
        ),
        ([{"role": ["user"], "content": "x"}], r"role \['user'\] is unknown"),
        ([{"role": None, "content": "x"}], "role None is unknown"),
        ([{"role": "user", "content": None}], r"messages\[0\]\[0\]: content must be a string or a list.*got None"),
        ([{"role": "user", "content": 5}], "content must be a string or a list of parts, got 5"),
        ([{"role": "user", "content": []}], r"content must be a string or a list of parts, got \[\]"),
        ([{"role": "user", "content": text()}], "content must be a string or a list of parts, got {"),
        ([{"role": "user", "content": "x", "image": "a.png"}], r"messages\[0\]\[0\]: image stands beside content"),
        ([[USER], [user("hello")]], r"messages\[1\]\[0\], part 0: a part is a dictionary with a type, got 'hello'"),
        ([user(text(), [text()])], r"messages\[0\]\[0\], part 1: a part is a dictionary"),
        ([user({"type": "audio"})], r"part 0: type must be text, image, image_url, video, video_url, got {'type'"),
        ([user({"text": "hello"})], "type must be text"),
        ([user({"type": ["image"]})], "type must be text"),
        ([user({"type": "text"})], "a string under text"),
        ([user({"type": "text", "text": None})], "a string under text"),
        ([user({"type": "image", "image": "a", "url": "b"})], "part 0: gives url and image; give one of them"),
        ([user({"type": "image", "base64": "!!!"})], "base64 of 3 characters can not be decoded"),
        (
            [user({"type": "image", "image": "a"}, {"type": "image", "image": "b"})],
            r"messages\[0\]\[0\] holds 2 visuals",
        ),
        (
            [USER, {**user({"type": "image", "image": "a"}), "role": "assistant"}],
            r"\[0\]\[1\]: .*first message of the",
        ),
        ([USER, user({"type": "image", "image": "a"})], "first message of the user"),
        ([user({"type": "sound", "data": LONG})], "type must be text"),
        ([{"content": LONG}], "role and content"),
        (LONG, "messages must be a list"),
    ],
)
def test_malformed_histories_are_one_sentence_that_names_the_message(messages, message):
    """A whole base64 in an error fills the screen and the log."""
    with pytest.raises(ValueError, match=message) as caught:
        parse_messages(messages)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_tuples_are_lists():
    assert said(({"role": "user", "content": (text("a"), text("b"))},)) == [[("user", "a\nb")]]
