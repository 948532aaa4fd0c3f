"""Expressions that are alike: word for word, or nearly.

Rows of complete masklets enter, counts and examples leave. Equal are two expressions with the same words in the same
order, whatever their case and punctuation. Near are two of whose different words at least four fifths are in both, in
any order. (Engineering; no paper section.)
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

_MOST = 30
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return _WORD.findall(text.lower())


def are_near(one: str, other: str) -> bool:
    """Whether at least four fifths of all different words of two texts are in both."""
    words, others = set(words_of(one)), set(words_of(other))
    return 5 * len(words & others) >= 4 * len(words | others)  # in whole numbers, which nothing rounds


def duplicates(rows: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """How many expressions have another one like them.

    Args:
        rows: of complete masklets. kind: `"long"` or `"short"`.

    Returns:
        How many have an equal one `within_a_video`, where both point at nothing, how many one `across_videos`, how
        many a near or equal one `near_within_a_video`; and examples of equal and of near ones.
    """
    said = [(row["video"], row["object"], row[kind]) for row in rows if row[kind]]
    groups, videos = defaultdict(list), defaultdict(list)
    for entry in said:
        groups[" ".join(words_of(entry[2]))].append(entry)
        videos[entry[0]].append(entry)
    counts = [Counter(video for video, _, _ in group) for group in groups.values()]
    near = [
        pair for entries in videos.values() for pair in combinations(entries, 2) if are_near(pair[0][2], pair[1][2])
    ]
    return {
        "within_a_video": sum(number for count in counts for number in count.values() if number > 1),
        "across_videos": sum(count.total() for count in counts if len(count) > 1),
        "near_within_a_video": len({entry for pair in near for entry in pair}),
        "examples": [_example(group[:4]) for group in groups.values() if len(group) > 1][:_MOST],
        "near_examples": [_example(pair) for pair in near if words_of(pair[0][2]) != words_of(pair[1][2])][:_MOST],
    }


def _example(entries: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    return {"texts": [text for *_, text in entries], "objects": [list(key) for *key, _ in entries]}


__all__ = ["are_near", "duplicates", "words_of"]
