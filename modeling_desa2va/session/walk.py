"""The order in which an interactive session tracks its objects (METHOD section 6, Inter-VOS).

Enters: objects, each with the frames that wait to be walked. Leaves: frame after frame, tracked and recorded. Objects
that start on different frames share one walk forwards and one backwards: each joins where it starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from desa2va.modeling_desa2va.tracking import close_stream, next_frame

from .memory import SessionBank, SessionMemory
from .store import ObjectState

DIRECTIONS = ("forward", "backward", "both")


def plan_walks(
    states: list[ObjectState], start: int | None, direction: str | None
) -> tuple[dict[int, int], dict[int, int]]:
    """Object -> first frame, of the walk forwards and of the walk backwards.

    What was asked for counts as waiting from here on, so that an interrupted walk can be taken up.

    Args:
        states: the objects.
        start: first frame. Omitted: what waits in that direction, else where the object was edited last.
        direction: one of `DIRECTIONS`; `None`: whatever waits.
    """
    forward, backward = {}, {}
    for state in states:
        number = state.object_id
        if direction is None:
            if state.forward is not None:
                forward[number] = state.forward
            if state.backward is not None:
                backward[number] = state.backward
            continue
        if direction != "backward":
            waiting = state.edited if state.forward is None else state.forward
            forward[number] = waiting if start is None else start
            state.forward = forward[number] if state.forward is None else min(state.forward, forward[number])
        if direction != "forward":
            given = state.edited if start is None else start
            waiting = given - 1 if direction == "both" else given
            if start is None and state.backward is not None:
                waiting = max(waiting, state.backward)
            if waiting >= 0:
                backward[number] = waiting
                state.backward = waiting if state.backward is None else max(state.backward, waiting)
    return forward, backward


def walk_session(
    memory: SessionMemory, states: list[ObjectState], forward: dict[int, int], backward: dict[int, int]
) -> Iterator[int]:
    """Tracks and records; yields every frame when all its objects are done: rising, then falling.

    Args:
        memory: of the session.
        states: the objects; each waits for less after every frame.
        forward: object -> first frame of the walk forwards. backward: likewise, backwards.
    """
    bank = memory.bank()
    memory.cache.pinned = {
        frame for start in backward.values() for frame in range(start + 1, start + 1 + bank.reach) if forward
    }
    try:
        yield from _walk(memory, bank, [state for state in states if state.object_id in forward], forward, False)
        bank.tracked.clear()  # objects of the walk backwards may have stopped anywhere
        yield from _walk(memory, bank, [state for state in states if state.object_id in backward], backward, True)
    finally:
        memory.cache.pinned = set()


def _walk(
    memory: SessionMemory, bank: SessionBank, states: list[ObjectState], starts: dict[int, int], reverse: bool
) -> Iterator[int]:
    """One direction."""
    if not states:
        return
    last = memory.info.num_frames - 1
    first = max(starts[state.object_id] for state in states) if reverse else min(starts[s.object_id] for s in states)
    frames = range(first, -1, -1) if reverse else range(first, last + 1)

    def walking(frame: int) -> list[ObjectState]:
        return [s for s in states if (frame <= starts[s.object_id] if reverse else frame >= starts[s.object_id])]

    def followed(frame: int) -> list[ObjectState]:
        return [state for state in walking(frame) if frame not in state.prompts]

    stream = memory.encode(frame for frame in frames if followed(frame))
    try:
        for frame in frames:
            bank.forget(frame)
            memory.recall(bank, [s for s in states if starts[s.object_id] == frame], frame, reverse)
            if objects := followed(frame):
                features = next_frame(stream, frame)
                if frame in memory.cache.pinned:
                    memory.cache.put_low(frame, features)
                memory.follow(bank, features, frame, objects, reverse)
            for state in walking(frame):
                _pass(state, frame, starts[state.object_id], last, reverse)
            yield frame
    finally:
        close_stream(stream)


def _pass(state: ObjectState, frame: int, start: int, last: int, reverse: bool) -> None:
    """A frame no longer waits, unless the walk began behind frames that still do."""
    if reverse:
        if state.backward is not None and frame <= state.backward <= start:
            state.backward = frame - 1 if frame > 0 else None
    elif state.forward is not None and start <= state.forward <= frame:
        state.forward = frame + 1 if frame < last else None


__all__ = ["DIRECTIONS", "plan_walks", "walk_session"]
