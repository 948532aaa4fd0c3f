"""Which frames of a video a question is asked about: the rule of VLMEvalKit, from which subtitles are taken, too.

Enters: a record and one of its questions. Leaves: numbers of frames. (Paper section 4.1: video chat.)
"""

from __future__ import annotations

from desa2va.training.data.records import Dialogue, Record

FRAMES = 8  # VLMEvalKit's usual number; more frames raise scores, so the number belongs to the protocol


def even_frames(first: int, end: int) -> list[int]:
    """`FRAMES` frames of `range(first, end)`, at i / (FRAMES + 1) of its length; fewer where there are not so many."""
    step = (end - first) / (FRAMES + 1)
    return list(dict.fromkeys(first + int(place * step) for place in range(1, FRAMES + 1)))


def shown_frames(record: Record, dialogue: Dialogue) -> list[int]:
    """The frames that are shown: all pictures of a question; of a video file `even_frames` of the part it is about.

    The part is `first_frame` to `end_frame` of the dialogue's `ids`, by default the whole video.
    """
    if record.of_pictures:
        return list(range(record.num_frames))
    part = (dialogue.ids.get("first_frame", 0), dialogue.ids.get("end_frame", record.num_frames))
    return even_frames(*map(int, part))


__all__ = ["FRAMES", "even_frames", "shown_frames"]
