"""Video-ChatGPT and Chat-UniVi: tags, turns, files of another suffix, benchmarks."""

import numpy as np
import pytest

from desa2va.processing.files import VideoWriter
from desa2va.training.data.readers.video_chat import read_video_chat, video_chat_status
from desa2va.training.data.record_media import read_timed_frames
from tests.training.data.readers.video_layouts import dump, split_up, videos


def say(*texts):
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path):
    """One video of six frames."""
    place = tmp_path / "video_datas" / "chat_univi"
    (place / "Activity_Videos").mkdir(parents=True)
    with VideoWriter(place / "Activity_Videos" / "v_a.b.mp4", 12) as video:
        for frame in videos(1)[0][0]:
            video.write(frame)
    return place


@pytest.fixture
def read(folder):
    """What the reader makes of rows."""

    def reader(*rows, name="video_chat.json", split="train"):
        dump(list(rows), folder / name)
        return split_up(read_video_chat(folder.parents[1], split))

    return reader


def test_dialogues_of_several_turns(read):
    """Guards against the tag of the video as a word of the question, before or after it."""
    (first, second), errors = read(
        {"id": 1, "video": "v_a.b.mp4", "conversations": say("<video>\nWhat moves? ", " A shape.", "Where?", "Left.")},
        {"video": "v_a.b.mp4", "conversations": say("What moves?\n<video>", "It.")},
    )
    assert not errors
    (dialogue,) = first.dialogues
    assert dialogue.turns == (("What moves?", "A shape."), ("Where?", "Left."))
    assert (dialogue.kind, dialogue.targets) == ("chat", ())
    assert second.dialogues[0].turns == (("What moves?", "It."),)
    assert (first.name, second.name) == ("row 0", "row 1")
    assert (first.num_frames, first.size, first.is_video) == (6, (32, 32), True)
    pixels, seconds = read_timed_frames(first, [0, 3])
    assert pixels.shape == (2, 32, 32, 3)
    assert seconds == pytest.approx((0, 0.25))


@pytest.mark.parametrize("named", ["v_a.b.mkv", "v_a.b.pkl", "v_a.b", "v_a.b.mp4"])
def test_videos_of_another_suffix(read, named):
    """Lists name .mkv where downloads have .mp4, and .pkl where features were meant; names hold dots."""
    (record,), errors = read({"video": named, "conversations": say("a", "b")})
    assert not errors
    assert record.paths[0].endswith("Activity_Videos/v_a.b.mp4")
    (record,), _ = read({"q": "What <video>?", "a": "This.", "video_id": named})
    assert record.dialogues[0].turns == (("What ?", "This."),)


@pytest.mark.parametrize(
    ("conversations", "message"),
    [
        (say("a", "b", "c"), "got 2 questions and 1 answers"),
        (say("a", "b")[::-1], "must take turns, got 1 questions and 1 answers"),
        ([], "must be a list of messages"),
        (say("<video>", "b"), "a message without words"),
        (say("a", " "), "a message without words"),
        (say("a", 3), "a message without words"),
    ],
)
def test_unequal_numbers_are_named(read, conversations, message):
    """Guards against answers to other questions: pairs are never guessed, and the rest is read."""
    records, errors = read(
        {"video": "v_a.b.mp4", "conversations": conversations}, {"video": "v_a.b.mp4", "conversations": say("a", "b")}
    )
    assert [record.name for record in records] == ["row 1"]
    assert "video_chat.json, row 0, conversations: " in str(errors[0])
    assert message in str(errors[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"video": "none.mp4"}, "no video none.mp4 in"),
        ({"video": "../../../video_datas/x.mp4"}, "leads out of"),
        ({"video": 3}, "needs its video"),
        ({"video": "broken.mp4"}, "broken.mp4"),
    ],
)
def test_missing_videos(read, folder, row, message):
    (folder / "Activity_Videos" / "broken.mp4").write_bytes(b"nothing")
    records, (error,) = read({**row, "conversations": say("a", "b")})
    assert not records
    assert error.field == "video"
    assert message in str(error)


def test_benchmarks(read, folder):
    """Guards the questions of a benchmark: two wordings of one, other names of the columns."""
    (folder / "Test_Videos").mkdir()
    (folder / "Activity_Videos" / "v_a.b.mp4").rename(folder / "Test_Videos" / "v_a.b.mp4")
    row = {"Q1": "What?", "Q2": "Which?", "A": "This.", "video_name": "v_a.b"}
    (record,), _ = read(row, name="consistency_qa.json", split="consistency")
    assert [dialogue.turns for dialogue in record.dialogues] == [(("What?", "This."),), (("Which?", "This."),)]
    assert [dialogue.ids["question"] for dialogue in record.dialogues] == [0, 1]
    assert record.dialogues[0].ids["video"] == "v_a.b"
    for split, row in (
        ("generic", {"Q": "What?", "A": "This."}),
        ("temporal", {"Q": "What?", "A": "This."}),
        ("activitynet", {"question": "What?", "answer": "This.", "question_id": 3}),
    ):
        (record,), _ = read({**row, "video_name": "v_a.b"}, name=f"{split}_qa.json", split=split)
        assert record.dialogues[0].turns == (("What?", "This."),)
        assert record.source == f"video_chat/{split}"
    assert "consistency" in video_chat_status(folder.parents[1]).note


def test_what_cannot_be_read_at_all(folder):
    root = folder.parents[1]
    with pytest.raises(FileNotFoundError, match="video_chat.json"):
        list(read_video_chat(root, "train"))
    assert video_chat_status(root).missing[0].startswith("video_datas/chat_univi/video_chat.json or")
    dump({}, folder / "VideoInstruct100K.json")
    assert video_chat_status(root).complete
    with pytest.raises(ValueError, match="expected a list of rows, got dict"):
        list(read_video_chat(root, "train"))
    dump([{"video": "x"}, 3], folder / "VideoInstruct100K.json")
    errors = list(read_video_chat(root, "train"))
    assert [error.record[-6:] for error in errors] == [" row 0", " row 1"]
    assert np.all(["needs 'conversations'" in str(errors[0]), "a row is an object" in str(errors[1])])
