"""What can be asked of the model, and the words in which it is asked.

In: a task and the words of a user. Out: the text the language model reads, which is the default request of the task
where the user said nothing, whether its answer may hold a `[SEG]`, and what objects are called that an answer gives no
phrase (paper section 3.1: one interface for all).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .given_sources import shown

TASKS = ("auto", "segment", "chat", "caption", "gcg", "region")
WORDED_TASKS = ("caption", "gcg", "region")  # asked in words of their own where the user gives none
WORD_TASKS = ("chat", "caption", "region")  # answered in words alone, never with a [SEG]
PROMPT_TASKS = ("auto", "segment")  # what points, boxes and masks may be given for without words
VISUAL_TASKS = ("segment", "caption", "gcg", "region")
CAPTION_REQUESTS = {"image": "Describe the image.", "video": "Describe the video."}
REGION_REQUEST = "What is region {}?"
MARKED_REQUEST = "what is marked"  # how a request is called that consists of points, boxes or masks alone

# A text that begins with one of these (after "please", "can you", ...) is a request; any other is a bare phrase.
# fmt: off
_REQUEST_OPENERS = frozenset((
    "segment", "find", "show", "where", "what", "which", "who", "whose", "how", "why", "is", "are", "was", "were",
    "do", "does", "did", "can", "could", "will", "would", "mark", "mask", "highlight", "outline", "locate", "detect",
    "identify", "select", "point", "give", "describe", "tell", "track", "explain", "list", "name", "count", "cut",
    "extract", "separate", "label", "draw", "answer", "look", "in", "there", "i", "please", "let", "return", "output",
    "provide", "respond", "generate",
))
# fmt: on
_ASKING = re.compile(
    r"^(?:please\s+|(?:can|could|would|will)\s+you\s+(?:please\s+)?)*"
    r"(?:(?:segment|find|show\s+me|show|mark|mask|highlight|outline|locate|detect|track|select)\s+"
    r"|where\s+(?:is|are)\s+)",
    re.IGNORECASE,
)


def check_tasks(task: str | Sequence[str]) -> list[str]:
    """The tasks that are asked for, one or a list.

    Raises:
        ValueError: an unknown task, or none.
    """
    tasks = [task] if isinstance(task, str) or not isinstance(task, Sequence) else list(task)
    for one in tasks:
        if one not in TASKS:
            raise ValueError(f"task={shown(one)} is unknown; choose one of {', '.join(TASKS)}")
    if not tasks:
        raise ValueError("task is an empty list; give one task, or one for each request")
    return tasks


def task_of_each(task: str | Sequence[str], count: int, noun: str = "requests") -> list[str]:
    """The task of each of `count` requests: one for all, or as many as there are.

    Args:
        task: one or a list. count: of requests. noun: what an error calls them.

    Raises:
        ValueError: an unknown task, or another number of them.
    """
    tasks = check_tasks(task)
    if isinstance(task, str):
        return tasks * count
    if len(tasks) != count:
        raise ValueError(f"{len(tasks)} tasks but {count} {noun}; give one task for all, or one for each")
    return tasks


def prompts_suffice(task: str | Sequence[str]) -> bool:
    """Whether points, boxes or masks alone say what is wanted; otherwise the task asks in words of its own.

    Raises:
        ValueError: an unknown task, or one that needs words of the user.
    """
    tasks = check_tasks(task)
    if any(one in WORDED_TASKS for one in tasks):
        return False
    for one in tasks:
        if one not in PROMPT_TASKS:
            raise ValueError(
                f"task={one!r} needs words beside points=, boxes= or masks=: give text= or messages=; without words "
                "SAM-2 alone sees them (task 'auto' or 'segment')"
            )
    return True


def default_request(task: str, kind: str, gcg_instruction: str, region: int = 1) -> str:
    """What one of `WORDED_TASKS` asks about an `"image"` or `"video"`, or about its marked region of this number."""
    if task == "region":
        return REGION_REQUEST.format(region)
    return gcg_instruction if task == "gcg" else CAPTION_REQUESTS[kind]


def apply_task(text: str, task: str, gcg_instruction: str) -> str:
    """The text the language model reads.

    `"segment"` wraps a bare phrase (`"the red car"`) as `"Please segment the red car."` and leaves requests and
    questions as they are: texts that end with a question mark, begin with a verb of asking, or are not written in
    Latin letters. `"gcg"` appends the instruction for grounded captions. The other tasks change nothing.
    """
    if task == "gcg":
        return f"{text} {gcg_instruction}"
    if task != "segment" or text.rstrip().endswith(("?", "？")):
        return text
    words = re.findall(r"[a-z']+", text.lower())
    if not words or words[0] in _REQUEST_OPENERS:
        return text
    phrase = text.strip().rstrip(".")
    if words[0] in ("the", "a", "an", "all", "every", "each"):
        phrase = phrase[0].lower() + phrase[1:]
    return f"Please segment {phrase}."


def asked_phrase(text: str, task: str = "auto") -> str:
    """What a request asks for, without the words of asking: `"Please segment the red car."` -> `"the red car"`.

    Empty with `"gcg"`: who asks for a description names no object.
    """
    if task == "gcg":
        return ""
    phrase = _ASKING.sub("", text.strip()).strip().rstrip(".?!\uff1f\u3002").strip()
    return phrase or text.strip()


def region_phrase(number: int) -> str:
    """What an object is called that was marked without words; regions are counted from 1."""
    return f"region {number}"


__all__ = [
    "CAPTION_REQUESTS",
    "MARKED_REQUEST",
    "REGION_REQUEST",
    "TASKS",
    "VISUAL_TASKS",
    "WORDED_TASKS",
    "WORD_TASKS",
    "apply_task",
    "asked_phrase",
    "check_tasks",
    "default_request",
    "prompts_suffice",
    "region_phrase",
    "task_of_each",
]
