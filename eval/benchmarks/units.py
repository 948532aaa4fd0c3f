"""Which questions are answered together: the units of a run, the same whoever answers them.

Enters: for each record the places of its questions, those in one group that must not be parted. Leaves: units.
(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Unit = tuple[tuple[int, int], ...]


def share_out(records: Sequence[tuple[list[list[int]], bool]], batch_size: int) -> Iterator[Unit]:
    """Number of the record and place of every question, unit by unit.

    Args:
        records: for each its groups of places, and whether it is a video. batch_size: most questions of a unit; a
            larger group is a unit of its own.
    """
    singles: list[tuple[int, int]] = []
    for number, (groups, is_video) in enumerate(records):
        if groups == [[0]] and not is_video:
            singles.append((number, 0))
            if len(singles) == batch_size:
                yield tuple(singles)
                singles = []
            continue
        for places in _filled(groups, batch_size):
            yield tuple((number, place) for place in places)
    if singles:
        yield tuple(singles)


def _filled(groups: list[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Whole groups, as many as fit; the places in order."""
    taken: list[int] = []
    for group in groups:
        if taken and len(taken) + len(group) > batch_size:
            yield sorted(taken)
            taken = []
        taken = [*taken, *group]
    if taken:
        yield sorted(taken)


__all__ = ["share_out"]
