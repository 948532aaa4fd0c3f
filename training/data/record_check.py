"""What a data set holds and what is wrong with it, found before any GPU time.

Enters: a source and a processor. Leaves: problems, which a training would meet, and notes about what is allowed but
seldom meant; counts by kind, and licences. (Data quality; no paper section.)
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .mask_motion import misplaced_masks
from .record_lengths import too_long
from .record_media import unreadable
from .records import Record, RecordError
from .sources import Source, count_records

LONG = 60  # words of an expression


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        problems: in the order of the records. notes: what is allowed, by what it is, with the records it was seen in.
        counts: see `count_records`. licences: records by licence, as far as recorded.
    """

    problems: list[RecordError] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=lambda: count_records(()))
    licences: Counter[str] = field(default_factory=Counter)


def check_source(source: Source, processor: Any, seen: Callable[[Record], None] = lambda record: None) -> CheckReport:
    """Reads every record, mask and pixel of a source.

    Args:
        source: of any kind. processor: whose sequences the texts have to fit into. seen: told every right record.

    Raises:
        FileNotFoundError, ValueError: a source that can not be read at all, or holds nothing.
    """
    report = CheckReport()
    number = 0
    for number, item in enumerate(_all_items(source), 1):  # noqa: B007
        if isinstance(item, RecordError):
            report.problems.append(item)
            continue
        report.counts.update(count_records((item,)))
        if item.licence:
            report.licences[item.licence] += 1
        for note in _notes(item):
            report.notes[note].append(item.name)
        problems = unreadable(item) or too_long(item, processor) + _moved(item)
        report.problems += problems
        if not problems:
            seen(item)
    if not number:
        raise ValueError(f"{source.name} holds no record")
    return report


def _all_items(source: Source) -> Iterator[Record | RecordError]:
    """The items of a source; what a reader can not go on after is the last one."""
    try:
        yield from source.items()
    except RecordError as error:
        yield error


def _moved(record: Record) -> list[RecordError]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `unreadable` has told them
        return misplaced_masks(record)


def _notes(record: Record) -> list[str]:
    """What is allowed and seldom meant."""
    notes = []
    asked: dict[str, set[Any]] = defaultdict(set)
    count: Counter[str] = Counter()
    for dialogue in record.dialogues:
        if any(target.is_empty for target in dialogue.targets):
            notes.append("a mask without a pixel")
        if dialogue.kind not in ("target", "no_target"):
            continue
        text = " ".join(str(dialogue.ids.get("text", dialogue.turns[0][0])).lower().split()).rstrip(".")
        count[text] += 1
        asked[text].add(tuple(str(code) for target in dialogue.targets for code in target.codes))
        if len(text.split()) > LONG:
            notes.append(f"an expression of more than {LONG} words")
    if any(len(masks) > 1 for masks in asked.values()):
        notes.append("one expression for different masks")
    elif any(number > 1 for number in count.values()):
        notes.append("an expression twice for one mask")
    return list(dict.fromkeys(notes))


__all__ = ["CheckReport", "check_source"]
